"""What crosses between a worker and another process that runs a handler: JSON text, and never code."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored.outputs import StepOutput
from django_workflow.engine.tasks import outcome
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.engine.tasks.outcome import ErrorRecord, Outcome
from django_workflow.statuses import RELEASED
from django_workflow.worker.jobs import invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.logs.capture import LogLine

#: Answers of an engine's process that called no handler: the database is out of its reach, or the lease has begun.
UNREACHABLE, ALREADY_BEGUN = "unreachable", "already_begun"
#: Seconds until a task is tried again whose begin could not be recorded.
REACH_AGAIN = 5.0

_TASK = [item.name for item in fields(ClaimedTask)]


@dataclass(frozen=True, slots=True)
class Order:
    """An attempt to make; the other process finds its handler by name."""

    task: ClaimedTask
    #: Whether the handler begins only where its lease has not begun before.
    is_fenced: bool = False

    def to_json(self) -> str:
        """Return it as text."""
        task = self.task
        written = {
            "run_id": str(task.run_id),
            "spec": task.spec.to_dict(),
            "step": task.step.name,
            "dependencies": {name: [item.status, item.text] for name, item in task.dependencies.items()},
        }
        values = {name: getattr(task, name) for name in _TASK if name not in written}
        return json.dumps({"task": values | written, "is_fenced": self.is_fenced})

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        values = {name: data["task"][name] for name in _TASK}
        spec = FlowSpec.from_dict(values["spec"])
        values |= {
            "run_id": UUID(values["run_id"]),
            "spec": spec,
            "step": spec.steps[values["step"]],
            "dependencies": {name: StepOutput(*item) for name, item in values["dependencies"].items()},
            "sources": tuple(values["sources"]),
        }
        return cls(ClaimedTask(**values), data["is_fenced"])


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended; fields that `Outcome` has, too, mean the same."""

    #: That of an outcome, or UNREACHABLE or ALREADY_BEGUN.
    kind: str
    output: str | None = None
    error: ErrorRecord | None = None
    is_retryable: bool = True
    ends_run: bool = False
    retry_after: float | None = None
    words: str = ""
    reason: str = ""
    missing_code: str = ""
    events: Sequence[tuple[str, str]] = ()
    #: For how long the handler ran; None where it did not begin.
    seconds: float | None = None
    #: The lines that it logged, as `describe_lines` gives them.
    logged: Sequence[Sequence[Any]] = ()

    @classmethod
    def of(cls, result: Outcome, lines: Sequence[LogLine] = ()) -> Answer:
        """Return the answer that tells an outcome, with what the handler logged."""
        seconds = None if result.begun_at is None else time.monotonic() - result.begun_at
        values = {name: getattr(result, name) for name in _OF_OUTCOME}
        return cls(seconds=seconds, logged=describe_lines(lines), **values)

    def to_json(self) -> str:
        """Return it as text."""
        values = {name: getattr(self, name) for name in _ANSWER}
        if (error := self.error) is not None:
            values["error"] = [error.error_class, error.message, error.traceback, error.classes]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Answer:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        if values["error"] is not None:
            error_class, message, trace, classes = values["error"]
            values["error"] = ErrorRecord(error_class, message, trace, tuple(classes))
        return cls(**{name: values[name] for name in _ANSWER})

    def outcome_of(self, job: Job) -> Outcome:
        """Return what became of the job, and hand on what its handler logged and emitted."""
        if self.kind == ALREADY_BEGUN:
            why = "it was executed a second time: what executed it first did not report its end"
            return outcome.lost_elsewhere(job.task, why, has_begun=True, **invoke.times(job))
        if self.kind == UNREACHABLE:
            why = f"its begin could not be recorded: {self.words}"
            return outcome.released(job.task, why, delay=REACH_AGAIN, **invoke.times(job))
        if job.executor is not None and self.seconds is not None:
            job.begun_at = time.monotonic() - self.seconds  # when it began is known there only
        take_lines(job, self.logged)
        job.context.events = [(kind, body) for kind, body in self.events]
        values = {name: getattr(self, name) for name in _OF_OUTCOME} | invoke.times(job)
        return Outcome(job.task, is_counted=self.kind != RELEASED, **values)


_ANSWER = [item.name for item in fields(Answer)]
_OF_OUTCOME = [item.name for item in fields(Outcome) if item.name in _ANSWER]


def describe_lines(lines: Sequence[LogLine]) -> list[list[Any]]:
    """Return lines as JSON-able lists, with their ages: the clock of another machine may differ."""
    now = time.time()
    return [[str(line.run_id), *line[1:4], now - line.created, *line[5:]] for line in lines]


def take_lines(job: Job, described: Sequence[Sequence[Any]]) -> None:
    """Hand on what another process captured; a line names its own attempt, which may be an earlier one."""
    now = time.time()
    for run_id, task_id, attempt, level, age, logger, message in described:
        job.log.put(LogLine(UUID(run_id), task_id, attempt, level, now - age, logger, message))
