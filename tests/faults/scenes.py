"""What a worker, its keeper, its heartbeats and its log writer do, from a state that is made until all of it is done.

Each scene is played again for each statement that goes wrong: what it has to come to is the same.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from django.contrib.auth.models import Group
from django.db import connections

from django_workflow import Flow, Otherwise, Retry, Skip, To, When, db, queue, testing
from django_workflow.definition.registry import registry
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.engine.verbs import cancel
from django_workflow.models import Attempt, Event, FlowDefinition, Run, StepRun, Task, TaskLog
from django_workflow.runs import handle
from django_workflow.worker import registration
from django_workflow.worker.dispatching.dispatcher import Dispatcher
from django_workflow.worker.logs.capture import LogLine
from django_workflow.worker.logs.writer import LogWriter
from django_workflow.worker.loops.heartbeats import Heartbeats
from django_workflow.worker.loops.keeper import Keeper
from django_workflow.worker.options import WorkerOptions
from tests.waiting import eventually

HOUR = timedelta(hours=1)
AGO = datetime(2020, 1, 1, tzinfo=UTC)
#: Longer than any scene takes: a lease that ends is ended by the scene.
LEASE = timedelta(minutes=5)
ONCE = Retry(max_attempts=1)


@dataclass
class Story:
    """What is to come of a scene.

    runs: ids and the statuses they end in. calls: how often each handler was called, by run, step, index and iteration.
    failures: attempts that are counted.
    """

    runs: dict[Any, str] = field(default_factory=dict)
    calls: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    failures: int = 0

    def expect(self, *handles: Any, status: str = "succeeded") -> None:
        """Wait for runs to come to a status."""
        self.runs.update({handle.id: status for handle in handles})

    def called(self, ctx: Any) -> None:
        """Count a call of a handler."""
        self.calls[ctx.run_id, ctx.step, ctx.index, ctx.iteration] += 1

    def check(self) -> None:
        """Compare what came of it with what should, and counters with recounts."""
        rows = Run.objects.filter(id__in=self.runs).values_list("id", "status", "flow__slug", "error")
        assert [row for row in rows if row[1] != self.runs[row[0]]] == []
        assert not {key: count for key, count in self.calls.items() if count > 1}, "a handler was called again"
        assert Attempt.objects.filter(run_id__in=self.runs, is_counted=True).count() == self.failures
        assert sum(Task.objects.filter(run_id__in=self.runs).values_list("failure_count", flat=True)) == self.failures
        assert db.rows(MISCOUNTED, [list(self.runs)]) == []
        assert not Task.objects.filter(run_id__in=self.runs).unsettled().exists()
        assert not StepRun.objects.filter(run_id__in=self.runs).unsettled().exists()
        assert queue.depth("default")[1] == 0


MISCOUNTED = """
    SELECT r.id, 'open_steps' FROM django_workflow_run r
    WHERE r.id = ANY(%s::uuid[]) AND r.open_steps <> (
        SELECT count(*) FROM django_workflow_steprun s WHERE s.run_id = r.id AND s.status = 'running')
    UNION ALL
    SELECT s.run_id, s.step FROM django_workflow_steprun s JOIN django_workflow_run r ON r.id = s.run_id
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE t.status IN ('queued', 'held', 'running', 'suspended')) AS open,
               count(*) AS every, count(*) FILTER (WHERE t.status = 'failed') AS failed
        FROM django_workflow_task t WHERE t.step_run_id = s.id) c
    WHERE s.ended_at >= r.created_at AND r.id IN (SELECT id FROM django_workflow_run WHERE status = 'succeeded')
      AND s.status = 'succeeded' AND (s.open_tasks, s.task_count, s.failed_count) <> (c.open, c.every, c.failed)
