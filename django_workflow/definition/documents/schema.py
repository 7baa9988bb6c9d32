"""The structure of a document: a JSON Schema, and its violations in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from math import inf
from pathlib import Path as FilePath
from typing import Any, Final

from django_workflow.definition.problems import Problem
from django_workflow.definition.schemas import schema
from django_workflow.spelling import nearest

#: The format as a JSON Schema, which editors may use as well.
SCHEMA: Final[Mapping[str, Any]] = json.loads(
    FilePath(__file__).with_name("flow.schema.json").read_text(encoding="utf-8")
)
#: How other languages call our keys.
OTHER_WORDS: Final = {
    **dict.fromkeys(("tasks", "nodes", "jobs", "states"), "steps"),
    **dict.fromkeys(("name", "id"), "slug"),
    **dict.fromkeys(("action", "function", "uses", "run", "call"), "handler"),
    **dict.fromkeys(("needs", "requires", "after", "upstream"), "depends_on"),
    **dict.fromkeys(("if", "condition", "unless"), "when"),
    **dict.fromkeys(("else", "default"), "otherwise"),
    **dict.fromkeys(("do", "target", "goto"), "to"),
    **dict.fromkeys(("with", "params", "input", "args", "kwargs"), "arguments"),
    **dict.fromkeys(("items", "for_each", "foreach", "loop"), "map"),
    **dict.fromkeys(("wait", "sleep"), "delay"),
    **dict.fromkeys(("transitions", "then"), "next"),
    **dict.fromkeys(("variables", "context"), "vars"),
    **dict.fromkeys(("retries", "attempts"), "retry"),
    **dict.fromkeys(("concurrency", "parallelism"), "max_parallel"),
    **dict.fromkeys(("start", "start_at", "begin"), "entry"),
}
#: Characters of a value that a problem shows.
SHOWN: Final = 60


@cache
def _validator() -> Any:
    return schema.compiled(SCHEMA)


def problems(document: Any) -> list[Problem]:
    """Return how a document does not have the structure of one, each with its place."""
    from django_workflow.definition.schemas.checking import limited  # noqa: PLC0415  it imports jsonschema

    with limited(inf):  # our own schema takes as much as the document is long
        return [problem for error in _validator().iter_errors(document) for problem in _problems(error)]


def _problems(error: Any) -> Iterator[Problem]:
    path, value, where = tuple(error.absolute_path), error.instance, error.schema
    if error.validator == "additionalProperties":
        for key in value:
            if key not in where["properties"]:
                yield Problem("unknown_option", (*path, key), _unknown(key, list(where["properties"])))
    elif error.validator == "required":
        missing = next(name for name in where["required"] if name not in value)
        yield Problem("missing", (*path, missing), _missing(missing, path, where))
    elif error.validator == "oneOf" and isinstance(value, dict):
        yield Problem("conflict" if "otherwise" in value else "missing", path, _undecided(value))
    elif error.validator != "oneOf":
        yield Problem("bad_value", path, f"{_name(path)} must be {where['description']}, not {shown(value)}")


def _name(path: tuple[str | int, ...]) -> str:
    """Name what is at a path: its key, and of an entry its number."""
    if not path:
        return "a document"
    if len(path) == 2 and path[0] == "steps":
        return "a step"
    if isinstance(path[-1], int):
        return "it" if path[-2] == "next" else f"{path[-2]}, entry {path[-1] + 1}"
    return f"retry: {path[-1]}" if "retry" in path[:-1] else str(path[-1])


def _unknown(key: str, known: list[str]) -> str:
    other = OTHER_WORDS.get(key.lower())
    meant = nearest(key, known) or (other if other in known else None)
    if meant is not None:
        return f"unknown key {shown(key)}; did you mean {meant!r}?"
    if key == "<<":
        return "merge keys (<<) have no place here; write the keys out"
    return f"unknown key {shown(key)}; known here: {', '.join(known)}"


def _missing(name: str, path: tuple[str | int, ...], where: Mapping[str, Any]) -> str:
    if not path:
        return f"{name} is missing, {where['properties'][name]['description']}"
    return f"{_name(path)} must be {where['description']}"


def _undecided(transition: Mapping[str, Any]) -> str:
    if "otherwise" in transition:
        rival = "to" if "to" in transition else "when"
        return f"a transition has otherwise: or {rival}:, not both"
    return "a transition needs to: or otherwise:"


def shown(value: Any) -> str:
    """Return a value as a problem shows it: in the words of a document, and short."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
