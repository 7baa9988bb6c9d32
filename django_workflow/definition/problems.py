"""The sentences of validation: which step each is about."""

from __future__ import annotations

import re

STEP = re.compile(r"(?:steps? |override of step )(?P<quote>['\"])(?P<step>.*?)(?P=quote)")
CYCLE = re.compile(r"steps (?P<step>\w+) → ")


def step_of(sentence: str) -> str | None:
    """Return the step that a sentence begins with, None where it is about the flow."""
    found = STEP.match(sentence) or CYCLE.match(sentence)
    return found["step"] if found else None
