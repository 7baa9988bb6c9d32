"""A run is cancelled, paused and resumed by a page that says what it touches."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_workflow import pause_flow, testing
from django_workflow.models import Event, Task
from django_workflow.operations import RUNS, STEPS
from django_workflow.web.acting import pages
from tests.trouble import trouble
from tests.web.actions.acting import confirm, text_of, told, url_of


class TestOneRun:
    def test_cancel_says_what_it_touches_and_does_it_when_confirmed(self, client, flow):
        run = flow.start({})
        page = client.get(url_of(run, "cancel"))
        assert "1 waiting task will be cancelled" in text_of(page)
        assert "These steps will never start: each, last." in text_of(page)
        assert run.status == "running"
        answer = client.post(url_of(run, "cancel"), {"confirm": "yes", "reason": "wrong order"})
        assert (answer.status_code, answer.url) == (302, reverse("django_workflow:run", args=[run.id]))
        assert run.status == "cancelled"
        event = Event.objects.get(run_id=run.id, type="run.cancelled")
        assert event.data == {"reason": "wrong order", "by": "operator"}
        entry = LogEntry.objects.get()
        assert (entry.user.username, entry.object_id, entry.change_message) == (
            "operator", str(run.id), "Cancelled: wrong order",
        )  # fmt: skip
        assert told(answer) == [f"Run {run.run} was cancelled."]

    def test_running_handlers_are_counted(self, client, flow):
        run = flow.start({})
        Task.objects.of_run(run.id).update(status="running")
        assert "1 running handler will be told to stop" in text_of(client.get(url_of(run, "cancel")))
        assert "1 running handler will finish" in text_of(client.get(url_of(run, "pause")))

    def test_pause_and_resume(self, client, flow):
        run = flow.start({})
        assert "1 queued task will be held" in text_of(client.get(url_of(run, "pause")))
        confirm(client, url_of(run, "pause"), reason="stock-taking")
        assert run.status == "paused"
        assert "1 held task will be queued again" in text_of(client.get(url_of(run, "resume")))
        confirm(client, url_of(run, "resume"))
        assert run.status == "running"

    @pytest.mark.parametrize(("name", "status"), [("cancel", "cancelled"), ("pause", "paused")])
    def test_a_second_post_changes_nothing(self, client, flow, name, status):
        run = flow.start({})
        confirm(client, url_of(run, name), reason="first")
        events = Event.objects.filter(run_id=run.id).count()
        answer = client.post(url_of(run, name), {"confirm": "yes", "reason": "second"})
        assert answer.status_code == 302
        assert told(answer)[-1] == f"Run {run.run} is already {status}."
        assert (Event.objects.filter(run_id=run.id).count(), LogEntry.objects.count()) == (events, 1)

    @pytest.mark.parametrize("name", ["cancel", "pause", "resume", "skip_step", "complete_step"])
    def test_a_settled_run_is_told_and_stays(self, client, flow, name):
        run = flow.start({})
        testing.run_until_idle()
        page = client.get(url_of(run, name, step="first"))
        assert "This run has already succeeded. Ended runs cannot be changed." in text_of(page)
        assert 'name="confirm"' not in page.content.decode()
        answer = client.post(url_of(run, name), {"confirm": "yes", "step": "first"})
        assert answer.status_code == 302
        assert "already ended" in told(answer)[0]
        assert run.status == "succeeded"
        assert not LogEntry.objects.exists()

    def test_a_run_whose_flow_is_paused_is_not_resumed_by_itself(self, client, flow):
        run = flow.start({})
        pause_flow(flow.slug)
        page = client.get(url_of(run, "resume"))
        assert "Resume the flow" in text_of(page)
        answer = client.post(url_of(run, "resume"), {"confirm": "yes"})
        assert "resume the flow" in told(answer)[0]
        assert run.status == "paused"

    def test_a_get_changes_nothing_and_a_post_without_confirm_neither(self, client, flow):
        run = flow.start({})
        for name in (*RUNS, *STEPS):
            client.get(url_of(run, name, step="first", confirm="yes"))
            client.post(url_of(run, name), {"step": "first"})
        assert run.status == "running"
        assert Event.objects.filter(run_id=run.id).count() == 2

    def test_unknown_actions_and_runs_are_not_found(self, client, flow):
        run = flow.start({})
        assert client.get(url_of(run, "explode")).status_code == 404
        assert client.get(url_of(uuid.uuid4(), "cancel")).status_code == 404
        assert client.put(url_of(run, "cancel")).status_code == 405

    @pytest.mark.parametrize(
        ("wanted", "goes"),
        [
            ("/admin/", "/admin/"),
            ("https://evil.example/", None),
            ("//evil.example/", None),
            ("javascript:alert(1)", None),
            ("http://testserver/x", "http://testserver/x"),
        ],
    )
    def test_it_leads_back_to_this_site_only(self, client, flow, wanted, goes):
        run = flow.start({})
        page = client.get(url_of(run, "pause", next=wanted))
        assert ("evil" in page.content.decode()) is False
        answer = client.post(url_of(run, "pause"), {"confirm": "yes", "next": wanted})
        assert answer.url == goes or (goes is None and answer.url == reverse("django_workflow:run", args=[run.id]))

    def test_a_run_that_is_being_written_is_told_as_busy(self, client, flow, monkeypatch):
        from django.db import OperationalError

        class Timeout(Exception):
            sqlstate = "55P03"

        def busy(*args, **kwargs):
            raise OperationalError from Timeout()

        run = flow.start({})
        monkeypatch.setattr(RUNS["cancel"], "act", busy)
        answer = client.post(url_of(run, "cancel"), {"confirm": "yes"})
        assert told(answer) == [pages.perform.BUSY]

    def test_what_the_database_cannot_finish_now_is_told_as_such(self, client, flow):
        run = flow.start({})
        with trouble("57014", "new.status = 'cancelled'", table="django_workflow_run"):
            answer = client.post(url_of(run, "cancel"), {"confirm": "yes"})
        assert told(answer) == [pages.perform.CUT_SHORT]
        assert run.status == "running"


def test_a_site_without_the_admin_keeps_no_log_entries(client, flow, monkeypatch):
    monkeypatch.setattr(pages.perform.apps, "is_installed", lambda name: False)
    run = flow.start({})
    assert client.post(url_of(run, "cancel"), {"confirm": "yes"}).status_code == 302
    assert not LogEntry.objects.exists()
