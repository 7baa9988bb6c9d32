"""Pages of runs are complete: against a plain query of the whole table, whatever is asked for."""

from __future__ import annotations

import json
from hashlib import md5
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_workflow.ids import uuid7
from django_workflow.models import Attempt, FlowVersion, Run
from django_workflow.read import counts as run_counts
from django_workflow.read import find, search
from django_workflow.web.runs import query_string
from tests.web.filling import fill

COUNT = 2_000


def fingerprint(text):
    return md5(text.encode()).hexdigest()


@pytest.fixture
def flows(db):
    return fill(COUNT)


@pytest.fixture
def _small(monkeypatch):
    """Windows so small that searches reach their ends."""
    monkeypatch.setattr(search, "WINDOW", 120)
    monkeypatch.setattr(search, "SPARSE_WINDOW", 60)
    monkeypatch.setattr(search, "FEW", 10)
    monkeypatch.setattr(search, "ERRONEOUS", 8)
    monkeypatch.setattr(search, "PAGE", 7)


def expected(filters, visible):
    """Return the ids that match, newest first, by reading everything."""
    runs = Run.objects.all()
    if visible is not None:
        runs = runs.filter(flow_id__in=visible)
    if filters.flow:
        runs = runs.filter(flow=filters.flow)
    if filters.statuses:
        runs = runs.filter(status__in=filters.statuses)
    if filters.version is not None:
        runs = runs.filter(version__number=filters.version)
    if filters.within:
        runs = runs.filter(created_at__gte=timezone.now() - filters.within)
    if filters.since:
        runs = runs.filter(created_at__gte=filters.since)
    if filters.until:
        runs = runs.filter(created_at__lte=filters.until)
    if filters.error:
        runs = runs.filter(pk__in=Attempt.objects.filter(fingerprint=filters.error).values("run_id"))
    if filters.queue:
        versions = [
            version.pk
            for version in FlowVersion.objects.all()
            if any(step.get("queue", "default") == filters.queue for step in version.spec["steps"])
        ]
        runs = runs.filter(version_id__in=versions)
    found = list(runs.order_by("-id"))
    for name, value in filters.labels:
        found = [run for run in found if name in run.labels and value in (None, run.labels[name])]
    if filters.q:
        found = [run for run in found if is_named(run, filters.q)]
    return [run.pk for run in found]


def is_named(run, text):
    digits = text.replace("-", "")
    return run.idempotency_key == text or run.pk.hex.startswith(digits) or run.pk.hex.endswith(digits)


def turn_pages(query, flows, visible, *, backwards=False):
    """Return the ids of all pages, following every link that a page has."""
    found, cursor = [], {"after": str(UUID(int=0))} if backwards else {}
    for _ in range(2 * COUNT):
        data = QueryDict(f"{query}&{urlencode(cursor)}")
        page = search.find(query_string.read(data, list(flows.values()), ["default", "slow"]), visible)
        found += reversed(page.ids) if backwards else page.ids
        end = page.ids[0 if backwards else -1] if page.has_more else page.horizon
        if end is None:
            return found[::-1] if backwards else found
        cursor = {"after" if backwards else "before": str(end)}
    raise AssertionError("pages without end")


QUERIES = [
    "", "flow=shopping", "flow=rare", "status=failed", "status=running", "status=succeeded", "status=paused",
    "status=failed&status=cancelled&status=timed_out", "status=succeeded&status=failed", "flow=rare&status=failed",
    "flow=shopping&status=failed", "flow=shopping&version=1", "flow=shopping&version=2&status=failed",
    "label=tenant%3Dt4", "label=tenant%3Dgone", "label=rare%3Dneedle", "label=tenant", "label=rare", "label=no%3Dno",
    "label=tenant%3Dt6&status=failed", "label=order&label=order%3D15", "flow=rare&label=tenant%3Dgone", "queue=slow",
    "queue=default", "queue=slow&status=failed", f"error={fingerprint('error 3')}", f"error={fingerprint('once')}",
    f"error={fingerprint('each item')}", f"error={fingerprint('nothing')}",
    f"error={fingerprint('error 3')}&flow=newsletter", "within=week", "within=day&status=failed", "within=hour",
    "q=key-501", "q=key-501&flow=rare", "q=nothing", "q=tenant%3Dt4",
]  # fmt: skip


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("query", QUERIES)
def test_pages_hold_every_run_that_matches_once_in_order(query, flows):
    everybody = list(flows.values())
    for visible in (None, [flows["imports"].pk, flows["rare"].pk]):
        filters = query_string.read(QueryDict(query), everybody, ["default", "slow"])
        wanted = expected(filters, visible)
        assert turn_pages(query, flows, visible) == wanted
        assert turn_pages(query, flows, visible, backwards=True) == wanted


