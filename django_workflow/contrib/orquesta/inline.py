"""Short forms: parameters in a line of text, `a=1 b="two" c=<% ctx(x) %>`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from django_workflow.contrib.orquesta.expressions.marks import VALUES, Marked

Pairs = tuple[tuple[str, Any], ...]

_NAME: Final = re.compile(r"(\w+)=")
_SEPARATOR: Final = re.compile(r"[\s,;]+")
_WORD: Final = re.compile(r"(?:true|false|null|-?\d+(?:\.\d+)?|-?\.\d+)(?=[\s,;]|\Z)", re.IGNORECASE)
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


def split_action(text: str) -> tuple[str, str]:
    """Return an action's name, which may hold expressions, and what follows it."""
    end, marked = 0, Marked(text, VALUES)
    while end < len(text) and not text[end].isspace():
        end = marked.end(end) or end + 1
    return text[:end], text[end:].strip()


def parameters(text: str) -> Pairs:
    """Return names and values in their order; raises `ValueError` where the text says something else."""
    found, place = [], 0
    text = text.strip()
    marked = Marked(text, VALUES)
    while place < len(text):
        name = _NAME.match(text, place)
        if name is None:
            raise ValueError(f"{_rest(text, place)} is no parameter; write name=value")
        value, place = _value(marked, name.end(), name[1])
        found.append((name[1], value))
        separator = _SEPARATOR.match(text, place)
        if separator is None and place < len(text):
            raise ValueError(f"{_rest(text, place)} follows the value of {name[1]!r}; quote a value of several parts")
        place = separator.end() if separator else place
    return tuple(found)


def _value(marked: Marked, begin: int, name: str) -> tuple[Any, int]:
    text = marked.text
    end = marked.end(begin)
    if end is not None:
        return text[begin:end], end
    sign = text[begin : begin + 1]
    if sign and sign in "\"'":
        end = _end_of_quote(marked, begin, name)
        return _unquoted(text[begin + 1 : end - 1]), end
    if sign == "[":
        end = _end_of_list(marked, begin, name)
        return _json_or_text(text[begin:end]), end
    word = _WORD.match(text, begin)
    if word is None:
        raise ValueError(f"the value of {name!r}, {_rest(text, begin)}, is no number, constant or expression; quote it")
    lowered = word[0].lower()
    if lowered in _CONSTANTS:
        return _CONSTANTS[lowered], word.end()
    return (float(lowered) if "." in lowered else int(lowered)), word.end()


def _end_of_quote(marked: Marked, begin: int, name: str) -> int:
    """Return where a quoted text ends; quotes in expressions do not end it."""
    text, place = marked.text, begin + 1
    while place < len(text):
        end = marked.end(place)
        if end is not None:
            place = end
        elif text[place] == text[begin]:
            return place + 1
        else:
            place += 1
    raise ValueError(f"the value of {name!r}, {_rest(text, begin)}, has no closing quote")


def _end_of_list(marked: Marked, begin: int, name: str) -> int:
    text, place, depth = marked.text, begin, 0
    while place < len(text):
        end = marked.end(place)
        if end is not None:
            place = end
            continue
        if text[place] in "\"'":
            place = _end_of_quote(marked, place, name)
            continue
        depth += (text[place] == "[") - (text[place] == "]")
        place += 1
        if depth == 0:
            return place
    raise ValueError(f"the value of {name!r}, {_rest(text, begin)}, has no closing bracket")


def _unquoted(text: str) -> Any:
    return _json_or_text(text) if text.startswith("{") and text.endswith("}") else text


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _rest(text: str, place: int) -> str:
    rest = text[place:]
    return repr(rest if len(rest) <= 40 else f"{rest[:40]}…")
