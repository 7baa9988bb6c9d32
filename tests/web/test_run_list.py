"""The list of runs, as people and their browsers see it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from django_workflow import db
from django_workflow.models import FlowDefinition, FlowVersion, Run
from django_workflow.read import search
from tests.web.filling import fill
from tests.web.markup import read
from tests.web.pages import fragment, shown_runs, statements, text_of

URL = "/workflow/runs/"
MOST = 6
EVERY_FILTER = [
    "", "?status=failed", "?flow=shopping", "?flow=rare&status=failed", "?label=tenant%3Dt3", "?label=rare%3Dneedle",
    "?label=rare", "?queue=slow", "?error=ab", "?within=day", "?q=key-501", "?q=abcdef12", "?flow=shopping&version=1",
    "?flow=nope", "?before=01890000-0000-7000-8000-000000000000", "?after=01890000-0000-7000-8000-000000000000",
]  # fmt: skip


def only_rare(user, permission, flow):
    """A site's rule: everybody sees one flow only."""
    return flow.slug == "rare"


HIDING = override_settings(DJANGO_WORKFLOW={"OBJECT_PERMISSION": only_rare})


@pytest.fixture
def viewing(viewer, client_of):
    return client_of(viewer)


@pytest.fixture
def operating(operator, client_of):
    return client_of(operator)


@pytest.fixture
def flows(db):
    return fill(1_500)


@pytest.fixture
def one(db):
    """One run, and how to make it another."""
    flow = FlowDefinition.objects.create(slug="plain", title="Plain")
    version = FlowVersion.objects.create(flow=flow, number=1, fingerprint="1", spec={})

    def make(**values):
        return Run.objects.create(flow=flow, version=version, **{"status": "running", **values})

    return make


class TestCost:
    @pytest.mark.parametrize("query", EVERY_FILTER)
    def test_a_page_of_many_runs_takes_six_statements_at_most(self, query, flows, viewing):
        with statements() as found:
            assert viewing.get(URL + query).status_code == 200
        assert len(found) <= MOST, found

    @pytest.mark.parametrize("query", EVERY_FILTER)
    def test_so_does_a_page_without_any(self, query, viewing):
        with statements() as found:
            assert viewing.get(URL + query).status_code == 200
        assert len(found) <= MOST, found

    @HIDING
    @pytest.mark.parametrize("query", EVERY_FILTER)
    def test_so_does_a_page_of_a_site_with_rules(self, query, flows, viewing):
        with statements() as found:
            assert viewing.get(URL + query).status_code == 200
        # one more reads the flows for the permissions
        assert len(found) <= MOST + 1, found

    def test_inputs_are_not_read(self, flows, viewing):
        with statements() as found:
            viewing.get(URL)
        assert not any('"input"' in sql for sql in found)


class TestRows:
    def test_a_run_is_told_in_its_row(self, one, viewing):
        start = timezone.now() - timedelta(minutes=5)
        run = one(
            status="failed", title="Order 7", started_by="ada", labels={"tenant": "acme"}, started_at=start,
            ended_at=start + timedelta(seconds=90),
            error={"step": "pay", "class": "shop.errors.Declined", "message": "SECRET"},
        )  # fmt: skip
        response = viewing.get(URL)
        words = text_of(response)
        for word in (
            "failed",
            "Order 7",
            "plain",
            str(run.pk)[-12:],
            "tenant acme",
            "by ada",
            "1 min 30 s",
            "Declined",
        ):
            assert word in words
        assert "SECRET" not in response.content.decode()
        assert f'href="{URL}{run.pk}/"' in response.content.decode()

    def test_newest_first_and_fifty_to_a_page(self, flows, viewing):
        response = viewing.get(URL)
        newest = [str(pk) for pk in Run.objects.order_by("-id").values_list("pk", flat=True)[:100]]
        assert shown_runs(response) == newest[:50]
        older = re.search(r'href="(\?before=[^"]+)" rel="next"', response.content.decode())[1]
        second = viewing.get(URL + older)
        assert shown_runs(second) == newest[50:]
        newer = re.search(r'href="(\?after=[^"]+)" rel="prev"', second.content.decode())[1]
        assert shown_runs(viewing.get(URL + newer)) == newest[:50]

    def test_links_of_pages_keep_the_filters(self, flows, viewing):
        html = viewing.get(URL + "?flow=shopping&label=tenant%3Dt3&status=succeeded").content.decode()
        older = re.search(r'href="(\?[^"]*before=[^"]+)" rel="next"', html)
        assert older is None or "label=tenant%3Dt3" in older[1]
        assert "?flow=shopping&amp;label=tenant%3Dt3&amp;status=failed" in html

    def test_a_run_that_goes_on_ticks(self, one, viewing):
        one(started_at=timezone.now())
        assert "data-since=" in fragment(viewing.get(URL), "runs")

    def test_a_scheduled_run_tells_when_it_is_due(self, one, viewing):
        one(status="scheduled", due_at=timezone.now() + timedelta(days=1))
        assert "due" in text_of(viewing.get(URL))

    def test_a_title_with_markup_is_only_words(self, one, viewing):
        bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
        run = one(
            title=bad, started_by=bad[:150], labels={bad: bad}, status="failed", idempotency_key=bad,
            error={"class": bad, "step": bad, "message": bad},
        )  # fmt: skip
        for query in ("", f"?q={run.pk}", "?label=" + bad.replace("&", "%26"), "?q=" + bad, "?flow=" + bad):
            html = viewing.get(URL, QUERY_STRING=query.removeprefix("?")).content.decode()
            assert "<script>alert" not in html
            assert "<img" not in html


