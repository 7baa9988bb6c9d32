"""What a worker has handed to executors of the site's own: how much they take, and what of it has begun."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import inf

from django_workflow.conf import conf
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks import external
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.statuses import LOST
from django_workflow.worker.dispatching.in_flight import InFlight
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners.executors import Runners

#: Seconds between two looks for what has begun.
LOOK_EVERY = 0.5
#: Seconds until a task is read again for which its executor has no room, where its queue has tasks of other kinds.
NO_ROOM_AGAIN = 5.0
#: Seconds after which a queue is read though its executors have no room: it may hold tasks of other kinds by now.
READ_ANYWAY_AFTER = 30.0


def steps_of(queue: str) -> Iterator[StepSpec]:
    """Yield the steps declared in this process that have a queue; those of flows that are invalid are left out."""
    for spec in registry.specs():
        yield from (step for step in spec.steps.values() if (step.queue or conf.DEFAULT_QUEUE) == queue)


class ExternalJobs:
    """The jobs in hand that executors of the site's own run."""

    def __init__(self, in_flight: InFlight, runners: Runners) -> None:
        self._in_flight = in_flight
        self._runners = runners
        #: For each queue, who takes its tasks, as far as is known; None is this worker itself.
        self._fed: dict[str, set[str | None]] = {}
        #: For each queue, when there was room last, in monotonic seconds.
        self._had_room_at: dict[str, float] = defaultdict(time.monotonic)
        self._look_at = 0.0
        self._is_used = False

    def room(self, queue: str, here: int) -> int:
        """Return how many tasks of a queue may be claimed; `here` is the room for what this worker runs itself."""
        fed = self._takers_of(queue) if conf.EXECUTORS else ()
        if not fed or None in fed:
            return here
        now, room = time.monotonic(), min(self._free(name) for name in fed if name is not None)
        if room or now - self._had_room_at[queue] > READ_ANYWAY_AFTER:
            self._had_room_at[queue] = now
            return room or here
        return 0

    def _takers_of(self, queue: str) -> set[str | None]:
        """Return who takes tasks of a queue: by what is declared in this process, and by what came from it."""
        if queue not in self._fed:
            self._fed[queue] = {self._runners.foreign(step) for step in steps_of(queue)}
        return self._fed[queue]

    def note(self, job: Job) -> str | None:
        """Remember where the tasks of a job's queue go, and return where this one does; None: it stays here."""
        if not conf.EXECUTORS:
            return None
        name = self._runners.foreign(job.task.step)
        self._is_used = self._is_used or name is not None
        self._takers_of(job.task.queue).add(name)
        return name

    def hand_over(self, jobs: Iterable[Job]) -> list[tuple[Job, float]]:
        """Hand over what there is room for; return the other jobs, each with the seconds until it is read again."""
        given: list[Job] = []
        refused: list[tuple[Job, float]] = []
        taken: Counter[str] = Counter()
        for job in jobs:
            name = self._name(job)
            if taken[name] < self._free(name):
                taken[name] += 1
                given.append(job)
            else:
                refused.append((job, NO_ROOM_AGAIN if len(self._takers_of(job.task.queue)) > 1 else 0.0))
        external.hand_over([job.task for job in given if self._runners.is_fenced(self._name(job))])
        for job in given:
            self._runners.submit(job)
        return refused

    def due(self) -> float:
        """Return when to look for begins, in monotonic seconds."""
        return self._look_at if self._is_used and self._in_flight.elsewhere() else inf

    def learn(self) -> None:
        """Look which of the jobs have begun, where it is time; from then on their timeouts run."""
        if not self._is_used:
            return
        jobs, now = self._in_flight.elsewhere(), time.monotonic()
        if jobs and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._learn(jobs)

    def judged(self, job: Job, result: Outcome | Settled) -> Outcome | Settled:
        """Return what became of a job; a loss counts where its handler has begun since the last look for begins."""
        if self._is_used and isinstance(result, Outcome) and result.kind == LOST and result.begun_at is None:
            self._learn([job])
            if job.begun_at is not None:
                return result.as_begun(job.begun_at)
        return result

    def withdraw(self, is_meant: Callable[[Job], bool]) -> list[Job]:
        """Take back those of the jobs meant that have not begun; none of them begins any more."""
        if not self._is_used:
            return []
        jobs = [job for job in self._in_flight.elsewhere() if is_meant(job)]
        fences = external.withdraw([job.task for job in jobs])
        withdrawn = [job for job in jobs if job.task.fence in fences]
        for job in withdrawn:
            job.is_reported = True
            job.interrupt()
        if len(withdrawn) < len(jobs):
            self._learn([job for job in jobs if job.task.fence not in fences])
        return withdrawn

    def _learn(self, jobs: list[Job]) -> None:
        begun = external.read_begun([job.task for job in jobs])
        now = time.monotonic()
        for job in jobs:
            seconds = begun.get(job.task.fence)
            if seconds is not None and job.begun_at is None:
                job.begun_at, job.task.is_begun = now - seconds, True

    def _name(self, job: Job) -> str:
        name = self._runners.foreign(job.task.step)
        assert name is not None
        return name

    def _free(self, name: str) -> int:
        return max(0, self._runners.slots(name) - self._in_flight.count_elsewhere(name))
