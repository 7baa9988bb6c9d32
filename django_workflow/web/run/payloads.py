"""Inputs, items and outputs as the run page shows them: cut to size, and hidden from who may not see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_workflow.payload import readable
from django_workflow.read.run.facts import Facts
from django_workflow.read.run.results import read_parts
from django_workflow.read.run.steps import StepFacts
from django_workflow.web.address import Address

#: Characters of a value that are shown, and shown when all of it is asked for.
SHORT: Final = 6_000
LONG: Final = 2_000_000
#: Items of a map's output that are shown.
MOST_ITEMS: Final = 20
#: Steps whose outputs are shown together.
MOST_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON value to show."""

    label: str
    #: Indented; None where there is none.
    text: str | None = None
    #: Whether the viewer may not see it.
    is_masked: bool = False
    #: What was left out.
    note: str = ""
    #: The address at which all of it is shown.
    whole: str = ""
    href: str = ""


def value_of(label: str, value: Any, name: str, address: Address) -> Value:
    """Return a value that is at hand."""
    text = readable(value)
    limit = LONG if address.whole == name else SHORT
    if len(text) <= limit:
        return Value(label, text)
    return Value(label, text[:limit] + "…", note=_cut(limit, len(text)), whole=address.to(whole=name))


def value_of_text(label: str, text: str | None, size: int | None, name: str, address: Address) -> Value:
    """Return a value of which the database gave the text, perhaps cut.

    size: how long it really is.
    """
    if text is None or size is None:
        return Value(label)
    if len(text) >= size:
        return Value(label, indented(text))
    return Value(label, text + "…", note=_cut(len(text), size), whole=address.to(whole=name))


def indented(text: str) -> str:
    """Return JSON text with indentation."""
    try:
        return readable(json.loads(text))
    except RecursionError:
        return text


def _cut(shown: int, size: int) -> str:
    return f"the first {shown:,} of {size:,} characters"


def limit_for(address: Address, name: str) -> int:
    """Return how many characters of a value are to be read."""
    return LONG if address.whole == name else SHORT


#: What is shown instead of what a handler said when it skipped.
HIDDEN_REASON: Final = "Its handler said why: hidden, needs the permission to view payloads."


WHOLE_OUTPUT: Final = "output"


def read_outputs(facts: Facts, names: Iterable[str], address: Address) -> dict[str, Value]:
    """Read what steps gave, as far as it is shown, with one statement; steps that gave nothing are left out.

    Of a step that ran several times it is what its last activation gave, in the outermost scope: as the run's output.
    """
    steps = [facts.steps[name] for name in dict.fromkeys(names) if facts.steps[name].outer_status == "succeeded"]
    steps = steps[:MOST_STEPS]
    if not steps:
        return {}
    limit = limit_for(address, WHOLE_OUTPUT)
    items = LONG if limit == LONG else MOST_ITEMS
    parts = read_parts([step.outer_id for step in steps if step.outer_id is not None], items, limit)
    return {step.step: _output(step, parts.get(step.step, []), address) for step in steps}


def _output(step: StepFacts, parts: Sequence[tuple[int, str, int]], address: Address) -> Value:
    if not step.is_map or (parts and parts[0][0] < 0):
        # what an operator gave stands for the whole step
        _, text, size = parts[0] if parts else (0, "null", 4)
        return value_of_text(step.step, text, size, WHOLE_OUTPUT, address)
    left = step.task_count - len(parts) if step.id == step.outer_id else 0
    note = f"{left:,} more items, listed with the step" if left > 0 else ""
    if all(len(text) >= size for _, text, size in parts):
        text = indented(f"[{','.join(text for _, text, _ in parts)}]")
    else:
        text = "[\n" + ",\n".join(f"  {text}{'…' if len(text) < size else ''}" for _, text, size in parts) + "\n]"
        note = note or "long items are cut"
    limit = limit_for(address, WHOLE_OUTPUT)
    if len(text) > limit:
        text, note = text[:limit] + "…", note or "cut"
    whole = address.to(whole=WHOLE_OUTPUT) if note and limit < LONG else ""
    return Value(step.step, text, note=note, whole=whole)
