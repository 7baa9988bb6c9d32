"""Arrays as PostgreSQL reads them: lists of numbers, texts, ids, times and None.

psycopg adapts lists element by element. The engine passes twenty columns with each settle, and nearly all have
elements of one type: those are joined by functions of C, which takes a tenth of the time.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any
from uuid import UUID

NUMBERS = {int, float, bool}
TEXTS = {str}
IDS = {UUID}
NONES = {type(None)}
#: Stands between texts while they are quoted; no text of PostgreSQL's has it.
NUL = "\0"


def array(values: list[Any]) -> str:
    """Return the array literal of a list."""
    if len(values) == 1:  # one step was settled, which is told by some forty arrays
        return _array_of_one(values[0])
    kinds = set(map(type, values))
    if kinds == TEXTS:
        return _array_of_texts(values)
    if kinds == IDS:
        return "{" + ",".join([f"{value.int:032x}" for value in values]) + "}"
    if kinds == NONES:
        return "{" + ",".join(repeat("NULL", len(values))) + "}"
    return "{" + ",".join(map(str if kinds <= NUMBERS else _element, values)) + "}"


def _array_of_one(value: Any) -> str:
    kind = type(value)
    if kind is str and '"' not in value and "\\" not in value:
        return f'{{"{value}"}}'
    if kind in NUMBERS:
        return f"{{{value}}}"
    return f"{{{value.int:032x}}}" if kind is UUID else "{" + _element(value) + "}"


def _array_of_texts(values: list[str]) -> str:
    joined = NUL.join(values)
    if joined.count(NUL) != len(values) - 1:  # one has it itself: it is refused where it is sent
        return "{" + ",".join(map(_element, values)) + "}"
    return '{"' + _escaped(joined).replace(NUL, '","') + '"}'


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    # `str()` of an enumeration's member is not its text
    return f'"{_escaped(str.__str__(value) if isinstance(value, str) else str(value))}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
