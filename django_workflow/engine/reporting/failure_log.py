"""The log of failures: an ERROR for what failed for good, a WARNING where another attempt follows or a flow handles it.

The messages hold no payload: class, place and run. What an error says, and where it was raised, is in `exc_info`, for
those who collect errors. Where a worker runs failures of one kind that come fast after each other are folded.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db
from django_workflow.definition.elements import MAP
from django_workflow.engine.reporting.folding import Folding
from django_workflow.engine.routing.facts import Error
from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.statuses import FAILED, HELD, RUN_TERMINAL, RUNNING
from django_workflow.text import in_one_line

logger = logging.getLogger("django_workflow.failures")

#: Those of this process.
folding = Folding()


class StoredFailure(Exception):
    """Stands for an exception of which this process has the text alone: its class and message, or its traceback."""


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Why a run ended failed or timed out, or will as soon as what runs in it has ended.

    exception: what was raised, where this process has it.
    """

    run_id: UUID
    flow: str
    status: str
    error: Error
    exception: BaseException | None = None


def tell(attempts: Sequence[Ending], runs: Sequence[RunFailure], ended: Mapping[UUID, str]) -> None:
    """Make the records of attempts that ended with an error, and of runs that failed for another reason.

    ended: runs that ended, with their statuses.
    """
    told: dict[UUID, list[Error]] = defaultdict(list)
    failing = {run.run_id for run in runs}
    for item in attempts:
        if item.status == FAILED:
            run_id = item.outcome.task.run_id
            told[run_id].append(item.error)
            _tell_final(item, ended.get(run_id), is_handled=run_id not in failing and _is_handled(item))
        else:
            _tell_retry(item)
    for run in runs:
        if run.error not in told[run.run_id]:
            _tell_run(run)


def _tell_retry(item: Ending) -> None:
    task, error = item.outcome.task, _error_of(item)
    place = f"{task.spec.slug}.{task.step.name}"
    told = (_word(item), _number(item), _again(item), task.run_id, in_one_line(error.error_class))
    logger.warning("%s %s (%s, %s; run %s): %s", place, *told, extra=_fields(item, error))


def _is_handled(item: Ending) -> bool:
    """Say whether the flow has an answer to a failure by which its run has not begun to fail."""
    task = item.outcome.task
    if item.run.failing is not None or item.run.status in RUN_TERMINAL:
        return False
    if task.step.kind != MAP:
        return True
    # other items of the map may still run, so what the step comes to is not known yet: the definition tells
    ways = task.spec.outbound[task.step.name]
    may_fail = bool(task.step.tolerate) or task.step.on_exhausted != "fail"
    return may_fail or any("failed" in way.on for way in ways)


def _tell_final(item: Ending, run_status: str | None, *, is_handled: bool) -> None:
    task, error = item.outcome.task, _error_of(item)
    place = f"{task.spec.slug}.{task.step.name}"
    level = logging.WARNING if is_handled else logging.ERROR
    run = f"run {task.run_id}"
    if is_handled:
        run = f"handled in {run}"
    elif run_status:
        run += f" {run_status.replace('_', ' ')}"
    error_class = in_one_line(error.error_class)
    fields = _fields(item, error)
    told = (place, _word(item), _number(item), run, error_class)

    def tell_others(count: int) -> None:
        _tell_others(f"{place} {_word(item)} for good: {error_class}", count, fields, level)

    if folding.admit((level, place, item.outcome.kind, error.fingerprint), tell_others):
        exception = error.exception or StoredFailure(error.traceback or f"{error.error_class}: {error.message}")
        logger.log(level, "%s %s for good (%s; %s): %s", *told, exc_info=exception, extra=fields)


def _tell_run(run: RunFailure) -> None:
    step, error_class, message = run.error["step"], in_one_line(run.error["class"]), run.error["message"]
    # what ends a run as a whole, such as its deadline, has no step
    place = f"at {run.flow}.{step}" if step else f"of flow {run.flow}"
    why = error_class
    if run.exception is not None:
        why = db.for_logs(run.exception)
    elif error_class == run.status:
        why = message  # what the engine itself ends is no error of a class: the words are the engine's, too
    record = ErrorRecord(error_class, message)
    fields = {
        "run_id": str(run.run_id), "flow": run.flow, "step": step, "outcome": run.status,
        "error_class": error_class, "fingerprint": record.fingerprint,
    }  # fmt: skip
    word = run.status.replace("_", " ")
    told = f"{word} {place}" if step else f"{place} {word}"

    def tell_others(count: int) -> None:
        _tell_others(f"a run {told}: {why}", count, fields)

    if folding.admit((place, run.status, record.fingerprint), tell_others):
        exception = run.exception or StoredFailure(f"{error_class}: {message}")
        logger.error("run %s %s: %s", run.run_id, told, why, exc_info=exception, extra=fields)


def _tell_others(what: str, count: int, fields: Mapping[str, Any], level: int = logging.ERROR) -> None:
    """Tell how many more there were; the fields are those of the last one."""
    logger.log(level, "%d more like this: %s", count, what, extra={**fields, "count": count})


def _error_of(item: Ending) -> ErrorRecord:
    return item.outcome.error or ErrorRecord("Unknown", item.outcome.words)


def _word(item: Ending) -> str:
    return item.outcome.kind.replace("_", " ")


def _number(item: Ending) -> str:
    """Say which of the attempts it was that the step's policy allows."""
    task = item.outcome.task
    if not item.outcome.is_counted:
        return f"attempt {item.outcome.attempt}, not counted"
    most = item.most_attempts()
    if not task.spec.dialect.counts_losses or most is None:
        return f"attempt {item.outcome.attempt}"
    return f"attempt {item.failure_count} of {most}" + ("" if item.outcome.is_retryable else ", not to be tried again")


def _again(item: Ending) -> str:
    """Say when the next attempt is made."""
    if item.status == HELD:
        return "again when the run is resumed"
    if item.status == RUNNING or item.delay <= 0:
        return "again at once"
    if item.delay < 0.1:
        return f"again in {item.delay * 1000:.0f} ms"
    return f"again in {item.delay:.1f} s" if item.delay < 120 else f"again in {item.delay / 60:,.0f} min"


def _fields(item: Ending, error: ErrorRecord) -> dict[str, Any]:
    outcome = item.outcome
    fields = log_fields(outcome.task) | {"outcome": outcome.kind, "duration_ms": outcome.duration_ms}
    fields["attempt"] = outcome.attempt
    return fields | {"error_class": error.error_class, "fingerprint": error.fingerprint}
