"""The one status vocabulary: what each status is called and which moves are legal.

The tables of moves are data. Database triggers (`models.triggers`), the state pictures of the
documentation and the tests are all made from them.
"""

from __future__ import annotations

from typing import Final

SCHEDULED: Final = "scheduled"
WAITING: Final = "waiting"
QUEUED: Final = "queued"
HELD: Final = "held"
RUNNING: Final = "running"
PAUSED: Final = "paused"
SUSPENDED: Final = "suspended"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
CANCELLED: Final = "cancelled"
TIMED_OUT: Final = "timed_out"
LOST: Final = "lost"
RELEASED: Final = "released"

Moves = dict[str, frozenset[str]]

RUN_TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED, TIMED_OUT})
STEP_TERMINAL: Final = frozenset({SUCCEEDED, FAILED, SKIPPED, CANCELLED})
TASK_TERMINAL: Final = frozenset({SUCCEEDED, FAILED, SKIPPED, CANCELLED})

RUN_MOVES: Final[Moves] = {
    SCHEDULED: frozenset({RUNNING, PAUSED, CANCELLED}),
    RUNNING: RUN_TERMINAL | {PAUSED},
    PAUSED: RUN_TERMINAL | {RUNNING, SCHEDULED},
}
STEP_RUN_MOVES: Final[Moves] = {
    WAITING: STEP_TERMINAL | {RUNNING},
    RUNNING: STEP_TERMINAL,
}
TASK_MOVES: Final[Moves] = {
    QUEUED: (TASK_TERMINAL - {SUCCEEDED}) | {HELD, RUNNING},
    RUNNING: TASK_TERMINAL | {QUEUED, HELD, SUSPENDED},
    SUSPENDED: TASK_TERMINAL | {QUEUED, HELD},
    HELD: (TASK_TERMINAL - {SUCCEEDED}) | {QUEUED},
}

RUN_STATUSES: Final = (SCHEDULED, RUNNING, PAUSED, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT)
STEP_RUN_STATUSES: Final = (WAITING, RUNNING, SUCCEEDED, FAILED, SKIPPED, CANCELLED)
TASK_STATUSES: Final = (QUEUED, HELD, RUNNING, SUSPENDED, SUCCEEDED, FAILED, SKIPPED, CANCELLED)
ATTEMPT_OUTCOMES: Final = (SUCCEEDED, FAILED, TIMED_OUT, LOST, RELEASED, CANCELLED)
RUN_UNSETTLED: Final = frozenset(RUN_STATUSES) - RUN_TERMINAL
#: Why a task was born settled: its output was carried over from the run that is retried, or an operator gave it.
TASK_ORIGINS: Final = ("carried", "override")
#: Why a step was skipped: by the flow, by an operator, or by its handler, whose words stand beside.
SKIPPED_BY_HANDLER: Final = "handler"
SKIP_REASONS: Final = ("condition_unmet", "dependency_skipped", "handler_failed", "operator", SKIPPED_BY_HANDLER)
#: Why a worker puts a task aside for others: it does not have this code, which the attempt names.
NO_HANDLER: Final = "no_handler"
NO_CONDITION: Final = "no_condition"
NO_EXECUTOR: Final = "no_executor"
NO_CODE_REASONS: Final = (NO_HANDLER, NO_CONDITION, NO_EXECUTOR)
#: Why a task is held: its run is paused, or as many of its step are in flight as may be.
PARALLEL: Final = "parallel"
HOLD_REASONS: Final = (PAUSED, PARALLEL)


def choices(values: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return Django choices for status `values`, labelled in plain words."""
    return [(value, in_words(value)) for value in values]


def in_words(value: str) -> str:
    """Return a status, or another name of the engine's, as people say it."""
    return value.replace("_", " ")