@pytest.mark.usefixtures("_small")
def test_ids_are_found_by_their_beginning_and_end(flows):
    some = Run.objects.order_by("id")[COUNT // 2].pk
    for text in (str(some), some.hex, str(some)[:14], some.hex[-12:], str(some)[-6:], str(some).upper()):
        found = turn_pages(f"q={text}", flows, None)
        assert some in found, text
        assert all(is_named(Run(pk=run_id), text.lower()) for run_id in found)


def test_a_key_that_looks_like_an_id_is_found(flows):
    run = Run.objects.filter(status="succeeded").first()
    Run.objects.filter(pk=run.pk).update(idempotency_key="deadbeef")
    assert turn_pages("q=deadbeef", flows, None) == [run.pk]


def test_nothing_is_lost_or_shown_twice_while_runs_are_added(flows):
    def add():
        Run.objects.create(id=uuid7(), flow=flows["shopping"], version_id=first.version_id, status="running")

    first = Run.objects.filter(flow=flows["shopping"]).first()
    before = set(Run.objects.values_list("pk", flat=True))
    seen, cursor = [], ""
    while True:
        page = search.find(query_string.read(QueryDict(cursor), [], []), None)
        seen += page.ids
        add()
        if not page.has_more:
            break
        cursor = f"before={page.ids[-1]}"
    assert len(seen) == len(set(seen))
    assert set(seen) == before


def test_a_search_takes_two_statements_at_most(flows):
    for query in QUERIES:
        filters = query_string.read(QueryDict(query), list(flows.values()), ["default", "slow"])
        for visible in (None, [flows["rare"].pk]):
            with CaptureQueriesContext(connection) as captured:
                search.find(filters, visible)
            assert len(captured) <= 2, query


def test_who_sees_no_flow_finds_nothing_without_asking(flows):
    with CaptureQueriesContext(connection) as captured:
        assert search.find(search.Filters(), []).ids == []
    assert len(captured) == 0


def test_ids_of_other_kinds_have_no_time():
    assert find.made_at(UUID(int=7)) is None
    run_id = uuid7()
    assert find.lowest_at(find.made_at(run_id)) <= run_id.int


def test_a_label_with_signs_of_json_is_only_a_text(flows):
    run = Run.objects.filter(status="succeeded").first()
    for value in ('"', "\\", '{"a": 1}', "'; DROP TABLE x; --", "%s %", "é\u2028x"):
        Run.objects.filter(pk=run.pk).update(labels={"odd": value})
        assert turn_pages(urlencode({"label": f"odd={value}"}), flows, None) == [run.pk], json.dumps(value)


class TestCounts:
    def counts(self, flows):
        return {name: str(count) for name, count in run_counts.count(flows).items()}

    def test_few_runs_are_counted_exactly(self, db):
        fill(900)
        by_status = {name: str(Run.objects.filter(status=name).count()) for name in query_string.RUN_STATUSES}
        assert self.counts(None) == {"all": str(Run.objects.count()), **by_status}

    def test_no_runs_are_none(self, db):
        assert set(self.counts(None).values()) == {"0"}
        assert set(self.counts([1, 2]).values()) == {"0"}
        assert set(self.counts([]).values()) == {"0"}

    def test_those_of_a_small_flow_are_exact_among_many(self, flows):
        rare = Run.objects.filter(flow=flows["rare"])
        assert self.counts([flows["rare"].pk])["all"] == str(rare.count())
        assert self.counts([flows["rare"].pk])["succeeded"] == str(rare.filter(status="succeeded").count())

    def test_those_of_a_large_flow_stop_at_a_thousand(self, flows, monkeypatch):
        monkeypatch.setattr(run_counts, "CAP", 100)
        assert self.counts([flows["shopping"].pk])["succeeded"] == "100+"

    def test_what_was_not_seen_to_the_end_is_at_least_so_much(self, flows, monkeypatch):
        monkeypatch.setattr(run_counts, "WINDOW", 10)
        found = run_counts.count([flows["shopping"].pk])
        for name in query_string.RUN_STATUSES:
            real = Run.objects.filter(flow=flows["shopping"], status=name).count()
            assert found[name].number == real or (found[name].is_more and found[name].number < real), name

    def test_flows_that_are_not_asked_for_do_not_count(self, flows):
        assert self.counts([flows["imports"].pk])["failed"] == str(
            Run.objects.filter(flow=flows["imports"], status="failed").count()
        )

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (run_counts.Count(0), "0"),
            (run_counts.Count(1_000, is_more=True), "1,000+"),
            (run_counts.Count(0, is_more=True), ""),
            (run_counts.Count(998_237, is_about=True), "≈ 998,000"),
            (run_counts.Count(1_234_567, is_about=True), "≈ 1,230,000"),
        ],
    )
    def test_counts_say_how_sure_they_are(self, count, text):
        assert str(count) == text


def test_with_many_runs_the_succeeded_are_estimated(transactional_db):
    fill(COUNT)
    found = run_counts.count(None)
    assert str(found["succeeded"]).startswith("≈ 1,9")
    assert str(found["all"]) == f"≈ {COUNT:,}"
    assert str(found["failed"]) == str(Run.objects.filter(status="failed").count())
