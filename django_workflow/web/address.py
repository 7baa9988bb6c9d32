"""What the run page shows, as its address says it, and the addresses of what it could show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import urlencode

from django_workflow.statuses import TASK_STATUSES

#: Kinds of events that the page can be narrowed to.
EVENT_KINDS = ("run", "step", "task", "own")
#: Payloads that can be shown uncut.
PAYLOADS = ("input", "item", "output", "variables")


@dataclass(frozen=True, slots=True)
class Address:
    """The query of a run page; what is unknown or malformed in it counts as not said.

    step, item, task: what the panel shows. activation: which pass of it, by its id; turns: the page of its passes.
    status, page: which items of a map. kind, of, before: which events, those of a step, older than a number.
    lines: log lines before this one. whole: the payload to be shown uncut.
    """

    step: str = ""
    item: int | None = None
    task: int | None = None
    activation: int | None = None
    turns: int = 1
    status: str = ""
    page: int = 1
    kind: str = ""
    of: str = ""
    before: int | None = None
    lines: int | None = None
    whole: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Self:
        """Read a query."""
        status, kind, whole = query.get("status", ""), query.get("kind", ""), query.get("whole", "")
        return cls(
            step=_name(query.get("step")),
            item=number(query.get("item"), least=-1),
            task=number(query.get("task")),
            activation=number(query.get("activation")),
            turns=number(query.get("turns"), least=1) or 1,
            status=status if status in TASK_STATUSES else "",
            page=number(query.get("page"), least=1) or 1,
            kind=kind if kind in EVENT_KINDS else "",
            of=_name(query.get("of")),
            before=number(query.get("before")),
            lines=number(query.get("lines")),
            whole=whole if whole in PAYLOADS else "",
        )

    def to(self, anchor: str = "", **changes: Any) -> str:
        """Return the address with changes, relative to the page's own."""
        other = replace(self, **changes)
        values = {item.name: getattr(other, item.name) for item in fields(other)}
        told = {name: value for name, value in values.items() if value not in ("", None) and (name, value) not in FIRST}
        return f"?{urlencode(told)}{anchor}"

    def of_step(self, step: str) -> str:
        """Return the address of a step's panel."""
        return self.to("#task", step=step, **NOTHING_CHOSEN)

    def of_pass(self, step: str, activation: int) -> str:
        """Return the address of the panel of one activation of a step."""
        turns = self.turns if step == self.step else 1
        return self.to("#task", step=step, **NOTHING_CHOSEN | {"activation": activation, "turns": turns})

    def of_item(self, index: int) -> str:
        """Return the address of the panel of an item of the chosen step."""
        return self.to("#task", item=index, task=None, lines=None, whole="")


FIRST = (("page", 1), ("turns", 1))
NOTHING_CHOSEN: dict[str, Any] = {
    "item": None, "task": None, "activation": None, "turns": 1, "status": "", "page": 1, "lines": None, "whole": ""
}  # fmt: skip
#: The largest number that the database takes for an id.
MOST = 2**63 - 1


def number(text: str | None, *, least: int = 0) -> int | None:
    """Return a whole number within what the database knows."""
    try:
        value = int(text or "")
    except ValueError:
        return None
    return value if least <= value <= MOST else None


def _name(text: str | None) -> str:
    """Return what may be a step's name; no step has a longer one, or one that the database refuses."""
    return text if text and len(text) <= 128 and text.isprintable() else ""
