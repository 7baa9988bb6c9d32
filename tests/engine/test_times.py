"""Times of a run agree with each other: nothing begins before what led to it has ended, or before it was made."""

from __future__ import annotations

import itertools

import pytest

from django_workflow import Retry, When, testing
from django_workflow.models import Run, StepRun, Task


def is_carried(step, run):
    return run.retry_of_id is not None and step.started_at is not None and step.started_at < run.created_at


def contradictions(run):
    """Return which times of a run cannot be."""
    # what a retry took over has the times of then; what the end of a run cuts off ends a moment after it
    steps = [step for step in StepRun.objects.filter(run=run) if not is_carried(step, run)]
    tasks = Task.objects.filter(step_run__in=steps).exclude(origin="carried").select_related("step_run")
    order = [("run", run.created_at, run.started_at, run.ended_at)]
    order += [
        (
            step.step,
            run.started_at,
            step.started_at,
            step.ended_at,
            run.ended_at if step.status != "cancelled" else None,
        )
        for step in steps
    ]
    order += [
        (f"{step.step} after {step.source.step}", step.source.ended_at, step.started_at)
        for step in steps
        if step.source is not None and step.source.ended_at is not None
    ]
    order += [
        (
            f"task of {task.step_run.step}",
            task.step_run.started_at,
            task.begun_at,
            task.ended_at,
            task.step_run.ended_at,
        )
        for task in tasks
    ]
    order += [(f"making the task of {task.step_run.step}", task.created_at, task.begun_at) for task in tasks]
    return [
        (name, before, after)
        for name, *times in order
        for before, after in itertools.pairwise(time for time in times if time is not None)
        if after < before
    ]


@pytest.fixture
def shop(flow):
    """A chain, a split and a join, a map, a loop."""
    flow.step(name="first")(lambda input: [1, 2, 3])
    for name in ("left", "right"):
        flow.step(name=name, depends_on=["first"])(lambda: 1)
    flow.map(name="each", over="first", depends_on=["left", "right"])(lambda item: item)
    flow.step(name="turn", depends_on=["each"], next=[When("iteration < 4", to="again")])(lambda: 1)
    flow.step(name="again", join=None, next=[When("iteration < 4", to="again"), "last"])(lambda: 1)
    flow.step(name="last", join=None, retry=Retry(max_attempts=1))(lambda input: 1 / 0 if input == "fail" else 1)
    return flow


@pytest.mark.parametrize("input", ["well", "fail"])
def test_times_of_runs_agree(shop, input, db):
    runs = [shop.start(input) for _ in range(3)]
    testing.run_until_idle()
    runs.append(shop.execute(input))
    if input == "fail":
        for run in runs[:3]:
            run.retry()
    testing.run_until_idle()
    for run in Run.objects.all():
        assert contradictions(run) == []


def test_times_of_steps_that_operators_end_agree(shop, db):
    run = shop.start("well")
    run.complete_step("first", [1])
    run.skip_step("left")
    testing.run_until_idle()
    assert contradictions(run.run) == []


def test_times_of_tasks_that_a_worker_takes_as_they_are_made_agree(shop, workflow_queues, drain):
    run = shop.start("well")
    drain()
    assert run.status == "succeeded"
    assert contradictions(run.run) == []
