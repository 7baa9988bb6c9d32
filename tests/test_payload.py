"""What may be stored as JSON, and the exact word on what may not."""

import datetime as dt
import decimal
import json
import math
import uuid
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import pytest
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from django_workflow import payload
from django_workflow.exceptions import PayloadError

# what PostgreSQL takes: no NUL, no lone surrogates
text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


def refused(value, **options):
    with pytest.raises(PayloadError) as caught:
        payload.dumps(value, what="The output of step 'a'", **options)
    return caught.value


@given(values)
def test_any_json_value_comes_back_as_it_was(value):
    assert payload.loads(payload.dumps(value, what="x")) == value


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False])
def test_empty_values_are_values(value):
    back = payload.loads(payload.dumps(value, what="x"))
    assert (back, type(back)) == (value, type(value))


def test_no_text_at_all_is_null():
    assert payload.loads(None) is None


@dataclass
class Line:
    sku: str
    price: decimal.Decimal
    tags: list = field(default_factory=list)


class Pair(NamedTuple):
    a: int
    b: int


def test_dataclasses_decimals_times_and_ids_are_encoded():
    value = {
        "line": Line("a", decimal.Decimal("1.50")),
        "at": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "took": dt.timedelta(seconds=90),
        "id": uuid.UUID(int=7),
        "label": lazystr("ok"),
        "pair": Pair(1, 2),
    }
    assert json.loads(payload.dumps(value, what="x")) == {
        "line": {"sku": "a", "price": "1.50", "tags": []},
        "at": "2026-01-02T03:04:00Z",
        "day": "2026-01-02",
        "took": "P0DT00H01M30S",
        "id": "00000000-0000-0000-0000-000000000007",
        "label": "ok",
        "pair": [1, 2],
    }


def circular():
    loop = []
    loop.append(loop)
    return loop


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


REFUSED = {
    "a set": ({"a": [1, {2}]}, ".a[1]", "set is not a JSON type; make it a list"),
    "bytes": (b"x", "", "bytes is not a JSON type; make it text"),
    "a generator": ((n for n in []), "", "generator is not a JSON type"),
    "a mapping that is no dict": ({"a": MappingProxyType({})}, ".a", "mappingproxy is not a JSON type"),
    "an exception": ([ValueError("x")], "[0]", "ValueError is not a JSON type"),
    "NaN": ({"a": {"b": math.nan}}, ".a.b", "nan is not a JSON number"),
    "infinity": ([1.0, -math.inf], "[1]", "-inf is not a JSON number"),
    "NaN as key": ({math.nan: 1}, ".<key nan>", "nan is not a JSON number"),
    "a tuple as key": ({"a": {(1, 2): 3}}, ".a.<key (1, 2)>", "tuple is no key in JSON"),
    "NUL": (["ok", "a\x00b"], "[1]", "text with a NUL character"),
    "NUL as key": ({"\x00": 1}, ".<key '\\x00'>", "text with a NUL character"),
    "NUL in lazy text": ([lazystr("\x00")], "[0]", "text with a NUL character"),
    "a lone surrogate": ({"name": "\ud800"}, ".name", "text with a lone surrogate"),
    "in a dataclass": ({"line": Line("a", None, [math.inf])}, ".line.tags[0]", "inf is not a JSON number"),
    "a time with a zone alone": (
        [dt.time(1, 2, tzinfo=dt.UTC)],
        "[0]",
        "JSON can't represent timezone-aware times.",
    ),
    "the first of several": ({"a": [1, {1}], "b": {2}}, ".a[1]", "set is not a JSON type; make it a list"),
    "a circle": (circular(), "[0]" * 100, "nested deeper than 100 levels"),
    "too deep": (nested(100_000), "[0]" * 100, "nested deeper than 100 levels"),
}


@pytest.mark.parametrize(("value", "path", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_json_is_refused_with_its_path(value, path, reason):
    error = refused(value)
    assert error.path == path
    assert error.message.startswith("The output of step 'a' ")
    assert error.message.endswith(f" at {path or 'its top'}: {reason}")


def test_text_about_nul_is_no_nul():
    assert payload.loads(payload.dumps("\\u0000", what="x")) == "\\u0000"


def test_a_value_may_have_exactly_the_bytes_that_are_allowed():
    assert payload.dumps("é" * 4, what="x", limit=10) == '"éééé"'


def test_a_value_that_is_too_large_is_refused_with_both_sizes():
    error = refused("x" * 2_000, limit=1_000)
    assert error.size == 2_002
    assert error.message == "The output of step 'a' has 2,002 bytes of JSON; 1,000 are allowed"


def test_the_limits_are_settings(settings):
    settings.DJANGO_WORKFLOW = {"MAX_INPUT_BYTES": 3, "MAX_OUTPUT_BYTES": 4}
    assert payload.dump_output("ab", step="a") == '"ab"'
    with pytest.raises(PayloadError, match="The input of flow 'orders' has 4 bytes of JSON; 3 are allowed"):
        payload.dump_input("ab", flow="orders")


def test_a_mebibyte_is_allowed_by_default():
    assert payload.dump_output("x" * (1024 * 1024 - 2), step="a")
    with pytest.raises(PayloadError, match="1,048,576 are allowed"):
        payload.dump_output("x" * (1024 * 1024 - 1), step="a")


def boxes(depth, inner=None, *, inside=lambda value: [value]):
    for _ in range(depth):
        inner = inside(inner)
    return inner


@pytest.mark.parametrize("inside", [lambda value: [value], lambda value: {"a": value}, lambda value: (value, 1)])
def test_what_lies_a_hundred_levels_deep_is_stored_and_what_lies_deeper_is_refused(inside):
    assert payload.dumps(boxes(100, inside=inside), what="x")
    for depth in (101, 300, 945):
        error = refused(boxes(depth, inside=inside))
        assert "nested deeper than 100 levels" in error.message
        assert len(error.path) <= 300


def test_wide_values_are_not_deep():
    assert payload.dumps([{"a": [{}]}] * 1000, what="x")


@dataclass
class Box:
    inner: object


def test_dataclasses_in_each_other_are_as_deep_as_the_objects_they_become():
    assert payload.dumps(boxes(100, inside=Box), what="x")
    assert "nested deeper" in refused(boxes(101, inside=Box)).message


@pytest.mark.parametrize("key", [1, 1.5, True, None, -7, 10**20])
def test_two_keys_that_are_one_in_json_are_refused(key):
    text = json.loads(json.dumps({key: 0}).replace(": 0", "").replace("{", "[").replace("}", "]"))[0]
    assert json.loads(payload.dumps({"deep": [{key: 1}]}, what="x")) == {"deep": [{text: 1}]}
    error = refused({"deep": [{key: 1, text: 2}]})
    assert error.path == f".deep[0].<key {key!r}>"
    assert "the same text" in error.message


def test_numbers_beyond_those_of_json_are_refused():
    assert "not a JSON number" in refused([1e400]).message
    assert "digits" in refused([10**5000]).message
    assert payload.loads(payload.dumps(10**400, what="x")) == 10**400
