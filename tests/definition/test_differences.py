"""What changes between two definitions, in the words of a document."""

from __future__ import annotations

import pytest

from django_workflow import handler
from django_workflow.definition import documents
from django_workflow.definition.documents.differences import differences

ONE = """
slug: shop
vars: {a: 1, b: 2}
retry: {max_attempts: 3}
steps:
  one: {next: [two, {to: fail, on: failed}], arguments: {x: input}}
  two: {}
"""


@pytest.fixture(autouse=True)
def _handlers():
    for name in ("one", "two", "three"):
        handler(name)(lambda **given: given)


def changes(*replaced, before=ONE):
    after = before
    for old, new in replaced:
        assert old in after
        after = after.replace(old, new)
    return [str(item) for item in differences(compiled(before), compiled(after))]


def compiled(text):
    return documents.read(text).compile()


def test_same_definition_changes_nothing():
    assert changes() == []
    assert changes(("next: [two,", "next: [{to: [two]},")) == []


def test_options_of_the_flow_and_its_steps_are_told_each_by_itself():
    assert changes(("a: 1", "a: 5"), ("b: 2", "c: 3"), ("two: {}", "two: {timeout: 90, queue: slow}")) == [
        "~ flow: vars.a: 1 → 5",
        "- flow: vars.b: 2",
        "+ flow: vars.c: 3",
        "+ step 'two': timeout: 1m30s",
        "+ step 'two': queue: slow",
    ]


def test_defaults_are_told_where_they_take_effect():
    assert changes(("max_attempts: 3", "max_attempts: 5")) == [
        "~ step 'one': retry.max_attempts: 3 → 5",
        "~ step 'two': retry.max_attempts: 3 → 5",
    ]


def test_steps_that_come_and_go():
    assert changes(("two", "three")) == [
        "- step 'one': next: two",
        "+ step 'one': next: three",
        '+ step \'three\': {"handler": "three", "retry": {"max_attempts": 3}}',
        '- step \'two\': {"handler": "two", "retry": {"max_attempts": 3}}',
    ]


def test_order_of_transitions_counts():
    (change,) = changes(("[two, {to: fail, on: failed}]", "[{to: fail, on: failed}, two]"))
    assert change.startswith("~ step 'one': order of next: [\"two\", {")


def test_everything_is_new_where_nothing_was():
    found = [str(item) for item in differences(None, compiled("slug: shop\nsteps: {one: {}}"))]
    assert found == ["+ flow: slug: shop", '+ step \'one\': {"handler": "one"}']
