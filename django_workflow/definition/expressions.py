"""Conditions as text: a small expression language over JSON data (simpleeval underneath).

What is legal is a list of syntax nodes, so whatever is not on it is refused when the flow is declared:
no methods, no attributes of Python objects, no f-strings. A dot reads a dictionary's value. Nothing in
the language changes a value, so the data need no copy. Depth, length and work are limited: the work is
counted, not timed, so that the same expression on the same data always comes to the same end.
"""

from __future__ import annotations

import ast
import operator
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import simpleeval

from django_workflow.exceptions import ExpressionError

MAX_LENGTH = 2_000
MAX_DEPTH = 50
#: Elements looked at or made by one evaluation, well below a second; evaluating a node counts as three.
MAX_WORK = 2_000_000
#: Largest whole number an operation may come to, about what Python converts from and to text.
MAX_BITS = 16_000
#: What a condition of a step may look at.
CONDITION_NAMES = frozenset({"input", "outputs", "vars"})

_SYNTAX = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.keyword),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.IfExp),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.comprehension),
    *(ast.Load, ast.Store),
)
#: Nodes that make a new value, whose size is counted; the others hand on what is there.
_MAKERS = (ast.BinOp, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.GeneratorExp, ast.DictComp)
_CONTAINERS = (list, tuple, dict, set, Mapping)


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Evaluate `expression` over `names`.

    expression: text as `check` accepts it.
    names: JSON data by name, or mappings that read it when asked.
    Returns the value, which may be a part of the data. Raises `ExpressionError` naming the expression
    and what went wrong.
    """
    tree = _parse(expression)
    evaluator = getattr(_of_thread, "evaluator", None) or _Evaluator()
    # put back only after a success: an error may have left it in the middle of something
    _of_thread.evaluator = None
    try:
        result = evaluator.evaluate(expression, tree, names)
    except Exception as error:
        # any error of an expression is the author's: it is reported, never swallowed
        reason = _shortened(str(error) or type(error).__name__)
        raise ExpressionError(f"Expression {expression!r} failed: {reason}", expression=expression) from error
    _of_thread.evaluator = evaluator
    return result


def check(expression: str, names: Collection[str] | None = None) -> str | None:
    """Return what is wrong with `expression` as text, or None when it can be evaluated.

    names: what it may look at; None leaves that open.
    """
    try:
        tree = _parse(expression)
    except ExpressionError as error:
        return error.message
    if isinstance(tree, ast.Name):
        return f"condition {expression!r} is a bare word; compare it with something, or use a registered callable"
    if names is not None:
        unknown = sorted(_free_names(tree) - set(names))
        if unknown:
            return f"expression {expression!r}: there is no {unknown[0]!r}, only {', '.join(sorted(names))}"
    return None


@lru_cache(maxsize=2048)
def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_LENGTH:
        problem = f"it has {len(expression):,} characters, more than {MAX_LENGTH:,}"
        raise ExpressionError(
            f"Expression {_shortened(expression, 60)!r} is too long: {problem}.", expression=expression
        )
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        problem = _refusal(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = (error.msg if isinstance(error, SyntaxError) else str(error)) or type(error).__name__
    if problem:
        raise ExpressionError(f"Expression {expression!r} is not valid: {problem}", expression=expression)
    return tree


def _refusal(tree: ast.expr) -> str:
    """Return why a syntax tree is not of this language, or nothing."""
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            return f"it is nested deeper than {MAX_DEPTH} levels"
        if not isinstance(node, _SYNTAX):
            return f"{type(node).__name__} is not possible here"
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None):
            return f"{node.value!r} is no JSON value"
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            return f"{ast.unparse(node.func)} is no function; there are {', '.join(FUNCTIONS)}"
        if isinstance(node, ast.keyword) and node.arg is None:
            return "** is not possible in a call"
        pending.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return ""


def _free_names(tree: ast.expr) -> set[str]:
    """Return the names that an expression takes from outside: neither functions nor bound by comprehensions."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in names if id(node) not in called} - bound


def _shortened(text: str, limit: int = 500) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


