"""What a flow takes as its input: a JSON Schema, checked once, compiled once, asked at each start.

The library is imported where a flow declares a schema, so that a process without one does not load it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django_workflow.definition.schemas import patterns
from django_workflow.text import is_storable

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
#: Keywords whose value is data, not a schema.
DATA_KEYWORDS: Final = frozenset({"const", "default", "enum", "examples"})
#: Keywords whose value has schemas by name.
NAMED: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
#: Most violations listed at once, and most characters of each.
MOST, LONGEST = 5, 300
#: Most violations that are looked for, of which the first by their place are listed.
MOST_ERRORS: Final = 100
#: How deep a sample follows a schema that contains itself.
MAX_DEPTH: Final = 6
#: How deep lists and dictionaries may lie in each other: pages, drivers and people's own code go down by recursion.
JSON_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """A part of a value that does not fit its schema.

    path: where, as `.items[0].sku`; empty at the top. message: the schema's.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"at {self.path or 'its top'}: {self.message}"


def problems(schema: Any) -> list[str]:
    """Return what is wrong with a schema; none where it can be used."""
    if not isinstance(schema, Mapping):
        return [f"input_schema is a JSON Schema as a dictionary, not {schema!r}"]
    try:
        plain = as_json(schema)
    except (TypeError, ValueError, RecursionError) as error:
        return [f"input_schema is not JSON: {error}"]
    if problem := not_json(plain):
        return [f"input_schema is {problem}"]
    remote = [name for name in _texts(plain, REFERENCES) if not name.startswith("#")]
    if remote:
        return [f"input_schema: $ref {name!r} leads out of the document" for name in dict.fromkeys(remote)]
    if any(_texts(value, ("$id",)) for value in plain.values()):
        return ["input_schema: $id is for its top only; below it references would mean something else"]
    return _misuses(plain)


def _misuses(schema: dict[str, Any]) -> list[str]:
    from jsonschema import validators  # noqa: PLC0415  see above
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415
    from referencing import Registry, Resource  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    dialect = schema.get("$schema", "")
    unknown: Any = None
    if dialect and (not isinstance(dialect, str) or validators.validator_for(schema, default=unknown) is unknown):
        return [f"input_schema: $schema {dialect!r} is unknown"]
    try:
        type(compiled(schema)).check_schema(schema)
    except SchemaError as error:
        return [f"input_schema {Violation(_path(error.absolute_path), _short(error.message))}"]
    if problems := _refused_patterns(schema):
        return problems
    resource: Any = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry().resolver_with_root(resource)
    dangling = []
    for name in dict.fromkeys(_texts(schema, REFERENCES)):
        try:
            resolver.lookup(name)
        except Unresolvable:
            dangling.append(f"input_schema: $ref {name!r} leads nowhere")
    return dangling


def _refused_patterns(schema: Any) -> list[str]:
    """Return which patterns of a schema cannot be matched in bounded time."""
    problems = []
    keywords: list[tuple[str, Any]] = list(_keywords(schema))
    for keyword, value in keywords:
        wanted = [value] if keyword == "pattern" else list(value) if keyword == "patternProperties" else []
        for pattern in wanted:
            try:
                patterns.compiled(pattern)
            except patterns.PatternError as error:
                problems.append(f"input_schema: {error}")
    names = {keyword for keyword, _ in keywords}
    if {"unevaluatedProperties", "patternProperties"} <= names:
        problems.append(
            "input_schema: unevaluatedProperties does not go with patternProperties; use additionalProperties"
        )
    return problems


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keywords of a schema and of its parts, with their values; names of properties are none."""
    if isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value
            if key in NAMED and isinstance(value, dict):
                for part in value.values():
                    yield from _keywords(part)
            elif key not in DATA_KEYWORDS:
                yield from _keywords(value)


def as_json(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as it is stored: lists for tuples, texts for keys."""
    plain: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
    return plain


def _texts(schema: Any, keywords: Sequence[str]) -> list[str]:
    """Return the texts that some keywords have anywhere in a schema."""
    if isinstance(schema, list):
        return [text for item in schema for text in _texts(item, keywords)]
    if not isinstance(schema, dict):
        return []
    texts = []
    for key, value in schema.items():
        if key in keywords and isinstance(value, str):
            texts.append(value)
        elif key not in DATA_KEYWORDS:
            texts += _texts(value, keywords)
    return texts


