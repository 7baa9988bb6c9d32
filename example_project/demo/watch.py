"""Showing how runs proceed."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from uuid import UUID

from django.db.models import Count, Q

from django_workflow.models import Run, Task
from django_workflow.statuses import TASK_TERMINAL
from example_project.demo.worker import WorkerProcess

#: The demonstration fails if its runs have not settled by then.
TIMEOUT = 120.0
#: Seconds between two looks at the runs; only these lines need them, workers are notified.
LOOK = 0.1


class Watch:
    """Shows how runs proceed: a bar on a terminal, elsewhere a line per event.

    names: what to call the runs, by id. worker: who executes them, and must not end meanwhile.
    """

    WIDTH = 32

    def __init__(self, names: Mapping[UUID, str], worker: WorkerProcess) -> None:
        self._names = names
        self._worker = worker
        self._is_terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._settled: set[UUID] = set()
        self._quarter = 0

    def until_settled(self) -> None:
        """Look again and again until every run has settled; raises `DemoFailed` if that takes too long."""
        while len(self._settled) < len(self._names):
            self._worker.check()
            if time.monotonic() - self._began > TIMEOUT:
                self._worker.fail(f"after {TIMEOUT:.0f} s only {self._progress()}")
            time.sleep(LOOK)
            self._look()
        self._print("")
        print()

    def _look(self) -> None:
        for run in Run.objects.settled().filter(pk__in=self._names).order_by("ended_at"):
            if run.pk not in self._settled:
                self._settled.add(run.pk)
                what = f"{run.status}: {run.error['message']}" if run.error else run.status
                self._print(f"  {self._elapsed()}  {self._names[run.pk]:10}  {what}", is_event=True)
        self._show_tasks()

    def _show_tasks(self) -> None:
        done, total = self._tasks()
        share = done / total if total else 0.0
        if self._is_terminal:
            filled = int(share * self.WIDTH)
            bar = "█" * filled + "░" * (self.WIDTH - filled)
            self._print(f"  {self._elapsed()}  {bar} {share:4.0%}  {self._progress()}, {done} of {total} tasks")
        elif total and int(share * 4) > self._quarter:
            self._quarter = int(share * 4)
            self._print(f"  {self._elapsed()}  {done} of {total} tasks are done", is_event=True)

    def _tasks(self) -> tuple[int, int]:
        """Return how many tasks have ended, of those known: a map makes its tasks when it begins."""
        tasks = Task.objects.filter(step_run__run_id__in=self._names)
        counts = tasks.aggregate(done=Count("pk", filter=Q(status__in=TASK_TERMINAL)), total=Count("pk"))
        return counts["done"], counts["total"]

    def _progress(self) -> str:
        return f"{len(self._settled)} of {len(self._names)} runs have settled"

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:6.2f} s"

    def _print(self, line: str, *, is_event: bool = False) -> None:
        if self._is_terminal:
            # A line that wraps could not be rewritten.
            shown = line if is_event else line[: shutil.get_terminal_size().columns - 1]
            print(f"\r\033[K{shown}", end="\n" if is_event else "", flush=True)
        elif line:
            print(line, flush=True)
