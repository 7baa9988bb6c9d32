"""Columns are told by name, on the way to a statement and back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from django_workflow import db
from django_workflow.db.statements import UNNEST

FEW = db.Columns("f", id="bigint", name="text")


@dataclass
class Thing:
    name: str
    id: int


THINGS = [Thing("a", 1), Thing("b", 2)]


def test_a_set_is_written_as_a_statement_takes_it():
    assert str(FEW) == "unnest(%s::bigint[], %s::text[]) AS f(id, name)"
    assert FEW.numbered == "unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS f(id, name, place)"
    assert UNNEST.search(str(FEW))


@pytest.mark.parametrize(
    "params",
    [
        FEW.of(THINGS),
        FEW.params([FEW.row(name="a", id=1), FEW.row(id=2, name="b")]),
        FEW.lists(name=("a", "b"), id=[1, 2]),
    ],
    ids=["objects", "rows", "lists"],
)
def test_columns_are_told_by_name_in_any_order(params):
    assert params == [[1, 2], ["a", "b"]]


def test_a_set_comes_back_as_it_went(transactional_db):
    assert db.rows(f"SELECT f.name, f.id, f.place FROM {FEW.numbered}", FEW.of(THINGS)) == [("a", 1, 1), ("b", 2, 2)]


def test_a_column_that_is_left_out_or_unknown_is_refused():
    with pytest.raises(TypeError):
        FEW.row(id=1)
    with pytest.raises(TypeError):
        FEW.row(id=1, name="a", other=2)
    with pytest.raises(AssertionError):
        FEW.lists(id=[1])
    with pytest.raises(AttributeError):
        FEW.of([object()])


def test_what_is_selected_has_the_order_of_what_reads_it():
    assert db.select(Thing, id="t.id", name="lower(t.name)") == "lower(t.name), t.id"


@pytest.mark.parametrize("expressions", [{"id": "1"}, {"name": "1", "other": "2"}])
def test_an_expression_for_no_parameter_is_refused(expressions):
    with pytest.raises(TypeError):
        db.select(Thing, **expressions)
