"""The text of expressions of this package's own language: what is legal, and its syntax tree.

What is legal is a list of syntax nodes, so whatever is not on it is refused when the flow is declared:
no methods, no attributes of Python objects, no f-strings.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from django_workflow.definition.expressions.functions import FUNCTIONS, MAX_BITS
from django_workflow.definition.schemas import patterns
from django_workflow.exceptions import ExpressionError
from django_workflow.spelling import guess, nearest
from django_workflow.text import is_storable

MAX_LENGTH = 2_000
MAX_DEPTH = 50
#: What JSON calls its constants, besides Python's names for them.
CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}

_SYNTAX = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.keyword),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.IfExp),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.comprehension),
    *(ast.Load, ast.Store),
)
_ALL_FUNCTIONS = f"; there are {', '.join(FUNCTIONS)}"
_SIGNATURES = {
    name: inspect.Signature([item for item in inspect.signature(function).parameters.values() if item.name != "spend"])
    for name, function in FUNCTIONS.items()
}


def check(
    expression: str, names: Collection[str] | None = None, *, is_condition: bool = True, steps: Collection[str] = ()
) -> str | None:
    """Return what is wrong with `expression` as text, or None when it can be evaluated.

    names: what it may look at; None leaves that open. is_condition: a word alone is no condition.
    steps: those of the flow, which somebody may have named without `outputs`.
    """
    try:
        tree = parse(expression)
    except ExpressionError as error:
        return error.message
    if is_condition and isinstance(tree, ast.Name):
        return f"condition {expression!r} is a bare word; compare it with something, or use a registered callable"
    if names is not None:
        unknown = sorted(_free_names(tree) - set(names))
        if unknown:
            problem = f"expression {expression!r}: there is no {unknown[0]!r}, only {', '.join(sorted(names))}"
            return problem + _guess(unknown[0], names, steps)
    return None


@lru_cache(maxsize=2048)
def parse(expression: str) -> ast.expr:
    """Return the syntax tree of an expression, else raise `ExpressionError`."""
    if len(expression) > MAX_LENGTH:
        problem = f"it has {len(expression):,} characters, more than {MAX_LENGTH:,}"
        raise ExpressionError(
            f"Expression {shortened(expression, 60)!r} is too long: {problem}.", expression=expression
        )
    try:
        tree = ast.parse(_WRITTEN.sub(_as_python, expression.strip()), mode="eval").body
        problem = _refusal(tree)
        if not problem:
            tree = _JsonConstants().visit(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = (error.msg if isinstance(error, SyntaxError) else str(error)) or type(error).__name__
    if problem:
        raise ExpressionError(f"Expression {expression!r} is not valid: {problem}", expression=expression)
    return tree


_WRITTEN = re.compile(
    r"""(?P<prefix>(?<!\w)\w*)"""
    r"""(?P<text>\'{3}(?:\\.|[^\\])*?\'{3}|"{3}(?:\\.|[^\\])*?"{3}|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    rf"""|(?<=[\w\])}}])\.(?P<key>{"|".join(keyword.kwlist)})\b""",
    re.DOTALL,
)
_UNKNOWN_ESCAPE = re.compile(r"\\(?![\\'\"abfnrtvxNuU0-7\n])|\\.", re.DOTALL)


def _as_python(part: re.Match[str]) -> str:
    """Write what JSON's authors may write and Python does not take: keys such as `class`, backslashes of patterns."""
    if part["key"]:
        return f'["{part["key"]}"]'
    if part["prefix"]:
        return part[0]
    return _UNKNOWN_ESCAPE.sub(lambda escape: "\\\\" if escape[0] == "\\" else escape[0], part["text"])


def _refusal(tree: ast.expr) -> str:
    """Return why a syntax tree is not of this language, or nothing."""
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            return f"it is nested deeper than {MAX_DEPTH} levels"
        if not isinstance(node, _SYNTAX):
            return f"{type(node).__name__} is not possible here"
        problem = _PROBLEMS[type(node)](node) if type(node) in _PROBLEMS else ""
        if problem:
            return problem
        pending.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return ""


def _problem_of_constant(node: ast.Constant) -> str:
    value = node.value
    if isinstance(value, str):
        is_json = is_storable(value)
    elif isinstance(value, float):
        is_json = math.isfinite(value)
    else:
        is_json = value is None or (isinstance(value, int) and value.bit_length() <= MAX_BITS)
    return "" if is_json else f"{shortened(ast.unparse(node), 60)} is no JSON value"


def _problem_of_call(node: ast.Call) -> str:
    if not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
        called = ast.unparse(node.func)
        return f"{called} is no function{guess(called, FUNCTIONS) or _ALL_FUNCTIONS}"
    named = {item.arg: item.value for item in node.keywords if item.arg is not None}
    if len(named) < len(node.keywords) or any(isinstance(item, ast.Starred) for item in node.args):
        return "* and ** are not possible in a call"
    try:
        arguments = _SIGNATURES[node.func.id].bind(*node.args, **named).arguments
        pattern = arguments.get("pattern")
        if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str):
            patterns.compiled(pattern.value)
    except (TypeError, ValueError) as error:
        return f"{node.func.id}: {error}"
    return ""


def _problem_of_name(node: ast.Name) -> str:
    return f"{node.id} is no name for a variable" if isinstance(node.ctx, ast.Store) and node.id in CONSTANTS else ""


def _problem_of_target(node: ast.Attribute | ast.Subscript) -> str:
    return f"{ast.unparse(node)} is no name for a variable" if isinstance(node.ctx, ast.Store) else ""


_PROBLEMS: Mapping[type[ast.AST], Any] = {
    ast.Constant: _problem_of_constant,
    ast.Call: _problem_of_call,
    ast.Name: _problem_of_name,
    ast.Attribute: _problem_of_target,
    ast.Subscript: _problem_of_target,
    ast.Dict: lambda node: "** is not possible in an object" if None in node.keys else "",
    ast.comprehension: lambda node: "async is not possible here" if node.is_async else "",
}


class _JsonConstants(ast.NodeTransformer):
    """Writes JSON's constants as such."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(CONSTANTS[node.id]) if node.id in CONSTANTS else node


def _guess(word: str, names: Collection[str], steps: Collection[str]) -> str:
    """Return which name was meant: one that is offered, or a step, whose output is read through `outputs`."""
    step = word if word in steps else nearest(word, steps)
    if "outputs" in names and step is not None and (step == word or nearest(word, names) is None):
        return f"; did you mean 'outputs.{step}'?"
    return guess(word, names)


def _free_names(tree: ast.expr) -> set[str]:
    """Return the names that an expression takes from outside: neither functions nor bound by comprehensions."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in names if id(node) not in called} - bound


def shortened(text: str, limit: int = 500) -> str:
    """Return the beginning of a text that is too long for a message."""
    return text if len(text) <= limit else f"{text[:limit]}…"
