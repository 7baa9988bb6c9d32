"""Regular expressions in YAQL, each with a time limit: a pattern from a document may take forever on some text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import regex
from yaql.language import specs, yaqltypes

from django_workflow.contrib.orquesta.expressions.evaluation import spend
from django_workflow.contrib.orquesta.expressions.functions import fits

#: Longest time of one search, in seconds.
TIMEOUT: Final = 1.0
MAX_PATTERN: Final = 2_000
#: Most copies of a part that a pattern may ask for.
MAX_COPIES: Final = 1_000
Pattern: Final = type(regex.compile(""))


@lru_cache(maxsize=512)
def compiled(pattern: str, flags: int = 0) -> Any:
    """Return a compiled pattern."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern of more than {MAX_PATTERN:,} characters")
    if _copies(pattern) > MAX_COPIES:
        raise ValueError(f"a pattern whose repetitions multiply to more than {MAX_COPIES:,}")
    return regex.compile(pattern, flags)


_REPEATED: Final = re.compile(r"(\)\s*)?(?:(\+)|{(\d*)(,?)(\d*)})")
#: With these, something may stand between a group and how often it is repeated.
_SPACED: Final = re.compile(r"\(\?(?:#|\w*x)")


def _copies(pattern: str) -> int:
    """Return how often at most the library writes out a part of a pattern to compile it.

    A part is written out as often as it must be there at least, and once more where it may be there more often; in
    groups within each other these multiply. Which group is in which is not looked at: all count as if they were.
    """
    groups, largest = 1, 1
    is_spaced = _SPACED.search(pattern) is not None
    for found in _REPEATED.finditer(pattern):
        after_group, plus, least, comma, most = found.groups()
        times = 1 if plus else min(int(least[:9] or 0), MAX_COPIES + 1)
        if times and (plus or (comma and most != least)):
            times += 1
        if after_group or is_spaced:
            groups = min(groups * max(1, times), MAX_COPIES + 1)
        else:
            largest = max(largest, times)
    return groups * largest


def register(context: Any) -> None:
    """Make the functions known to expressions."""
    for function in (_regex, _matches, _matches_text, _search, _search_all, _split, _split_text, _replace_text):
        context.register_function(function)
    for name, wanted in (("#operator_=~", True), ("#operator_!~", False)):
        for kind in (Pattern, str):
            context.register_function(_operator(kind, is_match=wanted), name=name)
    context.register_function(_replace)
    context.register_function(_escape)
    context.register_function(_is_regex)


def _operator(kind: type, *, is_match: bool) -> Any:
    @specs.parameter("string", yaqltypes.String())
    @specs.parameter("pattern", yaqltypes.PythonType(kind, nullable=False))
    def operator(string: Any, pattern: Any) -> bool:
        return (_found(pattern, string) is not None) is is_match

    return operator


def _found(pattern: Any, string: str) -> Any:
    spend(len(string) // 10)
    found = compiled(pattern) if isinstance(pattern, str) else pattern
    return found.search(string, timeout=TIMEOUT)


@specs.name("regex")
@specs.parameter("pattern", yaqltypes.String())
def _regex(pattern: Any, ignore_case: bool = False, multi_line: bool = False, dot_all: bool = False) -> Any:  # noqa: FBT001, FBT002  the library's names
    flags = (regex.IGNORECASE if ignore_case else 0) | (regex.MULTILINE if multi_line else 0)
    return compiled(pattern, flags | (regex.DOTALL if dot_all else 0))


@specs.name("matches")
@specs.method
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("string", yaqltypes.String())
def _matches(regexp: Any, string: Any) -> bool:
    return _found(regexp, string) is not None


@specs.name("matches")
@specs.method
@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", yaqltypes.String())
def _matches_text(string: Any, regexp: Any) -> bool:
    return _found(regexp, string) is not None


@specs.name("search")
@specs.method
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("string", yaqltypes.String())
def _search(regexp: Any, string: Any) -> Any:
    found = _found(regexp, string)
    return None if found is None else found.group()


@specs.name("searchAll")
@specs.method
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("string", yaqltypes.String())
def _search_all(regexp: Any, string: Any) -> Any:
    spend(len(string))
    return tuple(found.group() for found in regexp.finditer(string, timeout=TIMEOUT))


@specs.name("split")
@specs.method
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("string", yaqltypes.String())
def _split(regexp: Any, string: Any, max_split: int = 0) -> Any:
    spend(len(string))
    return tuple(regexp.split(string, max_split, timeout=TIMEOUT))


@specs.name("split")
@specs.method
@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
def _split_text(string: Any, regexp: Any, max_split: int = 0) -> Any:
    return _split(regexp, string, max_split)


@specs.name("replace")
@specs.method
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("string", yaqltypes.String())
@specs.parameter("repl", yaqltypes.String())
def _replace(regexp: Any, string: Any, repl: Any, count: int = 0) -> str:
    # a template may name a group at every other place of it
    fits((len(string) + 1) * (len(repl) + 1 + repl.count("\\") * len(string)))
    return str(regexp.sub(repl, string, count, timeout=TIMEOUT))


@specs.name("replace")
@specs.method
@specs.parameter("string", yaqltypes.String())
@specs.parameter("regexp", yaqltypes.PythonType(Pattern, nullable=False))
@specs.parameter("repl", yaqltypes.String())
def _replace_text(string: Any, regexp: Any, repl: Any, count: int = 0) -> str:
    return str(_replace(regexp, string, repl, count))


@specs.name("escapeRegex")
@specs.parameter("string", yaqltypes.String())
def _escape(string: Any) -> str:
    return str(regex.escape(string))


@specs.name("isRegex")
def _is_regex(value: Any) -> bool:
    return isinstance(value, Pattern)
