"""JSON in and out: what may be stored, and an exact word on what may not."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_workflow.conf import conf
from django_workflow.exceptions import PayloadError

NULL = "null"


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
    if "\\u0000" in text and (found := _find_offender(value)):
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


def loads(text: str | None) -> Any:
    """Return the value of JSON text; None is null."""
    return None if text is None else json.loads(text)


def _find_offender(value: Any) -> tuple[str, str] | None:
    """Return the path of the first part that JSON or PostgreSQL refuses, and why."""
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        path, item, depth = pending.pop()
        reason = _refusal(item)
        if reason:
            return path, reason
        if depth > 500:
            return path, "nested deeper than 500 levels"
        pending.extend((path + part, child, depth + 1) for part, child in _children(item))
    return None


def _children(item: Any) -> Iterable[tuple[str, Any]]:
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return [(f".{spec.name}", getattr(item, spec.name)) for spec in dataclasses.fields(item)]
    if isinstance(item, Mapping):
        keys = [(f".<key {key!r}>", key) for key in item]
        return keys + [(f".{key}", child) for key, child in item.items()]
    if isinstance(item, list | tuple):
        return [(f"[{index}]", child) for index, child in enumerate(item)]
    return ()


def _refusal(item: Any) -> str | None:
    if isinstance(item, str):
        if "\x00" in item:
            return "text with a NUL character"
        if any("\ud800" <= character <= "\udfff" for character in item):
            return "text with a lone surrogate"
        return None
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{item!r} is not a JSON number"
    if item is None or isinstance(item, bool | int | list | tuple | Mapping):
        return None
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return None
    try:
        _Encoder().default(item)
    except TypeError:
        return f"{type(item).__name__} is not a JSON type"
    except ValueError as error:
        return str(error)
    return None
