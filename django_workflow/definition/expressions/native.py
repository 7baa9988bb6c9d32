"""Expressions of this package's own language, over JSON data (simpleeval underneath).

What is legal is a list of syntax nodes, so whatever is not on it is refused when the flow is declared:
no methods, no attributes of Python objects, no f-strings. A dot reads a key of an object. Nothing in the language
changes a value, and what comes out is a copy. Depth, length and work are limited: the work is counted, not timed,
so that the same expression on the same data always comes to the same end.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import math
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import simpleeval

from django_workflow.definition.expressions.functions import FUNCTIONS, MAX_BITS, OPERATORS, cost, json_type, listed
from django_workflow.definition.schemas import patterns
from django_workflow.exceptions import ExpressionError
from django_workflow.spelling import guess, nearest
from django_workflow.text import is_storable

MAX_LENGTH = 2_000
MAX_DEPTH = 50
#: Elements and keys looked at or made by one evaluation, one or two seconds at worst; ten characters of a text count
#: as one of them, evaluating a node as three.
MAX_WORK = 2_000_000
#: How deep lists and objects in a value may be nested.
MAX_NESTING = 500
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
#: Nodes that make a new value, whose size is counted; the others hand on what is there.
_MAKERS = (*(ast.BinOp, ast.List, ast.Tuple, ast.Dict, ast.Set), *(ast.ListComp, ast.GeneratorExp, ast.DictComp))
_CONTAINERS = (list, Mapping)
#: What goes wrong in an expression. Errors of whoever reads the names, as of a database, are not the author's.
_MISTAKES = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(MemoryError, RecursionError, simpleeval.InvalidExpression),
)
_ALL_FUNCTIONS = f"; there are {', '.join(FUNCTIONS)}"
#: Functions that look at no more of a value than they say.
_UNWEIGHED = ("len", "get")
#: Functions that say what they spend, and what the others take.
_SPENDERS = {name for name, function in FUNCTIONS.items() if "spend" in inspect.signature(function).parameters}
_SIGNATURES = {
    name: inspect.Signature([item for item in inspect.signature(function).parameters.values() if item.name != "spend"])
    for name, function in FUNCTIONS.items()
}


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Evaluate `expression` over `names`.

    expression: text as `check` accepts it.
    names: JSON data by name, or mappings that read it when asked.
    Returns the value, which shares no part with the data. Raises `ExpressionError` naming the expression
    and what went wrong.
    """
    tree = parse(expression)
    evaluator = getattr(_of_thread, "evaluator", None) or _Evaluator()
    # put back only after a success: an error may have left it in the middle of something
    _of_thread.evaluator = None
    try:
        result = evaluator.evaluate(expression, tree, names)
    except _MISTAKES as error:
        reason = _shortened(str(error) or type(error).__name__)
        raise ExpressionError(f"Expression {expression!r} failed: {reason}", expression=expression) from error
    _of_thread.evaluator = evaluator
    return result


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
            told = f"expression {expression!r}: there is no {unknown[0]!r}, only {', '.join(sorted(names))}"
            return told + _guess(unknown[0], names, steps)
    return None


@lru_cache(maxsize=2048)
def parse(expression: str) -> ast.expr:
    """Return the syntax tree of an expression, else raise `ExpressionError`."""
    if len(expression) > MAX_LENGTH:
        problem = f"it has {len(expression):,} characters, more than {MAX_LENGTH:,}"
        raise ExpressionError(
            f"Expression {_shortened(expression, 60)!r} is too long: {problem}.", expression=expression
        )
    try:
        tree = ast.parse(_WRITTEN.sub(_as_python, expression.strip()), mode="eval").body
        problem = _refusal(tree)
        if not problem:
            tree = _Simplified().visit(tree)
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
    return _UNKNOWN_ESCAPE.sub(lambda found: "\\\\" if found[0] == "\\" else found[0], part["text"])


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
    return "" if is_json else f"{_shortened(ast.unparse(node), 60)} is no JSON value"


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


class _Used(ast.expr):
    """An expression whose value is put to a use of its own."""

    _fields = ("value",)

    def __init__(self, value: ast.expr) -> None:
        super().__init__()
        self.value = value


class _Key(_Used):
    """The key of an object that is made."""


class _Elements(_Used):
    """What a loop goes through, and the variables that take each of its elements."""

    def __init__(self, value: ast.expr, target: ast.expr) -> None:
        super().__init__(value)
        self.target = target