class TestStatuses:
    def test_tabs_have_counts(self, one, viewing):
        for status in ("running", "failed", "failed"):
            one(status=status)
        words = text_of(viewing.get(URL))
        assert "All 3" in words
        assert "Running 1" in words
        assert "Failed 2" in words

    def test_the_chosen_one_is_marked(self, one, viewing):
        html = fragment(viewing.get(URL + "?status=failed"), "tabs")
        assert re.findall(r'aria-current="page">(\w+)', html) == ["Failed"]

    def test_counts_are_those_of_the_chosen_flow(self, flows, viewing):
        failed = Run.objects.filter(flow=flows["shopping"], status="failed").count()
        assert f"Failed {failed}" in text_of(viewing.get(URL + "?flow=shopping"))

    def test_none_are_told_where_they_would_be_wrong(self, flows, viewing):
        html = fragment(viewing.get(URL + "?label=tenant%3Dt3"), "tabs")
        assert 'class="count"' not in html


class TestHonesty:
    def test_a_search_that_stops_early_says_so_and_goes_on(self, flows, viewing, monkeypatch):
        monkeypatch.setattr(search, "WINDOW", 500)
        monkeypatch.setattr(search, "FEW", 0)
        response = viewing.get(URL + "?label=rare%3Dneedle")
        for _ in range(3):
            assert "No run matches so far The search stopped at runs created before" in text_of(response)
            further = re.search(r'href="(\?[^"]+)">Look further back', response.content.decode())[1]
            response = viewing.get(URL + further.replace("&amp;", "&"))
            if shown_runs(response):
                break
        assert "the search stopped early" in text_of(response)
        assert [str(Run.objects.get(labels__rare="needle").pk)] == shown_runs(response)

    def test_wrong_filters_find_nothing_and_say_why(self, flows, viewing):
        response = viewing.get(URL + "?flow=nope&status=dead")
        words = text_of(response)
        assert "There is no flow “nope”" in words
        assert "Runs have no status “dead”" in words
        assert shown_runs(response) == []
        assert 'name="ids"' not in response.content.decode()

    def test_no_match_offers_all_runs(self, one, viewing):
        one()
        words = text_of(viewing.get(URL + "?q=nothing"))
        assert "No run matches" in words
        assert "Show all runs" in words

    def test_no_runs_tell_operators_how_to_start_one(self, db, operating, viewer, client_of):
        assert "Start audit" in text_of(operating.get(URL))
        words = text_of(client_of(viewer).get(URL))
        assert "No runs yet" in words
        assert "Start audit" not in words


class TestSelection:
    def test_operators_choose_runs_and_are_asked(self, one, operating):
        run = one()
        html = operating.get(URL).content.decode()
        assert f'name="ids" value="{run.pk}"' in html
        for name in ("pause", "resume", "retry", "cancel"):
            assert f'formaction="{URL}actions/{name}/"' in html
        answer = operating.post(f"{URL}actions/cancel/", {"ids": [run.pk], "next": URL})
        assert answer.status_code == 200
        assert Run.objects.get(pk=run.pk).status == "running"

    def test_viewers_have_nothing_to_choose(self, one, viewing):
        one()
        html = viewing.get(URL).content.decode()
        assert 'name="ids"' not in html
        assert "formaction" not in html

    def test_all_of_a_page_are_ticked_without_scripts(self, flows, operating):
        html = operating.get(URL + "?select=all&status=failed").content.decode()
        assert html.count(" checked") >= Run.objects.filter(status="failed").count()


