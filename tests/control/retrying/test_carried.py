"""A retry carries over what succeeded and executes the rest and what follows from it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import RunHandle, Skip, testing
from django_workflow.engine.removal.retention import prune
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Event, Run, StepRun, Task
from tests.control.retrying.stories import ONCE, finish, start

HOUR = timedelta(hours=1)


def test_steps_that_succeeded_are_carried_over_and_the_rest_runs_again(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    assert old.status == "failed"
    assert story.told() == {"root": 1, "left": 1, "right": 1}
    story.broken = set()
    new = old.retry(reason="repaired", by="ann")
    assert new != old
    assert finish(new).output == {"join": [11, 21]}
    assert story.told() == {"right": 1, "join": 1}
    assert (new.run.retry_of_id, new.run.started_by, old.status) == (old.id, "ann", "failed")
    assert dict(Task.objects.of_run(new.id).values_list("step_run__step", "origin")) == {
        "root": "carried", "left": "carried", "right": "", "join": "",
    }  # fmt: skip
    first = Event.objects.filter(run_id=new.id).order_by("number").first()
    assert (first.type, first.data) == (
        "run.started", {"retry_of": str(old.id), "mode": "failed", "by": "ann", "reason": "repaired"},
    )  # fmt: skip
    told = Event.objects.filter(run_id=new.id, type__startswith="step.").values_list("step", flat=True)
    assert set(told) == {"right", "join"}


def test_from_step_repeats_one_branch_and_the_join_of_a_succeeded_diamond(diamond, story, db):
    old = start(diamond)
    story.told()
    assert finish(old.retry(from_step="left")).output == {"join": [11, 21]}
    assert story.told() == {"left": 1, "join": 1}


def test_mode_all_repeats_everything(diamond, story, db):
    old = start(diamond)
    story.told()
    assert finish(old.retry("all")).is_success
    assert story.told() == {"root": 1, "left": 1, "right": 1, "join": 1}


def test_labels_and_title_are_kept_and_the_idempotency_key_is_not(diamond, story, db):
    story.broken = {"root"}
    old = start(diamond, {"n": 1}, labels={"team": "a"}, title="Order 1", idempotency_key="k")
    new = old.retry().run
    assert (new.labels, new.title, new.input, new.idempotency_key) == ({"team": "a"}, "Order 1", {"n": 1}, None)
    assert new.deadline_at > old.run.deadline_at


def test_a_retry_of_a_retry_carries_on(diamond, story, db):
    story.broken = {"right", "join"}
    first = start(diamond)
    story.broken = {"join"}
    second = first.retry()
    assert finish(second).status == "failed"
    story.broken = set()
    story.told()
    third = second.retry()
    assert finish(third).output == {"join": [11, 21]}
    assert story.told() == {"join": 1}
    assert third.run.retry_of_id == second.id


def test_what_was_carried_outlives_the_run_it_came_from(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    new = old.retry()
    prune(timedelta(0))
    assert not Run.objects.filter(pk=old.id).exists()
    story.broken = set()
    assert finish(new).output == {"join": [11, 21]}


def test_a_cancelled_run_goes_on_where_it_was(diamond, story, db):
    old = diamond.start()
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    settle([testing.perform(task)])
    old.cancel()
    story.told()
    assert finish(old.retry()).output == {"join": [11, 21]}
    assert story.told() == {"left": 1, "right": 1, "join": 1}


def test_a_run_that_never_began_begins(diamond, story, db):
    old = diamond.start(delay=HOUR)
    old.cancel()
    assert finish(old.retry()).is_success
    assert sum(story.told().values()) == 4


def test_skips_and_empty_maps_stay_as_they_were(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="root")(lambda: story.did("root", []))
    flow.map(name="empty", over="root")(lambda item: item)
    flow.step(name="unmet", depends_on=["root"], when="outputs.root", on_unmet="skip_cascade")(lambda: 1)
    flow.step(name="with_it")(lambda unmet: story.did("with_it"))
    flow.step(name="left_out", depends_on=["root"])(lambda: Skip("not today"))
    flow.step(name="bad")(lambda root: story.did("bad", "good"))
    flow.step(name="cascaded")(lambda bad, unmet: story.did("cascaded"))
    flow.step(name="after")(lambda bad, empty, left_out="absent": story.did("after", [bad, empty, left_out]))
    story.broken = {"bad"}
    old = start(flow)
    story.broken = set()
    story.told()
    new = old.retry()
    assert finish(new).output == {"after": ["good", [], "absent"]}
    assert story.told() == {"bad": 1, "after": 1}
    steps = {step.step: (step.status, step.reason) for step in StepRun.objects.filter(run_id=new.id)}
    assert steps["empty"] == ("succeeded", "")
    assert steps["left_out"] == ("skipped", "handler")
    assert StepRun.objects.get(run_id=new.id, step="left_out").message == "not today"
    assert steps["unmet"] == ("skipped", "condition_unmet")
    assert steps["with_it"] == steps["cascaded"] == ("skipped", "dependency_skipped")


def test_a_condition_does_not_see_what_is_not_carried_over(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="one")(lambda: story.did("one", 1))
    flow.step(name="two")(lambda: story.did("two", 2))
    flow.step(name="after", depends_on=["two"], when="outputs.one == None")(lambda: story.did("after"))
    old = start(flow)
    story.told()
    # `one` runs again, and `after` is decided while it has not come to anything
    new = old.retry(from_step="one")
    assert finish(new).is_success
    assert story.told() == {"one": 1}


@pytest.mark.django_db
def test_variables_of_a_plain_flow_are_there_again(make_flow):
    broken = {"b", "m"}

    def b(a, ctx):
        if "b" in broken:
            raise ValueError("broken")
        return ctx.vars["limit"]

    def m(item, ctx):
        if item == 2 and "m" in broken:
            raise ValueError("broken")
        return ctx.vars["limit"] * item

    one = make_flow(vars={"limit": 5}, output={"b": "outputs.b", "limit": "vars.limit"})
    one.step(name="a")(lambda: 1)
    one.step(name="b", retry=ONCE)(b)
    parts = make_flow(vars={"limit": 5})
    parts.step(name="a")(lambda: [1, 2])
    parts.map(name="m", over="a", retry=ONCE)(m)
    handles = [one.start(), parts.start()]
    testing.run_until_idle()
    assert {handle.refresh().status for handle in handles} == {"failed"}
    broken.clear()
    retried = [handle.retry() for handle in handles]
    testing.run_until_idle()
    assert [handle.result().output for handle in retried] == [{"b": 5, "limit": 5}, {"m": [5, 10]}]


def test_a_run_that_was_executed_locally_is_retried_by_workers(diamond, story, db):
    story.broken = {"right"}
    old = RunHandle(diamond.execute().run_id)
    story.broken = set()
    new = old.retry()
    assert (old.run.is_local, new.run.is_local) == (True, False)
    assert finish(new).output == {"join": [11, 21]}
