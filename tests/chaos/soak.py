"""`python -m tests.chaos.soak --minutes 15 --seed 1`: all that can go wrong does, at random, for as long as one likes.

Four workers with handlers of every executor on a PostgreSQL of their own. Workers are killed, stopped for longer than
a lease and told to end; sessions of every kind are cut and statements cancelled; PostgreSQL is restarted; operators
pause, resume, cancel, retry, skip and complete. At the end all must be as if nothing had happened, and every worker
that lives must work. Exit code 1 where it is not; what was done and found is printed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psutil

from tests.chaos.connections import SESSIONS, kind
from tests.chaos.engine import DaskCrew, dask_crew
from tests.chaos.harness import Site, site
from tests.chaos.wrong import WRONG_AT_ANY_TIME, WRONG_AT_THE_END
from tests.races.workers import SITE, ProcessWorker

WORKERS = 4
LEASE = 2.0
ARGUMENTS = (
    *("--lease", str(LEASE), "--grace", "2", "--prefetch", "20", "--concurrency", "6"),
    *("--queues", "default"),
)
#: Runs that are unsettled at any time, and how many are started at once.
AT_ONCE, TOGETHER = 24, 6
FLOWS = ("chaos", "chaos", "soak_mixed", "soak_shouting", "soak_nasty")
#: Seconds for which all may take to settle at the end, and a worker to do something.
SETTLE, PROBE = 240.0, 90.0
#: Steps behind which nobody misses anything, and what an operator gives for others: what steps behind them expect.
MAY_BE_SKIPPED = ("beside", "orphans", "hungry", "ends_the_loop", "again", "shout", "spin", "sleep")
VALUES = {"second": [1, 2, 3], "in_thread": [1, 2], "each": [1, 2, 3], "in_loop": [1, 2]}
#: Exit codes of workers that are no breakdown: told to end, killed.
EXPECTED = (0, -signal.SIGKILL)

RUNS_TO_TOUCH = """
    SELECT id FROM django_workflow_run WHERE status NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out')
    ORDER BY random() LIMIT 1
"""
RUNS_TO_RETRY = """
    SELECT id FROM django_workflow_run WHERE status IN ('failed', 'cancelled') ORDER BY random() LIMIT 1
"""
STEPS_TO_TOUCH = """
    SELECT r.id, s.step FROM django_workflow_run r JOIN django_workflow_steprun s ON s.run_id = r.id
    WHERE r.status = 'running' AND s.status = 'running' ORDER BY random() LIMIT 1
"""
PAUSED = "SELECT id FROM django_workflow_run WHERE status = 'paused'"
#: Process ids come again.
HAS_BEGUN = "SELECT count(*) FROM django_workflow_worker WHERE pid = %s AND started_at >= %s"
WORKED = "SELECT pid, settled_count FROM django_workflow_worker WHERE pid = ANY(%s)"
STATUSES = """
    SELECT f.slug, r.status, coalesce(r.error->>'class', ''), count(*) FROM django_workflow_run r
    JOIN django_workflow_flowdefinition f ON f.id = r.flow_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
#: What of runs is not at its end: step and status of tasks, their latest attempt, and what the last one said.
LEFT = """
    SELECT s.step, t.status, CASE WHEN t.lease_id IS NULL THEN 'not leased' ELSE 'leased' END, max(t.attempt),
           coalesce(left(max(a.message), 120), ''), count(*)
    FROM django_workflow_task t JOIN django_workflow_steprun s ON s.id = t.step_run_id
    LEFT JOIN LATERAL (
        SELECT message FROM django_workflow_attempt WHERE task_id = t.id ORDER BY id DESC LIMIT 1) a ON true
    WHERE t.status IN ('queued', 'running', 'held', 'suspended') GROUP BY 1, 2, 3
"""
ATTEMPTS = "SELECT outcome, error_class, count(*) FROM django_workflow_attempt GROUP BY 1, 2 ORDER BY 3 DESC"