class TestHiding:
    @HIDING
    def test_runs_of_hidden_flows_are_nowhere(self, flows, operating):
        rare = Run.objects.filter(flow=flows["rare"])
        response = operating.get(URL)
        assert len(shown_runs(response)) == rare.count()
        words = text_of(response)
        assert f"All {rare.count()}" in words
        for slug in flows:
            assert (slug in words) is (slug == "rare")

    @HIDING
    @pytest.mark.parametrize(
        "query", ["q=key-501", "status=running", "queue=slow", "label=tenant%3Dt3", "within=month"]
    )
    def test_no_filter_finds_them(self, query, flows, viewing):
        rare = {str(pk) for pk in Run.objects.filter(flow=flows["rare"]).values_list("pk", flat=True)}
        assert set(shown_runs(viewing.get(f"{URL}?{query}"))) <= rare

    @HIDING
    def test_their_names_are_not_told_from_names_that_do_not_exist(self, flows, viewing):
        hidden, unknown = (text_of(viewing.get(f"{URL}?flow={slug}")) for slug in ("shopping", "nothing"))
        assert hidden.replace("shopping", "X") == unknown.replace("nothing", "X")

    @HIDING
    def test_an_id_of_theirs_finds_nothing(self, flows, viewing):
        run = Run.objects.filter(flow=flows["shopping"]).first()
        assert shown_runs(viewing.get(f"{URL}?q={run.pk}")) == []


class TestDoor:
    @pytest.mark.parametrize("path", ["", "runs/", "queues/", "workers/"])
    def test_strangers_are_refused_and_the_unknown_asked_to_log_in(self, path, stranger, client_of):
        assert client_of(stranger).get(f"/workflow/{path}").status_code == 403
        answer = client_of().get(f"/workflow/{path}?q=1")
        assert answer.status_code == 302
        assert "login" in answer.url
        assert "q%3D1" in answer.url

    @pytest.mark.parametrize("path", ["", "runs/", "queues/", "workers/"])
    def test_pages_only_show(self, path, superuser, client_of):
        assert client_of(superuser).post(f"/workflow/{path}").status_code == 405

    @pytest.mark.parametrize("path", ["", "runs/", "queues/", "workers/"])
    def test_nothing_offends_a_strict_policy(self, path, flows, superuser, client_of):
        html = client_of(superuser).get(f"/workflow/{path}").content.decode()
        for element in read(html).all():
            assert "style" not in element.attributes, element
            assert not [name for name in element.attributes if name.startswith("on")], element
            assert not [value for value in element.attributes.values() if value.startswith("javascript:")], element
            assert element.tag != "style", element
            assert element.tag != "script" or "src" in element.attributes, element
        assert 'data-live="ws/workflow/board/"' in html
        names = re.findall(r'data-fragment="(\w+)"', html)
        assert len(names) == len(set(names)) > 0


def test_no_statement_reads_all_runs(transactional_db, viewing):
    fill(20_000)
    for query in EVERY_FILTER:
        with statements() as found:
            viewing.get(URL + query)
        for sql in found:
            plan = "\n".join(row[0] for row in db.rows("EXPLAIN " + sql.replace("%", "%%")))
            assert "Seq Scan on django_workflow_run" not in plan, f"{query}: {plan}"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/New_York"])
@pytest.mark.parametrize(("query", "finds"), [
    ("?to=9999-12-31", True), ("?from=0001-01-01", True), ("?from=0001-01-01&to=9999-12-31", True),
    ("?to=0001-01-01", False), ("?from=9999-12-31", False), ("?to=9999-12-31T23:59:59-12:00", True),
])  # fmt: skip
def test_the_first_and_the_last_day_can_be_asked_for(viewing, settings, zone, query, finds, db):
    settings.TIME_ZONE = zone
    fill(5)
    page = viewing.get(URL + query)
    assert page.status_code == 200
    assert bool(shown_runs(page)) is finds
