"""From a text to a definition: all problems at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from django_workflow.definition.documents import content, json_text, nodes, schema, yaml_text
from django_workflow.definition.documents.nodes import Broken, Builder, Node
from django_workflow.definition.documents.problems import Finding, Path, Problem, place_of
from django_workflow.definition.drafts import FlowDraft
from django_workflow.definition.problems import CYCLE, STEP
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written.steps import FlowOptions
from django_workflow.exceptions import DefinitionError, InvalidArgument

SUFFIXES: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
#: Most problems told at once.
MOST_TOLD: Final = 200
EMPTY: Final = FlowDraft("", FlowOptions(), {}, ())


@dataclass(frozen=True)
class Document:
    """A flow as a text says it.

    draft: what could be read. problems: what could not, in the order of lines.
    """

    draft: FlowDraft
    problems: tuple[Problem, ...]
    root: Node | None
    spoilt: tuple[Path, ...] = ()

    @property
    def slug(self) -> str:
        """The flow's name; empty where none can be read."""
        return self.draft.slug if isinstance(self.draft.slug, str) else ""

    def compile(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> FlowSpec:
        """Return the definition, with the code that is registered here.

        overrides: options of its steps to replace, as those of the stored flow.
        Raises `DefinitionError` with everything that is wrong with the text, the flow and its handlers.
        """
        problems = list(self.problems)
        try:
            compiled = self.draft.compile(overrides=overrides) if self.root is not None else None
        except DefinitionError as error:
            problems += self._news(error.problems)
            compiled = None
        if problems or compiled is None:
            raise DefinitionError(_told(problems), flow=self.slug or None)
        return compiled

    def located(self, sentences: Iterable[str]) -> list[Problem]:
        """Return what validation says of the flow, with the lines it speaks of."""
        return [self._problem(sentence) for sentence in sentences]

    def _news(self, sentences: Iterable[str]) -> list[Problem]:
        """Leave out what only follows from what could not be read."""
        told = []
        spoilt = frozenset(self.spoilt)
        around = {item[:length] for item in spoilt for length in range(1, len(item))}
        for sentence in sentences:
            path = path_of(sentence)
            is_of_it = path in around or any(path[:length] in spoilt for length in range(len(path) + 1))
            if is_of_it or (spoilt and _OF_THE_WHOLE.search(sentence)):
                continue
            told.append(self._problem(sentence))
        return told

    def _problem(self, sentence: str) -> Problem:
        place, message = _split(sentence)
        node = self.root.at(path_of(sentence)) if self.root is not None else None
        line, column = (node.line, node.column) if node is not None else (1, 1)
        return Problem(message, line=line, column=column, place=place)


def read(text: str | bytes, format: str | None = None) -> Document:
    """Read a document, without asking whether its handlers are registered.

    format: "yaml" or "json"; None finds it out.
    Raises `DefinitionError` with every problem of its structure.
    """
    document = parse(text, format)
    if document.problems:
        raise DefinitionError(_told(document.problems), flow=document.slug or None)
    return document


def parse(text: str | bytes, format: str | None = None) -> Document:
    """Read what can be read; what is wrong is told by the document. YAML needs PyYAML, else `NotSupported`."""
    if not isinstance(text, str | bytes):
        raise InvalidArgument(f"a document is text, not {schema.shown(text)}")
    if format not in (None, "yaml", "json"):
        raise InvalidArgument(f'format= is "yaml", "json" or None, not {schema.shown(format)}')
    builder = Builder()
    try:
        _compose(_decoded(text), format, builder)
    except Broken as broken:
        return Document(EMPTY, (*builder.problems, broken.problem), None)
    root = builder.root
    if root is None or root.value is None:
        return Document(EMPTY, (Problem("it is empty; a flow begins with slug: name", line=1),), None)
    if not isinstance(root.value, dict):
        message = f"a document is an object with slug and steps, not {schema.shown(root.plain())}"
        return Document(EMPTY, (Problem(message, line=root.line, column=root.column),), None)
    return _interpreted(root, builder.problems)


def _interpreted(root: Node, problems: list[Problem]) -> Document:
    """Make a draft of what has the right structure."""
    data = root.plain()
    findings = schema.findings(data)
    spoilt = [finding.path for finding in findings]
    for path in spoilt:
        _take_out(data, path)
    draft = content.Reader(findings.append).flow(data)
    located = [_located(finding, root) for finding in findings]
    spoilt = [finding.path for finding in findings]
    return Document(draft, tuple(sorted([*problems, *located], key=_order)), root, tuple(spoilt))


def format_of(path: str | PurePath) -> str | None:
    """Return the format that the name of a file says, if it does."""
    return SUFFIXES.get(PurePath(path).suffix.lower())


def _decoded(given: str | bytes) -> str:
    """Return the text without what marks its encoding; raises `Broken` for what is none."""
    try:
        text = given if isinstance(given, str) else given.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"it is not UTF-8: byte 0x{error.object[error.start]:02x}; save it in this encoding"
        raise Broken(Problem(message, line=line)) from None
    text = text.removeprefix("\ufeff")
    problem = nodes.unreadable(text)
    if problem is not None:
        raise Broken(problem)
    return text


def _compose(text: str, format: str | None, builder: Builder) -> None:
    if not text.strip():
        return
    is_json = format == "json" if format is not None else text.lstrip()[:1] in ("{", "[")
    (json_text if is_json else yaml_text).compose(text, builder)


def _take_out(data: Any, path: Path) -> None:
    """Take what cannot be read out of a document; a step or a transition stays as one that says nothing."""
    if path and path[-1] == "callable":
        path = path[:-1]
    holder = data
    for part in path[:-1]:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return
    key = path[-1] if path else None
    if isinstance(holder, list) and isinstance(key, int):
        holder[key] = "noop" if len(path) == 4 else ""
    elif len(path) == 2 and path[0] == "steps" and isinstance(holder, dict):
        holder[key] = {}
    elif key in ("to", "otherwise") and isinstance(holder, dict) and key in holder:
        holder[key] = "noop"
    elif isinstance(holder, dict):
        holder.pop(key, None)


def _located(finding: Finding, root: Node) -> Problem:
    node = root.at(finding.path)
    return Problem(finding.message, line=node.line, column=node.column, place=place_of(finding.path))


def _told(problems: Iterable[str]) -> list[str]:
    """Return problems in the order of lines, as many as somebody would read."""
    found = sorted(problems, key=_order)
    if len(found) > MOST_TOLD:
        more = len(found) - MOST_TOLD
        line = max(1, _order(found[MOST_TOLD])[0])
        found = [*found[:MOST_TOLD], Problem(f"{more:,} more problems from here on are not told", line=line)]
    return found


def _order(problem: str) -> tuple[int, int]:
    return (problem.line, problem.column) if isinstance(problem, Problem) else (0, 0)


_TRANSITION = re.compile(r"next, transition (?P<number>\d+): ")
_FLOW = re.compile(r"flow(?: ['\"].*?['\"])?: ")
_HEAD = re.compile(r"(?P<key>\w+)(?: ['\"](?P<name>\w+)['\"]|: (?P<part>\w+))?")
#: What is only known of a flow that could be read whole.
_OF_THE_WHOLE = re.compile(r"no step to begin with|steps lead to it$|never starts")
#: Which key a sentence speaks of that does not begin with it.
_KEYS: Final[tuple[tuple[str, Path], ...]] = (
    ("no handler", ("handler",)),
    ("parameter", ("handler",)),
    ("atomic", ("atomic",)),
    ("it depends on", ("depends_on",)),
    ("it leads to", ("to",)),
    ("a map needs", ("map", "over")),
    ("a map has", ("map",)),
    ("over", ("map", "over")),
    ("count", ("map", "count")),
    ("max_parallel", ("map", "max_parallel")),
    ("tolerate", ("map", "tolerate")),
    ("a slug is", ("slug",)),
    ("a flow of this name", ("slug",)),
    ("it has no steps", ("steps",)),
    ("no step to begin with", ("entry",)),
)


def path_of(sentence: str) -> Path:
    """Return the part of a document that a sentence of validation speaks of, which the document need not have."""
    path: Path = ()
    rest = sentence
    if found := STEP.match(sentence) or CYCLE.match(sentence):
        path, rest = ("steps", found["step"]), sentence[found.end() :].partition(": ")[2]
        if found := _TRANSITION.match(rest):
            path, rest = (*path, "next", int(found["number"]) - 1), rest[found.end() :]
    elif found := _FLOW.match(sentence):
        rest = sentence[found.end() :]
    for begin, keys in _KEYS:
        if rest.startswith(begin):
            return (*path, *keys)
    if found := _HEAD.match(rest):
        return tuple(part for part in (*path, found["key"], found["name"] or found["part"]) if part is not None)
    return path


def _split(sentence: str) -> tuple[str, str]:
    """Return the place that a sentence begins with, and what it says of it."""
    if found := STEP.match(sentence) or CYCLE.match(sentence):
        head, _, rest = sentence[found.start() :].partition(": ")
        if found := _TRANSITION.match(rest):
            return f"{head}: {rest[: found.end() - 2]}", rest[found.end() :]
        return head, rest
    if found := _FLOW.match(sentence):
        return "flow", sentence[found.end() :]
    return "flow", sentence