class Soak:
    """One soak: a crew of workers, and what is done to it."""

    def __init__(self, place: Site, dice: random.Random, engine: DaskCrew | None = None) -> None:
        self.place = place
        self.engine = engine
        self.dice = dice
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._frozen: set[int] = set()
        self.workers: list[ProcessWorker] = [place.worker(*ARGUMENTS) for _ in range(WORKERS)]
        #: What happens, and after how many seconds on average.
        self.actions: list[tuple[float, Callable[[], object]]] = [
            (0.5, self.start), (15, self.kill), (12, self.freeze), (30, self.terminate), (10, self.kill_child),
            (2, self.cut), (40, self.cut_all), (5, self.cancel_statement), (60, self.restart), (60, self.crash),
            (1, self.operate), (15, self.pause_flow), (20, self.pause_queue), (10, self.look), (1, self.replace_dead),
            (10, self.kill_engine),
        ]  # fmt: skip
        self._due = [self._next(mean) for mean, _ in self.actions]

    def _next(self, mean: float) -> float:
        return time.monotonic() + self.dice.expovariate(1 / mean)

    def run(self, seconds: float) -> None:
        """Let it happen for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._do_what_is_later()
            for number, (mean, action) in enumerate(self.actions):
                if self._due[number] <= time.monotonic():
                    self._attempt(action)
                    self._due[number] = self._next(mean)
            time.sleep(0.02)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do something to a server that may just be away, or refuse it."""
        import psycopg
        from django.db import Error, connection

        from django_workflow import exceptions

        try:
            action()
        except exceptions.WorkflowError as error:
            self.done[f"refused: {type(error).__name__}"] += 1
        except (psycopg.Error, Error):
            self.done["refused by the database"] += 1
            with suppress(Exception):
                connection.close()

    def _do_what_is_later(self, *, everything: bool = False) -> None:
        now = time.monotonic()
        due = [item for item in self._later if everything or item[0] <= now]
        self._later = [item for item in self._later if item not in due]
        for _, action in due:
            self._attempt(action)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something in a while."""
        self._later.append((time.monotonic() + seconds, action))

    # work

    def start(self) -> None:
        """Start runs, unless there are enough."""
        from django_workflow.definition.registry import registry

        if self.place.unsettled() < AT_ONCE:
            slug = self.dice.choice(FLOWS if self.engine is None else (*FLOWS, "soak_mixed", "soak_mixed"))
            registry.flow(slug).start_many(range(TOGETHER))
            self.done[f"runs of {slug}"] += TOGETHER

    # workers

    def kill(self) -> None:
        """`kill -9` a worker; another one takes its place."""
        self._kill(self.dice.randrange(WORKERS))
        self.done["workers killed"] += 1

    def _kill(self, number: int) -> None:
        worker = self.workers[number]
        # a foreign executor's processes outlive whoever has started them
        children = _children(worker.pid)
        self._frozen.discard(worker.pid)
        worker.kill()
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        self.workers[number] = self.place.worker(*ARGUMENTS)

    def freeze(self) -> None:
        """Stop a worker for longer than a lease."""
        worker = self.dice.choice(self.workers)
        if worker.is_alive() and worker.pid not in self._frozen:
            worker.popen.send_signal(signal.SIGSTOP)
            self._frozen.add(worker.pid)
            self.done["workers stopped for longer than a lease"] += 1
            self.later(LEASE * self.dice.uniform(1.2, 2.5), lambda: self._thaw(worker))

    def _thaw(self, worker: ProcessWorker) -> None:
        self._frozen.discard(worker.pid)
        if worker.is_alive():
            worker.popen.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Tell a worker to end; `replace_dead` starts another one."""
        self.dice.choice(self.workers).terminate()
        self.done["workers told to end"] += 1

    def kill_child(self) -> None:
        """`kill -9` a process that a worker has started for handlers."""
        children = _children(self.dice.choice(self.workers).pid)
        if children:
            with suppress(psutil.Error):
                self.dice.choice(children).kill()
                self.done["processes of handlers killed"] += 1

    def kill_engine(self) -> None:
        """`kill -9` a worker of the foreign executor's, where that is a cluster."""
        if self.engine is not None:
            self.engine.kill_one(self.dice)
            self.done["workers of Dask killed"] += 1

    def replace_dead(self) -> None:
        """Start a worker for each that has ended, as a supervisor does; one that ended by itself is a problem."""
        for number, worker in enumerate(self.workers):
            if not worker.is_alive():
                code = worker.popen.returncode
                # one that finds no server when it starts says so and ends; one that has begun to work never does
                if code not in EXPECTED and self.place.rows(HAS_BEGUN, [worker.pid, worker.created_at])[0][0]:
                    self.problems.append(f"a worker ended by itself with code {code}")
                self.workers[number] = self.place.worker(*ARGUMENTS)
                self.done["workers replaced"] += 1
        if self.engine is not None:
            self.done["workers of Dask replaced"] += self.engine.replace_dead()

    # the database

    def cut(self) -> None:
        """Cut one session, of whatever kind."""
        self._cut(self._one_session())

    def cut_all(self) -> None:
        """Cut all sessions."""
        self._cut(self.place.rows(SESSIONS))

    def _one_session(self) -> list[Any]:
        return self.dice.sample(sessions := self.place.rows(SESSIONS), min(1, len(sessions)))

    def _cut(self, sessions: list[Any]) -> None:
        for pid, query in sessions:
            self.place.rows("SELECT pg_terminate_backend(%s)", [pid])
            self.done[f"sessions cut: {kind(query)}"] += 1

    def cancel_statement(self) -> None:
        """Cancel what some session does."""
        for pid, _ in self._one_session():
            self.place.rows("SELECT pg_cancel_backend(%s)", [pid])
            self.done["statements cancelled"] += 1

    def restart(self) -> None:
        """Restart PostgreSQL as an administrator does."""
        self.place.cluster.restart("fast")
        self.done["restarts of PostgreSQL"] += 1

    def crash(self) -> None:
        """Restart PostgreSQL as after a crash."""
        self.place.cluster.restart("immediate")
        self.done["crashes of PostgreSQL"] += 1

    # operators

    def operate(self) -> None:
        """Let an operator do something to some run."""
        import django_workflow as workflow

        verb = self.dice.choice(["pause", "resume", "resume", "cancel", "retry", "skip_step", "complete_step"])
        if verb in ("skip_step", "complete_step"):
            for run_id, step in self.place.rows(STEPS_TO_TOUCH):
                if verb == "complete_step":
                    workflow.complete_step(run_id, step, VALUES.get(step, 1), by="soak")
                elif step in MAY_BE_SKIPPED:
                    workflow.skip_step(run_id, step, by="soak")
                else:
                    return
                self.done[f"operator: {verb}"] += 1
            return
        sql = RUNS_TO_RETRY if verb == "retry" else RUNS_TO_TOUCH
        for (run_id,) in self.place.rows(sql):
            getattr(workflow, verb)(run_id, by="soak")
            self.done[f"operator: {verb}"] += 1

    def pause_flow(self) -> None:
        """Pause a flow for a moment."""
        import django_workflow as workflow

        slug = self.dice.choice(FLOWS)
        workflow.pause_flow(slug, by="soak")
        self.done["operator: pause_flow"] += 1
        self.later(self.dice.uniform(0.2, 4), lambda: self._until_done(workflow.resume_flow, slug))

    def pause_queue(self) -> None:
        """Pause the queue for a moment."""
        import django_workflow as workflow

        workflow.pause_queue("default", by="soak")
        self.done["operator: pause_queue"] += 1
        self.later(self.dice.uniform(0.2, 3), lambda: self._until_done(workflow.resume_queue, "default"))

    def _until_done(self, verb: Callable[..., object], name: str) -> None:
        from django.db import Error

        try:
            verb(name, by="soak")
        except Error:
            self.later(0.5, lambda: self._until_done(verb, name))
            raise

    # looking

    def look(self, wrong: dict[str, str] = WRONG_AT_ANY_TIME) -> None:
        """Look for what must not be."""
        for what, sql in wrong.items():
            if found := self.place.rows(sql):
                self.problems.append(f"{what}: {len(found)}, as {found[:3]}")
        self.done["looks"] += 1

    def end(self) -> None:
        """Let everybody go on undisturbed, and see whether all comes to its end."""
        import django_workflow as workflow

        for worker in self.workers:
            self._thaw(worker)
        self._do_what_is_later(everything=True)

        def is_over() -> bool:
            self._do_what_is_later()
            self._attempt(self.replace_dead)
            for (run_id,) in self.place.rows(PAUSED):
                self._attempt(lambda run_id=run_id: workflow.resume(run_id, by="soak"))
            return self.place.unsettled() == 0

        if not _within(SETTLE, is_over):
            self.problems.append(f"{self.place.unsettled()} runs do not settle")
        if not _within(30, lambda: self.place.live_rows() == (0, 0, 0, 0)):
            self.problems.append(f"left open (tasks, step runs, runs, messages): {self.place.live_rows()}")
        self.look(WRONG_AT_THE_END)
        self._probe()
        self._stop()

    def _probe(self) -> None:
        """Start runs until every worker that lives has done something."""
        from django_workflow.definition.registry import registry

        pids = [worker.pid for worker in self.workers]
        before = dict(self.place.rows(WORKED, [pids]))

        def all_worked() -> bool:
            if self.place.unsettled() < 10:
                registry.flow("quick").start_many(range(40))
            now = dict(self.place.rows(WORKED, [pids]))
            return all(now.get(pid, 0) > before.get(pid, 0) for pid in pids)

        if not _within(PROBE, all_worked):
            now = dict(self.place.rows(WORKED, [pids]))
            idle = [pid for pid in pids if now.get(pid, 0) <= before.get(pid, 0)]
            self.problems.append(f"{len(idle)} of {WORKERS} workers live and do nothing")
            for pid in idle:
                os.kill(pid, signal.SIGABRT)  # with faulthandler on it says where its threads are

    def _stop(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            with suppress(Exception):
                worker.exit_code(45)
            if worker.popen.returncode != 0:
                self.problems.append(f"a worker that was told to end: {worker.popen.returncode}")

    def report(self, seed: int, minutes: float) -> str:
        """Return what was done and found."""
        lines = [f"soak: seed {seed}, {minutes:g} minutes"]
        lines += [f"  {count:6,} {what}" for what, count in sorted(self.done.items())]
        lines += [f"  {count:6,} {slug} {status} {error}" for slug, status, error, count in self.place.rows(STATUSES)]
        lines += [f"  {count:6,} attempts {outcome} {error}" for outcome, error, count in self.place.rows(ATTEMPTS)]
        for step, status, leased, attempt, told, count in self.place.rows(LEFT):
            lines.append(f"LEFT: {count} {step} {status}, {leased}, attempt {attempt}: {told}")
        lines += [f"WRONG: {problem}" for problem in dict.fromkeys(self.problems)] or ["nothing is wrong"]
        return "\n".join(lines)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def main() -> int:
    """Soak; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--dask", action="store_true", help="The foreign executor is a Dask cluster.")
    options = parser.parse_args()
    os.environ["PYTHONFAULTHANDLER"] = "1"
    with site() as place, ExitStack() as ends:
        os.environ |= {"DJANGO_SETTINGS_MODULE": SITE, "DATABASE_URL": place.url}
        engine = ends.enter_context(dask_crew()) if options.dask else None
        import django

        django.setup()
        soak = Soak(place, random.Random(options.seed), engine)
        soak.run(options.minutes * 60)
        soak.end()
        print(soak.report(options.seed, options.minutes))  # noqa: T201
        return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
