"""YAQL, `<% … %>`: the library's functions on converted data, without those that could run away.

Each call of a function and each value it hands on is counted, and what they make is measured. Left out are functions
that never end by themselves or make text out of a format; regular expressions are those of `patterns`, which have a
time limit.
"""

from __future__ import annotations

import collections.abc  # noqa: F401  yaql needs it imported
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, Final

import yaql
from yaql.language import contexts, conventions, expressions, specs, utils
from yaql.standard_library import collections as yaql_collections
from yaql.standard_library import common as yaql_common
from yaql.standard_library import math as yaql_math
from yaql.standard_library import queries as yaql_queries
from yaql.standard_library import strings as yaql_strings

from django_workflow.contrib.orquesta.expressions import functions, patterns
from django_workflow.contrib.orquesta.expressions.evaluation import (
    CALL,
    MAX_BITS,
    current,
    made,
    plain,
    size,
    spend,
    weigh,
    whole,
)

#: Bytes of one value that a function makes, and elements that an iterator may give.
MEMORY: Final = 20_000_000
MAX_ELEMENTS: Final = 1_000_000


@lru_cache(maxsize=2048)
def parse(source: str) -> Any:
    """Return the compiled form of an expression without its marks; raises what the library raises."""
    # the lexer of an engine keeps its place in itself
    with _parsing:
        return _engine()(source.strip())


_parsing = threading.Lock()


def evaluate(source: str) -> Any:
    """Return what an expression without its marks comes to, as JSON, inside of `evaluating`."""
    return parse(source).evaluate(context=_context().create_child_context())


def variables(source: str) -> set[str]:
    """Return the names of the variables that an expression reads, as far as it names them."""
    found: set[str] = set()
    for node in _walk(parse(source).expression):
        if _is_ctx(node) and node.args and isinstance(node.args[0], expressions.Constant):
            found.add(str(node.args[0].value))
        elif isinstance(node, expressions.BinaryOperator) and node.operator in (".", "?."):
            left, right = node.args
            if _is_ctx(left) and not left.args and isinstance(right, expressions.KeywordConstant):
                found.add(right.value)
    return found


def unknown(source: str) -> list[str]:
    """Return the names of functions that an expression calls and that there are not."""
    nodes = list(_walk(parse(source).expression))
    known = {str(node.args[0].value) for node in nodes if _calls(node, "def") and _is_constant(node.args[:1])}
    names = [node.name for node in nodes if type(node) is expressions.Function]
    return [name for name in dict.fromkeys(names) if name not in known and not _context().collect_functions(name)]


def _walk(node: Any) -> Iterator[Any]:
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, expressions.Function):
            pending.extend(node.args)
        elif isinstance(node, expressions.MappingRuleExpression):
            pending += [node.source, node.destination]
        elif isinstance(node, expressions.Wrap):
            pending.append(node.expr)


def _is_ctx(node: Any) -> bool:
    return _calls(node, "ctx")


def _calls(node: Any, name: str) -> bool:
    return type(node) is expressions.Function and node.name == name


def _is_constant(nodes: Any) -> bool:
    return bool(nodes) and isinstance(nodes[0], expressions.Constant)


class _Context(contexts.Context):
    """A context that counts the calls of functions and what they return."""

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        call = super().__call__(name, *arguments, **options)

        def counted(*args: Any, **kwargs: Any) -> Any:
            spend(CALL)
            value = call(*args, **kwargs)
            if name in _MAKERS and isinstance(value, str):
                functions.fits(len(value))
            elif name in _READERS:
                spend(size(value))
            else:
                made(value)
            return value

        return counted


#: Functions that make texts that are longer than what they get.
_MAKERS: Final = frozenset(
    ["#operator_+", "#operator_*", "concat", "escapeRegex", "format", "join", "replace", "str", "toLower", "toUpper"]
)
#: Functions that give what is there already.
_READERS: Final = frozenset(
    [
        "#operator_.",
        "#operator_?.",
        "#operator_->",
        "#get_context_data",
        "#indexer",
        "ctx",
        "first",
        "get",
        "item",
        "last",
        "result",
    ]
)


