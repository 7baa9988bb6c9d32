"""What a handler may know and tell: `ctx`."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from django_workflow import payload
from django_workflow.conf import conf
from django_workflow.engine.routing.facts import OUTERMOST
from django_workflow.engine.stored import outputs, versions
from django_workflow.engine.tasks.claimed import ClaimedTask, log_fields
from django_workflow.engine.tasks.inputs import wanted_by
from django_workflow.exceptions import WorkflowError
from django_workflow.statuses import SKIPPED, SUCCEEDED
from django_workflow.text import said
from django_workflow.worker.logs.capture import HANDLER_LOGGER, TaskLogger

logger = logging.getLogger(HANDLER_LOGGER)

#: Longest type of an event, in characters.
MAX_TYPE = 40


class Context:
    """The attempt a handler runs in.

    run_id, step, index, attempt, iteration: where it is.
    cancelled: becomes True when the run was cancelled, the attempt timed out or the lease was lost;
        a long handler looks at it now and then.
    """

    def __init__(self, task: ClaimedTask) -> None:
        self._task = task
        self.cancelled = False
        self.progress: float | None = None
        self.events: list[tuple[str, str]] = []

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self._task.run_id

    @property
    def step(self) -> str:
        """The step's name."""
        return self._task.step.name

    @property
    def index(self) -> int:
        """The item's index in a map step, else 0."""
        return self._task.index

    @property
    def attempt(self) -> int:
        """Which try this is, from 1; numbers may be left out, they only grow."""
        return self._task.attempt

    @property
    def iteration(self) -> int:
        """The iteration of a loop that this is, from 1."""
        return self._task.iteration

    @cached_property
    def vars(self) -> dict[str, Any]:
        """The variables of this step run, a copy; transitions set them by `publish`."""
        return payload.loads(self._task.variables) or {}

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for all attempts of this task, to hand to outside services."""
        place = f"{self.iteration}" if self._task.scope == OUTERMOST else f"{self._task.scope}.{self.iteration}"
        return f"{self.run_id}:{self.step}:{place}:{self.index}"

    @property
    def logger(self) -> TaskLogger:
        """A logger whose records carry run, flow, step, task and attempt; they are stored with the task."""
        return TaskLogger(logger, log_fields(self._task))

    def heartbeat(self, progress: float | None = None) -> None:
        """Tell how far the handler is, 0 to 1; raises `Cancelled` when it should stop.

        The lease itself is extended by the worker, not by this.
        """
        if progress is not None:
            self.progress = min(1.0, max(0.0, float(progress)))
        if self.cancelled:
            raise Cancelled

    def emit(self, type: str, data: Any = None) -> None:
        """Record an event of your own; it is stored together with the outcome of this attempt."""
        kind = said(type, "The type of an event", MAX_TYPE)
        what = f"The data of event {kind!r}"
        self.events.append((kind, payload.dumps(data, what=what, limit=conf.MAX_OUTPUT_BYTES)))

    def output(self, step: str) -> Any:
        """Return the output of any settled step of this run, None where it did not succeed."""
        output = self._read(step)
        return None if output is None else output.value

    def skipped(self, step: str) -> bool:
        """Say whether a step of this run was skipped."""
        found = self._read(step)
        return found is not None and found.status == SKIPPED

    def failures(self, step: str) -> list[dict[str, Any]]:
        """Return index, class and message of the failed items of a map step; in a loop, of the one that led here."""
        wanted = self._wanted(step)
        return [] if wanted is None else outputs.read_failures(wanted)

    async def aoutput(self, step: str) -> Any:
        """Async twin of `output`."""
        return await sync_to_async(self.output)(step)

    async def afailures(self, step: str) -> list[dict[str, Any]]:
        """Async twin of `failures`."""
        return await sync_to_async(self.failures)(step)

    def _read(self, step: str) -> outputs.StepOutput | None:
        known = self._task.dependencies.get(step)
        if known is not None and known.status != SUCCEEDED:
            return known
        wanted = self._wanted(step)
        return known if known or wanted is None else outputs.read_outputs([wanted]).get(wanted)

    def _wanted(self, step: str) -> outputs.Wanted | None:
        """Return what to read of a step; None of one that only other versions of the flow have."""
        spec = self._task.spec
        if step not in spec.steps:
            if versions.has_version_with(spec.slug, step):
                return None
            raise WorkflowError(f"Flow {spec.slug!r} has no step {step!r}; its steps: {', '.join(spec.steps)}.")
        return wanted_by(self._task, step, outputs.outer_scopes([self._task.scope])[self._task.scope])


class Cancelled(BaseException):
    """Raised inside a handler that should stop; a BaseException, so `except Exception` does not swallow it."""
