"""Signs for statuses and commands, drawn by us: no font has to know them. Pure, no Django.

Each is a path on a field of 16 by 16, drawn as a line; those in `SOLID` are filled as well.
"""

from __future__ import annotations

from typing import Final

from django_workflow.definition.names import CONTINUE, FAIL, NOOP, RETRY

CIRCLE: Final = "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11z"
CROSS: Final = "M4 4l8 8M12 4l-8 8"
DOT: Final = "M8 7.5a.5 .5 0 1 1 0 1a.5 .5 0 1 1 0-1z"

#: A sign for each status, besides its colour and its word.
STATUS_SIGNS: Final = {
    "scheduled": CIRCLE + "M8 5v3l2 1.5",
    "waiting": "M8 4a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    "queued": "M3 4.5h10M3 8h10M3 11.5h6",
    "held": CIRCLE + "M6.5 6v4M9.5 6v4",
    "running": "M5 3.5v9l7.5-4.5z",
    "paused": "M5.5 3.5v9M10.5 3.5v9",
    "suspended": "M13 9.5A5.5 5.5 0 1 1 6.5 3A4.5 4.5 0 0 0 13 9.5z",
    "succeeded": "M3 8.5l3.5 3.5L13 4.5",
    "failed": CROSS,
    "skipped": "M2.5 11a5.5 5.5 0 0 1 10.5-1.5M13.5 5v4.5H9",
    "cancelled": CIRCLE + "M4.1 4.1l7.8 7.8",
    "timed_out": "M4 2.5h8M4 13.5h8M5 2.5c0 4 6 7 6 11M11 2.5c0 4-6 7-6 11",
    "lost": "M5.5 5.5a2.5 2.5 0 1 1 3.7 2.2c-.8 .4-1.2 1-1.2 1.8M8 12.8v.2",
    "released": "M6 3L2.5 6.5L6 10M2.5 6.5H10a3.5 3.5 0 0 1 0 7H7",
    "not_reached": DOT,
}
#: A sign for each command that a step may lead to.
COMMAND_SIGNS: Final = {
    NOOP: "M4.5 4.5h7v7h-7z",
    CONTINUE: "M2 8h8M7 5l3 3l-3 3M13 4v8",
    RETRY: "M12.5 6A5 5 0 1 0 13 9M13 2.5V6H9.5",
    FAIL: CROSS,
}
#: Besides: a map in the picture of a definition, the critical path, and what has no sign of its own.
OTHER_SIGNS: Final = {"map": "M3 4.5h10M3 8h10M3 11.5h10", "critical": "M8 2.5L13.5 8L8 13.5L2.5 8z", "": DOT}
SIGNS: Final = {**STATUS_SIGNS, **COMMAND_SIGNS, **OTHER_SIGNS}
SOLID: Final = frozenset({"running", "not_reached", "critical", "", NOOP})


def path_of(name: str) -> str:
    """Return the path of a sign; a dot for what has none."""
    return SIGNS.get(name, DOT)


def is_solid(name: str) -> bool:
    """Say whether a sign is filled."""
    return name in SOLID or name not in SIGNS
