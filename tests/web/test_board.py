"""The board: what runs, what went wrong, who works."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import override_settings
from django.utils import timezone

from django_workflow import Flow, db, pause_flow, testing
from django_workflow.models import FlowDefinition, FlowVersion, Run, StepRun
from django_workflow.read import counts
from django_workflow.web.overview import throughput
from tests.web.filling import fill
from tests.web.pages import fragment, statements, text_of
from tests.web.test_run_list import HIDING

URL = "/workflow/"
MOST = 6


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
    step = {"name": "work", "handler": "plain.work"}
    spec = {"slug": "plain", "entry": ["work"], "steps": [step, step | {"name": "rest"}], "transitions": []}
    version = FlowVersion.objects.create(flow=flow, number=1, fingerprint="1", spec=spec)

    def make(**values):
        return Run.objects.create(flow=flow, version=version, **{"status": "running", **values})

    return make


def ended(one, ago, **values):
    end = timezone.now() - ago
    return one(**{"status": "succeeded", "started_at": end - timedelta(seconds=3), "ended_at": end, **values})


class TestCost:
    def test_a_full_board_takes_six_statements_at_most(self, flows, viewing):
        with statements() as found:
            assert viewing.get(URL).status_code == 200
        assert len(found) <= MOST, found

    def test_so_does_an_empty_one(self, viewing):
        with statements() as found:
            assert viewing.get(URL).status_code == 200
        assert len(found) <= MOST, found

    @HIDING
    def test_so_does_one_with_hidden_flows(self, flows, viewing):
        with statements() as found:
            assert viewing.get(URL).status_code == 200
        assert len(found) <= MOST, found


class TestRunning:
    def test_progress_counts_tasks_and_the_steps_to_come(self, one, viewing):
        run = one(title="Big one", started_at=timezone.now())
        StepRun.objects.create(run=run, step="work", status="running", task_count=10, open_tasks=4, failed_count=1)
        html = fragment(viewing.get(URL), "running")
        assert '<progress value="5" max="11"' in html
        assert "5 of 11 tasks done" in html
        assert "at work" in html
        assert "1 failed" in html

    def test_nobody_knows_the_end_of_a_loop(self, one, viewing):
        run = one(title="Round and round", started_at=timezone.now())
        spec = run.version.spec | {"transitions": [{"source": "work", "to": ["work"], "on": ["succeeded"]}]}
        run.version = FlowVersion.objects.create(flow=run.flow, number=2, fingerprint="2", spec=spec)
        run.save()
        StepRun.objects.create(run=run, step="work", status="succeeded", task_count=1)
        html = fragment(viewing.get(URL), "running")
        assert "<progress" not in html
        assert "1 task done" in html

    def test_a_version_of_a_later_release_does_no_harm(self, one, viewing):
        run = one()
        run.version = FlowVersion.objects.create(flow=run.flow, number=3, fingerprint="3", spec={"odd": True})
        run.save()
        assert str(run.pk) in fragment(viewing.get(URL), "running")

    def test_those_on_their_way_go_before_those_that_wait(self, one, viewing):
        begun = one(title="begun", started_at=timezone.now())
        StepRun.objects.create(run=begun, step="work", status="succeeded", task_count=1)
        for _ in range(60):
            waiting = one(started_at=timezone.now())
            StepRun.objects.create(run=waiting, step="work", status="running", task_count=1, open_tasks=1)
        assert "begun" in fragment(viewing.get(URL), "running")


class TestFigures:
    def test_cards_count(self, one, viewing):
        for status in ("running", "running", "scheduled", "paused"):
            one(status=status)
        ended(one, timedelta(minutes=5), status="failed")
        ended(one, timedelta(minutes=5))
        words = text_of(viewing.get(URL))
        for told in ("2 running", "1 scheduled", "1 paused", "1 failed in 24 hours", "2 runs ended in the last hour"):
            assert told in words

    def test_the_picture_has_a_bar_per_minute(self, one, viewing):
        for minutes in (1, 1, 30, 59, 61):
            ended(one, timedelta(minutes=minutes))
        html = fragment(viewing.get(URL), "figures")
        assert html.count("<rect") in {2, 3}  # the hour may turn meanwhile
        assert "at most 2 in a minute" in html

    def test_of_too_many_ends_the_last_minutes_are_told(self):
        now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        this = int(now.timestamp() // 60)
        rows = [("ended", str(this - back), 100, back == 9) for back in range(10)]
        found = counts.throughput([*rows, ("now", "", this, False)])
        bars = throughput.bars(found)
        assert (found.ended.number, found.minutes, found.peak) == (900, 9, 100)
        assert len(bars) == 9
        assert bars[-1].x + throughput.WIDTH / counts.MINUTES == pytest.approx(throughput.WIDTH)

    def test_latest_ends_and_failures_are_listed(self, one, viewing):
        ended(one, timedelta(minutes=1), title="went well")
        ended(one, timedelta(minutes=2), title="went wrong", status="failed", error={"step": "work", "class": "a.Bad"})
        response = viewing.get(URL)
        assert "went well" in fragment(response, "finished")
        assert "went wrong" in fragment(response, "finished")
        assert "went wrong" in fragment(response, "failures")
        assert "went well" not in fragment(response, "failures")
        assert "Bad" in fragment(response, "failures")


class TestFlows:
    def test_operators_start_from_here(self, one, operating):
        assert 'href="/workflow/flows/plain/start/"' in fragment(operating.get(URL), "flows")

    def test_viewers_only_look(self, one, viewing):
        html = fragment(viewing.get(URL), "flows")
        assert "plain" in html
        assert "button" not in html

    def test_a_paused_flow_is_told_with_who_and_why(self, one, viewing):
        one()
        pause_flow("plain", reason="a flood", by="ada")
        words = text_of(viewing.get(URL))
        assert "Flow plain is paused by ada" in words
        assert "a flood" in words

    @HIDING
    def test_hidden_flows_are_nowhere(self, flows, viewing):
        words = text_of(viewing.get(URL))
        assert not [slug for slug in flows if slug in words and slug != "rare"]
        assert "0 running" in words
        assert "rare" in words


class TestFirstSteps:
    def test_a_new_site_is_told_how_to_begin(self, viewing):
        assert "Nothing has run yet" in text_of(viewing.get(URL))

    def test_only_who_may_start_runs_is_told_to(self, viewing, operating):
        assert "Start a run of one of the flows on this page" in text_of(operating.get(URL))
        assert "Start a run" not in text_of(viewing.get(URL))

    @override_settings(DJANGO_WORKFLOW={"OBJECT_PERMISSION": lambda user, permission, flow: False})
    def test_without_flows_it_is_told_how_to_write_one(self, viewing):
        assert "Write a first flow" in text_of(viewing.get(URL))

    @override_settings(DJANGO_WORKFLOW={"OBJECT_PERMISSION": lambda user, permission, flow: False})
    def test_the_module_it_tells_to_write_starts_nothing_when_it_is_imported(self, viewing):
        module, session = (unescape(text) for text in re.findall(r"(?s)<pre>(.*?)</pre>", viewing.get(URL).text))
        names = {"__name__": "workflows"}
        exec(compile(module, "workflows.py", "exec"), names)
        assert not Run.objects.exists()
        exec(session.replace("from app.workflows import welcome", ""), names)
        assert Run.objects.get().flow.slug == "welcome"

    def test_later_it_is_not(self, one, viewing):
        one()
        assert "Nothing has run yet" not in text_of(viewing.get(URL))


def test_a_real_run_goes_over_the_board(flow: Flow, transactional_db, viewing):
    flow.step(name="root")(lambda: [1, 2, 3])
    flow.map(name="each", over="root")(lambda item: item)
    handle = flow.start(title="A real one")
    assert "A real one" in fragment(viewing.get(URL), "running")
    testing.run_until_idle()
    response = viewing.get(URL)
    assert handle.result().is_success
    assert "A real one" not in fragment(response, "running")
    assert "A real one" in fragment(response, "finished")


def test_no_statement_reads_all_runs(transactional_db, viewing):
    fill(20_000)
    with statements() as found:
        viewing.get(URL)
    for sql in found:
        plan = "\n".join(row[0] for row in db.rows("EXPLAIN " + sql))
        assert "Seq Scan on django_workflow_run" not in plan, plan


def test_progress_is_a_plain_number_where_the_site_writes_separators(one, viewing, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    run = one(started_at=timezone.now())
    StepRun.objects.create(run=run, step="work", status="running", task_count=5_000, open_tasks=2_000)
    assert '<progress value="3000" max="5001"' in viewing.get(URL).text
