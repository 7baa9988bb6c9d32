"""The parts of a text with their places, whatever syntax it is written in; size and depth are limited."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from django_workflow.definition.problems import Path, Problem

#: Characters of a document, and what it may hold: parts (those that are repeated by aliases, too) and levels.
MAX_LENGTH: Final = 512 * 1024
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 64
#: Digits of a number; what has more is text that lost its quotes.
MAX_DIGITS: Final = 30


class Broken(Exception):
    """The text cannot be read any further."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem)


@dataclass(slots=True, eq=False)
class Node:
    """A part: a scalar, a list of parts, or an object of keys and parts.

    line, column: where it begins, from 1. size: how many parts it is, itself included.
    """

    value: Any
    line: int
    column: int
    size: int = 1

    def plain(self) -> Any:
        """Return the value without its places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, (_, item) in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value

    def at(self, path: Path) -> Node:
        """Return the part that a path leads to, or the last one on its way; of an object its key."""
        node, place = self, self
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                key, node = node.value[part]
                place = key if isinstance(node.value, dict | list) else node
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = place = node.value[part]
            else:
                break
        return place


@dataclass(slots=True)
class _Open:
    """A list or an object whose end has not come."""

    node: Node
    key: Node | None = None


class Builder:
    """Puts parts together as they come; what does not fit is reported and left out."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._count = 0

    @property
    def depth(self) -> int:
        """How many lists and objects are open."""
        return len(self._open)

    @property
    def awaits_key(self) -> bool:
        """Whether the next part is the key of an object."""
        return bool(self._open) and isinstance(self._open[-1].node.value, dict) and self._open[-1].key is None

    def begin(self, value: list[Any] | dict[str, Any], line: int, column: int) -> Node:
        """Open a list or an object."""
        if len(self._open) >= MAX_DEPTH:
            raise Broken(unreadable_at(f"it is nested deeper than {MAX_DEPTH} levels", line, column))
        node = Node(value, line, column)
        self._open.append(_Open(node))
        return node

    def end(self) -> Node:
        """Close what was opened last."""
        node = self._open.pop().node
        self.add(node)
        return node

    def add(self, node: Node) -> None:
        """Add a part to what is open."""
        self._count += 1
        if self._count > MAX_NODES:
            raise Broken(unreadable_at(f"it has more than {MAX_NODES:,} parts", node.line, node.column))
        if isinstance(node.value, str):
            self._check_text(node)
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        frame.node.size += node.size
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            self._assign(frame, frame.key, node)
            frame.key = None

    def repeat(self, node: Node, line: int, column: int) -> None:
        """Add a part that stands elsewhere once more; all of it counts again."""
        self._count += node.size
        self.add(Node(node.value, line, column, node.size))

    def _assign(self, frame: _Open, key: Node, node: Node) -> None:
        if not isinstance(key.value, str):
            self._tell("a key must be text", key)
        elif key.value in frame.node.value:
            first = frame.node.value[key.value][0].line
            self._tell(f"key {key.value!r} stands here a second time; the first is in line {first}", key)
        else:
            frame.node.value[key.value] = (key, node)

    def _check_text(self, node: Node) -> None:
        if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in node.value):
            self._tell("a text holds a character that cannot be stored (NUL or half of a pair)", node)
            node.value = "".join("?" if sign == "\0" or "\ud800" <= sign <= "\udfff" else sign for sign in node.value)

    def _tell(self, message: str, node: Node) -> None:
        self.problems.append(Problem("unreadable", self._path(), message, line=node.line, column=node.column))

    def _path(self) -> Path:
        """Return the way to the step that is open, as far as it is known here."""
        keys = [frame.key.value for frame in self._open if frame.key is not None]
        return ("steps", keys[1]) if len(keys) > 1 and keys[0] == "steps" and isinstance(keys[1], str) else ()


def unreadable(text: str) -> Problem | None:
    """Return what keeps a text from being read at all."""
    if len(text) > MAX_LENGTH:
        return unreadable_at(f"it has {len(text):,} characters, more than the {MAX_LENGTH:,} a document may have", 1)
    found = _ILLEGAL.search(text)
    if found is None:
        return None
    begin = text.rfind("\n", 0, found.start()) + 1
    line, column = text.count("\n", 0, begin) + 1, found.start() - begin + 1
    return unreadable_at(f"control character U+{ord(found[0]):04X} in the text; take it out", line, column)


def unreadable_at(message: str, line: int, column: int = 1) -> Problem:
    """Return what keeps the text from being read beyond a place."""
    return Problem("unreadable", (), message, place="document", line=line, column=column)


#: Signs that no text has: those that control something, and what is no character.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