"""


class Work(Dispatcher):
    """A dispatcher in a thread of its own, without whatever else a worker has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(WorkerOptions(lease=LEASE, **options))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker-dispatcher")

    def cycle(self) -> None:
        """Do a round; what is in nobody's hand has a lease that ends."""
        if self._is_idle() and not self._finished and not self._intake.lost.has_unseen():
            db.on_own_connection(expire_leases)
        super().cycle()

    def _work(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30.0)
        if self._thread.is_alive():
            self.stop()
            self.stop_now()
            raise AssertionError("the dispatcher does not come to an end")
        if self._error is not None:
            raise self._error


def expire_leases() -> None:
    """Let what is hidden appear."""
    queue.advance("default", HOUR)


@contextmanager
def work(unique: Callable[..., str]) -> Iterator[Story]:
    """A worker claims, begins and settles: all kinds of steps, a task that was lost before, an atomic step."""
    story, name = Story(failures=1), unique("effect")
    story.expect(lost_before(unique, story))
    story.expect(of_steps(unique, story).start([1, 2, 3]), loop(unique, story).start(1))
    story.expect(atomic(unique, name).start())
    yield story
    with Work(concurrency=4, drain=True):
        pass
    story.check()
    assert Group.objects.filter(name=name).count() == 1


def of_steps(unique: Callable[..., str], story: Story) -> Flow:
    """A flow with dependencies, a map with few places, a skip, a failure that is tried again, a condition."""
    flow = Flow(unique("steps"))
    tries: list[int] = []

    @flow.step(retry=ONCE)
    def first(input, ctx):
        story.called(ctx)
        ctx.emit("happened", {"what": 1})
        return input

    @flow.map(over="first", max_parallel=2, retry=ONCE)
    def each(item, ctx):
        story.called(ctx)
        return item

    @flow.step(retry=ONCE)
    def nothing(first, ctx):
        story.called(ctx)
        return Skip("nothing to do")

    @flow.step(retry=Retry(max_attempts=2, base=timedelta(milliseconds=1), jitter=False))
    def again(first):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return len(tries)

    @flow.step(when="outputs.first == 0")
    def never(first):
        raise AssertionError

    @flow.step(retry=ONCE)
    def last(each, again, nothing, ctx):
        story.called(ctx)
        time.sleep(0.03)  # long enough for its begin to be recorded
        return each

    return flow


def loop(unique: Callable[..., str], story: Story) -> Flow:
    """A flow that goes round twice, with variables, and joins."""
    flow = Flow(unique("loop"), entry=["begin"], vars={"count": 0})

    def call(ctx):
        story.called(ctx)

    flow.step(name="begin", next=["left", "right"], retry=ONCE)(call)
    flow.step(name="left", next=To("meet", publish={"count": "vars.count + 1"}), retry=ONCE)(call)
    flow.step(name="right", next="meet", retry=ONCE)(call)
    flow.step(name="meet", join="all", next=[When("iteration < 2", to="begin"), Otherwise("end")], retry=ONCE)(call)
    flow.step(name="end", retry=ONCE)(call)
    return flow


def atomic(unique: Callable[..., str], name: str) -> Flow:
    """A flow whose step commits with its end; it may be called again, its effect may not be there twice."""
    flow = Flow(unique("atomic"))
    flow.step(name="book", atomic=True, retry=ONCE)(lambda: Group.objects.create(name=name).pk)
    return flow


def lost_before(unique: Callable[..., str], story: Story) -> Any:
    """Start a run whose task was taken by a worker that vanished before it began."""
    flow = Flow(unique("lost"))
    flow.step(name="only", retry=ONCE)(story.called)
    run = flow.start()
    (_,) = claim.claim("default", 1, slots=0, lease=LEASE.total_seconds())
    expire_leases()
    return run


