"""What a verb has to tell once it is true: failures to the log, runs that ended to those who asked for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django_workflow import db
from django_workflow.definition.containment import leave_to_operator, log_anyway
from django_workflow.engine.reporting import announcements, failure_log
from django_workflow.engine.reporting.failure_log import RunFailure
from django_workflow.engine.routing.facts import Error
from django_workflow.engine.tasks.ending import Ending

logger = logging.getLogger("django_workflow")


@dataclass(slots=True)
class Telling:
    """Collects what there is to tell; of a run that succeeded that is nothing unless somebody asked for it.

    attempts: those that ended with an error. failures: why runs failed. ended: runs that ended, with their statuses.
    """

    attempts: list[Ending] = field(default_factory=list)
    failures: list[RunFailure] = field(default_factory=list)
    ended: dict[UUID, str] = field(default_factory=dict)

    def fails(self, run_id: UUID, flow: str, status: str, error: Error, exception: BaseException | None = None) -> None:
        """A run failed or timed out, or will as soon as what runs in it has ended."""
        self.failures.append(RunFailure(run_id, flow, status, error, exception))

    def ends(self, run_id: UUID, status: str) -> None:
        """A run ended."""
        if announcements.is_asked_for(status):
            self.ended[run_id] = status

    def after_commit(self) -> None:
        """Tell it once what the caller does has committed; in a test's transaction, which never does, at once."""
        if self.attempts or self.failures or self.ended:
            db.after_commit(self._tell, is_for_tests=True)

    def _tell(self) -> None:
        # apart from each other: a logging handler that breaks keeps no receiver from what it is to hear
        with _contained():
            failure_log.tell(self.attempts, self.failures, self.ended)
        with _contained():
            announcements.announce(self.ended)


@contextmanager
def _contained() -> Iterator[None]:
    """Let nothing escape the block: what has committed stays so, whatever a logging handler or a receiver does."""
    try:
        yield
    except BaseException as error:
        leave_to_operator(error)
        log_anyway(logger.error, "what happened cannot be told: %s", db.for_logs(error))
