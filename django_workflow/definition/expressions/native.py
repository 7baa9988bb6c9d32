"""Expressions of this package's own language, over JSON data.

A dot reads a key of an object. Nothing in the language changes a value, and what comes out is a copy. Depth, length
and work are limited: the work is counted, not timed, so that the same expression on the same data always comes to the
same end.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from django_workflow.definition.expressions.functions import FUNCTIONS, MAX_BITS, OPERATORS, cost, json_type, listed
from django_workflow.definition.expressions.syntax import parse, shortened
from django_workflow.exceptions import ExpressionError

#: Elements and keys looked at or made by one evaluation, one or two seconds at worst; ten characters of a text count
#: as one of them, evaluating a node as three.
MAX_WORK = 2_000_000
NODE = 3
#: How deep lists and objects in a value may be nested.
MAX_NESTING = 500

_CONTAINERS = (list, Mapping)
_SIZED = (*_CONTAINERS, str)
#: What goes wrong in an expression. Errors of reading the names, as of a database, are not the author's.
_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError, RecursionError)
#: Functions that look at no more of a value than they say.
_UNWEIGHED = ("len", "get")
#: Functions that say what they spend, and what the others take.
_SPENDERS = {name for name, function in FUNCTIONS.items() if "spend" in inspect.signature(function).parameters}


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Evaluate `expression` over `names`.

    expression: text as `check` accepts it.
    names: JSON data by name, or mappings that read it when asked.
    Returns the value, which shares no part with the data. Raises `ExpressionError` naming the expression
    and what went wrong.
    """
    tree = parse(expression)
    evaluation = _Evaluation(names)
    try:
        return evaluation.copied(evaluation.value(tree))
    except _MISTAKES as error:
        reason = shortened(str(error) or type(error).__name__)
        raise ExpressionError(f"Expression {expression!r} failed: {reason}", expression=expression) from error


