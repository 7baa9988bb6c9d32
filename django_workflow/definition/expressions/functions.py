"""What expressions can call and what their operators do: over JSON values, and JSON values come out.

A function whose first parameter is `spend` tells what it is about to look at or make, and is stopped there.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django_workflow.definition.schemas import patterns

#: Largest whole number an operation may come to, somewhat less than what Python converts from and to text.
MAX_BITS = 14_000

Spend = Callable[[int], None]

_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}


def json_type(value: Any) -> str:
    """Return what JSON calls the type of a value, with an article."""
    if value is None:
        return "null"
    return "an object" if isinstance(value, Mapping) else _JSON_TYPES.get(type(value), type(value).__name__)


def cost(part: Any) -> int:
    """Return what it costs to look at an element or a key, without what is in it: long texts take longer."""
    return 1 + len(part) // 10 if isinstance(part, str) else 1


def listed(value: Any) -> list[Any] | str:
    """Return what a loop over a value goes through: elements, characters, or the sorted keys of an object."""
    if isinstance(value, Mapping):
        return sorted(value)
    if isinstance(value, list | str):
        return value
    raise TypeError(f"a list is needed, not {json_type(value)}")


def clock() -> datetime:
    """Return the time of this computer."""
    return datetime.now(UTC)


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number is needed, not {json_type(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {json_type(value)}")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object is needed, not {json_type(value)}")
    return value


# --- operators


def _whole(bits: int) -> None:
    if bits > MAX_BITS:
        raise ValueError(f"a number of more than {MAX_BITS:,} bits")


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str | list):
        if not isinstance(right, type(left)):
            raise TypeError(f"to {json_type(left)} {json_type(left)} can be added, not {json_type(right)}")
        return operator.add(left, right)
    return _number(left) + _number(right)


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(_number(left), int) and isinstance(_number(right), int):
        _whole(left.bit_length() + right.bit_length())
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(_number(left), int) and isinstance(_number(right), int):
        _whole(left.bit_length() * right)
    power = left**right
    if isinstance(power, complex):
        raise ValueError("a negative number has no such power")  # noqa: TRY004  its type is right
    return power


def _is_in(left: Any, right: Any) -> bool:
    if not isinstance(right, str | list | Mapping):
        raise TypeError(f"'in' needs a list, an object or text, not {json_type(right)}")
    if not isinstance(right, list):
        _text(left)
    return left in right


def _is_same(left: Any, right: Any) -> bool:
    # never whether two values are one object in memory, which nobody could foretell
    return json_type(left) == json_type(right) and bool(left == right)


#: What the operators do: arithmetic is for numbers, and + joins texts and lists, too.
OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: _add,
    ast.Sub: lambda left, right: _number(left) - _number(right),
    ast.Mult: _multiply,
    ast.Div: lambda left, right: _number(left) / _number(right),
    ast.FloorDiv: lambda left, right: _number(left) // _number(right),
    ast.Mod: lambda left, right: _number(left) % _number(right),
    ast.Pow: _power,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _is_in,
    ast.NotIn: lambda left, right: not _is_in(left, right),
    ast.Is: _is_same,
    ast.IsNot: lambda left, right: not _is_same(left, right),
    ast.Not: operator.not_,
    ast.USub: lambda value: -_number(value),
    ast.UAdd: lambda value: +_number(value),
}

# --- functions

_ABSENT: Final = object()


def _length(value: Any) -> int:
    if not isinstance(value, str | list | Mapping):
        raise TypeError(f"a list, an object or text is needed, not {json_type(value)}")
    return len(value)


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(*values: Any, default: Any = _ABSENT) -> Any:
        candidates = listed(values[0]) if len(values) == 1 else values
        if not candidates and default is not _ABSENT:
            return default
        return choose(candidates)

    return chosen


def _sum(values: Any) -> int | float:
    return sum(_number(value) for value in listed(values))


def _any(values: Any) -> bool:
    return any(listed(values))


def _all(values: Any) -> bool:
    return all(listed(values))


def _abs(number: Any) -> int | float:
    return abs(_number(number))


def _round(number: Any, digits: int = 0) -> Any:
    if not (isinstance(digits, int) and -400 <= digits <= 400):
        raise ValueError(f"round to {digits} digits")
    return round(_number(number), digits) if digits else round(_number(number))


def _int(value: Any) -> int:
    if not isinstance(value, str | int | float):
        raise TypeError(f"text or a number is needed, not {json_type(value)}")
    return int(value)


def _float(value: Any) -> float:
    if not isinstance(value, str | int | float):
        raise TypeError(f"text or a number is needed, not {json_type(value)}")
    return float(value)


def _str(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)


def _lower(text: Any) -> str:
    return _text(text).lower()


def _upper(text: Any) -> str:
    return _text(text).upper()


def _strip(text: Any) -> str:
    return _text(text).strip()


def _startswith(text: Any, beginning: Any) -> bool:
    return _text(text).startswith(_text(beginning))


def _endswith(text: Any, ending: Any) -> bool:
    return _text(text).endswith(_text(ending))


def _matches(spend: Spend, text: Any, pattern: Any) -> bool:
    automaton = patterns.compiled(_text(pattern))
    spend(4 * len(automaton.states))
    return automaton.is_in(_text(text), spend)


def _split(text: Any, separator: Any = None) -> list[str]:
    return _text(text).split(None if separator is None else _text(separator))


def _join(spend: Spend, values: Any, separator: Any = "") -> str:
    parts = [_str(value) if isinstance(value, int | float) else _text(value) for value in listed(values)]
    spend(len(parts) * len(_text(separator)) // 10)
    return str(separator).join(parts)


def _get(spend: Spend, value: Any, key: Any, default: Any = None) -> Any:
    spend(cost(key))
    if isinstance(value, list):
        return value[key] if -len(value) <= _number(key) < len(value) else default
    return default if value is None else _object(value).get(_text(key), default)


def _keys(value: Any) -> list[str]:
    return sorted(_object(value))


def _values(value: Any) -> list[Any]:
    return [value[key] for key in sorted(_object(value))]


def _sorted(spend: Spend, values: Any) -> list[Any]:
    elements = listed(values)
    # a sort looks at all of them about log2(n) times
    spend(_weight(elements) * len(elements).bit_length())
    return sorted(elements)


def _weight(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(_weight(child) for child in value)
    if isinstance(value, Mapping):
        return 1 + sum(cost(key) + _weight(child) for key, child in value.items())
    return cost(value)


def _unique(spend: Spend, values: Any) -> list[Any]:
    elements = listed(values)
    # each is written as text
    spend(2 * _weight(elements))
    distinct: dict[str, Any] = {}
    for value in elements:
        distinct.setdefault(_canonical(value), value)
    return list(distinct.values())


_TEXT_OF: Final = json.JSONEncoder(sort_keys=True)


def _canonical(value: Any) -> str:
    # text, because equal hashes of chosen numbers would make a table slow; a quote tells texts from numbers
    value = _evened(value)
    if isinstance(value, str):
        return f'"{value}'
    return repr(value) if isinstance(value, int) else _TEXT_OF.encode(value)


def _evened(value: Any) -> Any:
    """Return a value in which 1.0 and 1 are the same."""
    if isinstance(value, Mapping):
        return {key: _evened(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_evened(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _now() -> str:
    return clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: What an expression may call.
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "len": _length,
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": _sum,
    "any": _any,
    "all": _all,
    "abs": _abs,
    "round": _round,
    "int": _int,
    "float": _float,
    "str": _str,
    "lower": _lower,
    "upper": _upper,
    "strip": _strip,
    "startswith": _startswith,
    "endswith": _endswith,
    "matches": _matches,
    "split": _split,
    "join": _join,
    "get": _get,
    "keys": _keys,
    "values": _values,
    "sorted": _sorted,
    "unique": _unique,
    "now": _now,
}
