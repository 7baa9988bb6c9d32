"""Which names are legal."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z_][a-z0-9_]{0,127}\Z")
QUEUE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}\Z")
#: Targets of transitions that are no steps.
NOOP, CONTINUE, RETRY, FAIL = "noop", "continue", "retry", "fail"
COMMANDS = frozenset({NOOP, CONTINUE, RETRY, FAIL})
#: Parameters of handlers with a meaning of their own; every other one names a step.
CONTEXT_NAMES = frozenset({"input", "ctx", "item", "index"})
RESERVED = COMMANDS | CONTEXT_NAMES | {"run", "vars", "outputs", "iteration", "result", "status", "error"}
NAME_RULE = "1 to 128 lower-case letters, digits and underscores, not starting with a digit"
QUEUE_RULE = "1 to 40 lower-case letters, digits and underscores, not starting with a digit"


def is_name(text: object) -> bool:
    """Say whether `text` may name a flow or a step."""
    return isinstance(text, str) and NAME.match(text) is not None


def is_queue_name(text: object) -> bool:
    """Say whether `text` may name a queue."""
    return isinstance(text, str) and QUEUE_NAME.match(text) is not None
