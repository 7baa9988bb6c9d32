"""JSON in and out: what may be stored, and an exact word on what may not."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_workflow.conf import conf
from django_workflow.definition.schemas.schema import JSON_DEPTH
from django_workflow.exceptions import PayloadError

NULL = "null"
#: A key that may have been a number, a truth value or None.
NUMBER_AS_KEY = re.compile(r'"(?:-?[0-9][^"]*|true|false|null)":')


class _Encoder(DjangoJSONEncoder):
    """DjangoJSONEncoder (dates, Decimal, UUID, lazy strings) that knows dataclasses too."""

    def default(self, o: Any) -> Any:
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return {item.name: getattr(o, item.name) for item in dataclasses.fields(o)}
        return super().default(o)


_encode = _Encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dumps(value: Any, *, what: str, limit: int | None = None) -> str:
    """Return `value` as JSON text that PostgreSQL accepts.

    what: names the value in errors, for example "step 'charge': the output".
    limit: bytes allowed.
    Raises `PayloadError` naming the path of the offending part, or both sizes.
    """
    if value is None:
        return NULL
    try:
        text = _encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        path, reason = _find_offender(value) or ("", str(error))
        raise PayloadError(f"{what} is not JSON at {path or 'its top'}: {reason}", path=path) from error
    # each cheap look at the text says whether a dear one at the value may find something
    is_suspect = "\\u0000" in text or NUMBER_AS_KEY.search(text) is not None or _is_deep(text, value)
    if is_suspect and (found := _find_offender(value)):
        raise PayloadError(f"{what} cannot be stored, at {found[0] or 'its top'}: {found[1]}", path=found[0])
    if limit is not None and size > limit:
        raise PayloadError(f"{what} has {size:,} bytes of JSON; {limit:,} are allowed", size=size)
    return text


def dump_input(value: Any, *, flow: str) -> str:
    """Return a run's input as JSON text within `MAX_INPUT_BYTES`."""
    return dumps(value, what=f"The input of flow {flow!r}", limit=conf.MAX_INPUT_BYTES)


def dump_output(value: Any, *, step: str) -> str:
    """Return a handler's output as JSON text within `MAX_OUTPUT_BYTES`."""
    return dumps(value, what=f"The output of step {step!r}", limit=conf.MAX_OUTPUT_BYTES)


def readable(value: Any) -> str:
    """Return a value as indented JSON for people; never raises, whatever the database holds."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deeply to be shown)"


def loads(text: str | None) -> Any:
    """Return the value of JSON text; None is null."""
    return None if text is None else json.loads(text)


def _is_deep(text: str, value: Any) -> bool:
    """Say whether lists and dictionaries lie in each other deeper than `JSON_DEPTH`."""
    if text.count("[") + text.count("{") <= JSON_DEPTH:
        return False
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [part for item in level for part in _parts(item) if not isinstance(part, _JSON_KEYS)]
        if not level:
            return False
    return True


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    if isinstance(item, list | tuple):
        return item
    if dataclasses.is_dataclass(item):
        return [getattr(item, part.name) for part in dataclasses.fields(item)]
    return ()


#: What a value of a type that is often met may be instead.
_INSTEAD: dict[type, str] = {set: "; make it a list", frozenset: "; make it a list", bytes: "; make it text"}


def _find_offender(value: Any) -> tuple[str, str] | None:
    """Return the path of the first part that JSON or PostgreSQL refuses, and why."""
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        path, item, depth = pending.pop()
        if depth >= JSON_DEPTH and isinstance(item, dict | list | tuple):
            return path, f"nested deeper than {JSON_DEPTH} levels"
        if not isinstance(item, _JSON):
            try:
                pending.append((path, _Encoder().default(item), depth))
            except TypeError:
                return path, f"{type(item).__name__} is not a JSON type{_INSTEAD.get(type(item), '')}"
            except ValueError as error:
                return path, str(error)
        elif reason := _refusal(item):
            return path, reason
        else:
            if isinstance(item, dict) and (bad := _bad_key(item)):
                return f"{path}.<key {bad[0]!r}>", bad[1]
            pending.extend((path + part, child, depth + 1) for part, child in reversed(_children(item)))
    return None


def _children(item: Any) -> list[tuple[str, Any]]:
    if isinstance(item, dict):
        return [(f".{key}", child) for key, child in item.items()]
    if isinstance(item, list | tuple):
        return [(f"[{index}]", child) for index, child in enumerate(item)]
    return []


def _bad_key(item: dict[Any, Any]) -> tuple[Any, str] | None:
    for key in item:
        if reason := _refusal(key) if isinstance(key, _JSON_KEYS) else f"{type(key).__name__} is no key in JSON":
            return key, reason
        if not isinstance(key, str) and json.loads(json.dumps({key: None}).partition(":")[0][1:]) in item:
            return key, "in JSON keys are texts, and there is one already that is the same text"
    return None


_JSON_KEYS = (str, int, float, type(None))
_JSON = (*_JSON_KEYS, list, tuple, dict)


def _refusal(item: Any) -> str | None:
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{item!r} is not a JSON number"
    if isinstance(item, str) and "\x00" in item:
        return "text with a NUL character"
    if isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
        return "text with a lone surrogate"
    return None