class _Variables(Mapping[str, Any]):
    """All variables, each converted when it is read."""

    def __getitem__(self, name: str) -> Any:
        return _variable(name)

    def __iter__(self) -> Iterator[str]:
        return iter(functions.ctx())

    def __len__(self) -> int:
        return len(functions.ctx())


def _converted(key: Any, value: Callable[[], Any]) -> Any:
    """Return a value in the library's immutable form, made once for an evaluation."""
    prepared = current().prepared
    if key not in prepared:
        prepared[key] = utils.convert_input_data(value())
    return prepared[key]


def _variable(name: str) -> Any:
    return _converted(("variable", name), lambda: functions.ctx(name))


def _ctx(key: Any = None) -> Any:
    return _Variables() if key is None else _variable(key)


def _result() -> Any:
    return _converted("result", functions.result)


def _item(key: Any = None) -> Any:
    return _converted(("item", key), lambda: functions.item(key))


@specs.parameter("lists", nullable=True)
def _zip(*lists: Any, pad: Any = None) -> Any:
    return utils.convert_input_data(functions.zipped(*lists, pad=pad))


def _json(text: Any) -> Any:
    return utils.convert_input_data(functions.json_(text))


_OWN: Final = {
    **functions.FUNCTIONS,
    "ctx": _ctx,
    "result": _result,
    "item": _item,
    "zip": _zip,
    "json": _json,
}


@cache
def _engine() -> Any:
    options = {
        "yaql.convertTuplesToLists": True,
        "yaql.convertSetsToLists": True,
        "yaql.limitIterators": MAX_ELEMENTS,
        "yaql.memoryQuota": MEMORY,
    }
    return yaql.YaqlFactory().create(options)


@cache
def _context() -> Any:
    root = _Context(convention=conventions.CamelCaseConvention())
    context = yaql.create_context(context=root, yaqlized=False, regex=False, finalizer=_finalize)
    for function, replacement in _fences().items():
        _replace(context, function, replacement)
    patterns.register(context)
    for name, function in _OWN.items():
        context.register_function(function, name=name)
    return context


@specs.name("#finalize")
def _finalize(value: Any) -> Any:
    return plain(value)


def _replace(context: Any, function: Any, replacement: Any) -> None:
    """Put another function in the place of one of the library's; None takes it away."""
    template = specs.get_function_definition(function, convention=context.convention)
    level = context
    while level is not None:
        names = _names_of(function, template.name)
        for definition in [item for name in names for item in level.get_functions(name)[0]]:
            if definition.payload is not function:
                continue
            level.delete_function(definition)
            if replacement is not None:
                fenced = definition.clone()
                fenced.payload = replacement
                level.register_function(fenced)
        level = level.parent


def _names_of(function: Any, name: str) -> tuple[str, ...]:
    return (name, *_ALIASES.get(function, ()))


_ALIASES: Final = {
    yaql_queries.aggregate: ("reduce",),
    yaql_collections.dict_: ("#map",),
    yaql_collections.difference: ("#operator_-",),
}