def compiled(schema: Mapping[str, Any]) -> Validator:
    """Return the validator of a schema; it fetches nothing from anywhere."""
    import jsonschema  # noqa: PLC0415  see above

    from django_workflow.definition.schemas import checking  # noqa: PLC0415  it imports jsonschema

    validator: Validator = checking.validator_of(schema, jsonschema.Draft202012Validator)
    return validator


def violations(validator: Validator, value: Any) -> list[Violation]:
    """Return how a JSON value does not fit, the first few by their place; none where it does."""
    from django_workflow.definition.schemas.checking import MOST_WORK, TooMuchWork, limited  # noqa: PLC0415  see above

    try:
        with limited(MOST_WORK):
            if validator.is_valid(value):
                return []
            errors = islice(validator.iter_errors(value), MOST_ERRORS)
            ordered = sorted(errors, key=lambda error: [str(part) for part in error.absolute_path])
    except RecursionError:
        return [Violation("", "it is nested too deeply to be checked")]
    except ArithmeticError as error:
        return [Violation("", f"it has a number that cannot be checked: {error}")]
    except patterns.PatternError as error:
        return [Violation("", f"it cannot be checked: {error}")]
    except TooMuchWork:
        return [Violation("", f"it takes more than {MOST_WORK:,} steps to be checked")]
    return [Violation(_path(error.absolute_path), _short(error.message)) for error in ordered[:MOST]]


def _path(parts: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _short(message: str) -> str:
    return message if len(message) <= LONGEST else f"{message[: LONGEST // 2]} … {message[-LONGEST // 2 :]}"


def sample(schema: Mapping[str, Any]) -> Any:
    """Return a value in the shape of a schema, for people to fill in."""
    return _sample(schema, schema, 0)


def _sample(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return None
    if isinstance(schema.get("$ref"), str):
        return _sample(_at(root, schema["$ref"]), root, depth + 1)
    if "const" in schema or "default" in schema:
        return schema.get("default", schema.get("const"))
    for keyword in ("examples", "enum"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    for keyword in ("oneOf", "anyOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return _sample(_merge(_without(schema, keyword), schema[keyword][0]), root, depth + 1)
    if isinstance(schema.get("allOf"), list):
        merged = _without(schema, "allOf")
        for part in schema["allOf"]:
            part = _at(root, part["$ref"]) if isinstance(part, Mapping) and "$ref" in part else part  # noqa: PLW2901
            merged = _merge(merged, part)
        return _sample(merged, root, depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            parts = schema.get("properties", {})
            return {name: _sample(part, root, depth + 1) for name, part in parts.items()}
        case "array":
            count = max(1, schema.get("minItems", 0))
            return [_sample(schema["items"], root, depth + 1)] * min(int(count), 3) if schema.get("items") else []
        case "string":
            return ""
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None


def _without(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != keyword}


def _merge(one: dict[str, Any], other: Any) -> dict[str, Any]:
    if not isinstance(other, Mapping):
        return one
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    return merged


def _at(root: Any, reference: str) -> Any:
    """Return the part of a document that a JSON pointer names; None for other references."""
    part_of_root = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            part_of_root = part_of_root[int(key)] if isinstance(part_of_root, list) else part_of_root[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return part_of_root if reference in ("#", "") or reference.startswith("#/") else None


def is_json(value: Any) -> bool:
    """Say whether a value is made of what JSON and PostgreSQL have: texts as keys, no NaN, no infinity, no NUL."""
    return not not_json(value)


def not_json(value: Any) -> str:
    """Return why a value cannot be stored as JSON; empty where it can."""
    level = [value]
    for _ in range(JSON_DEPTH + 1):
        if any(not _is_plain(item) for item in level):
            return "no JSON value"
        level = [part for item in level if isinstance(item, Mapping | list | tuple) for part in _parts(item)]
        if not level:
            return ""
    return f"nested deeper than {JSON_DEPTH} levels"


def _parts(item: Any) -> Any:
    return item.values() if isinstance(item, Mapping) else item


def _is_plain(item: Any) -> bool:
    if isinstance(item, Mapping):
        return all(isinstance(key, str) and is_storable(key) for key in item)
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, str):
        return is_storable(item)
    return item is None or isinstance(item, int | list | tuple)