class _Evaluation:
    """One evaluation: the names, the variables of comprehensions, and how much work is left."""

    __slots__ = ("_bound", "_names", "_work_left")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._bound: dict[str, Any] = {}
        self._work_left = MAX_WORK

    def value(self, node: ast.expr) -> Any:
        """Return what a node comes to."""
        self.spend(NODE)
        return _VALUES[type(node)](self, node)

    def spend(self, amount: int) -> None:
        self._work_left -= amount
        if self._work_left < 0:
            raise ValueError(f"it takes more than {MAX_WORK:,} operations")

    def weigh(self, value: Any) -> None:
        """Count all elements and keys of a value that is about to be looked at whole."""
        pending = [iter((value,))]
        while pending:
            for item in pending[-1]:
                self.spend(cost(item))
                if isinstance(item, _CONTAINERS):
                    pending.append(_children(item))
                    break
            else:
                pending.pop()

    def copied(self, value: Any) -> Any:
        """Return a copy made of dictionaries and lists only; parts that it shares with itself become many."""
        holder: list[Any] = [None]
        pending: list[tuple[Any, Any, Any, int]] = [(holder, 0, value, 0)]
        while pending:
            place, key, item, depth = pending.pop()
            if depth > MAX_NESTING:
                raise ValueError(f"the value is nested deeper than {MAX_NESTING} levels")
            if isinstance(item, _CONTAINERS):
                # a container takes about as long as three of its elements
                self.spend(3 + (sum(map(cost, item)) if isinstance(item, Mapping) else len(item)))
                copy: Any = dict.fromkeys(item) if isinstance(item, Mapping) else [None] * len(item)
                children = item.items() if isinstance(item, Mapping) else enumerate(item)
                pending += [(copy, name, child, depth + 1) for name, child in children]
                item = copy
            else:
                self.spend(cost(item))
                _require_json(item)
            place[key] = item
        return holder[0]

    # --- what is there

    def constant(self, node: ast.Constant) -> Any:
        return node.value

    def name(self, node: ast.Name) -> Any:
        if node.id in self._bound:
            return self._bound[node.id]
        try:
            return self._names[node.id]
        except KeyError:
            raise LookupError(f"there is no {node.id!r}, only {_some(self._names)}") from None

    def attribute(self, node: ast.Attribute) -> Any:
        value = self.value(node.value)
        if not isinstance(value, Mapping):
            raise TypeError(f".{node.attr} needs an object, not {json_type(value)}")
        return _read(value, node.attr)

    def subscript(self, node: ast.Subscript) -> Any:
        value, key = self.value(node.value), self.value(node.slice)
        if isinstance(value, Mapping):
            self.spend(cost(key))
            return _read(value, key)
        if not isinstance(value, list | str):
            raise TypeError(f"[…] needs an object, a list or text, not {json_type(value)}")
        if isinstance(key, slice):
            return self.made(value[key])
        if isinstance(key, int) and not -len(value) <= key < len(value):
            raise LookupError(f"[{key}] of {len(value):,} elements")
        return value[key]

    def slice_of(self, node: ast.Slice) -> slice:
        return slice(*(None if part is None else self.value(part) for part in (node.lower, node.upper, node.step)))

    # --- what is made: its size is counted

    def made(self, value: Any) -> Any:
        self.spend(len(value) if isinstance(value, _SIZED) else 1)
        return value

    def binary(self, node: ast.BinOp) -> Any:
        return self.made(OPERATORS[type(node.op)](self.value(node.left), self.value(node.right)))

    def new_list(self, node: ast.List | ast.Tuple) -> Any:
        return self.made([self.value(item) for item in node.elts])

    def new_set(self, node: ast.Set) -> Any:
        # JSON has no sets, and a set of Python has an order nobody could foretell
        elements = [self.value(item) for item in node.elts]
        self.weigh(elements)
        return self.made(FUNCTIONS["unique"](self.spend, elements))

    def new_object(self, node: ast.Dict) -> Any:
        keys = [self.key(key) for key in node.keys if key is not None]
        return self.made(dict(zip(keys, map(self.value, node.values), strict=True)))

    def list_of_each(self, node: ast.ListComp | ast.GeneratorExp) -> Any:
        outer, self._bound = self._bound, dict(self._bound)
        result = [self.value(node.elt) for _ in self.each(node.generators)]
        self._bound = outer
        return self.made(result)

    def object_of_each(self, node: ast.DictComp) -> Any:
        outer, self._bound = self._bound, dict(self._bound)
        result = {self.key(node.key): self.value(node.value) for _ in self.each(node.generators)}
        self._bound = outer
        return self.made(result)

    def key(self, node: ast.expr) -> str:
        key = _key(self.value(node))
        self.spend(NODE + cost(key))
        return key

    def each(self, loops: Sequence[ast.comprehension]) -> Iterator[None]:
        """Bind the variables of a comprehension to its elements, one after the other."""
        loop, inner = loops[0], loops[1:]
        for element in self.elements(loop.iter):
            self.bind(loop.target, element)
            for condition in loop.ifs:
                if not self.value(condition):
                    break
            else:
                if inner:
                    yield from self.each(inner)
                else:
                    yield

    def elements(self, node: ast.expr) -> Any:
        value = self.value(node)
        # those of an object are sorted
        self.spend(NODE + (sum(map(cost, value)) if isinstance(value, Mapping) else 0))
        return listed(value)

    def bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._bound[target.id] = value
            return
        assert isinstance(target, ast.Tuple | ast.List)
        count = len(target.elts)
        self.spend(count)
        if not isinstance(value, list) or len(value) != count:
            given = f"one of length {len(value):,}" if isinstance(value, list) else json_type(value)
            raise ValueError(f"{ast.unparse(target)} takes a list of length {count}, not {given}")
        for part, element in zip(target.elts, value, strict=True):
            self.bind(part, element)

    # --- what is asked

    def unary(self, node: ast.UnaryOp) -> Any:
        return OPERATORS[type(node.op)](self.value(node.operand))

    def choice(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def boolean(self, node: ast.BoolOp) -> Any:
        ends_with = isinstance(node.op, ast.Or)
        result = None
        for item in node.values:
            result = self.value(item)
            if bool(result) is ends_with:
                break
        return result

    def call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        values = [self.value(argument) for argument in node.args]
        named = {item.arg: self.value(item.value) for item in node.keywords if item.arg is not None}
        if name not in _UNWEIGHED:
            for value in (*values, *named.values()):
                self.weigh(value)
        if name in _SPENDERS:
            values.insert(0, self.spend)
        result = FUNCTIONS[name](*values, **named)
        self.spend(1 + len(result) // 10 if isinstance(result, str | list) else 1)
        return result

    def comparison(self, node: ast.Compare) -> Any:
        left, result = self.value(node.left), True
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            self._count_comparison(operation, left, right)
            result = OPERATORS[type(operation)](left, right)
            if not result:
                break
            left = right
        return result

    def _count_comparison(self, operation: ast.cmpop, left: Any, right: Any) -> None:
        if isinstance(left, str) and isinstance(right, str):
            self.spend(len(right) // 10)
        elif isinstance(operation, ast.In | ast.NotIn):
            if isinstance(right, list):
                self.weigh(right)
            else:
                self.spend(cost(left))
        elif isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
            self.weigh(left)
            self.weigh(right)


#: How each kind of node is evaluated; `syntax` lets no other one through.
_VALUES: Mapping[type[ast.expr], Callable[[_Evaluation, Any], Any]] = {
    ast.Constant: _Evaluation.constant,
    ast.Name: _Evaluation.name,
    ast.Attribute: _Evaluation.attribute,
    ast.Subscript: _Evaluation.subscript,
    ast.Slice: _Evaluation.slice_of,
    ast.BinOp: _Evaluation.binary,
    ast.List: _Evaluation.new_list,
    ast.Tuple: _Evaluation.new_list,
    ast.Set: _Evaluation.new_set,
    ast.Dict: _Evaluation.new_object,
    ast.ListComp: _Evaluation.list_of_each,
    ast.GeneratorExp: _Evaluation.list_of_each,
    ast.DictComp: _Evaluation.object_of_each,
    ast.UnaryOp: _Evaluation.unary,
    ast.IfExp: _Evaluation.choice,
    ast.BoolOp: _Evaluation.boolean,
    ast.Call: _Evaluation.call,
    ast.Compare: _Evaluation.comparison,
}


def _children(container: Any) -> Iterator[Any]:
    """Return what is in a list or an object, keys as well."""
    return chain(container, container.values()) if isinstance(container, Mapping) else iter(container)


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the keys of an object are text, not {json_type(key)}")
    return key


def _require_json(item: Any) -> None:
    if not (item is None or isinstance(item, str | int | float)):
        raise TypeError(f"{type(item).__name__} is no JSON value")
    if isinstance(item, float) and not math.isfinite(item):
        raise ValueError(f"it comes to {item!r}, which is no JSON number")
    if isinstance(item, int) and item.bit_length() > MAX_BITS:
        raise ValueError(f"a number of more than {MAX_BITS:,} bits")


def _read(mapping: Mapping[Any, Any], key: Any) -> Any:
    try:
        return mapping[_key(key)]
    except KeyError:
        raise LookupError(f"no key {key!r}; there are: {_some(mapping)}") from None


def _some(mapping: Mapping[Any, Any]) -> str:
    names = [str(name) for name in mapping]
    return ", ".join(sorted(names)[:10]) + (" …" if len(names) > 10 else "") or "none"
