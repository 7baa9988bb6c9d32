"""Docstrings of this project describe parameters as `name: what it is`, one paragraph for several."""

from __future__ import annotations

import re
from typing import Any

BETWEEN = re.compile(r"(?<=[.;]) (?=[a-z_]+(?:, [a-z_]+)*: )")
ENTRY = re.compile(r"([a-z_]+(?:, [a-z_]+)*): (.+)")
SENTENCE = re.compile(r"(?:Returns|Raises|Further options|Call|The |A |Options)\b")


def describe_parameters(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn such paragraphs into definition lists of reStructuredText, in place."""
    written: list[str] = []
    inside = False
    for line in [part for line in lines for part in (BETWEEN.split(line) if ENTRY.fullmatch(line) else [line])]:
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


def shorten_twins(app: Any, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, str] | None:
    """Spare the reader the signature of an async twin, which is that of the function it is a twin of."""
    return ("(…)", "") if (getattr(obj, "__doc__", "") or "").startswith("Async twin") else None
