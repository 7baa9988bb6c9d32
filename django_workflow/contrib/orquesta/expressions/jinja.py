"""Jinja, `{{ … }}` and `{% … %}`: the library's sandbox, with a list of what is legal and counted work.

What a template may hold is a list of syntax nodes, what it may call a list of filters, methods and functions; each
of these, each look into a value and each pass of a loop is counted, and what they make is measured.
"""

from __future__ import annotations

import json
import re
import string
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial, wraps
from typing import Any, Final

from jinja2 import StrictUndefined, Template, Undefined, nodes, pass_environment
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps
from jinja2.visitor import NodeTransformer

from django_workflow.contrib.orquesta.expressions import functions
from django_workflow.contrib.orquesta.expressions.evaluation import CALL, made, size, spend, weigh, whole

#: Largest number that a filter or a method may take as a length.
MAX_LENGTH: Final = 10_000
_SYNTAX: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign),
    *(nodes.Const, nodes.Name, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword),
    *(nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr),
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: _words(
        "capitalize casefold count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace "
        "isupper lower lstrip partition removeprefix removesuffix rfind rindex rpartition rsplit rstrip split "
        "splitlines startswith strip swapcase title upper"
    ),
    dict: _words("get items keys values"),
    list: _words("count index"),
    tuple: _words("count index"),
    LoopContext: _words("index index0 revindex revindex0 first last length previtem nextitem depth"),
}
_FILTERS: Final = _words(
    "abs batch capitalize count d default dictsort filesizeformat first float groupby int items last length list lower "
    "map max min reject rejectattr reverse select selectattr slice sort string striptags sum title tojson trim "
    "truncate unique upper urlencode wordcount wordwrap"
)
#: Filters and tests that look only at the value itself or at its elements one by one, not at the parts of these.
_SHALLOW: Final = _words(
    "batch count d default first items join last length list map reject rejectattr reverse select selectattr slice "
    "boolean callable defined even divisibleby escaped false float integer iterable mapping none number odd sameas "
    "sequence string_test true undefined zip"
)
#: Filters that give an element as it is.
_READING: Final = _words("d default first last max min")
#: Filters that make a text of whatever they get.
_OF_TEXTS: Final = _words(
    "capitalize center format indent lower replace string striptags title tojson trim truncate upper urlencode "
    "wordcount wordwrap"
)
#: The longest text for filters of the library whose time grows faster than it.
_LONGEST: Final = {"wordwrap": 20_000, "striptags": 100_000}
#: Filters that take numbers that are no lengths.
_OF_NUMBERS: Final = _words(
    "abs d default filesizeformat float int map max min reject rejectattr select selectattr string sum tojson"
)


class Compiled:
    """A text with expressions in Jinja: what it reads, and how it is evaluated."""

    def __init__(self, text: str) -> None:
        environment = _environment()
        tree = environment.parse(text)
        self.variables = _variables(tree)
        self.unknown = _unknown(tree)
        self.is_one_expression = _is_one_expression(tree)
        tree = _Fence(self.is_one_expression).checked(tree)
        tree.set_environment(environment)
        self._template: Template = environment.from_string(tree)

    def evaluate(self) -> Any:
        """Evaluate inside of `evaluating`: the value of an expression that is alone, else a text."""
        context = self._template.new_context()
        pieces = list(self._template.root_render_func(context))
        if not self.is_one_expression:
            functions.fits(sum(map(len, pieces)))
            return "".join(pieces)
        value = context.vars[_RESULT]
        if isinstance(value, Undefined):
            str(value)  # which raises what is missing
        return value


@lru_cache(maxsize=2048)
def parse(text: str) -> Compiled:
    """Return the compiled form of a text; raises what the library raises."""
    return Compiled(text)


_RESULT: Final = "result_of_expression"


