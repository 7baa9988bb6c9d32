"""Attempts on an engine of the site's own: begun once, withdrawn for good, whatever the engine does."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError

from django_workflow import Retry, testing
from django_workflow.engine.tasks import claim, external
from django_workflow.models import Attempt, Task
from django_workflow.worker.runners.futures import TaskExecutor
from tests.waiting import eventually

TWICE = Retry(max_attempts=2, base=timedelta(milliseconds=10))


class Repeating(ThreadPoolExecutor):
    """An engine that executes all it is given twice, and brings the second answer."""

    def submit(self, function, text):
        return super().submit(lambda: (function(text), function(text))[1])


class Holding(TaskExecutor):
    """An engine that keeps what it is given until the test lets it go."""

    def __init__(self):
        self.given = []
        self.resources = []

    def submit_task(self, text, *, key, resources):
        self.given.append((text, Future()))
        self.resources.append(resources)
        return self.given[-1][1]

    def slots(self):
        return 2

    def shutdown(self, wait=True, *, cancel_futures=False):  # noqa: FBT002  as its base
        pass


@pytest.fixture
def engine(settings):
    def put(executor):
        settings.DJANGO_WORKFLOW = {"EXECUTORS": {"engine": lambda: executor}}
        return executor

    return put


def test_an_attempt_that_is_executed_twice_begins_once(flow, drain, engine):
    engine(Repeating(1))
    begun = []
    flow.step(name="only", executor="engine", retry=TWICE)(lambda ctx: begun.append(ctx.attempt))
    handle = flow.start()
    drain()
    assert testing.assert_settled(handle, "failed").error["class"] == "WorkerLost"
    attempts = Attempt.objects.filter(run_id=handle.id)
    assert [(item.outcome, item.is_counted) for item in attempts] == [("lost", True)] * 2
    assert begun == [item.number for item in attempts]


def test_without_a_fence_it_begins_as_often_as_it_is_executed(flow, drain, engine):
    engine(Repeating(1)).fence = "none"
    begun = []
    flow.step(name="only", executor="engine")(lambda: begun.append(1) or len(begun))
    handle = flow.start()
    drain()
    assert testing.assert_settled(handle)["only"] == 2


def test_a_begin_that_cannot_be_recorded_puts_the_task_back_uncounted(flow, work, engine, monkeypatch):
    engine(ThreadPoolExecutor(1))
    flow.step(name="only", executor="engine")(lambda: "begun")

    def refuse(fence):
        raise OperationalError("no way to the database")

    with monkeypatch.context() as patch:
        patch.setattr(external, "begin_once", refuse)
        handle = flow.start()
        work()
        attempts = Attempt.objects.filter(run_id=handle.id)
        attempt = eventually(attempts.first, "a task that was put back")
    assert (attempt.outcome, attempt.is_counted) == ("released", False)
    assert attempt.message == "its begin could not be recorded: no way to the database"
    testing.advance(timedelta(seconds=10))
    eventually(lambda: handle.status == "succeeded", "the next attempt")


def test_what_waits_in_an_engine_is_withdrawn_by_a_pause_and_never_begins(flow, work, engine):
    holding = engine(Holding())
    begun = []
    flow.map(name="each", count=2, executor="engine", resources={"GPU": 1})(lambda: begun.append(1))
    handle = flow.start()
    worker = work()
    eventually(lambda: len(holding.given) == 2, "tasks that were handed over")
    assert holding.resources == [{"GPU": 1}] * 2
    tasks = Task.objects.filter(run_id=handle.id)
    assert [(task.status, task.begun_at) for task in tasks] == [("running", None)] * 2
    handle.pause()
    eventually(lambda: {task.status for task in tasks.all()} == {"held"}, "withdrawn tasks")
    from django_workflow.worker.runners import child_main

    with ThreadPoolExecutor(1) as pool:
        answers = list(pool.map(child_main.perform, [text for text, _ in holding.given]))
    assert all("already_begun" in answer for answer in answers)
    assert not begun
    assert worker.dispatcher.in_flight.count_elsewhere("engine") == 0


def test_an_engine_gets_no_more_than_it_has_slots_for(flow, work, engine):
    holding = engine(Holding())
    flow.map(name="each", count=40, executor="engine", queue="engines")(lambda: None)
    handle = flow.start()
    worker = work(queues=["engines"])
    tasks = Task.objects.filter(run_id=handle.id)
    eventually(lambda: tasks.filter(status="queued").count() == 38, "tasks that wait in the queue")
    eventually(lambda: len(holding.given) == 2, "as many as there are slots")
    assert worker.dispatcher.in_flight.count_elsewhere("engine") == 2
    for _, future in holding.given:
        future.set_result('{"kind": "already_begun"}')
    eventually(lambda: len(holding.given) == 4, "two more")


def test_a_full_engine_keeps_no_task_of_its_queue_from_the_worker_itself(make_flow, work, engine, monkeypatch):
    monkeypatch.setattr("django_workflow.worker.dispatching.external_jobs.READ_ANYWAY_AFTER", 0.1)
    holding = engine(Holding())
    heavy = make_flow("heavy")
    heavy.map(name="each", count=6, executor="engine", queue="engines")(lambda: None)
    heavy.start()
    work(queues=["engines"])
    eventually(lambda: len(holding.given) == 2, "an engine that is full")
    light = make_flow("light")  # nobody knew of it when the queue was read first
    light.step(name="only", queue="engines")(lambda: "done")
    handle = light.start()
    eventually(lambda: handle.status == "succeeded", "the step that runs in the worker")
    assert len(holding.given) == 2


def test_a_task_that_is_handed_over_has_not_begun_until_its_process_takes_the_one_begin(flow, workflow_queues):
    flow.step(name="only")(lambda: None)
    flow.start()
    (task,) = claim.claim("default", 1, slots=1, lease=30)
    assert Task.objects.get().begun_at is not None
    external.hand_over([task])
    assert Task.objects.get().begun_at is None
    assert external.begin_once(task.fence)
    assert not external.begin_once(task.fence)
    external.hand_over([task])
    assert Task.objects.get().begun_at is not None
    assert external.withdraw([task]) == set()
    assert external.read_begun([task]).keys() == external.watch({task.fence: 0.5}) == {task.fence}
    assert Task.objects.get().progress == 0.5


def test_resources_of_an_executor_that_knows_none_fail_the_step_and_are_told_by_the_check(flow, drain, engine):
    from django_workflow.flow_checks import check_resources

    engine(ThreadPoolExecutor(1))
    flow.step(name="only", executor="engine", resources={"GPU": 1}, retry=TWICE)(lambda: None)
    flow.step(name="here", executor="thread", resources={"GPU": 1})(lambda: None)
    handle = flow.start()
    drain()
    message = handle.result().error["message"]
    assert message.startswith("Step 'only' asks for resources (GPU: 1), and executor 'engine' knows none")
    assert [item.msg for item in check_resources()] == [
        f"Flow {flow.slug!r}, step 'here': executor 'thread' knows no resources."
    ]


def test_the_doctor_asks_the_executors(engine, capsys):
    class Ill(Holding):
        fence = "none"

        def examine(self, resources, handlers):
            yield "error", f"it is ill; {len(resources)}", "take rest"

    engine(Ill())
    with pytest.raises(SystemExit):
        call_command("workflow_doctor")
    told = capsys.readouterr().out
    assert "executor 'engine': it is ill; 0" in told
    assert "executor 'engine' has no fence: an attempt may be executed more than once" in told
