"""The loop of a worker process: settle what has ended, claim what there is room for, hand it out, sleep.

One loop in one thread. Where there is something to claim, a settle is made beside the loop (`settler`); while it is in
flight, outcomes collect: they are the next batch, without a timer. Verbs are blocking functions on Django connections,
so the loop is a plain one; coroutine handlers have an event loop of their own (`runners.event_loop`).
The module is longer than others, for all duties of a round stand in it, in their order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from uuid import UUID

from django_workflow import db, queue
from django_workflow.definition.containment import leave_to_operator
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.due import agenda
from django_workflow.engine.reporting import failure_log
from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks import leases, outcome
from django_workflow.engine.tasks.claimed import ClaimedTask, log_fields
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.engine.verbs import pause
from django_workflow.worker.dispatching.endings import Endings
from django_workflow.worker.dispatching.external_jobs import ExternalJobs
from django_workflow.worker.dispatching.in_flight import PATIENCE, InFlight
from django_workflow.worker.dispatching.intake import Intake
from django_workflow.worker.dispatching.notices import Notices
from django_workflow.worker.dispatching.room import Room
from django_workflow.worker.dispatching.settler import SETTLER, Settler
from django_workflow.worker.dispatching.unsettled import Batch, Unsettleable, UnsettledOutcomes
from django_workflow.worker.jobs import missing_code
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.options import Tally, WorkerOptions
from django_workflow.worker.outage import Outage
from django_workflow.worker.runners import executors
from django_workflow.worker.runners.executors import Runners

logger = logging.getLogger("django_workflow.worker")

#: How often a draining worker looks for what is still to come.
DRAIN_POLL = 0.1
#: Why a task is handed back that waited too long for a slot.
NOT_IN_TIME = "it did not begin in time"
#: How often a worker whose grace time is over tries to hand back what it has.
LAST_TRIES = 5
#: Seconds for which each of these tries waits for the settle that is in flight.
LAST_WAIT = 1.0
#: What the loop is called among the threads that use the database.
DISPATCHER = "dispatcher"
#: Seconds until the next round after one that failed.
RECOVER_AFTER = 0.2


class Dispatcher:
    """Runs tasks of some queues until told to stop."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        #: The row of this process, once it works.
        self.worker_id: int | None = None
        self.tally = Tally()
        #: The threads of this worker that cannot reach the database now.
        self.outage = Outage()
        self.wake = threading.Event()
        self.is_stopping = False
        #: The number of the round that is going on; None while the loop sleeps.
        self.round: int | None = None
        self._rounds = 0
        self.in_flight = InFlight(options.concurrency)
        self._finished: deque[tuple[Job, Outcome | Settled]] = deque()
        self._unsettled = UnsettledOutcomes()
        self._settler = Settler(self.wake.set)
        self._runners = Runners(options.concurrency, options.executor, self._report)
        self._external = ExternalJobs(self.in_flight, self._runners)
        self._notices = Notices()
        room = Room(options, self.in_flight, self._external, self._unsettled, self._settler)
        self._intake = Intake(options, self.tally, room, self._notices, self._accept)
        self._endings = Endings(self.in_flight, options.lease.total_seconds())
        self._stop_at: float | None = None

    # what other threads call

    def _report(self, job: Job, result: Outcome | Settled) -> None:
        self._finished.append((job, result))
        if not self.wake.is_set():
            self.wake.set()

    def hear(self, queue_name: str) -> None:
        """A notification says that a queue has messages."""
        if queue_name in self._intake.readers:
            self._intake.readers[queue_name].may_hold_more = True
            self.wake.set()

    def hear_control(self, paused_or_ended: UUID | str) -> None:
        """A notification says that a run was cancelled or paused, or a queue paused."""
        self._endings.hear_control(paused_or_ended)
        self.wake.set()

    def hear_ended(self, ended: Iterable[tuple[ClaimedTask, str]]) -> None:
        """A heartbeat learnt that leases are over, and how."""
        self._endings.hear(ended)
        self.wake.set()

    def stop(self) -> None:
        """Stop claiming, let running handlers finish within the grace time, hand the rest back."""
        self.is_stopping = True
        self.wake.set()

    def stop_now(self) -> None:
        """End the grace time."""
        self._stop_at = time.monotonic()
        self.wake.set()

    def positions(self) -> tuple[tuple[str, int | None], ...]:
        """Return the numbers of the round and of the batch that are going on; one that never changes is stuck."""
        return (DISPATCHER, self.round), (SETTLER, self._settler.number)

    def is_loop_lagging(self, seconds: float) -> bool:
        """Say whether coroutine handlers block their event loop."""
        return self._runners.is_lagging(seconds)

    # the loop

    def run(self) -> None:
        """Work until stopped, or until the queues are empty with `drain`."""
        db.serve_worker(by_index=True)
        try:
            while True:
                self._rounds += 1
                self.round = self._rounds
                try:
                    if self._is_over():
                        break
                    if db.connection().in_atomic_block:
                        logger.error("a transaction was left open on the worker's connection; it is undone")
                        db.close()
                    self.cycle()
                    self.outage.end(DISPATCHER)
                except BaseException as error:
                    # the database is away or refused a whole batch: the leases hold, nothing is lost. Nor does code
                    # of the site's that wants to end the process, wherever it is called, end the work on all others
                    leave_to_operator(error)
                    self._recover(error)
                    continue
                self._sleep(self._nap())
        finally:
            self._settler.stop()
            self._runners.stop()
            self._runners.join(0.5)
            db.close()

    def cycle(self) -> None:
        """Settle, claim, hand out: one round of the loop."""
        self._collect()
        self._give_back_forgotten()
        self._settle()
        self._obey()
        if self.is_stopping:
            self._release_unbegun(lambda job: True, "the worker is stopping")
        else:
            now = time.monotonic()
            late = now - PATIENCE
            self._release_unbegun(lambda job: job.executor is None and job.claimed_at <= late, NOT_IN_TIME)
        self._start_suspects()
        self._mark_begun()
        self._intake.flush()
        if not self.is_stopping:
            # nearly last: what this thread does after it keeps handlers from their first line
            self._intake.claim(self.worker_id)
        self._notices.send()
        failure_log.folding.tell_due()

    def _collect(self) -> None:
        """Take what runners reported; a job that timed out meanwhile was reported before."""
        while self._finished:
            job, result = self._finished[0]
            result = self._external.judged(job, result)
            self._finished.popleft()  # not before: the database may be away
            self.in_flight.end(job)
            if isinstance(result, Settled):
                self._apply(result)
            else:
                self._unsettled.add(result)
        now = time.monotonic()
        for job in self.in_flight.running():
            if job.deadline is not None and job.deadline <= now and not job.is_reported:
                self._time_out(job)

    def _time_out(self, job: Job) -> None:
        """End an attempt at its deadline; its handler is stopped, and a result that still comes is late."""
        assert job.timeout is not None
        job.is_reported = True
        self._unsettled.add(outcome.timed_out(job.task, job.timeout, begun_at=job.begun_at))
        job.interrupt()

    def _settle(self) -> None:
        """Settle what has ended: beside the rest of the loop where there is something to claim meanwhile."""
        ended = self._settler.take_ended()
        if ended is not None:
            is_cut = ended.error is not None and self.outage.meet(SETTLER, ended.error)
            try:
                self._end_batch(ended)
            except Exception:
                if not is_cut:
                    raise
                self._intake.close()  # the same outcomes are settled again
        if self._settler.in_flight is not None:
            return
        batch = self._unsettled.next_batch()
        if batch is None:
            return
        if batch.is_new and not self.is_stopping:
            batch.taker = self._intake.taker(self.worker_id, batch, self._takes)
        if not self.is_stopping and self._intake.has_claims():
            self._settler.settle_beside(batch)
        else:
            self._settler.settle(batch)
            self._end_batch(batch)

    def _end_batch(self, batch: Batch) -> None:
        """Do what follows from a settle."""
        self._intake.open(batch.opened)
        try:
            self._unsettled.end(batch)
        except Unsettleable as error:
            self._leave_to_lease(error.outcome)
            raise
        self.outage.end(SETTLER)
        self._intake.note_settle(batch)
        if not batch.is_new:
            self.wake.set()  # others may be due at once
        self._apply(batch.settled)
        self._intake.close(batch.settled.taken)

    def _takes(self, spec: FlowSpec, step: StepSpec) -> bool:
        """Say whether a successor may be taken at once; executors of the site's own take what a queue gives them."""
        return self._runners.foreign(step) is None and self._knows(spec, step)

    @staticmethod
    def _knows(spec: FlowSpec, step: StepSpec) -> bool:
        """Say whether this process has the code of a step, and of what follows it."""
        return registry.knows(step.handler, spec.path_callables[step.name]) and executors.is_known(step)

    def _leave_to_lease(self, item: Outcome) -> None:
        """Forget an outcome that cannot be settled, not even as a failure: it must not end the work on all others."""
        self.in_flight.forget(item.task)
        logger.error("an outcome cannot be settled; its task runs again after its lease", extra=log_fields(item.task))

    def _apply(self, result: Settled) -> None:
        """Forget settled jobs, begin lost ones that may, and tell others."""
        for item in result.done:
            self.tally.count(item, superseded=item.task.id in result.superseded)
            if item.task.fence in result.may_begin:
                self.in_flight.suspect(item.task)
                self.wake.set()
            else:
                self.in_flight.forget(item.task)
        self._accept(result.taken)
        for delay in result.delays:
            self._intake.next_poll = min(self._intake.next_poll, time.monotonic() + delay)
        readers = self._intake.readers
        for name in result.queues & readers.keys():
            readers[name].may_hold_more = True
        self._notices.add(queues=result.queues - readers.keys(), runs=result.runs, cancelled=result.cancelled)

    # jobs in hand

    def _accept(self, tasks: Iterable[ClaimedTask]) -> None:
        """Hand claimed tasks to their runners; lost and unknown ones go to settle first."""
        foreign: list[Job] = []
        for task in tasks:
            step = task.step
            handler = registry.handler(step.handler)
            if handler is None or not self._knows(task.spec, step):
                self._unsettled.add(missing_code.judge(task))
                self.wake.set()
                continue
            self.in_flight.let_go_of(task.id)
            job = self.in_flight.add(task, handler)
            executor = self._external.note(job)
            if task.is_lost:
                self._unsettled.add(outcome.lost(task, self.options.lease.total_seconds()))
                self.wake.set()
            elif executor is not None:
                foreign.append(job)
            elif task.lost_count:
                self.in_flight.suspects.append(job)
                self.wake.set()
            else:
                self._runners.submit(job)
        if foreign:
            self._hand_over(foreign)

    def _hand_over(self, jobs: list[Job]) -> None:
        """Hand jobs to executors of the site's own; what these have no room for goes back."""
        for job, delay in self._external.hand_over(jobs):
            job.withdraw()
            job.is_reported = True
            self._unsettled.add(outcome.released(job.task, "its executor has no room", delay=delay))
            self.wake.set()

    def _give_back_forgotten(self) -> None:
        """Hand back, uncounted, what carries the lease of a claim whose answer was lost: it never began."""
        if not self._intake.lost.is_due():
            return
        for task in self._intake.lost.look():
            job = self.in_flight.jobs.get(task.id)
            if job is None or job.task.lease_id != task.lease_id:
                self._unsettled.add(outcome.released(task, "the worker did not hear that it had claimed it"))
                self._intake.next_poll = 0.0

    def _start_suspects(self) -> None:
        """Begin tasks that were lost before, recorded first, so that they cannot kill for ever."""
        if not self.in_flight.suspects:
            return
        chosen = self.in_flight.choose_suspects()
        here = [job for job in chosen if self._external.note(job) is None]
        try:
            begun = leases.begin([job.task for job in here])
            self._hand_over([job for job in chosen if job not in here])
        except Exception:
            self.in_flight.suspects.extendleft(reversed(chosen))
            raise
        for job in here:
            if job.task.id in begun:
                self._runners.submit(job)
            else:
                # somebody holds its row, or its lease is over: the next round, a heartbeat or the release tells
                self.in_flight.suspects.append(job)

    def _mark_begun(self) -> None:
        """Record the begin of prefetched tasks that run for a while, so that losing them counts."""
        self._external.learn()
        unmarked = self.in_flight.unmarked()
        leases.begin(unmarked)
        for task in unmarked:
            task.is_begun = True

    def _release_unbegun(self, is_meant: Callable[[Job], bool], reason: str) -> None:
        """Hand back what waits for a slot."""
        for job in (*self.in_flight.withdraw_waiting(is_meant), *self._external.withdraw(is_meant)):
            self._unsettled.add(outcome.released(job.task, reason))
            self.wake.set()

    def _obey(self) -> None:
        """Stop what was ended by others, and hand back what was paused and has not begun."""
        paused = self._endings.look()
        self._endings.stop_handlers()
        if paused:
            self._release_unbegun(lambda job: not paused.isdisjoint((job.task.run_id, job.task.queue)), "it was paused")

    # sleeping and stopping

    def _sleep(self, seconds: float) -> None:
        self.round = None
        self.wake.wait(seconds)
        self.wake.clear()

    def _nap(self) -> float:
        """Seconds until something is due by itself."""
        if self.wake.is_set() or (self.is_stopping and self._is_idle()):
            return 0.0
        now = time.monotonic()
        due = [self._intake.due_at()]
        if self.options.drain:
            due.append(now + DRAIN_POLL)
        if self._unsettled and self._settler.in_flight is None:
            due.append(self._unsettled.due_at())
        if self._stop_at is not None:
            due.append(self._stop_at)
        due += [*self.in_flight.due(now), self._external.due()]
        if not self.is_stopping:
            due += self._intake.read_at()
        return max(0.0, min(due) - now)

    def _is_over(self) -> bool:
        if self.options.drain and not self.is_stopping and self._is_drained():
            self.stop()
        if not self.is_stopping:
            return False
        now = time.monotonic()
        if self._stop_at is None:
            self._stop_at = now + self.options.grace.total_seconds()
        if now >= self._stop_at:
            self._give_up()
            return True
        return self._is_idle() and not self._finished and not self._intake.lost.has_unseen()

    def _is_idle(self) -> bool:
        """Say whether nothing is in hand and nothing is to be settled."""
        return not self.in_flight.jobs and not self._unsettled and self._settler.in_flight is None

    def _is_drained(self) -> bool:
        """Say whether nothing is in hand and the queues hold nothing, not even for later; paused ones do not count."""
        if not self._is_idle() or self._finished:
            return False
        if any(reader.due_at() < inf for reader in self._intake.readers.values()):
            return False
        self._intake.next_poll = min(self._intake.next_poll, time.monotonic() + DRAIN_POLL)
        paused = pause.paused_queues()
        queues = [name for name in queue.existing() if name in self.options.queues and name not in paused]
        # in the order in which they turn into each other: what becomes due meanwhile is seen as what it has become
        if agenda.has_delayed_arrivals(queues) or agenda.has_delayed_tasks(queues):
            return False
        return not any(queue.depth(name)[1] for name in queues)

    def _give_up(self) -> None:
        """The grace time is over: hand back what still runs; what cannot be handed back is left to its lease."""
        for job in (*self.in_flight.running(), *self.in_flight.elsewhere()):
            if not job.is_reported:
                job.is_reported = True
                job.interrupt()
                self._unsettled.add(
                    outcome.released(job.task, "the worker stopped while it ran", begun_at=job.begun_at)
                )
        for _ in range(LAST_TRIES):
            self._settler.wait(LAST_WAIT)
            self._unsettled.hurry()
            try:
                self._collect()
                self._settle()
            except Exception as error:
                logger.warning("what was left at the end could not be handed back: %s", error)
                db.close()
            if not self._unsettled and not self._finished:
                return
        if self._unsettled:
            logger.error("could not hand back %d tasks; they run again after their lease", len(self._unsettled))

    def _recover(self, error: BaseException) -> None:
        if self.outage.meet(DISPATCHER, error):
            pass
        elif db.is_retryable(error):
            logger.warning("a round of the worker is tried again: %s", error)
        else:
            logger.error("a round of the worker failed; it goes on", exc_info=error)
        db.close()
        self._intake.close()
        self._intake.next_poll = 0.0
        self._sleep(RECOVER_AFTER)
