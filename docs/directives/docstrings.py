"""Docstrings of this project describe parameters as `name: what it is`, one paragraph for several."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

BETWEEN = re.compile(r"(?<=[.;]) (?=[a-z_]+(?:, [a-z_]+)*: )")
ENTRY = re.compile(r"([a-z_]+(?:, [a-z_]+)*): (.+)")
SENTENCE = re.compile(r"(?:Returns|Raises|Further options|Call|The |A |Options)\b")


def describe_parameters(*event: Any) -> None:
    """Turn such paragraphs into definition lists of reStructuredText, in place."""
    lines: list[str] = event[-1]
    written: list[str] = []
    inside = False
    for line in _one_entry_each(lines):
        match = ENTRY.fullmatch(line)
        if match:
            if not inside:
                written.append("")
            names = ", ".join(f"``{word}``" for word in match[1].split(", "))
            written += [names, f"    {match[2]}", ""]
            inside = True
        elif inside and line.strip() and (line.startswith("    ") or not SENTENCE.match(line)):
            # a continuation: of the entry's text, indented or wrapped
            written[-1:] = [f"    {line.strip()}", ""]
        else:
            if inside and line.strip():
                written.append("")
            inside = False
            written.append(line)
    lines[:] = written


def _one_entry_each(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield from BETWEEN.split(line) if ENTRY.fullmatch(line) else [line]


def shorten_twins(*event: Any) -> tuple[str, str] | None:
    """Spare the reader the signature of an async twin, which is that of the function it is a twin of."""
    obj = event[3]
    return ("(…)", "") if (getattr(obj, "__doc__", "") or "").startswith("Async twin") else None
