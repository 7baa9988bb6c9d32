"""What a licence is, and what it asks of who passes the code on. Pure.

A family is a first sorting, not legal advice: in doubt the stricter one, and where nothing is
recognised "unclear", for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PERMISSIVE, WEAK, STRONG, PROPRIETARY, UNCLEAR = "permissive", "weak", "strong", "proprietary", "unclear"
#: From what asks least to what asks most.
FAMILIES = (PERMISSIVE, WEAK, STRONG, PROPRIETARY, UNCLEAR)

#: Words by which a licence's name or identifier is recognised.
WORDS = {
    PERMISSIVE: re.compile(
        r"\b(mit|expat|bsd|0bsd|apache|asl|isc|psf|python|cnri|zlib|unlicense|public[ -]domain|cc0|cc-by|zpl|zope|hpnd"
        r"|boost|bsl|postgresql|unicode|wtfpl|artistic|ncsa|openssl|libpng)\b",
        re.IGNORECASE,
    ),
    WEAK: re.compile(
        r"\b(lgpl|gnu (lesser|library)|mpl|mozilla public|epl|eclipse public|cddl)(\b|v?\d)", re.IGNORECASE
    ),
    STRONG: re.compile(r"\b(a?gpl|affero|gnu general public|eupl|sspl|cc-by-sa|osl)(\b|v?\d)", re.IGNORECASE),
    PROPRIETARY: re.compile(r"\b(proprietary|commercial|all rights reserved|eula)\b", re.IGNORECASE),
}

#: Sentences by which the text of a licence is recognised; the first that is found decides.
SENTENCES = (
    ("GNU AFFERO GENERAL PUBLIC LICENSE", "AGPL"),
    ("GNU LESSER GENERAL PUBLIC LICENSE", "LGPL"),
    ("GNU GENERAL PUBLIC LICENSE", "GPL"),
    ("Mozilla Public License", "MPL"),
    ("Apache License", "Apache"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Redistribution and use in source and binary forms", "BSD"),
    ("Permission to use, copy, modify, and/or distribute this software", "ISC"),
    ("Permission to use, copy, modify, and distribute this software", "ISC"),
    ("PYTHON SOFTWARE FOUNDATION LICENSE", "PSF"),
    ("This is free and unencumbered software", "Unlicense"),
)

MAX_NAME = 200


def declared(*, expression: str, classifiers: Iterable[str], field: str) -> tuple[str, str]:
    """Return the licence that a package declares, and where: the most exact place that says something.

    expression: License-Expression, an SPDX expression ("MIT OR Apache-2.0"). classifiers: trove
    classifiers. field: License, free text; many packages have the whole licence in it.
    """
    if expression:
        return expression[:MAX_NAME], "expression"
    if names := [name for name in map(_name_in_classifier, classifiers) if name]:
        return ", ".join(names)[:MAX_NAME], "classifier"
    if field:
        return _name_in_field(field)[:MAX_NAME], "field"
    return "", ""


def _name_in_classifier(classifier: str) -> str:
    parts = classifier.split(" :: ")
    # "License :: OSI Approved" alone says nothing about which one.
    return parts[-1] if parts[0] == "License" and parts[-1] not in ("License", "OSI Approved") else ""


def _name_in_field(field: str) -> str:
    lines = [line.strip() for line in field.splitlines() if line.strip()]
    if len(lines) <= 1:
        return "".join(lines)
    return recognise(field) or lines[0]


def recognise(text: str) -> str:
    """Return the name of a licence from its text, empty where it is none of the common ones."""
    plain = " ".join(text.split()).casefold()
    return next((name for sentence, name in SENTENCES if sentence.casefold() in plain), "")


def family(licence: str) -> str:
    """Return the family of a licence given by name, identifier or SPDX expression."""
    try:
        return _Expression(licence).family()
    except ValueError:
        return family_of_name(licence)


def family_of_name(name: str) -> str:
    """Return the strictest family whose words are in a name."""
    return strictest(family for family, words in WORDS.items() if words.search(name))


def strictest(families: Iterable[str]) -> str:
    """Return the family that asks most; of none it is unclear."""
    return max(families, key=FAMILIES.index, default=UNCLEAR)


class _Expression:
    """An SPDX expression: identifiers with AND, OR, WITH and parentheses; raises ValueError for anything else."""

    def __init__(self, text: str) -> None:
        self._tokens: Sequence[str] = re.findall(r"[()]|[^\s()]+", text)
        self._at = 0

    def family(self) -> str:
        result = self._any()
        if self._at < len(self._tokens):
            raise ValueError(f"{self._tokens[self._at]!r} was not expected")
        return result

    def _any(self) -> str:
        """A OR B: whoever uses it has the choice."""
        choices = [self._all()]
        while self._take("OR"):
            choices.append(self._all())
        return min(choices, key=FAMILIES.index)

    def _all(self) -> str:
        """A AND B: all of them hold."""
        parts = [self._one()]
        while self._take("AND"):
            parts.append(self._one())
        return strictest(parts)

    def _one(self) -> str:
        if self._take("("):
            inner = self._any()
            if not self._take(")"):
                raise ValueError("a parenthesis is not closed")
            return inner
        result = family_of_name(self._next())
        if self._take("WITH"):
            # An exception only ever allows more, such as linking with code under other licences.
            self._next()
            return WEAK if result == STRONG else result
        return result

    def _take(self, word: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at].upper() == word
        self._at += found
        return found

    def _next(self) -> str:
        if self._at == len(self._tokens) or self._tokens[self._at] in "()":
            raise ValueError("a licence is missing")
        self._at += 1
        return self._tokens[self._at - 1]
