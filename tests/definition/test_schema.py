"""Schemas of inputs: what is wrong with them, what they find, and the sample they give."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from django_workflow.definition import documents
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.schemas import schema
from django_workflow.exceptions import DefinitionError

ORDER = {
    "type": "object",
    "required": ["sku", "quantity"],
    "additionalProperties": False,
    "properties": {
        "sku": {"type": "string", "minLength": 1},
        "quantity": {"type": "integer", "minimum": 1},
        "address": {"$ref": "#/$defs/address"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    },
    "$defs": {"address": {"type": "object", "properties": {"city": {"type": "string", "default": "Turin"}}}},
}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("string", "input_schema is a JSON Schema as a dictionary, not 'string'"),
        ({"enum": [{1, 2}]}, "input_schema is not JSON: Object of type set is not JSON serializable"),
        ({"minimum": float("nan")}, "input_schema is not JSON: Out of range float values are not JSON compliant"),
        ({"type": "objekt"}, "input_schema at .type: 'objekt' is not valid under any of the given schemas"),
        ({"properties": {"a": {"pattern": "("}}}, "input_schema at .properties.a.pattern: '(' is not a 'regex'"),
        ({"$ref": "http://example.com/x.json"}, "input_schema: $ref 'http://example.com/x.json' leads out"),
        ({"items": [{"$ref": "other.json#/a"}]}, "input_schema: $ref 'other.json#/a' leads out of the document"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "input_schema: $ref '#/$defs/a' leads nowhere"),
        ({"$schema": "http://example.com/mine"}, "input_schema: $schema 'http://example.com/mine' is unknown"),
        (
            {"$defs": {"a": {"$id": "http://example.com/", "$ref": "#/b"}}},
            "input_schema: $id is for its top only; below it references would mean something else",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_schema_is_told(wrong, told):
    assert [item[: len(told)] for item in schema.problems(wrong)] == [told]


def test_a_flow_with_a_wrong_schema_is_refused_with_its_other_problems():
    flow = FlowDeclaration("wrong_schema", input_schema={"type": "objekt"}, max_tasks=0)
    flow.step(name="only")(lambda: None)
    with pytest.raises(DefinitionError) as caught:
        _ = flow.spec
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        "flow: max_tasks must be between 1 and 1",
        "flow: input_schema at .type: 'objekt' is not valid under any of the given schemas",
    ]


@pytest.mark.parametrize(
    "fine",
    [
        {},
        ORDER,
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
        {"const": {"$ref": "http://example.com/this-is-data"}},
        {"properties": {"$ref": {"type": "string"}}},
        {"$ref": "#", "type": ["object", "null"]},
    ],
)
def test_a_schema_that_can_be_used_has_no_problems(fine):
    assert schema.problems(fine) == []


def test_violations_are_told_with_their_places():
    validator = schema.compiled(ORDER)
    assert schema.violations(validator, {"sku": "A", "quantity": 1}) == []
    found = schema.violations(validator, {"sku": "", "quantity": "two", "lines": [{"n": 1}, {"n": "x"}]})
    assert [str(item) for item in found] == [
        "at .lines[1].n: 'x' is not of type 'integer'",
        "at .quantity: 'two' is not of type 'integer'",
        "at .sku: '' should be non-empty",
    ]
    assert str(schema.violations(validator, [])[0]) == "at its top: [] is not of type 'object'"


def test_many_and_long_violations_are_cut():
    validator = schema.compiled({"items": {"type": "integer"}})
    found = schema.violations(validator, ["x" * 10_000] * 100)
    assert len(found) == schema.MOST
    assert all(len(item.message) < schema.LONGEST + 10 for item in found)


def test_a_value_nested_too_deeply_is_a_violation():
    validator = schema.compiled({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"})
    value: list = []
    for _ in range(5_000):
        value = [value]
    assert "too deeply" in schema.violations(validator, value)[0].message


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [("date", "2026-01-31", "31.1.2026"), ("uuid", "0192e4a0-0000-7000-8000-000000000000", "x"), ("email", "a@b", "a")],
)
def test_formats_that_need_nothing_else_are_checked(format, good, bad):
    validator = schema.compiled({"type": "string", "format": format})
    assert schema.violations(validator, good) == []
    assert schema.violations(validator, bad)


def test_a_sample_has_the_shape_of_the_schema():
    assert schema.sample(ORDER) == {
        "sku": "", "quantity": 1, "address": {"city": "Turin"}, "lines": [{"n": 0}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"examples": [[1]]}, [1]),
        ({"oneOf": [{"type": "boolean"}, {"type": "string"}]}, False),
        ({"anyOf": [True]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"type": "number"}}}]}, {"a": 1, "b": 0}),
        ({"type": ["string", "null"]}, ""),
        ({"type": "array", "minItems": 2, "items": {"type": "null"}}, [None, None]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, ""),
        ({"$ref": "#anchor"}, None),
    ],
)
def test_samples(given, expected):
    assert schema.sample(given) == expected


def test_a_sample_of_a_schema_that_contains_itself_ends():
    tree = {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert "children" in schema.sample(tree)


def test_a_process_without_schemas_does_not_load_the_library():
    code = "import sys, django_workflow.definition.declare; assert 'jsonschema' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def doubling(levels):
    parts = {f"level_{n}": {"allOf": [{"$ref": f"#/$defs/level_{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": parts | {f"level_{levels}": {"type": "integer"}}, "$ref": "#/$defs/level_0"}


HEAVY = {
    "a pattern that re never ends": ({"pattern": "^(a+)+$"}, "a" * 40 + "!", "does not match"),
    "names by such a pattern": ({"patternProperties": {"^(a+)+$": {"type": "null"}}}, {"a" * 40 + "!": 1}, ""),
    "others by such a pattern": (
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}, "not allowed",
    ),
    "a long text": ({"pattern": "^(a|b|[ab]c)*$"}, "ab" * 50_000, "takes more than 50,000 steps"),
    "references that double": (doubling(30), 1, "takes more than 50,000 steps"),
    "many items that are unlike": ({"uniqueItems": True}, [{"a": n} for n in range(5_000)], ""),
    "a number beyond all": ({"multipleOf": 0.01}, 10**400, "cannot be checked"),
}  # fmt: skip


@pytest.mark.parametrize(("heavy", "value", "told"), HEAVY.values(), ids=HEAVY)
def test_work_on_an_input_has_an_end(heavy, value, told, monkeypatch):
    monkeypatch.setattr("django_workflow.definition.schemas.checking.MOST_WORK", 50_000)
    assert schema.problems(heavy) == []
    began = time.thread_time()
    found = schema.violations(schema.compiled(heavy), value)
    assert time.thread_time() - began < 5.0, "seconds of this thread; without bounds they are hours"
    assert told in (found[0].message if found else "")


def test_what_was_checked_before_takes_nothing_of_what_is_checked_next(monkeypatch):
    monkeypatch.setattr("django_workflow.definition.schemas.checking.MOST_WORK", 50_000)
    plain = schema.compiled({"type": "object", "properties": {"a": {"type": "integer"}}})
    for _ in range(3):
        assert "takes more than" in schema.violations(schema.compiled(doubling(30)), 1)[0].message
        assert not documents.parse("slug: plain\nsteps: {one: {}}\n", "yaml").problems
        assert schema.violations(plain, {"a": 1}) == []


@pytest.mark.parametrize(
    ("value", "is_unique"),
    [
        ([1, True], True), ([1, 1.0], False), ([0, False], True), ([[1, {"a": [2]}], [1, {"a": [2.0]}]], False),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False), (["1", 1, None], True), ([[], {}], True), ([], True),
    ],
)  # fmt: skip
def test_items_are_unique_as_json_has_it(value, is_unique):
    assert (schema.violations(schema.compiled({"uniqueItems": True}), value) == []) is is_unique


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"properties": {"a": {"pattern": "(?=b)"}}}, "of groups with ? there is only (?:…)"),
        ({"patternProperties": {r"(a)\1": {}}}, "has no meaning here"),
        ({"items": {"unevaluatedProperties": False, "patternProperties": {"a": {}}}}, "use additionalProperties"),
    ],
)
def test_patterns_that_cannot_be_bounded_are_refused_where_they_are_declared(wrong, told):
    (problem,) = schema.problems(wrong)
    assert told in problem


def test_properties_may_have_names_of_keywords():
    assert schema.problems({"properties": {"pattern": {"type": "string"}, "patternProperties": {}}}) == []
