"""What the branches of a run know by name, and what becomes of it where they publish and where they meet. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django_workflow.definition.schemas import schema
from django_workflow.engine.routing.facts import NO_VARIABLES, RunState, Variables
from django_workflow.exceptions import ExpressionError


def check_size(value: Mapping[str, Any], place: str, limit: int) -> None:
    """Raise `ExpressionError` for a JSON value of more bytes than may be stored.

    A decision says so, for the run can then fail for it; once it is written there is nobody left to decide.
    """
    if (size := size_of(value)) > limit:
        raise ExpressionError(f"{place}: {size:,} bytes of JSON are too many; {limit:,} are allowed")


def size_of(value: Mapping[str, Any]) -> int:
    """Return how many bytes of JSON a value has."""
    return len(json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")).encode())


class Branches:
    """The variables of one decision: those that are stored, and in `made` the new ones, in order."""

    def __init__(self, state: RunState, made: list[Variables], limit: int) -> None:
        self._state = state
        self._made = made
        self._limit = limit
        self._by_key: dict[int, Variables] = {}

    def variables(self, key: int | None) -> Variables:
        """Return variables by their id; None has none."""
        if key is None:
            return NO_VARIABLES
        return self._by_key.get(key) or self._state.variables(key)

    def joined(self, keys: Sequence[int | None], place: str) -> int | None:
        """Return the variables of several branches as one: of each name what was written last (SEMANTICS F5).

        place: names them where they are too large together, which raises `ExpressionError`.
        """
        different = list(dict.fromkeys(key for key in keys if key is not None))
        if len(different) < 2:
            return different[0] if different else None
        rows = [self.variables(key) for key in different]
        writers: dict[str, Variables] = {}
        for row in rows:
            for name, stamp in row.stamps.items():
                if name not in writers or stamp > writers[name].stamps[name]:
                    writers[name] = row
        stamps = {name: row.stamps[name] for name, row in writers.items()}
        same = next((row for row in rows if row.stamps == stamps), None)
        if same is not None:
            return same.id
        values = {name: row.values[name] for name, row in writers.items()}
        check_size(values, place, self._limit)
        return self._add(values, stamps)

    def keep(
        self, values: Mapping[str, Any], known: Variables, written: set[str] | None = None, place: str = "variables"
    ) -> int:
        """Make new variables; `written` are the names set now, None for all."""
        for name in values if written is None else written:
            if problem := schema.not_json({name: values[name]}):
                raise ExpressionError(f"{place}: {name!r} is {problem}")
        check_size(values, place, self._limit)
        stamps = dict(known.stamps)
        key = self._state.new_variables()
        stamps.update(dict.fromkeys(values if written is None else written, key))
        return self._add(values, stamps, key)

    def _add(self, values: Mapping[str, Any], stamps: Mapping[str, int], key: int | None = None) -> int:
        key = self._state.new_variables() if key is None else key
        row = self._by_key[key] = Variables(key, values, stamps)
        self._made.append(row)
        return key
