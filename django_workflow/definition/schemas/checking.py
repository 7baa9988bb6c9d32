"""Checking inputs against JSON Schemas with bounded work: no input holds up others.

The library's own keywords search with `re`, which some patterns make endless, compare each item with each, and follow
references that double without end. Here patterns are the package's own, items are compared by what identifies them,
and every keyword counts as work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from jsonschema import FormatChecker, ValidationError, validators
from referencing.jsonschema import EMPTY_REGISTRY

from django_workflow.definition.schemas import patterns

#: The most that is done for one input, in looks at a character or an item: a few seconds.
MOST_WORK: Final = 3_000_000
#: What each keyword takes, in the same measure.
KEYWORD: Final = 10
#: Formats that are checked: those that need nothing but Python. Others are notes for people.
FORMATS: Final = ("date", "email", "ipv4", "ipv6", "regex", "uuid")

Keyword = Callable[[Any, Any, Any, Any], Any]


class TooMuchWork(Exception):
    """An input takes too long to be checked."""


class _Work(threading.local):
    """What this thread may still spend on the input that it checks; nothing outside of `limited`."""

    left: float = 0

    def spend(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise TooMuchWork


work = _Work()


@contextmanager
def limited(most: float) -> Iterator[None]:
    """Let what is checked in the block take so much work, whatever this thread has checked before."""
    before, work.left = work.left, most
    try:
        yield
    finally:
        work.left = before


def validator_of(schema: Mapping[str, Any], default: Any) -> Any:
    """Return the validator of a schema; it fetches nothing from anywhere, and works within `limited` only."""
    base = validators.validator_for(schema, default=default)
    keywords = {name: _counted(_OWN.get(name) or function) for name, function in base.VALIDATORS.items()}
    cls: Any = validators.extend(base, keywords)  # type: ignore[no-untyped-call]
    # the registry that the library has otherwise would ask the network for what is not in the document
    return cls(schema, registry=EMPTY_REGISTRY, format_checker=FormatChecker(FORMATS))


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        work.spend(KEYWORD)
        return keyword(validator, value, instance, schema)

    return counted


def _matches(pattern: str, text: str) -> bool:
    return patterns.compiled(pattern).is_in(text, work.spend)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, part in value.items():
        for name, item in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(item, part, path=name, schema_path=pattern)


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    known = schema.get("properties", {})
    wanted = schema.get("patternProperties", {})
    extra = [name for name in instance if name not in known and not any(_matches(pattern, name) for pattern in wanted)]
    if validator.is_type(value, "object"):
        for name in extra:
            yield from validator.descend(instance[name], value, path=name)
    elif not value and extra:
        listed = ", ".join(map(repr, extra[:10]))
        yield ValidationError(f"Additional properties are not allowed: {listed}{' …' if len(extra) > 10 else ''}")


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not value or not validator.is_type(instance, "array"):
        return
    seen = set()
    for place, item in enumerate(instance):
        identity = _identity(item)
        if identity in seen:
            yield ValidationError(f"the item at {place} is there twice")
            return
        seen.add(identity)


def _identity(value: Any) -> Any:
    """Return something that is equal for equal JSON values only, and can be looked up."""
    work.spend()
    if isinstance(value, Mapping):
        return "object", frozenset((name, _identity(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(_identity(item) for item in value)
    # a truth value is no number in JSON, and 1.0 is 1
    return type(value) is bool, value


_OWN: Final[dict[str, Any]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