class _Evaluator(simpleeval.EvalWithCompoundTypes):
    """simpleeval with a dot that reads dictionaries, and with counted work; one for each thread."""

    def __init__(self) -> None:
        super().__init__(operators=OPERATORS)
        self.functions = FUNCTIONS
        self.work_left = MAX_WORK

    def evaluate(self, expression: str, tree: ast.expr, names: Mapping[str, Any]) -> Any:
        self.names, self.work_left = names, MAX_WORK
        try:
            result = self.eval(expression, previously_parsed=tree)
            # shared parts can make a small value huge for whoever writes it out
            self.weigh(result)
            return result
        finally:
            self.names = {}

    def spend(self, amount: int) -> None:
        self.work_left -= amount
        if self.work_left < 0:
            raise ValueError(f"it takes more than {MAX_WORK:,} operations")

    def weigh(self, value: Any) -> None:
        """Count all elements of a value that is about to be looked at whole."""
        pending = [iter((value,))]
        while pending:
            for item in pending[-1]:
                self.spend(1 + len(item) // 10 if isinstance(item, str) else 1)
                if isinstance(item, _CONTAINERS):
                    pending.append(_elements(item))
                    break
            else:
                pending.pop()

    def _eval(self, node: ast.AST) -> Any:
        # without the base class's search of every value for functions: JSON has none, and it walks all the data
        self.spend(3)
        self._max_count = 0  # nor its limit of a comprehension's length: the work is limited
        result = self.nodes[type(node)](node)
        if isinstance(node, _MAKERS) or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
            self.spend(len(result) if isinstance(result, (*_CONTAINERS, str)) else 1)
        return result

    def _eval_name(self, node: ast.Name) -> Any:
        if node.id not in self.names:
            raise LookupError(f"there is no {node.id!r}, only {_some(self.names)}")
        return self.names[node.id]

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        if not isinstance(value, Mapping):
            raise TypeError(f".{node.attr} needs an object, not {_json_type(value)}")
        return _read(value, node.attr)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        value, key = self._eval(node.value), self._eval(node.slice)
        return _read(value, key) if isinstance(value, Mapping) else value[key]

    def _eval_call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        values = [self._eval(argument) for argument in node.args]
        named = {item.arg: self._eval(item.value) for item in node.keywords if item.arg is not None}
        if node.func.id != "len":
            for value in (*values, *named.values()):
                self.weigh(value)
        return FUNCTIONS[node.func.id](*values, **named)

    def _eval_compare(self, node: ast.Compare) -> Any:
        left, result = self._eval(node.left), True
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._eval(comparator)
            self._count_comparison(operation, left, right)
            result = OPERATORS[type(operation)](left, right)
            if not result:
                break
            left = right
        return result

    def _count_comparison(self, operation: ast.cmpop, left: Any, right: Any) -> None:
        if isinstance(operation, ast.In | ast.NotIn):
            if isinstance(right, list | tuple | str):
                self.spend(len(right))
            if isinstance(left, _CONTAINERS):
                self.weigh(right)
        elif isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
            self.weigh(left)
            self.weigh(right)


_of_thread = threading.local()


def _elements(container: Any) -> Iterator[Any]:
    return iter(container.values() if isinstance(container, Mapping) else container)


def _read(mapping: Mapping[Any, Any], key: Any) -> Any:
    try:
        return mapping[key]
    except KeyError:
        raise LookupError(f"{key!r} is not in {_some(mapping)}") from None


def _some(mapping: Mapping[Any, Any]) -> str:
    names = [str(name) for name in mapping]
    return ", ".join(sorted(names)[:10]) + (" …" if len(names) > 10 else "") or "an empty object"


_JSON_TYPES = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number is needed, not {_json_type(value)}")
    return value


def _whole(bits: int) -> None:
    if bits > MAX_BITS:
        raise ValueError(f"a number of more than {MAX_BITS:,} bits")


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(_number(left), int) and isinstance(_number(right), int):
        _whole(left.bit_length() + right.bit_length())
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(_number(left), int) and isinstance(_number(right), int):
        _whole(left.bit_length() * right)
    return left**right


def _round(number: Any, digits: int = 0) -> Any:
    if not -400 <= digits <= 400:
        raise ValueError(f"round to {digits} digits")
    return round(_number(number), digits) if digits else round(_number(number))


def _alone(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `function` for one argument only: no number base, no encoding."""
    return lambda value: function(value)  # noqa: PLW0108  which takes more than one


#: What an expression may call.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "sum": lambda values: sum(_number(value) for value in values),
    "any": any,
    "all": all,
    "abs": abs,
    "round": _round,
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "int": _alone(int),
    "float": _alone(float),
    "str": _alone(str),
}
#: What the operators do: arithmetic is for numbers, and + joins texts and lists, too.
OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: lambda left, right: _number(left) - _number(right),
    ast.Mult: _multiply,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: lambda left, right: _number(left) % _number(right),
    ast.Pow: _power,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
