"""What changes from one definition to another, in the words of a document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django_workflow.definition import drafts
from django_workflow.definition.documents import content
from django_workflow.definition.spec import FlowSpec

ADDED: Final = "added"
REMOVED: Final = "removed"
CHANGED: Final = "changed"
#: Options whose parts are compared each by itself.
PARTS: Final = frozenset({"vars", "output", "retry", "map", "arguments"})
SIGNS: Final = {ADDED: "+", REMOVED: "-", CHANGED: "~"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changes.

    kind: "added", "removed" or "changed". place: "flow", or the step. option: which one; empty for a whole step.
    before, after: its values as a document writes them; None where there is none.
    """

    kind: str
    place: str
    option: str = ""
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        head = f"{SIGNS[self.kind]} {self.place}" + (f": {self.option}" if self.option else "")
        if self.kind == CHANGED:
            return (
                f"{head}: {in_one_line(self.before)} → {in_one_line(self.after)}" if self.before != self.after else head
            )
        value = self.after if self.kind == ADDED else self.before
        return head if value is None else f"{head}: {in_one_line(value)}"


def in_one_line(value: Any) -> str:
    """Return a value in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differences(before: FlowSpec | None, after: FlowSpec) -> list[Difference]:
    """Return what changes, of the flow first and then step by step; everything is added where nothing was before."""
    old = {} if before is None else content.plain(drafts.of_spec(before))
    new = content.plain(drafts.of_spec(after))
    old_steps, new_steps = old.pop("steps", {}), new.pop("steps")
    changes = list(_of_options("flow", old, new))
    for name, step in new_steps.items():
        place = f"step {name!r}"
        if name not in old_steps:
            changes.append(Difference(ADDED, place, after=step))
        else:
            changes += _of_options(place, old_steps[name], step)
            changes += _of_transitions(place, old_steps[name].get("next", []), step.get("next", []))
    changes += [
        Difference(REMOVED, f"step {name!r}", before=step) for name, step in old_steps.items() if name not in new_steps
    ]
    kept = [name for name in old_steps if name in new_steps]
    order = [name for name in new_steps if name in old_steps]
    if kept != order:
        changes.append(Difference(CHANGED, "flow", "order of steps", kept, order))
    return changes


def _of_options(place: str, old: Mapping[str, Any], new: Mapping[str, Any], head: str = "") -> Iterator[Difference]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if name == "next" or ((name in old) == (name in new) and before == after):
            continue
        option = f"{head}{name}"
        if name in PARTS and not head:
            yield from _of_options(place, before or {}, after or {}, f"{name}.")
        elif name not in old:
            yield Difference(ADDED, place, option, after=after)
        elif name not in new:
            yield Difference(REMOVED, place, option, before=before)
        else:
            yield Difference(CHANGED, place, option, before, after)


def _of_transitions(place: str, old: list[Any], new: list[Any]) -> Iterator[Difference]:
    """Compare what stands in `next`: each transition as a whole, and their order."""
    gone = [item for item in old if item not in new]
    come = [item for item in new if item not in old]
    for item in gone:
        yield Difference(REMOVED, place, "next", before=item)
    for item in come:
        yield Difference(ADDED, place, "next", after=item)
    if old != new and not gone and not come:
        yield Difference(CHANGED, place, "order of next", old, new)
