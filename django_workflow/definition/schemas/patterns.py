"""Patterns for texts, matched in time that grows with the text alone: no pattern makes it explode.

The syntax is what regular expressions have in common, without what needs backtracking (back references,
lookaround). A pattern becomes a nondeterministic automaton whose states are followed side by side (K. Thompson,
CACM 11, 1968); the standard library's `re` tries them one after the other, which some patterns make endless.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 500
MAX_DEPTH = 20
#: Most parts of a pattern with its repetitions written out.
MAX_PARTS = 2_000
_LAST = chr(sys.maxunicode)

Spend = Callable[[int], None]


class PatternError(ValueError):
    """A pattern is not of this syntax, or too large."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters: some of them, ranges and kinds, or all but these.

    ranges: in order and apart, so that of hundreds only one has to be looked at.
    """

    single: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    kinds: tuple[Callable[[str], bool], ...] = ()
    is_negated: bool = False

    def __contains__(self, character: str) -> bool:
        if character in self.single:
            return not self.is_negated
        if self.ranges:
            place = bisect_right(self.ranges, (character, _LAST))
            if place and character <= self.ranges[place - 1][1]:
                return not self.is_negated
        for kind in self.kinds:
            if kind(character):
                return not self.is_negated
        return self.is_negated


@dataclass(frozen=True, slots=True)
class Place:
    """A condition on a place in the text: its begin, its end, the border of a word, or none."""

    kind: str

    def holds(self, before: str, after: str) -> bool:
        """Say whether it holds between two characters; at the text's begin and end there is none."""
        if self.kind == "^":
            return not before
        if self.kind == "$":
            return not after
        is_border = _is_word(before) != _is_word(after)
        return is_border == (self.kind == "b")


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts that follow each other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """A part several times; most is None where there is no limit."""

    part: Part
    least: int
    most: int | None


Part = Characters | Place | Sequence | Choice | Repetition


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


_KINDS: dict[str, Callable[[str], bool]] = {"d": str.isdecimal, "s": str.isspace, "w": _is_word}
_KINDS |= {
    name.upper(): lambda character, kind=kind: not kind(character)  # type: ignore[misc]
    for name, kind in _KINDS.items()
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_ANY = Characters(frozenset("\n"), is_negated=True)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0

    def refuse(self, problem: str) -> PatternError:
        return PatternError(f"pattern {self.pattern!r}, character {self.position + 1}: {problem}")

    def following(self, text: str) -> bool:
        """Step over `text` where it comes next."""
        if not self.pattern.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def take(self, wanted: str) -> str:
        if self.position == len(self.pattern):
            raise self.refuse(f"{wanted} is missing")
        self.position += 1
        return self.pattern[self.position - 1]

    def whole(self) -> Part:
        part = self.choice()
        if self.position < len(self.pattern):
            raise self.refuse("there is no ( for this )")
        return part

    def choice(self) -> Part:
        parts = [self.sequence()]
        while self.following("|"):
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self) -> Part:
        parts: list[Part] = []
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)":
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self) -> Part:
        part = self.one()
        times = self.times()
        if times is None:
            return part
        self.following("?")  # the shortest match is a match as well
        if self.times() is not None:
            raise self.refuse("a repetition of a repetition needs a group")
        return Repetition(part, *times)

    def times(self) -> tuple[int, int | None] | None:
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.following(sign):
                return times
        if not self.following("{"):
            return None
        least, comma, most = self.until("}").partition(",")
        if not all(text.isascii() and (text.isdecimal() or not text) for text in (least, most)) or not least + most:
            raise self.refuse("{ is followed by one or two numbers, as {2}, {2,} or {2,5}; a { itself is \\{")
        low, high = int(least or 0), int(most) if most else None if comma else int(least)
        if high is not None and high < low:
            raise self.refuse(f"{low} times at least is more than {high} at most")
        return low, high

    def until(self, end: str) -> str:
        taken = ""
        while not self.following(end):
            taken += self.take(end)
        return taken

    def one(self) -> Part:
        character = self.take("something")
        if character == "(":
            return self.group()
        if character == "[":
            return self.set()
        if character == ".":
            return _ANY
        if character in "^$":
            return Place(character)
        if character in "*+?{":
            raise self.refuse(f"there is nothing to repeat before {character}")
        if character == "\\" and self.pattern[self.position : self.position + 1] in ("b", "B"):
            return Place(self.take("b"))
        return self.character(character)

    def group(self) -> Part:
        if not self.following("?:") and self.following("?"):
            raise self.refuse("of groups with ? there is only (?:…)")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.refuse(f"more than {MAX_DEPTH} groups in each other")
        part = self.choice()
        if not self.following(")"):
            raise self.refuse(") is missing")
        self.depth -= 1
        return part

    def character(self, character: str) -> Characters:
        """Return the set of a character that has been taken: itself, or what it escapes."""
        if character == "\b":
            raise self.refuse("a backspace; write the pattern with an r before the quote, as r'\\b'")
        if character != "\\":
            return Characters(frozenset(character))
        escaped = self.take("a character after \\")
        if escaped in _KINDS:
            return Characters(kinds=(_KINDS[escaped],))
        if escaped.isalnum() and escaped not in _CONTROLS:
            raise self.refuse(f"\\{escaped} has no meaning here")
        return Characters(frozenset(_CONTROLS.get(escaped, escaped)))

    def set(self) -> Part:
        is_negated = self.following("^")
        single: list[str] = []
        ranges: list[tuple[str, str]] = []
        kinds: list[Callable[[str], bool]] = []
        # a ] that comes first is one of the characters
        is_first = True
        while is_first or not self.following("]"):
            is_first = False
            member = self.character(self.take("]"))
            if member.kinds:
                kinds += member.kinds
                continue
            (low,) = member.single
            if not self.pattern.startswith("-", self.position) or self.pattern.startswith("-]", self.position):
                single.append(low)
                continue
            self.take("-")
            (high,) = self.character(self.take("]")).single or ("",)
            if high < low:
                raise self.refuse("a range goes from a lower character to a higher one")
            ranges.append((low, high))
        return Characters(frozenset(single), _apart(ranges), tuple(dict.fromkeys(kinds)), is_negated)


