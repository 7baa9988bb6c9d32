"""Texts with expressions, as documents hold them: YAQL in `<% %>`, Jinja in `{{ }}` and `{% %}`.

A text that is one expression gives its value, any other text is filled in. What an expression gives is never
evaluated again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django_workflow.contrib.orquesta.expressions import jinja, yaql
from django_workflow.contrib.orquesta.expressions.evaluation import evaluating, plain, shortened
from django_workflow.contrib.orquesta.expressions.functions import as_text, fits
from django_workflow.contrib.orquesta.expressions.marks import JINJA, YAQL, spans
from django_workflow.exceptions import ExpressionError

MAX_LENGTH: Final = 20_000


def is_expression(text: str) -> bool:
    """Say whether a text has expressions in it."""
    return _is_yaql(text) or _is_jinja(text)


def is_one_expression(text: str) -> bool:
    """Say whether a text is one expression and nothing else; it must be a valid one."""
    if _is_yaql(text):
        return _is_one_yaql(text)
    return _is_jinja(text) and jinja.parse(text).is_one_expression


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """Return what a text comes to; raises `ExpressionError`."""
    if not is_expression(text):
        return text
    with evaluating(text, names):
        _check_length(text)
        return _of_yaql(text) if _is_yaql(text) else plain(jinja.parse(text).evaluate())


def evaluate_within(value: Any, names: Mapping[str, Any]) -> Any:
    """Return a JSON value in which every text, also of keys, was evaluated."""
    if isinstance(value, str):
        return evaluate(value, names)
    if isinstance(value, Mapping):
        return {_key(evaluate(key, names)): evaluate_within(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [evaluate_within(item, names) for item in value]
    return value


def problems(text: str) -> list[str]:
    """Return what is wrong with the expressions of a text."""
    if not is_expression(text):
        return []
    if len(text) > MAX_LENGTH:
        return [f"a text with expressions has at most {MAX_LENGTH:,} characters, not {len(text):,}"]
    if _is_yaql(text) and _is_jinja(text):
        return [f"expression {shortened(text)!r}: YAQL and Jinja in one text; use one of them"]
    if _is_yaql(text):
        return [problem for part in _yaql_parts(text) for problem in _yaql_problems(part)]
    return _jinja_problems(text)


def variables(text: str) -> set[str]:
    """Return the variables that a text reads, as far as it names them; what is wrong in it is left out."""
    if problems(text):
        return set()
    if _is_yaql(text):
        return {name for part in _yaql_parts(text) for name in yaql.variables(part)}
    return jinja.parse(text).variables if _is_jinja(text) else set()


def _is_yaql(text: str) -> bool:
    return any(True for _ in spans(text, YAQL))


def _is_jinja(text: str) -> bool:
    return any(True for _ in spans(text, JINJA))


def _is_one_yaql(text: str) -> bool:
    return list(spans(text, YAQL)) == [(0, len(_bare(text)))]


def _bare(text: str) -> str:
    """Return a text without the line's end that YAML leaves at a block of text."""
    return text.removesuffix("\n")


def _yaql_parts(text: str) -> list[str]:
    return [text[begin + 2 : end - 2] for begin, end in spans(text, YAQL)]


def _of_yaql(text: str) -> Any:
    if _is_one_yaql(text):
        return yaql.evaluate(_bare(text)[2:-2])
    pieces, place = [], 0
    for begin, end in spans(text, YAQL):
        filled = as_text(yaql.evaluate(text[begin + 2 : end - 2]))
        fits(len(filled))
        pieces += [text[place:begin], filled]
        place = end
    pieces.append(text[place:])
    fits(sum(map(len, pieces)))
    return "".join(pieces)


def _yaql_problems(source: str) -> list[str]:
    place = f"expression {shortened('<%' + source + '%>')!r}"
    try:
        unknown = yaql.unknown(source)
    except Exception as error:
        return [f"{place}: {shortened(str(error)) or type(error).__name__}"]
    return [f"{place}: there is no function {name!r}" for name in unknown]


def _jinja_problems(text: str) -> list[str]:
    place = f"expression {shortened(text)!r}"
    try:
        unknown = jinja.parse(text).unknown
    except Exception as error:
        return [f"{place}: {shortened(str(error)) or type(error).__name__}"]
    return [f"{place}: there is no function {name!r}" for name in unknown]


def _check_length(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"Expression {shortened(text, 60)!r} is too long.", expression=text)


def _key(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"The name of a value came to {shortened(repr(value))}, which is no text.")
    return value