@contextmanager
def stop(unique: Callable[..., str]) -> Iterator[Story]:
    """A worker is stopped while one task runs and two wait: what waits is handed back."""
    story, gate = Story(), threading.Event()
    flow = Flow(unique("gated"))

    @flow.step(retry=ONCE)
    def only(ctx):
        story.called(ctx)
        assert gate.wait(30)

    story.expect(*flow.start_many(range(3)))
    yield story
    with Work(concurrency=1) as worker:
        worker.in_flight._average = 0.001  # it claims ahead, as if its handlers had been quick
        eventually(lambda: worker.in_flight.running() and len(worker.in_flight.jobs) == 3, "the tasks are claimed")
        worker.stop()
        eventually(lambda: len(worker.in_flight.jobs) == 1, "what waits is handed back")
        gate.set()
    with Work(drain=True):
        pass
    story.check()
    assert sum(story.calls.values()) == 3


class Thread(threading.Thread):
    """Does something in a thread that has connections of its own, again and again where it fails."""

    def __init__(self, work: Callable[[], bool], *, is_worker: bool = True) -> None:
        super().__init__(name="worker-helper")
        self._work = work
        self._is_worker = is_worker
        self._error: BaseException | None = None

    def run(self) -> None:
        if self._is_worker:
            db.serve_worker()
        try:
            for _ in range(100):
                try:
                    if self._work():
                        return
                except Exception as error:
                    if not db.is_retryable(error):
                        raise
                    db.close()
            raise AssertionError("it does not come to an end")
        except BaseException as error:
            self._error = error
        finally:
            connections.close_all()

    def finish(self) -> None:
        """Do it all."""
        self.start()
        self.join(30.0)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


@contextmanager
def beat(unique: Callable[..., str]) -> Iterator[Story]:
    """A heartbeat extends the lease of one task, and learns that another was cancelled."""
    story = Story()
    flow = Flow(unique("beating"))
    flow.step(name="only", retry=ONCE)(lambda: 1)
    held, gone = flow.start_many(range(2))
    dispatcher = Dispatcher(WorkerOptions(lease=LEASE))
    dispatcher.worker_id = registration.register(dispatcher.options)
    for task in claim.claim("default", 2, slots=2, lease=1.0):
        job = dispatcher.in_flight.add(task, registry.handler(task.step.handler))
        job.begin()
        job.context.progress = 0.5
    gone.cancel()
    yield story
    Thread(lambda: Heartbeats(dispatcher).beat() > 1.0).finish()
    task = Task.objects.get(run_id=held.id)
    assert (task.status, task.progress) == ("running", 0.5)
    assert {item.run_id for item, _ in dispatcher._endings._ended} == {gone.id}
    queue.advance("default", LEASE / 2)
    assert queue.depth("default")[:2] == (0, 1)
    settle([outcome.succeeded(job.task, "1") for job in dispatcher.in_flight.jobs.values()], wait_ms=1_000)
    story.expect(held)
    story.expect(gone, status="cancelled")
    story.check()


@contextmanager
def keep(unique: Callable[..., str]) -> Iterator[Story]:
    """All that a keeper does is due: delayed tasks and arrivals, scheduled, overdue, paused, old and lost runs."""
    story = Story()
    db.execute("DELETE FROM django_workflow_leader")  # the keeper of an earlier scene did not resign
    simple, slow, joined, paused = (Flow(unique(name)) for name in ("simple", "slow", "joined", "paused"))
    simple.step(name="only", retry=ONCE)(story.called)
    slow.step(name="only", delay=HOUR, retry=ONCE)(story.called)
    paused.step(name="only", retry=ONCE)(story.called)
    joined.step(name="left", next=[To("meet", delay=HOUR)], retry=ONCE)(lambda: 1)
    joined.step(name="right", next="meet", retry=ONCE)(lambda: 1)
    joined.step(name="meet", join="all", retry=ONCE)(story.called)
    old = simple.start()
    delayed, arriving = slow.start(), joined.start()
    testing.run_until_idle()
    story.calls.clear()
    Run.objects.filter(id=old.id).update(created_at=AGO, started_at=AGO, ended_at=AGO)
    later, overdue, held = simple.start(delay=HOUR), simple.start(delay=2 * HOUR), paused.start()
    testing.advance(HOUR)
    Run.objects.filter(id=overdue.id).update(deadline_at=AGO)
    FlowDefinition.objects.filter(slug=paused.slug).update(paused_at=AGO)
    silent = simple.start()
    Task.objects.filter(run_id=silent.id).update(message_id=None)
    lost = simple.start()
    Run.objects.filter(id=lost.id).update(is_local=True)
    queue.purge("default")
    yield story
    keeper = Keeper()
    Thread(lambda: _has_kept(keeper, held.id, old.id, [delayed.id, arriving.id, later.id, silent.id])).finish()
    live = [delayed, arriving, later, silent, held]
    queued = Task.objects.filter(run_id__in=[run.id for run in live], status="queued")
    assert queue.depth("default")[:2] == (queued.count(), queued.count()) == (4, 4)
    cancel.cancel([run.id for run in live])
    story.expect(*live, status="cancelled")
    story.expect(overdue, status="timed_out")
    story.expect(lost, status="failed")
    story.check()
    assert not Run.objects.filter(id=old.id).exists()
    assert not Task.objects.filter(run_id=old.id).exists()