def _apart(ranges: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the same ranges in order, one for those that overlap."""
    apart: list[tuple[str, str]] = []
    for low, high in sorted(ranges):
        if apart and low <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(high, apart[-1][1]))
        else:
            apart.append((low, high))
    return tuple(apart)


#: A state: what leads on (a character, a place, nothing) and the states it leads to; the end leads nowhere.
State = tuple[Characters | Place | None, tuple[int, ...]]
END = 0


class Automaton:
    """The states of a pattern."""

    def __init__(self, part: Part) -> None:
        self.states: list[State] = [(None, ())]
        self.parts = 0
        self.begin = self._add(part, END)

    def _state(self, on: Characters | Place | None, to: Iterable[int]) -> int:
        self.states.append((on, tuple(to)))
        return len(self.states) - 1

    def _add(self, part: Part, after: int) -> int:
        """Add the states of a part that go on with `after`; return the first."""
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise PatternError(f"with its repetitions written out it has more than {MAX_PARTS:,} parts")
        if isinstance(part, Sequence):
            for one in reversed(part.parts):
                after = self._add(one, after)
            return after
        if isinstance(part, Choice):
            return self._state(None, [self._add(one, after) for one in part.parts])
        if isinstance(part, Repetition):
            return self._add_repetition(part, after)
        return self._state(part, (after,))

    def _add_repetition(self, repeated: Repetition, after: int) -> int:
        if repeated.most is None:
            again = self._state(None, ())
            self.states[again] = (None, (self._add(repeated.part, again), after))
            begin = again
        else:
            begin = after
            for _ in range(repeated.most - repeated.least):
                begin = self._state(None, (self._add(repeated.part, begin), after))
        for _ in range(repeated.least):
            begin = self._add(repeated.part, begin)
        return begin

    def is_in(self, text: str, spend: Spend) -> bool:
        """Say whether any part of `text` matches; `spend` counts how many characters and states are looked at."""
        current: list[int] = []
        before = ""
        for after in (*text, ""):
            spend(1)
            waiting, is_end = self._follow([*current, self.begin], before, after, spend)
            if is_end:
                return True
            current = [to for characters, to in waiting if after and after in characters]
            before = after
        return False

    def _follow(
        self, states: list[int], before: str, after: str, spend: Spend
    ) -> tuple[list[tuple[Characters, int]], bool]:
        """Return the states that wait for a character at a place, and whether the end is reached."""
        pending, seen = states, set(states)
        waiting: list[tuple[Characters, int]] = []
        while pending:
            number = pending.pop()
            on, to = self.states[number]
            spend(1 + len(to))
            if number == END:
                return waiting, True
            if isinstance(on, Characters):
                waiting.append((on, to[0]))
            elif on is None or on.holds(before, after):
                pending += [item for item in to if item not in seen]
                seen.update(to)
        return waiting, False


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Automaton:
    """Return the automaton of a pattern; raises `PatternError` telling what is wrong, and where."""
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"a pattern of {len(pattern):,} characters; {MAX_LENGTH} are allowed")
    part = _Reader(pattern).whole()
    try:
        return Automaton(part)
    except PatternError as error:
        raise PatternError(f"pattern {pattern!r}: {error}") from None
