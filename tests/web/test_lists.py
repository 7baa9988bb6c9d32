"""What the list's filters understand, and what they say where they do not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.http import QueryDict
from django.utils import timezone

from django_workflow.models import FlowDefinition
from django_workflow.web.runs import query_string

FLOWS = [FlowDefinition(pk=1, slug="orders"), FlowDefinition(pk=2, slug="mails")]


def read(query):
    return query_string.read(QueryDict(query), FLOWS, ["default", "slow"])


def test_nothing_asked_is_all_runs():
    filters = read("")
    assert not filters.is_any
    assert not filters.problems


def test_every_filter_is_understood():
    filters = read(
        "q=abc&flow=orders&version=3&status=failed&status=running&label=tenant=acme&label=vip"
        "&queue=slow&error=ab12&from=2026-01-31&to=2026-02-01 14:05"
    )
    assert not filters.problems
    assert filters.flow is FLOWS[0]
    assert (filters.q, filters.version, filters.queue, filters.error) == ("abc", 3, "slow", "ab12")
    assert filters.statuses == ("running", "failed")
    assert filters.labels == (("tenant", "acme"), ("vip", None))
    assert filters.since == datetime(2026, 1, 31, tzinfo=UTC)
    assert filters.until == datetime(2026, 2, 1, 14, 5, tzinfo=UTC)


def test_a_date_as_the_end_is_the_whole_day():
    assert read("to=2026-02-01").until > datetime(2026, 2, 1, 23, 59, tzinfo=UTC)


def test_times_are_those_of_the_viewer(settings):
    with timezone.override("Europe/Vienna"):
        assert read("from=2026-01-31 14:05").since == datetime(2026, 1, 31, 13, 5, tzinfo=UTC)


@pytest.mark.parametrize(("name", "reach"), [(name, reach) for name, (reach, _) in query_string.PERIODS.items()])
def test_within_counts_back_from_now(name, reach):
    assert read(f"within={name}").within == reach
    assert read(f"within={name}&from=2026-01-31").within is None


def test_a_label_in_the_search_field_is_a_label():
    filters = read("q=tenant=a=b")
    assert (filters.q, filters.labels) == ("", (("tenant", "a=b"),))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("flow=nope", "flow"),
        ("version=x&flow=orders", "version"),
        ("version=3", "version"),
        ("version=99999999999999999999&flow=orders", "version"),
        ("status=dead", "status"),
        ("label=%3Dx", "label"),
        ("label=a%00b", "label"),
        ("queue=nope", "queue"),
        ("error=xyz", "error"),
        ("error=" + "a" * 33, "error"),
        ("within=century", "within"),
        ("from=yesterday", "from"),
        ("to=2026-02-31", "to"),
        ("to=2026-01-01T00:00:00%2B99:00", "to"),
        ("from=0001-01-01", ""),
        ("from=2026-02-02&to=2026-02-01", "to"),
        ("q=%00", "q"),
        ("q=" + "x" * 201, "q"),
    ],
)
def test_what_cannot_be_meant_is_told_at_its_field(query, field):
    assert list(read(query).problems) == ([field] if field else [])


@pytest.mark.parametrize("query", ["before=", "before=x", "after=%00", "before=123"])
def test_a_broken_cursor_is_the_first_page(query):
    filters = read(query)
    assert (filters.before, filters.after, filters.problems) == (None, None, {})


def test_an_address_keeps_other_filters_and_begins_anew():
    query = QueryDict("flow=orders&status=failed&before=0198&label=a&label=b")
    assert query_string.address(query, status="running") == "?flow=orders&status=running&label=a&label=b"
    assert query_string.address(query, status=None, flow=None, label=["x"]) == "?label=x"
    assert query_string.address(QueryDict("q=%26%3D"), status="failed") == "?q=%26%3D&status=failed"
