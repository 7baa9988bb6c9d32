"""The jobs a worker has in hand: who waits, who runs, who runs over time, and who is suspected of killing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from django_workflow.definition.registry import Handler
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.worker.jobs.job import Job

#: A task that has not begun so long after its claim is handed back.
PATIENCE = 1.0
#: Handlers slower than this end prefetching.
QUICK = 1.0
#: Seconds of work that may wait for slots: less than the patience, or much would be claimed to be handed back.
AHEAD = 0.5
#: How much of the average the last duration makes.
LAST_COUNTS = 0.1
#: A handler that ran so long is marked as begun, so that losing it counts.
MARK_AFTER = 0.02


class InFlight:
    """Jobs from their claim until their outcome is settled.

    jobs: by task id. overtime: jobs whose attempt is over while their handler still occupies a slot.
    suspects: jobs whose task was lost before; they wait for a slot and for the record of their begin.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.jobs: dict[int, Job] = {}
        self.overtime: set[Job] = set()
        self.suspects: deque[Job] = deque()
        self._slowest = 0.0
        self._average: float | None = None

    def add(self, task: ClaimedTask, handler: Handler) -> Job:
        """Take a claimed task in hand."""
        job = self.jobs[task.id] = Job(task, handler)
        return job

    def of(self, task: ClaimedTask) -> Job | None:
        """Return the job of this very attempt, if it is still in hand."""
        job = self.jobs.get(task.id)
        return job if job is not None and job.task is task else None

    def forget(self, task: ClaimedTask) -> None:
        """The attempt is settled; a handler that still runs goes on occupying its slot."""
        job = self.of(task)
        if job is not None:
            self._drop(job)
            if job.begun_at is not None and job.ended_at is None:
                self.overtime.add(job)

    def let_go_of(self, task_id: int) -> None:
        """End an older attempt of a task here: its lease ran out, and now it was claimed anew by this very worker."""
        job = self.jobs.get(task_id)
        if job is None:
            return
        self._drop(job)
        if not job.withdraw() and job.ended_at is None:
            job.interrupt()
            self.overtime.add(job)

    def end_elsewhere(self, task: ClaimedTask) -> bool:
        """Stop an attempt whose lease is over; returns whether there was something to stop."""
        job = self.of(task)
        if job is None or job.ended_at is not None:
            return False
        if job.withdraw():
            self._drop(job)
        else:
            job.interrupt()
        return True

    def end(self, job: Job) -> None:
        """A handler has ended: its slot is free, and its pace is known."""
        job.ended_at = job.ended_at or time.monotonic()
        self.overtime.discard(job)
        if job.begun_at is not None and job.executor is None:
            seconds = job.ended_at - job.begun_at
            self._slowest = max(seconds, self._slowest * 0.99)
            before = seconds if self._average is None else self._average
            self._average = before + LAST_COUNTS * (seconds - before)

    def withdraw_waiting(self, is_meant: Callable[[Job], bool]) -> Iterator[Job]:
        """Withdraw those of the jobs meant that have not begun."""
        for job in list(self.jobs.values()):
            waits = job.begun_at is None and job.executor is None and not job.is_reported and not job.task.is_lost
            if waits and is_meant(job):
                if job in self.suspects:
                    self.suspects.remove(job)
                if job.withdraw():
                    job.is_reported = True
                    yield job

    def running(self) -> list[Job]:
        """Jobs whose handler runs."""
        return [job for job in self.jobs.values() if job.begun_at is not None and job.ended_at is None]

    def busy(self) -> int:
        """How many slots of this worker have a handler that is executed now; any thread may ask."""
        jobs = (*list(self.jobs.values()), *list(self.overtime))
        return sum(1 for job in jobs if job.executor is None and job.begun_at is not None and job.ended_at is None)

    def count(self) -> int:
        """How many jobs have or want a slot of this worker."""
        here = sum(1 for job in self.jobs.values() if job.ended_at is None and job.executor is None)
        return here + sum(1 for job in self.overtime if job.executor is None)

    def count_elsewhere(self, executor: str) -> int:
        """How many jobs have or want a slot of an executor of the site's own."""
        here = sum(1 for job in self.jobs.values() if job.ended_at is None and job.executor == executor)
        return here + sum(1 for job in self.overtime if job.executor == executor)

    def elsewhere(self) -> list[Job]:
        """Jobs that an executor of the site's own was given, and that are not known to have begun."""
        return [job for job in self.jobs.values() if job.waits_elsewhere and not job.is_reported]

    def room(self, prefetch: int, unsettled: int = 0) -> int:
        """Return how many tasks may be claimed now, at most `prefetch` of them to wait for a slot.

        unsettled: how many outcomes wait for a settle; handlers that are quicker must not run far ahead of it.
        None waits before it is known how long handlers take, nor behind slow ones. While more than half of what may
        wait does, there is no room: few large claims cost less than many small ones.
        """
        if unsettled >= self.concurrency + prefetch:
            return 0
        ahead = 0
        if self._average is not None and self._is_quick():
            ahead = int(min(prefetch, self.concurrency * AHEAD / max(self._average, 1e-6)))
        waiting = self.count() + min(ahead, unsettled)
        return self.concurrency + ahead - waiting if waiting <= self.concurrency + ahead // 2 else 0

    def _is_quick(self) -> bool:
        """Say whether handlers have been quick of late, and those that run are not old."""
        now = time.monotonic()
        return self._slowest <= QUICK and all(now - (job.begun_at or now) <= QUICK for job in self._running_here())

    def _running_here(self) -> list[Job]:
        return [job for job in self.running() if job.executor is None]

    def unmarked(self) -> list[ClaimedTask]:
        """Tasks whose handler has run for a while without a record of its begin."""
        before = time.monotonic() - MARK_AFTER
        return [job.task for job in self._running_here() if not job.task.is_begun and (job.begun_at or 0) < before]

    def suspect(self, task: ClaimedTask) -> None:
        """A task whose loss has been settled waits here for its next begin."""
        # the settle counted the loss; a row read later would say the same
        task.failure_count += task.is_begun
        task.lost_count += 1
        task.is_lost, task.is_begun = False, False
        self.suspects.append(self.add(task, self.jobs[task.id].handler))

    def choose_suspects(self) -> list[Job]:
        """Return the lost tasks that may begin now: as many as there are free slots, never prefetched.

        One that was lost twice begins only once every other such task is settled: if it kills the process it
        takes no neighbour's attempt with it.
        """
        chosen: list[Job] = []
        about_to_begin = [job for job in self.jobs.values() if _is_about_to_begin(job)]
        running = self._running_here() + about_to_begin
        free = self.concurrency - len(running) - sum(1 for job in self.overtime if job.executor is None)
        begun = [job for job in self.jobs.values() if job.begun_at is not None]  # those that have ended, too
        dangerous = any(job.task.lost_count > 1 for job in (*begun, *about_to_begin))
        for job in list(self.suspects):
            if free <= 0:
                break
            is_dangerous = job.task.lost_count > 1
            if is_dangerous and dangerous:
                continue
            dangerous = dangerous or is_dangerous
            free -= 1
            self.suspects.remove(job)
            chosen.append(job)
        return chosen

    def due(self, now: float) -> Iterator[float]:
        """Moments at which something about a job is due by itself, in monotonic seconds."""
        for job in self.jobs.values():
            if job.ended_at is not None:
                continue
            if job.timeout is not None and not job.is_reported:
                yield job.deadline or now + job.timeout  # it may begin as soon as we sleep
            if job.executor is not None:
                continue
            if job.begun_at is None:
                if not job.is_reported and not job.task.is_lost:
                    yield job.claimed_at + PATIENCE
            elif not job.task.is_begun:
                yield job.begun_at + MARK_AFTER

    def _drop(self, job: Job) -> None:
        del self.jobs[job.task.id]
        if job in self.suspects:
            self.suspects.remove(job)


def _is_about_to_begin(job: Job) -> bool:
    """Say whether a lost task's new begin is recorded, though no thread has taken it yet."""
    task = job.task
    return job.begun_at is None and task.is_begun and task.lost_count > 0 and not task.is_lost
