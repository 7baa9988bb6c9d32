"""JSON with the place of each part, by the standard library's scanner of strings."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from json import JSONDecodeError, decoder
from typing import Any

from django_workflow.definition.documents.nodes import MAX_DIGITS, Broken, Builder, Node, unreadable_at

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"\w+")
_CONSTANTS = {"true": True, "false": False, "null": None}


def compose(text: str, builder: Builder) -> None:
    """Give the parts of a JSON text to `builder`; raises `Broken` where it is none."""
    _Reader(text, builder).read()


class _Reader:
    def __init__(self, text: str, builder: Builder) -> None:
        self._text = text
        self._builder = builder
        self._place = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def read(self) -> None:
        self._value()
        if self._next_sign():
            raise self._broken("there is text behind the end")

    def _value(self) -> None:
        sign = self._next_sign()
        line, column = self._position()
        if sign == "{":
            self._builder.begin({}, line, column)
            self._object()
        elif sign == "[":
            self._builder.begin([], line, column)
            self._list()
        else:
            self._builder.add(Node(self._scalar(sign), line, column))

    def _object(self) -> None:
        self._place += 1
        if self._next_sign() == "}":
            self._close()
            return
        while True:
            if self._next_sign() != '"':
                raise self._broken("a key in double quotes is missing here")
            line, column = self._position()
            self._builder.add(Node(self._string(), line, column))
            self._expect(":", "a colon is missing behind the key")
            self._value()
            if self._next_sign() == "}":
                self._close()
                return
            self._expect(",", "a comma or } is missing here")

    def _list(self) -> None:
        self._place += 1
        if self._next_sign() == "]":
            self._close()
            return
        while True:
            self._value()
            if self._next_sign() == "]":
                self._close()
                return
            self._expect(",", "a comma or ] is missing here")

    def _close(self) -> None:
        self._place += 1
        self._builder.end()

    def _scalar(self, sign: str) -> Any:
        if sign == '"':
            return self._string()
        if number := _NUMBER.match(self._text, self._place):
            if len(number[0]) > MAX_DIGITS:
                raise self._broken("this number has too many digits")
            self._place = number.end()
            value = float(number[0]) if number[1] or number[2] else int(number[0])
            if not math.isfinite(value):
                raise self._broken("this number is too large")
            return value
        word = _WORD.match(self._text, self._place)
        if word is None or word[0] not in _CONSTANTS:
            raise self._broken("a value is missing here" if word is None else f"{word[0][:40]!r} is no JSON value")
        self._place = word.end()
        return _CONSTANTS[word[0]]

    def _string(self) -> str:
        try:
            value, self._place = decoder.scanstring(self._text, self._place + 1, True)  # type: ignore[attr-defined]
        except JSONDecodeError as error:
            self._place = error.pos
            raise self._broken(error.msg[:1].lower() + error.msg[1:]) from None
        text: str = value
        return text

    def _expect(self, sign: str, message: str) -> None:
        if self._next_sign() != sign:
            raise self._broken(message)
        self._place += 1

    def _next_sign(self) -> str:
        space = _SPACE.match(self._text, self._place)
        assert space is not None
        self._place = space.end()
        return self._text[self._place : self._place + 1]

    def _position(self) -> tuple[int, int]:
        line = bisect_right(self._lines, self._place)
        return line, self._place - self._lines[line - 1] + 1

    def _broken(self, message: str) -> Broken:
        return Broken(unreadable_at(f"this is no JSON: {message}", *self._position()))
