"""Running an attempt in the process that got it as an order."""

from __future__ import annotations

from collections.abc import Callable

from django_workflow.definition.registry import registry
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.worker.jobs import invoke, missing_code
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.logs.capture import LogLine, Sink, capturing
from django_workflow.worker.runners.messages import Answer, Order


def perform(order: Order, sink: Sink | None = None) -> Answer:
    """Run an attempt in this thread; `sink` as for `execute`."""
    handler = registry.handler(order.task.step.handler)
    if handler is None:
        return Answer.of(missing_code.judge(order.task))  # this process has other code than the one that claimed it
    return execute(Job(order.task, handler), sink)


def execute(job: Job, sink: Sink | None = None, judge: Callable[[Outcome], Outcome] | None = None) -> Answer:
    """Run a job in this thread.

    sink: takes what the handler logs; without one it comes back with the answer.
    judge: has the last word on the outcome.
    """
    lines: list[LogLine] = []
    job.log.sink = sink or lines.append
    job.begin()
    with capturing():
        result = invoke.call_here(job)
    return Answer.of(judge(result) if judge is not None else result, lines)