def _has_kept(keeper: Keeper, held: Any, old: Any, sent: list[Any]) -> bool:
    keeper._repair_at = 0.0
    try:
        keeper.round()
    except Exception:
        keeper._leadership.doubt()
        raise
    return db.on_own_connection(
        lambda: (
            Run.objects.get(id=held).status == "paused"
            and not Run.objects.filter(id=old).exists()
            and Task.objects.filter(run_id__in=sent, message_id__isnull=False).unsettled().count() == len(sent)
            and not Run.objects.filter(is_local=True).unsettled().exists()
            and not Run.objects.filter(deadline_at__lte=AGO).unsettled().exists()
        )
    )


@contextmanager
def write_logs(unique: Callable[..., str]) -> Iterator[Story]:
    """Lines that handlers logged are stored; what was stored and not told may be there twice."""
    story = Story()
    flow = Flow(unique("logging"))
    flow.step(name="only")(lambda: 1)
    run = flow.start()
    task = Task.objects.get(run_id=run.id)
    yield story
    writer = LogWriter(every=0.01)
    lines = [LogLine(run.id, task.id, 1, 20, time.time(), "site", f"line {number}") for number in range(3)]
    for line in lines:
        writer.put(line)
    Thread(lambda: writer.flush() is None).finish()
    found = list(TaskLog.objects.filter(run_id=run.id).order_by("id").values_list("message", flat=True))
    assert found in ([line.message for line in lines], [line.message for line in lines] * 2)
    run.cancel()


@contextmanager
def call(unique: Callable[..., str]) -> Iterator[Story]:
    """Somebody starts, pauses, resumes and cancels a run: what failed is said again, and took effect at most once."""
    story, key = Story(), unique("key")
    flow = Flow(unique("called"))
    flow.step(name="only", retry=ONCE)(lambda: 1)
    flow.start()  # which publishes it
    testing.run_until_idle()
    yield story
    verbs = [lambda: flow.start(idempotency_key=key), *_said_of(key, "pause", "resume", "cancel")]
    Thread(lambda: _say(verbs), is_worker=False).finish()
    (run,) = Run.objects.filter(idempotency_key=key)
    assert set(Event.objects.filter(run_id=run.id).values_list("type", flat=True)) >= {"run.paused", "run.cancelled"}
    assert Event.objects.filter(run_id=run.id, type="run.cancelled").count() == 1
    story.runs = {run.id: "cancelled"}
    testing.run_until_idle()
    story.check()


def _said_of(key: str, *verbs: str) -> list[Callable[[], object]]:
    return [lambda verb=verb: getattr(handle(Run.objects.get(idempotency_key=key)), verb)() for verb in verbs]


def _say(verbs: list[Callable[[], object]]) -> bool:
    while verbs:
        verbs[0]()
        verbs.pop(0)
    return True


SCENES = (work, stop, beat, keep, write_logs, call)