def _is_one_expression(tree: nodes.Template) -> bool:
    body = tree.body
    return (
        len(body) == 1
        and isinstance(body[0], nodes.Output)
        and len(body[0].nodes) == 1
        and not isinstance(body[0].nodes[0], nodes.TemplateData)
    )


def _variables(tree: nodes.Template) -> set[str]:
    """Return the names of the variables that a template reads, as far as it names them."""
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    found = set()
    for call in tree.find_all(nodes.Call):
        if _is_ctx(call) and call.args and isinstance(call.args[0], nodes.Const):
            found.add(str(call.args[0].value))
    node: Any
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        whole_context = node.node
        if _is_ctx(whole_context) and not whole_context.args:
            if isinstance(node, nodes.Getattr) and id(node) not in called:
                found.add(node.attr)
            elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
                found.add(str(node.arg.value))
    return found


def _is_ctx(node: Any) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "ctx"


def _unknown(tree: nodes.Template) -> list[str]:
    """Return the names of functions that a template calls and that there are not."""
    names = [call.node.name for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Name)]
    return [name for name in dict.fromkeys(names) if name not in _environment().globals]


class _Fence(NodeTransformer):
    """Refuse what is not on the list, and have counted what the library does not call anything for."""

    def __init__(self, is_one_expression: bool) -> None:  # noqa: FBT001
        self.is_one_expression = is_one_expression

    def checked(self, tree: nodes.Template) -> nodes.Template:
        pending: list[nodes.Node] = [tree]
        while pending:
            node = pending.pop()
            if not isinstance(node, _SYNTAX):
                raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not possible here", node.lineno)
            if isinstance(node, nodes.For) and node.recursive:
                raise TemplateSyntaxError("a recursive loop is not possible here", node.lineno)
            pending.extend(node.iter_child_nodes())
        fenced: nodes.Template = self.visit(tree)
        if self.is_one_expression:
            output = fenced.body[0]
            assert isinstance(output, nodes.Output)
            fenced.body = [nodes.Assign(nodes.Name(_RESULT, "store"), output.nodes[0], lineno=1)]
        return fenced

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  the library's name
        self.generic_visit(node)
        node.iter = _through("_each", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [_through("_seen", item) for item in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("_seen", node.expr)
        return node

    def visit_Operand(self, node: nodes.Operand) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("_seen", node.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        # the library does not ask the environment for slices
        places = [item or nodes.Const(None) for item in (node.arg.start, node.arg.stop, node.arg.step)]
        return nodes.Filter(node.node, "_sliced", places, [], None, None, lineno=node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("_made", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("_made", node) if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        for pair in node.items:
            pair.key = _through("_seen", pair.key)
        return _through("_made", node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not self.is_one_expression:
            node.nodes = [
                _through("_shown", nodes.Const(item.data) if isinstance(item, nodes.TemplateData) else item)
                for item in node.nodes
            ]
        return node


def _through(name: str, node: Any) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read a value of an object by name, else one of the methods on the list."""
        spend(3)
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, str) and attribute in _TEXT_METHODS:
            return partial(_TEXT_METHODS[attribute], obj)
        if isinstance(obj, list | tuple) and attribute in _METHODS[list]:
            weigh(obj)
        if any(isinstance(obj, kind) and attribute in names for kind, names in _METHODS.items()):
            return getattr(obj, attribute)
        if isinstance(obj, Mapping) and attribute in _METHODS[dict]:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Read a part of a value."""
        spend(2)
        weigh(argument)
        if isinstance(obj, Mapping | list | tuple | str | range):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                return self.undefined(obj=obj, name=argument)
        return self.undefined(obj=obj, name=argument)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or a method of the list."""
        spend(CALL)
        if not isinstance(obj, types.FunctionType | types.BuiltinFunctionType | partial | type | Undefined):
            raise SecurityError(f"a {type(obj).__name__} cannot be called")
        for argument in (*args, *kwargs.values()):
            weigh(argument)
        value = super().call(context, obj, *args, **kwargs)
        if obj in _READERS or isinstance(getattr(obj, "__self__", None), Mapping):
            spend(size(value))
            return value
        return _made(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Do arithmetic that stays small."""
        spend(3)
        if operator == "%" and isinstance(left, str):
            return _formatted_by_percent(left, right)
        _check_operation(operator, left, right)
        value = super().call_binop(context, operator, left, right)
        made(value)
        return value


#: Functions that give what is there already.
_READERS: Final = (functions.ctx, functions.result, functions.item)


def _check_operation(operator: str, left: Any, right: Any) -> None:
    if operator == "*":
        if isinstance(left, int) and isinstance(right, int):
            whole(left.bit_length() + right.bit_length())
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                functions.fits(len(many) * max(0, times))
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        whole(left.bit_length() * max(0, right))
    elif operator == "+" and isinstance(left, str | list | tuple):
        functions.fits(len(left) + (len(right) if isinstance(right, str | list | tuple) else 0))


def _formatted_by_percent(template: str, values: Any) -> str:
    if re.search(r"%[^a-zA-Z%]*(\*|\d{4})", template):
        raise ValueError("a width of more than three digits, or one that is computed")
    functions.fits(len(template) + len(functions.as_text(values)) * template.count("%"))
    text = str(template % values)
    functions.fits(len(text))
    return text


class _Formatter(string.Formatter):
    """`str.format` without a look into values."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        if re.search(r"[.\[]", field_name):
            raise SecurityError("format() takes values as they are, not their parts")
        return super().get_field(field_name, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> str:
        if re.search(r"\d{4}", format_spec):
            raise ValueError("a width of more than three digits")
        text: str = super().format_field(value, format_spec)
        functions.fits(len(text))
        return text


def _formatted(text: str, /, *args: Any, **kwargs: Any) -> str:
    for value in (*args, *kwargs.values()):
        functions.as_text(value)
    formatted = _Formatter().vformat(text, args, kwargs)
    functions.fits(len(formatted))
    return formatted


def _padded(method: str, text: str, width: int, *fill: str) -> str:
    _check_length(width)
    value: str = getattr(text, method)(width, *fill)
    return value


def _stripped(method: str, text: str, characters: str | None = None) -> str:
    functions.without(characters)
    value: str = getattr(text, method)(characters)
    return value


def _check_length(value: Any) -> None:
    if isinstance(value, int) and abs(value) > MAX_LENGTH:
        raise ValueError(f"a length of more than {MAX_LENGTH:,}")


_TEXT_METHODS: Final[Mapping[str, Callable[..., str]]] = {
    "format": _formatted,
    "join": functions.joined,
    "replace": functions.replaced,
    **{name: partial(_padded, name) for name in ("center", "ljust", "rjust", "zfill")},
    **{name: partial(_stripped, name) for name in ("lstrip", "rstrip", "strip")},
}


@cache
def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, optimized=False, cache_size=0, autoescape=False
    )
    environment.globals = {"range": environment.globals["range"], "dict": dict, **functions.FUNCTIONS}
    library = environment.filters
    filters = {name: library[name] for name in _FILTERS if name in library}
    filters |= {
        "zip": functions.zipped,
        "json": functions.json_,
        "replace": functions.replaced,
        "join": _joined_by_filter,
        "format": lambda text, *args: _formatted_by_percent(str(text), args),
        "center": lambda text, width=80: _padded("center", str(text), width),
        "indent": _indented,
        "round": _rounded,
        "sum": _sum,
        "tojson": _as_json,
        "trim": lambda text, chars=None: _stripped("strip", str(text), chars),
    }
    environment.filters = {name: _counted(name, function) for name, function in filters.items()}
    environment.filters |= {
        "_each": _each,
        "_made": _made,
        "_seen": _seen,
        "_shown": _shown,
        "_sliced": _sliced,
    }
    tests: dict[str, Any] = dict(environment.tests)
    tests |= {name: _of_number(tests[name]) for name in _TESTS_OF_NUMBERS}
    environment.tests = {
        name: _counted("string_test" if name == "string" else name, function) for name, function in tests.items()
    }
    return environment


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or a test that counts what it gets and gives, and takes no large lengths."""

    def given(value: Any) -> Any:
        if isinstance(value, Context | Undefined):
            return value
        if isinstance(value, Iterator):
            return value if name in _SHALLOW else _passing(value, weigh)
        if name in _SHALLOW:
            spend(size(value))
            return value
        length = weigh(value)
        if name in _OF_TEXTS and not isinstance(value, str):
            functions.fits(length)
        if length > _LONGEST.get(name, length):
            raise ValueError(f"{name} of a text of more than {_LONGEST[name]:,} characters")
        return value

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        spend(CALL)
        if name in _FILTERS - _OF_NUMBERS:
            for value in (*args, *kwargs.values()):
                _check_length(value)
        value = function(*map(given, args), **{key: given(value) for key, value in kwargs.items()})
        if name in _READING:
            spend(size(value))
            return value
        return _made(value)

    return counted


def _passing(values: Iterator[Any], look: Callable[[Any], Any]) -> Iterator[Any]:
    for value in values:
        look(value)
        yield value


def _made(value: Any) -> Any:
    """Count what was made; what gives its elements one by one counts each as it comes."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, Iterator):
        return _passing(value, _made_one)
    if isinstance(value, str):
        functions.fits(len(value))
    else:
        made(value)
    return value


def _made_one(value: Any) -> None:
    spend(1)
    made(value)


_TESTS_OF_NUMBERS: Final = ("divisibleby", "even", "odd")


def _of_number(function: Callable[..., bool]) -> Callable[..., bool]:
    def test(value: Any, *args: Any) -> bool:
        # of a text they would make a format
        if isinstance(value, str):
            raise TypeError("a number is needed, not a text")
        return function(value, *args)

    return test


@pass_environment
def _sum(environment: _Environment, values: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    if not isinstance(start, int | float):
        raise TypeError("sum adds numbers")
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    return sum(values, start)


def _as_json(value: Any, indent: int | None = None) -> str:
    if indent is not None:
        _check_length(indent)

    def dumps(value: Any, **options: Any) -> str:
        pieces, length = [], 0
        for piece in json.JSONEncoder(indent=indent, sort_keys=True).iterencode(value):
            length += len(piece)
            functions.fits(length)
            pieces.append(piece)
        return "".join(pieces)

    return htmlsafe_json_dumps(value, dumps=dumps)


def _sliced(value: Any, start: Any, stop: Any, step: Any) -> Any:
    found = value[start:stop:step]
    made(found)
    return found


def _joined_by_filter(values: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        values = [_environment().getitem(value, attribute) for value in values]
    return functions.joined(str(d), values)


def _indented(text: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:  # noqa: FBT001, FBT002  the library's
    _check_length(width)
    margin = width if isinstance(width, str) else " " * width
    text = str(text)
    lines = text.splitlines(keepends=True)
    functions.fits(len(lines) * len(margin) + len(text))
    return "".join(
        (margin if (blank or line.strip()) and (first or place) else "") + line for place, line in enumerate(lines)
    )


def _rounded(value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -300 <= precision <= 300 or method not in ("common", "ceil", "floor"):
        raise ValueError(f"round to {precision} digits, {method}")
    from jinja2.filters import do_round  # noqa: PLC0415  by its own name only here

    return do_round(value, precision, method)  # type: ignore[arg-type]


def _each(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        spend(CALL)
        yield value


def _seen(value: Any) -> Any:
    if isinstance(value, Iterator):
        return _passing(value, weigh)
    if not isinstance(value, Undefined):
        weigh(value)
    return value


def _shown(value: Any) -> str:
    if isinstance(value, Undefined):
        raise UndefinedError(str(value))
    text = functions.as_text(value)
    functions.fits(len(text))
    return text