def _multiplication(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        whole(left.bit_length() + right.bit_length())
    return left * right


def _power(a: Any, b: Any, c: Any = None) -> Any:
    if c is None and isinstance(a, int) and isinstance(b, int):
        whole(a.bit_length() * max(0, b))
    return pow(a, b, c)


def _shift(value: Any, bits_number: Any) -> Any:
    whole(value.bit_length() + max(0, min(bits_number, MAX_BITS + 1)))
    return value << bits_number


def _round(number: Any, ndigits: Any = 0) -> Any:
    if not -400 <= ndigits <= 400:
        raise ValueError(f"round to {ndigits} digits")
    return round(number, ndigits)


def _repeated(left: Any, right: Any, engine: Any) -> Any:
    times = max(0, left if isinstance(left, int) else right)
    many = right if isinstance(left, int) else left
    if isinstance(many, str):
        functions.fits(len(many) * times)
    else:
        spend(len(many) * times)
    return left * right


def _trimming(function: Callable[..., Any]) -> Callable[..., Any]:
    def trimmed(*args: Any) -> Any:
        for characters in args[1:]:
            functions.without(characters if isinstance(characters, str) else None)
        return function(*args)

    return trimmed


def _weighing(function: Callable[..., Any], *, begin: int = 0, times: int = 1) -> Callable[..., Any]:
    """Return a function that counts its arguments from `begin` on with all their parts."""

    def weighing(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args[begin:], *kwargs.values()):
            # keys and values of an object that is being made are written as rules
            parts = (argument.source,) if isinstance(argument, utils.MappingRule) else (argument,)
            for part in parts * times:
                weigh(part)
        return function(*args, **kwargs)

    return weighing


def _as_text(value: Any) -> str:
    if value is not None and not isinstance(value, str | bool):
        functions.fits(weigh(value))
    text: str = yaql_strings.str_(value)
    return text


def _join(sequence: Any, separator: Any, str_delegate: Any) -> str:
    return functions.joined(separator, map(str_delegate, sequence))


def _join_separator(separator: Any, sequence: Any, str_delegate: Any) -> str:
    return _join(sequence, separator, str_delegate)


def _replace_text(string: Any, old: Any, new: Any, count: Any = -1) -> str:
    return functions.replaced(string, old, new, count)


def _replace_texts(string: Any, str_func: Any, replacements: Any, count: Any = -1) -> str:
    for key, value in replacements.items():
        string = functions.replaced(string, str_func(key), str_func(value), count)
    return str(string)


def _range(stop: Any) -> Iterator[int]:
    return _range_from(0, stop)


def _range_from(start: Any, stop: Any, step: Any = 1) -> Iterator[int]:
    for number in range(start, stop, step):
        spend(1)
        yield number


_FENCED: Final[dict[Any, Any]] = {
    yaql_math.multiplication: _multiplication,
    yaql_math.pow_: _power,
    yaql_math.shift_bits_left: _shift,
    yaql_math.round_: _round,
    yaql_collections.list_by_int: _repeated,
    yaql_collections.int_by_list: _repeated,
    yaql_strings.string_by_int: _repeated,
    yaql_strings.int_by_string: _repeated,
    yaql_strings.str_: _as_text,
    yaql_strings.join: _join,
    yaql_strings.join_: _join_separator,
    yaql_strings.replace: _replace_text,
    yaql_strings.replace_with_dict: _replace_texts,
    # what else gives elements has them from a value, which was counted
    yaql_queries.range_: _range,
    yaql_queries.range__: _range_from,
    # they never end by themselves
    yaql_queries.sequence: None,
    yaql_queries.cycle: None,
    yaql_queries.repeat: None,
    yaql_queries.generate: None,
    yaql_queries.generate_many: None,
}
#: They compare or hash values with all their parts, or go through them.
_DEEP: Final = (
    *(yaql_common.eq, yaql_common.neq, yaql_collections.flatten, yaql_collections.in_, yaql_collections.contains),
    *(yaql_collections.contains_value, yaql_collections.set_, yaql_collections.to_set, yaql_collections.union),
    *(yaql_collections.intersect, yaql_collections.difference, yaql_collections.symmetric_difference),
    *(yaql_collections.set_add, yaql_collections.set_remove, yaql_collections.set_lt, yaql_collections.set_lte),
    *(yaql_collections.set_gt, yaql_collections.set_gte, yaql_collections.dict_, yaql_collections.dict__),
    *(yaql_queries.distinct, yaql_queries.index_of, yaql_queries.last_index_of),
)
#: They hash what they get after an object.
_DEEP_IN_KEYS: Final = (
    *(yaql_collections.dict_indexer, yaql_collections.dict_indexer_with_default, yaql_collections.dict_get),
    *(yaql_collections.dict_set, yaql_collections.dict_set_many, yaql_collections.dict_set_many_inline),
    *(yaql_collections.contains_key, yaql_collections.delete_keys, yaql_collections.delete_keys_seq),
)
_TRIMMING: Final = (
    *(yaql_strings.trim, yaql_strings.trim_left, yaql_strings.trim_right, yaql_strings.norm, yaql_strings.is_empty),
)


def _fences() -> dict[Any, Any]:
    return {
        **_FENCED,
        **{function: _weighing(function) for function in _DEEP},
        **{function: _weighing(function, begin=1) for function in _DEEP_IN_KEYS},
        **{function: _trimming(function) for function in _TRIMMING},
        # it makes an object of each that it comes to, however often that is there
        yaql_queries.merge_with: _weighing(yaql_queries.merge_with, times=10),
    }
