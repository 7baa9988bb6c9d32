"""Events: what is told at each level, numbered without gaps in the order in which it happened."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Retry, Skip, testing
from django_workflow.models import Event

SOON = timedelta(milliseconds=1)
RUN = ["run.started", "run.completed"]


@pytest.fixture
def story(flow):
    """A flow with one of everything that is told."""

    @flow.step(retry=Retry(base=SOON))
    def flaky(ctx):
        ctx.emit("mine", {"attempt": ctx.attempt})
        if ctx.attempt == 1:
            raise ValueError

    flow.step(name="skips", depends_on=["flaky"])(lambda: Skip("why not"))
    flow.map(name="empty", over="input", depends_on=["skips"])(lambda item: item)
    return flow


def told(run_id):
    return list(Event.objects.filter(run_id=run_id).order_by("number").values_list("type", "step"))


@pytest.mark.parametrize("level", ["run", "step", "task"])
def test_each_level_tells_what_those_below_tell_and_more(story, run, settings, level):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": level}
    expected = [
        ("run", "run.started", ""),
        ("step", "step.started", "flaky"),
        ("run", "mine", "flaky"),
        ("task", "task.retried", "flaky"),
        ("run", "mine", "flaky"),
        ("task", "task.completed", "flaky"),
        ("step", "step.completed", "flaky"),
        ("step", "step.started", "skips"),
        ("task", "task.completed", "skips"),
        ("step", "step.skipped", "skips"),
        ("step", "step.completed", "empty"),
        ("run", "run.completed", ""),
    ]
    levels = ["run", "step", "task"]
    wanted = [(kind, step) for at, kind, step in expected if levels.index(at) <= levels.index(level)]
    found = told(run(story, []).run_id)
    # within one settle a step's end may be told before what its task told
    assert sorted(found) == sorted(wanted)
    assert (found[0], found[-1]) == (("run.started", ""), ("run.completed", ""))
    for kind in ("step.started", "step.completed", "step.skipped"):
        assert [item for item in found if item[0] == kind] == [item for item in wanted if item[0] == kind]


def test_step_is_the_default_level(story, db):
    kinds = {kind.split(".")[0] for kind, _ in told(story.execute([]).run_id)}
    assert kinds == {"run", "step", "mine"}


def test_numbers_have_no_gaps_in_any_run(flow, db, settings):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": "task"}

    @flow.map(over="input")
    def each(item, ctx):
        ctx.emit("one")
        ctx.emit("two")

    flow.step(name="after", depends_on=["each"])(lambda: None)
    handles = flow.start_many([list(range(5))] * 4)
    testing.run_until_idle()
    for handle in handles:
        numbers = list(Event.objects.filter(run_id=handle.id).order_by("id").values_list("number", flat=True))
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == 2 + 4 + 5 * 3 + 1


def test_events_of_tasks_name_them(story, db, settings):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": "task"}
    run_id = story.execute([]).run_id
    assert not Event.objects.filter(run_id=run_id, type__startswith="task.", task_id=None).exists()
    retried = Event.objects.get(run_id=run_id, type="task.retried")
    assert retried.data == {"attempt": 1}


def test_events_tell_why(flow, make_flow, db):
    flow.step(name="fails", retry=Retry(max_attempts=1))(lambda: 1 / 0)
    failed = flow.execute().run_id
    assert Event.objects.get(run_id=failed, type="step.failed").data["class"] == "ZeroDivisionError"
    assert Event.objects.get(run_id=failed, type="run.failed").data["step"] == "fails"
    other = make_flow()
    other.step(name="skips")(lambda: Skip("why not"))
    skipped = other.execute(by="ann").run_id
    assert Event.objects.get(run_id=skipped, type="step.skipped").data == {"reason": "handler", "message": "why not"}
    assert Event.objects.get(run_id=skipped, type="run.started").data == {"by": "ann"}


def test_what_a_failed_attempt_emitted_is_kept(story, db):
    run_id = story.execute([]).run_id
    assert list(Event.objects.filter(run_id=run_id, type="mine").values_list("data", flat=True)) == [
        {"attempt": 1},
        {"attempt": 2},
    ]


def test_event_that_cannot_be_stored_fails_the_attempt(flow, db):
    flow.step(name="tells")(lambda ctx: ctx.emit("mine", float("nan")))
    error = flow.execute().error
    assert "The data of event 'mine' is not JSON" in error["message"]
