"""The loop of a worker process: settle what has ended, claim what there is room for, hand it out, sleep.

One loop in one thread. Where there is something to claim, a settle is made beside the loop (`settler`); while it is in
flight, outcomes collect: they are the next batch, without a timer. Verbs are blocking functions on Django connections,
so the loop is a plain one; coroutine handlers have an event loop of their own (`executors.EventLoopRunner`).
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
from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.due import agenda
from django_workflow.engine.reporting import failure_log
from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks import leases, outcome
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim, log_fields
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.engine.verbs import pause
from django_workflow.notifications import notifications
from django_workflow.statuses import SUCCEEDED
from django_workflow.text import in_one_line
from django_workflow.worker.dispatching.external_jobs import ExternalJobs
from django_workflow.worker.dispatching.in_flight import PATIENCE, InFlight
from django_workflow.worker.dispatching.lost_claims import LostClaims
from django_workflow.worker.dispatching.queue_reader import QueueReader
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
#: Seconds that a claim waits for a settle, which flushes as well, before it is flushed by itself.
FLUSH_AFTER = 0.001
#: Why a task is handed back that waited too long for a slot.
NOT_IN_TIME = "it did not begin in time"
#: Least time between two notifications of the same queue by this worker.
NOTIFY_EVERY = 0.05
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
        self._readers = {name: QueueReader(name) for name in options.queues}
        self._next_poll = 0.0
        self._controlled: set[UUID | str] = set()
        self._ended_elsewhere: deque[tuple[ClaimedTask, str]] = deque()
        self._notified_at: dict[str, float] = {}
        self._to_notify: list[tuple[str, str]] = []
        #: When what was claimed is flushed, unless a settle has done so.
        self._flush_at: float | None = None
        self._stop_at: float | None = None
        #: Claims whose tasks are not in hand yet, and those of earlier rounds whose answer was lost.
        self._opened: list[OpenClaim] = []
        self._lost_claims = LostClaims(options.lease.total_seconds())

    # what other threads call

    def _report(self, job: Job, result: Outcome | Settled) -> None:
        self._finished.append((job, result))
        if not self.wake.is_set():
            self.wake.set()

    def hear(self, queue_name: str) -> None:
        """A notification says that a queue has messages."""
        if queue_name in self._readers:
            self._readers[queue_name].may_hold_more = True
            self.wake.set()

    def hear_control(self, paused_or_ended: UUID | str) -> None:
        """A notification says that a run was cancelled or paused, or a queue paused."""
        self._controlled.add(paused_or_ended)
        self.wake.set()

    def hear_ended(self, ended: Iterable[tuple[ClaimedTask, str]]) -> None:
        """A heartbeat learnt that leases are over, and how."""
        self._ended_elsewhere.extend(ended)
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
        if self._controlled:
            self._obey()
        self._stop_what_was_ended()
        if self.is_stopping:
            self._release_unbegun(lambda job: True, "the worker is stopping")
        else:
            now = time.monotonic()
            late = now - PATIENCE
            self._release_unbegun(lambda job: job.executor is None and job.claimed_at <= late, NOT_IN_TIME)
        self._start_suspects()
        self._mark_begun()
        self._flush_claims()
        if not self.is_stopping:
            self._claim()  # nearly last: what this thread does after it keeps handlers from their first line
        self._notify()
        failure_log.folding.tell_due()

    def _notify(self) -> None:
        """Tell others what happened, after this round's own work: a notification is a hint."""
        messages, self._to_notify = self._to_notify, []
        db.notify(messages)

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
                self._close_claims()  # the same outcomes are settled again
        if self._settler.in_flight is not None:
            return
        batch = self._unsettled.next_batch()
        if batch is None:
            return
        batch.taker = self._taker(batch) if batch.is_new else None
        if self._has_claims():
            self._settler.settle_beside(batch)
        else:
            self._settler.settle(batch)
            self._end_batch(batch)

    def _end_batch(self, batch: Batch) -> None:
        """Do what follows from a settle."""
        self._opened += batch.opened
        try:
            self._unsettled.end(batch)
        except Unsettleable as error:
            self._leave_to_lease(error.outcome)
            raise
        self.outage.end(SETTLER)
        if batch.settled.done and batch.begun_at >= self.tally.last_claim_at:
            self._flush_at = None  # it waited for the disk, which has all that was committed before as well
        if not batch.is_new:
            self.wake.set()  # others may be due at once
        self._apply(batch.settled)
        self._close_claims(batch.settled.taken)

    def _taker(self, batch: Batch) -> Taker | None:
        """Take successors at once where this worker has free slots and found the queues empty."""
        slots = self._slots()
        queues = frozenset(reader.name for reader in self._readers.values() if not reader.may_hold_more)
        if self.is_stopping or slots <= 0 or not queues:
            return None
        lease = self.options.lease.total_seconds()
        return Taker(self.worker_id, lease, queues, slots, self._takes, opened=batch.opened)

    def _slots(self) -> int:
        """Return how many slots are free, and not kept for what the batch in flight may take."""
        return self.options.concurrency - self.in_flight.count() - self._settler.reserved()

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
            self._count(item, superseded=item.task.id in result.superseded)
            if item.task.fence in result.may_begin:
                self.in_flight.suspect(item.task)
                self.wake.set()
            else:
                self.in_flight.forget(item.task)
        self._accept(result.taken)
        for delay in result.delays:
            self._next_poll = min(self._next_poll, time.monotonic() + delay)
        for name in result.queues:
            if name in self._readers:
                self._readers[name].may_hold_more = True
        messages = notifications(
            queues=[name for name in result.queues if name not in self._readers],
            runs=result.runs,
            cancelled=result.cancelled,
        )
        self._to_notify += messages

    def _count(self, item: Outcome, *, superseded: bool) -> None:
        self.tally.settled += 1
        if item.kind == SUCCEEDED and not superseded:
            self.tally.succeeded += 1
        elif item.error is not None:
            self.tally.failed += 1
            if superseded:
                told = (item.attempt, item.kind, in_one_line(item.error.error_class))
                logger.info("attempt %d had ended before it %s: %s", *told, extra=log_fields(item.task))

    # claiming

    def _room(self, reader: QueueReader) -> int:
        """Return how many tasks of a queue may be claimed now."""
        room = self.in_flight.room(self.options.prefetch, self._unsettled.untried) - self._settler.reserved()
        return self._external.room(reader.name, max(0, room))

    def _has_claims(self) -> bool:
        """Say whether a queue is to be read that may hold tasks, and there is room for them."""
        return not self.is_stopping and any(
            reader.may_hold_more and self._room(reader) > 0 for reader in self._readers.values()
        )

    def _claim(self) -> None:
        now = time.monotonic()
        if now >= self._next_poll:
            self._next_poll = now + conf.POLL_INTERVAL.total_seconds()
            for reader in self._readers.values():
                reader.may_hold_more = True
        for reader in self._readers.values():
            limit = self._room(reader)
            if limit <= 0 or reader.due_at() > now:
                continue
            lease = self.options.lease.total_seconds()
            slots = max(0, self._slots())
            try:
                tasks = reader.claim(limit, slots=slots, lease=lease, worker_id=self.worker_id, opened=self._opened)
            except Exception as error:
                if db.is_of_connection(error):
                    raise
                # it is read again at the next poll; the other queues go on
                logger.warning("queue %s cannot be read: %s", reader.name, db.for_logs(error))
                self._close_claims()
                continue
            self.tally.last_claim_at = time.monotonic()
            self.tally.claimed += len(tasks)
            if tasks:
                self._flush_at = self._flush_at or self.tally.last_claim_at + FLUSH_AFTER
            if reader.may_hold_more:
                self._share(reader.name)
            self._accept(tasks)
            self._opened.clear()

    def _share(self, name: str) -> None:
        """Tell other workers of a queue that holds more than this one can take."""
        now = time.monotonic()
        if now - self._notified_at.get(name, 0.0) > NOTIFY_EVERY:
            self._notified_at[name] = now
            self._to_notify += notifications(queues=[name])

    def _flush_claims(self) -> None:
        """Let the disk have what was claimed: handlers do not wait for that, and quick ones end in a settle first."""
        if self._flush_at is not None and self._flush_at <= time.monotonic():
            db.flush()
            self._flush_at = None

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

    def _close_claims(self, taken: Iterable[ClaimedTask] = ()) -> None:
        """Note that these tasks are in hand; what else this round's claims took has to be looked for."""
        if self._opened:
            leases = {task.lease_id for task in taken}
            self._lost_claims.add(item for item in self._opened if item.lease_id not in leases)
            self._opened.clear()

    def _give_back_forgotten(self) -> None:
        """Hand back, uncounted, what carries the lease of a claim whose answer was lost: it never began."""
        if not self._lost_claims.is_due():
            return
        for task in self._lost_claims.look():
            job = self.in_flight.jobs.get(task.id)
            if job is None or job.task.lease_id != task.lease_id:
                self._unsettled.add(outcome.released(task, "the worker did not hear that it had claimed it"))
                self._next_poll = 0.0

    # jobs in hand

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
        """Look at the tasks of runs and queues that were paused, of runs that were cancelled."""
        controlled, self._controlled = self._controlled, set()
        jobs = self.in_flight.jobs.values()
        tasks = [job.task for job in jobs if job.task.run_id in controlled and not job.task.is_lost]
        try:
            pulse = leases.heartbeat(tasks, self.options.lease.total_seconds())
        except Exception:
            self._controlled |= controlled
            raise
        self._ended_elsewhere.extend((task, pulse.ended[task.id]) for task in tasks if task.id in pulse.ended)
        self._stop_what_was_ended()
        self._release_unbegun(lambda job: not controlled.isdisjoint((job.task.run_id, job.task.queue)), "it was paused")

    def _stop_what_was_ended(self) -> None:
        """Stop handlers whose attempt is over; what they still return is recorded as late."""
        while self._ended_elsewhere:
            task, status = self._ended_elsewhere.popleft()
            if self.in_flight.end_elsewhere(task):
                logger.info("attempt ended elsewhere: %s", status, extra=log_fields(task))

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
        due = [self._next_poll, self._lost_claims.due_at()]
        if self.options.drain:
            due.append(now + DRAIN_POLL)
        if self._unsettled and self._settler.in_flight is None:
            due.append(self._unsettled.due_at())
        if self._flush_at is not None:
            due.append(self._flush_at)
        if self._stop_at is not None:
            due.append(self._stop_at)
        due += [*self.in_flight.due(now), self._external.due()]
        if not self.is_stopping:
            due += [reader.due_at() for reader in self._readers.values() if self._room(reader) > 0]
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
        return self._is_idle() and not self._finished and not self._lost_claims.has_unseen()

    def _is_idle(self) -> bool:
        """Say whether nothing is in hand and nothing is to be settled."""
        return not self.in_flight.jobs and not self._unsettled and self._settler.in_flight is None

    def _is_drained(self) -> bool:
        """Say whether nothing is in hand and the queues hold nothing, not even for later; paused ones do not count."""
        if not self._is_idle() or self._finished:
            return False
        if any(reader.due_at() < inf for reader in self._readers.values()):
            return False
        self._next_poll = min(self._next_poll, time.monotonic() + DRAIN_POLL)
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
        self._close_claims()
        self._next_poll = 0.0
        self._sleep(RECOVER_AFTER)