class _Simplified(ast.NodeTransformer):
    """Writes JSON's constants as such, and says what is a key, and that a loop goes through elements."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(CONSTANTS[node.id]) if node.id in CONSTANTS else node

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        self.generic_visit(node)
        node.keys = [_Key(key) for key in node.keys if key is not None]
        return node

    def visit_DictComp(self, node: ast.DictComp) -> ast.DictComp:
        self.generic_visit(node)
        node.key = _Key(node.key)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.iter = _Elements(node.iter, node.target)
        return node


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


def _shortened(text: str, limit: int = 500) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


class _Evaluator(simpleeval.EvalWithCompoundTypes):
    """simpleeval with a dot that reads objects, values that are JSON, and counted work; one for each thread."""

    def __init__(self) -> None:
        super().__init__(operators=OPERATORS)
        self.functions = FUNCTIONS
        self.nodes |= {_Key: self._eval_key, _Elements: self._eval_elements}
        self.work_left = MAX_WORK

    def evaluate(self, expression: str, tree: ast.expr, names: Mapping[str, Any]) -> Any:
        self.names, self.work_left = names, MAX_WORK
        try:
            return self.copied(self.eval(expression, previously_parsed=tree))
        finally:
            self.names = {}

    def spend(self, amount: int) -> None:
        self.work_left -= amount
        if self.work_left < 0:
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

    def _eval(self, node: ast.AST) -> Any:
        # without the base class's search of every value for functions: JSON has none, and it walks all the data
        self.spend(3)
        self._max_count = 0  # nor its limit of a comprehension's length: the work is limited
        result = self.nodes[type(node)](node)
        if isinstance(node, _MAKERS) or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
            self.spend(len(result) if isinstance(result, (*_CONTAINERS, str)) else 1)
        return result

    def _eval_name(self, node: ast.Name) -> Any:
        try:
            return self.names[node.id]
        except KeyError:
            raise LookupError(f"there is no {node.id!r}, only {_some(self.names)}") from None

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        if not isinstance(value, Mapping):
            raise TypeError(f".{node.attr} needs an object, not {json_type(value)}")
        return _read(value, node.attr)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        value, key = self._eval(node.value), self._eval(node.slice)
        if isinstance(value, Mapping):
            self.spend(cost(key))
            return _read(value, key)
        if not isinstance(value, list | str):
            raise TypeError(f"[…] needs an object, a list or text, not {json_type(value)}")
        if isinstance(key, int) and not -len(value) <= key < len(value):
            raise LookupError(f"[{key}] of {len(value):,} elements")
        return value[key]

    def _eval_tuple(self, node: ast.Tuple) -> list[Any]:
        return [self._eval(item) for item in node.elts]

    def _eval_set(self, node: ast.Set) -> Any:
        # JSON has no sets, and a set of Python has an order nobody could foretell
        elements = [self._eval(item) for item in node.elts]
        self.weigh(elements)
        return FUNCTIONS["unique"](self.spend, elements)

    def _eval_dict(self, node: ast.Dict) -> dict[str, Any]:
        keys = [self._eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, [self._eval(value) for value in node.values], strict=True))

    def _eval_key(self, node: _Key) -> str:
        key = _key(self._eval(node.value))
        self.spend(cost(key))
        return key

    def _eval_elements(self, node: _Elements) -> list[Any] | str:
        value = self._eval(node.value)
        if isinstance(value, Mapping):
            # they are sorted
            self.spend(sum(map(cost, value)))
        elements = listed(value)
        if isinstance(node.target, ast.Tuple | ast.List):
            for element in elements:
                self._require_fit(node.target, element)
        return elements

    def _require_fit(self, target: ast.Tuple | ast.List, value: Any) -> None:
        """Refuse what simpleeval would let pass: a variable without an element keeps the one before."""
        count = len(target.elts)
        self.spend(count)
        if not isinstance(value, list) or len(value) != count:
            found = f"one of length {len(value):,}" if isinstance(value, list) else json_type(value)
            raise ValueError(f"{ast.unparse(target)} takes a list of length {count}, not {found}")
        for part, element in zip(target.elts, value, strict=True):
            if isinstance(part, ast.Tuple | ast.List):
                self._require_fit(part, element)

    def _eval_call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        values = [self._eval(argument) for argument in node.args]
        named = {item.arg: self._eval(item.value) for item in node.keywords if item.arg is not None}
        if name not in _UNWEIGHED:
            for value in (*values, *named.values()):
                self.weigh(value)
        if name in _SPENDERS:
            values.insert(0, self.spend)
        result = FUNCTIONS[name](*values, **named)
        self.spend(1 + len(result) // 10 if isinstance(result, str | list) else 1)
        return result

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


_of_thread = threading.local()


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
