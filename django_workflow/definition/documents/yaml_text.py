"""YAML with the place of each part: events only, so that no tag makes an object and no alias grows."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from django_workflow.definition.documents.nodes import MAX_DIGITS, Broken, Builder, Node, unreadable_at
from django_workflow.exceptions import NotSupported

#: What stands for something else than text, as in YAML 1.2: `on`, `yes` and `12:30` are texts.
CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z")


def library() -> Any:
    """Return PyYAML; raises `NotSupported` where it is not installed."""
    try:
        import yaml  # noqa: PLC0415  an extra: JSON works without it
    except ImportError:
        raise NotSupported(
            "YAML needs PyYAML, of the extra 'yaml': pip install PyYAML, or write the document as JSON."
        ) from None
    return yaml


def compose(text: str, builder: Builder) -> None:
    """Give the parts of a YAML text to `builder`; raises `Broken` where it is none."""
    yaml = library()
    reader = _Reader(yaml, builder)
    # the one written in C, where PyYAML has it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        raise _broken(f"this is no YAML: {_sentence(error)}", error.problem_mark or error.context_mark, text) from None
    except yaml.YAMLError as error:
        raise _broken(str(error), None) from None


class _Reader:
    def __init__(self, yaml: Any, builder: Builder) -> None:
        self._yaml = yaml
        self._builder = builder
        self._anchors: dict[str, Node] = {}
        self._names: list[str | None] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        yaml, mark = self._yaml, event.start_mark
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _broken("a second document begins here; a file holds one flow", mark)
        elif isinstance(event, yaml.AliasEvent):
            self._repeat(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, is_plain=event.implicit[0] or event.implicit[1])
            node = Node(self._value(event), mark.line + 1, mark.column + 1)
            self._builder.add(node)
            self._remember(event.anchor, node)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._refuse_tag(event, is_plain=event.implicit)
            self._names.append(event.anchor)
            empty: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            self._builder.begin(empty, mark.line + 1, mark.column + 1)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._remember(self._names.pop(), self._builder.end())

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _repeat(self, event: Any) -> None:
        node, mark = self._anchors.get(event.anchor), event.start_mark
        if node is None:
            raise _broken(f"alias *{event.anchor}: no part that has ended is called so", mark)
        self._builder.repeat(node, mark.line + 1, mark.column + 1)

    def _refuse_tag(self, event: Any, *, is_plain: bool) -> None:
        if event.tag is not None and not (is_plain and event.tag == "!"):
            raise _broken(f"tag {event.tag[:60]!r}: tags have no place here; write the value alone", event.start_mark)

    def _value(self, event: Any) -> Any:
        text: str = event.value
        if self._builder.awaits_key or not event.implicit[0]:
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        is_integer = INTEGER.match(text) is not None
        if not is_integer and FLOAT.match(text) is None:
            return text
        if len(text) > MAX_DIGITS:
            raise _broken("this number has too many digits; quote it if it is text", event.start_mark)
        value = int(text) if is_integer else float(text)
        if not math.isfinite(value):
            raise _broken("this number is too large", event.start_mark)
        return value


def _sentence(error: Any) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return ", ".join(parts) or "it cannot be read"


def _broken(message: str, mark: Any, text: str | None = None) -> Broken:
    """Return a problem at a mark; the end of a text is in its last line."""
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    if text is not None:
        line = min(line, len(text.splitlines()))
    return Broken(unreadable_at(message, line, column))
