"""What crosses to another process comes out there as it went in."""

from __future__ import annotations

from dataclasses import fields, replace

from django_workflow.definition.registry import registry
from django_workflow.engine.tasks import claim, outcome
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners.messages import Answer, Order


def claimed(flow):
    flow.step(name="only")(lambda: 1)
    flow.start(3)
    (task,) = claim.claim("default", 1, slots=1, lease=60.0)
    return task


def test_every_field_of_a_task_crosses(flow):
    task = claimed(flow)
    task.sources = ("before",)
    order = Order.from_json(Order(task, is_fenced=True).to_json())
    assert order.is_fenced
    for item in fields(task):
        if item.name not in {"spec", "step"}:
            assert getattr(order.task, item.name) == getattr(task, item.name), item.name
    assert order.task.spec.to_dict() == task.spec.to_dict()
    assert order.task.step.name == "only"


def test_an_outcome_comes_back_as_it_was(flow):
    task = claimed(flow)
    error = ErrorRecord("ValueError", "no", "Traceback", ("ValueError", "Exception"))
    result = replace(outcome.failed(task, error, is_retryable=False), ends_run=True, events=[("seen", "1")])
    back = Answer.from_json(Answer.of(result).to_json()).outcome_of(Job(task, registry.handler(task.step.handler)))
    assert (back.kind, back.error, back.is_retryable, back.ends_run) == ("failed", error, False, True)
    assert back.events == [("seen", "1")]
