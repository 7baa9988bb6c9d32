"""Conditions as text: a small, sandboxed expression language (simpleeval).

Names are data only. Dictionary values are read with a dot; attributes of Python objects, calls of
methods and mutation are impossible, because `allowed_attrs` is empty and the data is a deep copy.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import simpleeval

from django_workflow.exceptions import ExpressionError

MAX_LENGTH = 2_000
FUNCTIONS = {
    "len": len,
    "min": min,
    "max": max,
    "sum": sum,
    "any": any,
    "all": all,
    "abs": abs,
    "round": round,
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "int": int,
    "float": float,
    "str": str,
}


class _Evaluator(simpleeval.EvalWithCompoundTypes):
    """simpleeval where a dot reads dictionary values and nothing else."""

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        if isinstance(value, Mapping):
            try:
                return value[node.attr]
            except KeyError:
                raise KeyError(f"{node.attr!r} is not in {sorted(map(str, value))}") from None
        raise TypeError(f".{node.attr} needs an object, not {type(value).__name__}")


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Evaluate `expression` over `names`.

    expression: text as `check` accepts it.
    names: JSON data by name; it is copied, so nothing can change it.
    Returns the value. Raises `ExpressionError` naming the expression and what went wrong.
    """
    tree = _parse(expression)
    # only what the expression names is copied: an unused megabyte costs nothing
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    data = {name: _plain(names[name]) for name in used if name in names}
    evaluator = _Evaluator(functions=FUNCTIONS, names=data, allowed_attrs={})
    try:
        return evaluator.eval(expression, previously_parsed=tree)
    except Exception as error:
        # any error of an expression is the author's: it is reported, never swallowed
        reason = str(error) or type(error).__name__
        raise ExpressionError(f"Expression {expression!r} failed: {reason}", expression=expression) from error


def check(expression: str) -> str | None:
    """Return what is wrong with `expression` as text, or None when it can be evaluated."""
    try:
        tree = _parse(expression)
    except ExpressionError as error:
        return error.message
    if isinstance(tree, ast.Name):
        return f"condition {expression!r} is a bare word; compare it with something, or use a registered callable"
    return None


@lru_cache(maxsize=2048)
def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(
            f"Expression of {len(expression)} characters is longer than {MAX_LENGTH}.", expression=expression
        )
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"Expression {expression!r} is not valid: {error}", expression=expression) from error


def _plain(value: Any) -> Any:
    """Return a copy of `value`; lazy mappings become what they hold when asked."""
    return value if isinstance(value, LazyNames) else copy.deepcopy(value)


class LazyNames(Mapping[str, Any]):
    """A read-only mapping that copies each value when it is read: `outputs` of a condition."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(self._source[name])

    def __iter__(self) -> Any:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)
