"""Pages that act: what they say before, what they do, what they leave behind, and what they refuse."""

from __future__ import annotations

import json
import re
import threading
import uuid
from dataclasses import replace
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from django_workflow import (  # fmt: skip
    FlowBuilder,
    Retry,
    complete_step,
    pause_flow,
    pause_queue,
    resume_flow,
    retry,
    testing,
)
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Dismissal, Event, FlowDefinition, FlowVersion, Queue, Run, StepRun, Task
from django_workflow.permissions import PAUSE, RETRY, START, VIEW
from django_workflow.web.acting import pages as acting_pages
from django_workflow.web.acting import previews, verbs
from django_workflow.worker.local import perform
from tests.trouble import trouble
from tests.web.conftest import user_with
from tests.web.ids import raise_ids
from tests.web.loops import split_flow

ONCE = Retry(max_attempts=1)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def flow(make_flow):
    """Three steps in a row; the middle one is a map of three, of which the items in `broken` fail."""
    flow = make_flow("acted_on", retry=ONCE)
    flow.broken = set()

    @flow.step
    def first(input):
        return [1, 2, 3]

    @flow.map(over="first")
    def each(item, index):
        if index in flow.broken:
            raise RuntimeError(EVIL)
        return item

    @flow.step
    def last(each):
        return sum(each)

    return flow


@pytest.fixture
def client(client_of, operator):
    return client_of(operator)


def url_of(run, name, **query):
    return reverse("django_workflow:run_action", args=[getattr(run, "id", run), name], query=query or None)


def text_of(response):
    """What a person reads on a page."""
    body = re.sub(r"(?s)^.*<main", "<main", response.content.decode())
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?bdi>", "", body)))).strip()


def told(response):
    """What the user is told after the redirect."""
    return [unescape(re.sub(r"<[^>]+>", "", str(message))) for message in get_messages(response.wsgi_request)]


def confirm(client, url, **data):
    """Open the page, then post what it asks for."""
    page = client.get(url)
    assert page.status_code == 200
    hidden = dict(
        re.findall(r'<input type="hidden" name="(asked_at|step|run_id)" value="([^"]*)"', page.content.decode())
    )
    return client.post(url, {"confirm": "yes", **hidden, **data})


def rewrite(version_id, spec):
    """Store a version in other words, which a trigger refuses to all but its owner."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE django_workflow_flowversion SET spec = %s::jsonb WHERE id = %s", [json.dumps(spec), version_id]
        )
        cursor.execute("SET LOCAL session_replication_role = origin")


def failed_run(flow):
    flow.broken = {1}
    handle = flow.start({"secret": EVIL})
    testing.run_until_idle()
    assert handle.status == "failed"
    flow.broken = set()
    return handle


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
        for name in verbs.RUN_VERBS:
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
        monkeypatch.setitem(acting_pages.perform._ACTS, "cancel", busy)
        answer = client.post(url_of(run, "cancel"), {"confirm": "yes"})
        assert told(answer) == [acting_pages.perform.BUSY]

    def test_what_the_database_cannot_finish_now_is_told_as_such(self, client, flow):
        run = flow.start({})
        with trouble("57014", "new.status = 'cancelled'", table="django_workflow_run"):
            answer = client.post(url_of(run, "cancel"), {"confirm": "yes"})
        assert told(answer) == [acting_pages.perform.CUT_SHORT]
        assert run.status == "running"


class TestSteps:
    def test_skip_a_step(self, client, flow):
        run = flow.start({})
        page = client.get(url_of(run, "skip_step", step="first"))
        assert "1 waiting task will be cancelled" in text_of(page)
        assert "Next: each." in text_of(page)
        answer = confirm(client, url_of(run, "skip_step", step="first"), reason="not needed")
        assert told(answer) == [f"Step first of Run {run.run} was skipped."]
        assert run.run.step_runs.get(step="first").status == "skipped"
        assert LogEntry.objects.get().change_message == "Skipped step first: not needed"
        event = Event.objects.get(run_id=run.id, type="step.skipped", step="first")
        assert event.data == {"reason": "operator", "by": "operator", "why": "not needed"}

    def test_complete_a_step_with_a_value_and_again(self, client, flow):
        run = flow.start({})
        url = url_of(run, "complete_step", step="first")
        confirm(client, url, value="[7]")
        assert run.run.step_runs.get(step="first").status == "succeeded"
        again = client.post(url, {"confirm": "yes", "step": "first", "value": "[7]"})
        assert again.status_code == 302
        testing.run_until_idle()
        assert run.result().output == {"last": 7}

    def test_a_value_that_is_no_json_is_told_with_its_place_and_kept(self, client, flow):
        run = flow.start({})
        page = client.post(
            url_of(run, "complete_step"), {"confirm": "yes", "step": "first", "value": '{\n "a": 1,\n "b" 2}'}
        )
        assert page.status_code == 200
        assert "Not JSON at line 3, column 6: Expecting ':' delimiter, at: \"b\" 2}" in text_of(page)
        assert '"b" 2}' in unescape(page.content.decode())
        assert run.run.step_runs.get(step="first").status == "running"

    @pytest.mark.parametrize("value", ["[NaN]", '{"a": "\\ud800"}'])
    def test_a_value_that_cannot_be_stored_is_told_and_kept(self, client, flow, value):
        run = flow.start({})
        data = {"confirm": "yes", "step": "first", "value": value, "reason": "by hand"}
        page = client.post(url_of(run, "complete_step"), data)
        assert page.status_code == 200
        assert "The output of step 'first'" in text_of(page)
        assert value in unescape(page.content.decode())
        assert "by hand" in text_of(page)
        assert run.run.step_runs.get(step="first").status == "running"

    def test_steps_that_do_not_fit_are_told(self, client, flow):
        run = flow.start({})
        for step, expected in (("last", "has not reached step last"), ("nowhere", "has no step 'nowhere'")):
            assert expected in text_of(client.get(url_of(run, "skip_step", step=step)))
            answer = client.post(url_of(run, "skip_step"), {"confirm": "yes", "step": step})
            assert step in told(answer)[-1]


class TestActivations:
    """A step of which three activations are open at once."""

    @pytest.fixture
    def run(self, make_flow):
        run = split_flow(make_flow).start()
        settle([perform(task) for task in claim.claim("default", 10, slots=10, lease=60.0)])
        return run

    @pytest.fixture
    def open_ones(self, run):
        return list(run.run.step_runs.filter(step="take").order_by("pk"))

    def buttons(self, client, run, query):
        page = client.get(reverse("django_workflow:run", args=[run.id]), query)
        found = re.findall(r'href="([^"]*)" data-action="(\w+)"', unescape(page.content.decode()))
        return {name: url for url, name in found}

    @pytest.mark.parametrize(("name", "ends"), [("skip_step", "skipped"), ("complete_step", "succeeded")])
    def test_the_activation_that_the_panel_shows_is_ended(self, client, run, open_ones, name, ends):
        for shown in open_ones[:2]:
            url = self.buttons(client, run, {"step": "take", "activation": shown.pk})[name]
            page = client.get(url)
            hidden = dict(re.findall(r'type="hidden" name="(step|activation)" value="([^"]*)"', page.content.decode()))
            assert hidden == {"step": "take", "activation": str(shown.pk)}
            client.post(url, {"confirm": "yes", **hidden})
        statuses = run.run.step_runs.filter(step="take").order_by("pk").values_list("status", flat=True)
        assert list(statuses) == [ends, ends, "running"]

    def test_the_newest_is_no_other_one_than_the_panel_shows_without_being_asked_for_one(self, client, run, open_ones):
        StepRun.objects.filter(pk=open_ones[0].pk).update(created_at=timezone.now())
        url = self.buttons(client, run, {"step": "take"})["skip_step"]
        assert f"activation={open_ones[0].pk}" in url

    def test_the_tasks_of_the_others_are_not_counted(self, client, run, open_ones):
        text = text_of(client.get(url_of(run, "skip_step", step="take", activation=open_ones[1].pk)))
        assert "1 waiting task will be cancelled" in text
        assert "1 waiting task will be cancelled" in text_of(client.get(url_of(run, "skip_step", step="take")))

    def test_one_that_settled_meanwhile_is_refused_while_others_go_on(self, client, run, open_ones):
        url = self.buttons(client, run, {"step": "take", "activation": open_ones[0].pk})["skip_step"]
        complete_step(run.id, "take", 1, step_run_id=open_ones[0].pk)
        assert "Step take has already ended succeeded." in text_of(client.get(url))
        data = {"confirm": "yes", "step": "take", "activation": open_ones[0].pk}
        assert "has already ended succeeded" in told(client.post(url, data))[-1]
        assert run.run.step_runs.filter(step="take", status="running").count() == 2

    @pytest.mark.parametrize("activation", ["x", "0", "-1", str(2**70), "1"])
    def test_one_that_the_step_does_not_have_is_told(self, client, run, activation):
        url = url_of(run, "skip_step", step="take", activation=activation)
        assert "The run has no such pass of step take." in text_of(client.get(url))
        answer = client.post(url, {"confirm": "yes", "step": "take", "activation": activation})
        assert "has no activation" in told(answer)[-1]
        assert run.run.step_runs.filter(step="take", status="running").count() == 3


class TestRetry:
    def test_the_page_says_per_step_what_runs_and_what_is_reused(self, client, flow):
        run = failed_run(flow)
        text = text_of(client.get(url_of(run, "retry")))
        assert "3 tasks will run" in text
        assert "2 results will be reused" in text
        assert "first result is reused – 1" in text
        assert "each what did not succeed runs again 2 1" in text
        assert "last runs 1 –" in text

    def test_the_preview_is_what_then_happens(self, client, flow):
        run = failed_run(flow)
        for query in ({}, {"mode": "all"}, {"from_step": "each"}, {"from_step": "last"}):
            preview = previews.of_run(
                verbs.RUN_VERBS["retry"], run.run, request=acting_pages.forms.RetryRequest(**query)
            ).rehearsal
            new = retry(run, **query)
            testing.run_until_idle()
            carried = Task.objects.of_run(new.id).filter(origin="carried")
            for step in preview.steps:
                assert carried.filter(step_run__step=step.step).count() == step.carried, (query, step)
                executed = Task.objects.of_run(new.id).filter(step_run__step=step.step, origin="").count()
                assert step.executed is None or step.executed == executed, (query, step)

    def test_retry_makes_a_new_run_and_goes_there(self, client, flow):
        run = failed_run(flow)
        answer = confirm(client, url_of(run, "retry"), mode="failed", reason="repaired")
        new = Run.objects.get(retry_of=run.id)
        assert answer.url == reverse("django_workflow:run", args=[new.pk])
        assert new.started_by == "operator"
        assert LogEntry.objects.get().change_message == f"Retried as run {new.pk}: repaired"
        testing.run_until_idle()
        assert Run.objects.get(pk=new.pk).status == "succeeded"

    def test_a_second_post_finds_the_first_ones_retry_even_when_that_has_ended(self, client, flow):
        run = failed_run(flow)
        page = client.get(url_of(run, "retry"))
        asked_at = re.search('name="asked_at" value="([^"]+)"', page.content.decode())[1]
        for _ in range(2):
            answer = client.post(url_of(run, "retry"), {"confirm": "yes", "asked_at": asked_at})
            testing.run_until_idle()
        assert Run.objects.filter(retry_of=run.id).count() == 1
        assert "has already been retried, by this run" in told(answer)[-1]
        confirm(client, url_of(run, "retry"))
        assert Run.objects.filter(retry_of=run.id).count() == 2

    @pytest.mark.parametrize("asked_at", ["", "yesterday", "2026-13-99T00:00", "2026-01-01T00:00:00"])
    def test_a_forged_time_does_not_break_it(self, client, flow, asked_at):
        run = failed_run(flow)
        assert client.post(url_of(run, "retry"), {"confirm": "yes", "asked_at": asked_at}).status_code == 302
        assert Run.objects.filter(retry_of=run.id).count() == 1

    def test_while_a_retry_is_under_way_the_page_leads_there(self, client, flow):
        run = failed_run(flow)
        new = retry(run)
        page = client.get(url_of(run, "retry"))
        assert "A retry of this run has not ended yet." in text_of(page)
        assert str(new.id) in page.content.decode()

    def test_from_a_step(self, client, flow):
        run = flow.start({})
        testing.run_until_idle()
        text = text_of(client.get(url_of(run, "retry", from_step="last")))
        assert "each result is reused – 3" in text
        confirm(client, url_of(run, "retry", from_step="last"), from_step="last")
        new = Run.objects.get(retry_of=run.id)
        assert list(Task.objects.of_run(new.pk).filter(origin="").values_list("step_run__step", flat=True)) == ["last"]

    def test_nothing_failed_is_told(self, client, flow):
        run = flow.start({})
        testing.run_until_idle()
        assert "Nothing failed" in text_of(client.get(url_of(run, "retry")))
        assert "Nothing failed" in told(client.post(url_of(run, "retry"), {"confirm": "yes"}))[0]

    def test_what_to_do_instead_is_told_in_the_words_of_the_page(self, client, flow, make_flow):
        done = flow.start({})
        testing.run_until_idle()
        failed = failed_run(flow)
        with_loop = split_flow(make_flow).start()
        testing.run_until_idle()
        for run, data in ((done, {}), (failed, {"input": "[1]"}), (with_loop, {})):
            page = client.post(url_of(run, "retry"), {"show": "yes", **data})
            answer = client.post(url_of(run, "retry"), {"confirm": "yes", **data})
            for text in (text_of(page), told(answer)[-1]):
                assert "all steps" in text
                assert not re.search(r"mode=|from_step=", text)

    def test_an_edited_input_is_executed_and_one_that_is_not_edited_is_kept(self, client, flow):
        run = failed_run(flow)
        same = json.dumps({"secret": EVIL}, indent=3)
        confirm(client, url_of(run, "retry"), mode="failed", input=same)
        first = Run.objects.get(retry_of=run.id)
        assert Task.objects.of_run(first.pk).filter(origin="carried").count() == 2
        testing.run_until_idle()
        confirm(client, url_of(run, "retry"), mode="all", input='{"secret": 2}')
        assert Run.objects.filter(retry_of=run.id).first().input == {"secret": 2}

    def test_an_edited_input_is_shown_with_what_it_would_do_before_it_is_done(self, client, flow):
        run = failed_run(flow)
        page = client.post(url_of(run, "retry"), {"show": "yes", "mode": "failed", "input": "[1]"})
        assert "step 'first' has run with the input as it was" in text_of(page)
        assert "[1]" in page.content.decode()
        assert not Run.objects.filter(retry_of=run.id).exists()

    def test_an_edited_input_that_is_refused_is_still_there_with_the_reason(self, client, flow):
        run = failed_run(flow)
        page = client.post(url_of(run, "retry"), {"confirm": "yes", "mode": "failed", "input": "[1]", "reason": "typo"})
        assert "step 'first' has run with the input as it was" in text_of(page)
        assert all(f">\n{text}</textarea>" in page.content.decode() for text in ("[1]", "typo"))
        assert not Run.objects.filter(retry_of=run.id).exists()

    def test_a_run_with_a_large_input_is_retried_with_the_input_as_it_was(self, client, flow, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 400_000
        flow.broken = {1}
        run = flow.start({"text": "x" * 500_000})
        testing.run_until_idle()
        page = client.get(url_of(run, "retry"))
        assert "too long to be edited here. Leave blank to keep it." in text_of(page)
        given = re.search(r'(?s)<textarea name="input".*?>(.*?)</textarea>', page.content.decode())[1]
        assert not given.strip()
        confirm(client, url_of(run, "retry"), input=given)
        assert Run.objects.get(retry_of=run.id).input == run.run.input

    def test_everything_and_a_step_is_refused(self, client, flow):
        run = failed_run(flow)
        page = client.post(url_of(run, "retry"), {"confirm": "yes", "mode": "all", "from_step": "last"})
        assert "Everything is executed, or what follows a step, not both." in text_of(page)
        assert "is not one of the available choices" in text_of(client.get(url_of(run, "retry", from_step="nowhere")))

    def test_the_latest_version_is_looked_at_without_being_stored(self, client, flow):
        run = failed_run(flow)
        flow.step(name="more")(lambda last: last)
        text = text_of(client.get(url_of(run, "retry", version="latest")))
        assert "in version 2" in text
        assert "more runs 1 –" in text
        assert FlowVersion.objects.filter(flow__slug=flow.slug).count() == 1
        confirm(client, url_of(run, "retry", version="latest"), version="latest")
        assert Run.objects.get(retry_of=run.id).version.number == 2

    def test_without_view_payload_the_input_is_hidden_and_blank_keeps_it(self, client_of, flow, db):
        client = client_of(user_with("half", [VIEW, RETRY]))
        run = failed_run(flow)
        page = client.get(url_of(run, "retry"))
        assert "secret" not in page.content.decode()
        assert "The input is hidden" in text_of(page)
        confirm(client, url_of(run, "retry"), input="")
        assert Run.objects.get(retry_of=run.id).input == {"secret": EVIL}

    def test_without_view_payload_nobody_learns_the_input_by_trying(self, client_of, flow, db):
        client = client_of(user_with("half", [VIEW, RETRY]))
        run = failed_run(flow)
        answers = []
        for guess in ({"secret": EVIL}, {"secret": "nothing like it"}):
            data = {"input": json.dumps(guess)}
            page = client.post(url_of(run, "retry"), data)
            words = text_of(page).replace(escape(json.dumps(guess)), "").replace(json.dumps(guess), "")
            with transaction.atomic():
                confirmed = confirm(client, url_of(run, "retry"), **data)
                answers.append((words, confirmed.status_code, Run.objects.filter(retry_of=run.id).count()))
                transaction.set_rollback(True)
        assert answers[0] == answers[1]

    def test_without_view_payload_nobody_learns_what_a_step_was_given_by_trying(self, client_of, flow, db):
        run = flow.start({})
        run.complete_step("first", [7])
        client = client_of(user_with("half", [VIEW, RETRY]))
        answers = []
        for guess in ("[7]", "[8]"):
            response = client.post(url_of(run, "complete_step"), {"confirm": "yes", "step": "first", "value": guess})
            answers.append(told(response))
        assert answers[0] == answers[1]
        assert "has already ended" in answers[0][-1]

    def test_without_view_payload_a_misfit_tells_no_part_of_the_input(self, client_of, flow, db):
        client = client_of(user_with("half", [VIEW, RETRY]))
        run = failed_run(flow)
        schema = {"properties": {"secret": {"type": "integer"}}}
        flow.options, flow._compiled = replace(flow.options, input_schema=schema), None
        page = client.get(url_of(run, "retry", version="latest"))
        answer = client.post(url_of(run, "retry"), {"confirm": "yes", "version": "latest"})
        for text in (page.content.decode(), told(answer)[0]):
            assert previews.MISFIT in text
            assert "alert(1)" not in text


class TestUnreadableVersions:
    """A version that a later release wrote in other words."""

    @pytest.fixture
    def unreadable(self):
        return lambda run: rewrite(run.run.version_id, {"nodes": []})

    @pytest.mark.parametrize("query", [{}, {"mode": "all"}, {"from_step": "each"}, {"version": "latest"}])
    def test_a_retry_is_refused_in_words(self, client, flow, unreadable, query):
        run = failed_run(flow)
        unreadable(run)
        assert "This release cannot read the version" in text_of(client.get(url_of(run, "retry", **query)))
        answer = client.post(url_of(run, "retry"), {"confirm": "yes"})
        assert "This release cannot read the version" in told(answer)[-1]
        url = reverse("django_workflow:runs_action", args=["retry"])
        answer = client.post(url, {"ids": str(run.id), "confirm": "yes"})
        assert "This release cannot read the version" in told(answer)[-1]
        assert not Run.objects.filter(retry_of=run.id).exists()

    @pytest.mark.parametrize("name", ["skip_step", "complete_step"])
    def test_a_step_is_not_ended(self, client, flow, unreadable, name):
        run = flow.start({})
        unreadable(run)
        assert "This release cannot read the version" in text_of(client.get(url_of(run, name, step="first")))
        answer = client.post(url_of(run, name), {"confirm": "yes", "step": "first"})
        assert "This release cannot read the version" in told(answer)[-1]

    def test_the_run_can_be_cancelled(self, client, flow, unreadable):
        run = flow.start({})
        unreadable(run)
        confirm(client, url_of(run, "cancel"))
        assert run.status == "cancelled"

    def test_its_dead_letters_stay(self, client, flow, unreadable):
        run = failed_run(flow)
        unreadable(run)
        ids = {"ids": [task.pk for task in Task.objects.filter(run_id=run.id, status="failed")]}
        answer = client.post(reverse("django_workflow:letters_action", args=["retry"]), {**ids, "confirm": "yes"})
        assert "This release cannot read the version" in told(answer)[-1]


class TestSelections:
    def ids(self, *runs):
        return {"ids": [str(run.id) for run in runs]}

    def test_those_that_cannot_be_acted_on_are_told_apart(self, client, flow):
        live = [flow.start({}) for _ in range(3)]
        url = reverse("django_workflow:runs_action", args=["cancel"])
        settled = flow.start({})
        settled.cancel()
        testing_run = failed_run(flow)
        live = [run for run in live if run.status == "running"] or [flow.start({}) for _ in range(3)]
        chosen = {"ids": [*self.ids(*live, settled, testing_run)["ids"], str(uuid.uuid4())]}
        page = client.get(url, chosen)
        assert "3 of 6 will be cancelled; 1 already cancelled; 1 ended; 1 does not exist." in text_of(page)
        assert "3 waiting tasks will be cancelled" in text_of(page)
        answer = client.post(url, {**chosen, "confirm": "yes", "reason": "all wrong"})
        assert answer.url == reverse("django_workflow:run_list")
        assert [run.status for run in live] == ["cancelled"] * 3
        assert "3 of 6 were cancelled." in told(answer)[0]
        assert LogEntry.objects.count() == 3

    def test_a_selection_may_be_posted_to_be_asked_about(self, client, flow):
        runs = [flow.start({}) for _ in range(2)]
        page = client.post(reverse("django_workflow:runs_action", args=["pause"]), self.ids(*runs))
        assert page.status_code == 200
        assert "2 of 2 will be paused." in text_of(page)
        assert re.findall('name="ids" value="([^"]*)"', page.content.decode()) == [f"{runs[0].id},{runs[1].id}"]
        assert {run.status for run in runs} == {"running"}

    def test_retry_of_several_and_once_more(self, client, flow):
        runs = [failed_run(flow), failed_run(flow)]
        url = reverse("django_workflow:runs_action", args=["retry"])
        page = client.get(url, self.ids(*runs))
        assert "2 failed tasks will run again" in text_of(page)
        data = {**self.ids(*runs), "confirm": "yes"}
        data["asked_at"] = re.search('name="asked_at" value="([^"]+)"', page.content.decode())[1]
        for _ in range(2):
            answer = client.post(url, data)
            testing.run_until_idle()
        assert Run.objects.filter(retry_of__in=[run.id for run in runs]).count() == 2
        assert "has already been retried" in told(answer)[-1]

    def test_one_that_settles_meanwhile_stops_no_other(self, client, flow, monkeypatch):
        runs = [flow.start({}) for _ in range(3)]
        select = previews.select

        def then_settled(*args):
            found = select(*args)
            runs[0].cancel()
            Run.objects.filter(pk=runs[0].id)
            return found

        monkeypatch.setattr(previews, "select", then_settled)
        answer = client.post(
            reverse("django_workflow:runs_action", args=["pause"]), {**self.ids(*runs), "confirm": "yes"}
        )
        assert [run.status for run in runs] == ["cancelled", "paused", "paused"]
        assert "2 of 3 were paused." in told(answer)[0]

    def test_as_many_as_may_be_chosen_can_be_confirmed(self, client, flow):
        run = flow.start({})
        ids = [str(run.id), *(str(uuid.uuid4()) for _ in range(acting_pages.MAX_SELECTED - 1))]
        url = reverse("django_workflow:runs_action", args=["cancel"])
        page = client.post(url, {"ids": ",".join(ids)})
        fields = re.findall(r'<(?:input|button|textarea)[^>]* name="(\w+)"', page.content.decode())
        assert len(fields) < 10
        given = re.search('name="ids" value="([^"]*)"', page.content.decode())[1]
        assert client.post(url, {"ids": given, "confirm": "yes"}).status_code == 302
        assert run.status == "cancelled"

    def test_what_is_no_id_or_too_much_is_not_found(self, client, db):
        url = reverse("django_workflow:runs_action", args=["cancel"])
        assert client.get(url, {"ids": "x"}).status_code == 404
        many = ",".join(str(uuid.uuid4()) for _ in range(acting_pages.MAX_SELECTED + 1))
        assert client.post(url, {"ids": many}).status_code == 404
        assert "0 of 0" in text_of(client.get(url))
        assert client.get(reverse("django_workflow:runs_action", args=["skip_step"])).status_code == 404


class TestFlowsAndQueues:
    def test_pause_and_resume_a_flow(self, client, flow):
        run = flow.start({})
        alone = flow.start({})
        alone.pause()
        url = reverse("django_workflow:flow_action", args=[flow.slug, "pause"])
        assert "1 run will be held" in text_of(client.get(url))
        answer = confirm(client, url, reason="wrong prices")
        row = FlowDefinition.objects.get(slug=flow.slug)
        assert (row.paused_by, row.pause_reason, run.status) == ("operator", "wrong prices", "paused")
        assert told(answer) == [f"Flow {flow.slug} was paused."]
        assert "is already paused" in told(client.post(url, {"confirm": "yes"}))[-1]
        url = reverse("django_workflow:flow_action", args=[flow.slug, "resume"])
        text = text_of(client.get(url))
        assert "1 run will be resumed" in text
        assert "1 run was paused on its own and stays paused" in text
        confirm(client, url)
        assert (run.status, alone.status) == ("running", "paused")
        assert client.get(reverse("django_workflow:flow_action", args=["nowhere", "pause"])).status_code == 404

    def test_pause_and_resume_a_queue(self, client, flow):
        flow.start({})
        url = reverse("django_workflow:queue_action", args=["default", "pause"])
        assert "1 waiting task will not be taken" in text_of(client.get(url))
        confirm(client, url, reason="payments are down")
        row = Queue.objects.get(name="default")
        assert (row.paused_by, row.pause_reason) == ("operator", "payments are down")
        assert LogEntry.objects.get().change_message == "Paused: payments are down"
        assert "is already paused" in told(client.post(url, {"confirm": "yes"}))[-1]
        confirm(client, reverse("django_workflow:queue_action", args=["default", "resume"]))
        assert Queue.objects.get(name="default").paused_at is None
        assert client.get(reverse("django_workflow:queue_action", args=["nowhere", "pause"])).status_code == 404

    def test_a_queue_that_no_text_can_name_is_not_found(self, client, db):
        for name in ("pause", "resume"):
            assert client.get(f"/workflow/queues/%00/actions/{name}/").status_code == 404


class TestDeadLetters:
    def letters(self, *runs):
        return Task.objects.filter(run_id__in=[run.id for run in runs], status="failed")

    def test_dismiss_needs_a_reason(self, client, flow):
        run = failed_run(flow)
        url = reverse("django_workflow:letters_action", args=["dismiss"])
        ids = {"ids": [task.pk for task in self.letters(run)]}
        assert "1 dead letter will be dismissed" in text_of(client.get(url, ids))
        page = client.post(url, {**ids, "confirm": "yes"})
        assert "This field is required." in text_of(page)
        assert not Dismissal.objects.exists()
        answer = client.post(url, {**ids, "confirm": "yes", "reason": "refunded by hand"})
        assert told(answer) == ["1 dead letter was dismissed."]
        assert Dismissal.objects.get().by == "operator"
        again = client.post(url, {**ids, "confirm": "yes", "reason": "x"})
        assert "are no dead letters, or are no more" in told(again)[-1]
        assert Dismissal.objects.get().reason == "refunded by hand"

    @pytest.mark.parametrize("language", ["en-us", "de"])
    def test_the_letter_that_was_asked_about_is_dismissed_where_numbers_have_separators(
        self, client, flow, settings, language
    ):
        settings.USE_THOUSAND_SEPARATOR = True
        settings.LANGUAGE_CODE = language
        raise_ids("task", 5_100_500)
        letter = self.letters(failed_run(flow)).get()
        url = reverse("django_workflow:letters_action", args=["dismiss"])
        page = client.get(url, {"ids": str(letter.pk)})
        given = re.findall(r'name="ids" value="([^"]*)"', page.content.decode())
        assert given == [str(letter.pk)]
        client.post(url, {"ids": given, "confirm": "yes", "reason": "refunded by hand"})
        assert Dismissal.objects.get().task_id == letter.pk

    def test_retry_retries_each_run_once(self, client, flow):
        runs = [failed_run(flow), failed_run(flow)]
        url = reverse("django_workflow:letters_action", args=["retry"])
        ids = {"ids": [task.pk for task in self.letters(*runs)] + [999_999_999]}
        text = text_of(client.get(url, ids))
        assert "2 of 3 will be retried; 1 are no dead letters" in text
        answer = client.post(url, {**ids, "confirm": "yes"})
        assert told(answer) == ["2 runs were retried."]
        again = client.post(url, {**ids, "confirm": "yes"})
        assert "are no dead letters, or are no more" in told(again)[-1]
        assert Run.objects.filter(retry_of__isnull=False).count() == 2


class TestStart:
    @pytest.fixture
    def orders(self, make_flow):
        schema = {
            "type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
        }  # fmt: skip
        flow = make_flow("startable", input_schema=schema)
        flow.step(name="only")(lambda input: input)
        flow.start({"sku": "first"}).cancel()
        return flow

    def url(self, flow):
        return reverse("django_workflow:start", args=[flow.slug])

    def test_a_run_is_started_with_all_that_the_form_says(self, client, orders):
        data = {
            "input": '{"sku": "A"}',
            "title": "Order A",
            "labels": "team=a\n\n tier = gold ",
            "idempotency_key": "k1",
        }
        answer = confirm(client, self.url(orders), **data)
        run = Run.objects.of_flow(orders.slug).latest("created_at")
        assert answer.url == reverse("django_workflow:run", args=[run.pk])
        assert (run.input, run.title, run.labels) == ({"sku": "A"}, "Order A", {"team": "a", "tier": "gold"})
        assert (run.idempotency_key, run.started_by) == ("k1", "operator")
        assert LogEntry.objects.get().change_message == "Started."
        assert told(answer) == [f"A run of {orders.slug} was started."]

    def test_a_second_post_and_a_known_key_find_the_first_run(self, client, orders):
        page = client.get(self.url(orders))
        run_id = re.search('name="run_id" value="([^"]+)"', page.content.decode())[1]
        for _ in range(2):
            answer = client.post(self.url(orders), {"run_id": run_id, "input": '{"sku": "A"}', "idempotency_key": "k"})
        assert told(answer)[-1] == "This run was started before."
        answer = confirm(client, self.url(orders), input='{"sku": "B"}', idempotency_key="k")
        assert told(answer)[-1] == "This run was started before."
        assert Run.objects.of_flow(orders.slug).count() == 2
        assert LogEntry.objects.count() == 1

    def test_an_id_of_another_flows_run_is_refused(self, client, orders, flow):
        other = flow.start({})
        page = client.post(self.url(orders), {"run_id": str(other.id), "input": '{"sku": "A"}'})
        assert "This form was used for another flow" in text_of(page)

    def test_the_form_shows_a_sample_and_the_schema(self, client, orders):
        page = unescape(client.get(self.url(orders)).content.decode())
        assert '{\n  "sku": "",\n  "n": 0\n}</textarea>' in page
        assert "What the flow takes" in page

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"sku": "A"', "Not JSON at line 1, column 12"),
            ('{"sku": 7, "n": "x"}', "It does not fit the schema at .sku: 7 is not of type 'string'"),
            ("", "It does not fit the schema at its top: None is not of type 'object'"),
            ('{"sku": "\\u0000"}', "text with a NUL character"),
            ('{"sku": NaN}', "is not a JSON number"),
            ("[" * 100_000, "Not JSON"),
        ],
    )
    def test_what_is_wrong_with_an_input_is_told_and_what_was_typed_is_kept(self, client, orders, text, expected):
        before = Run.objects.count()
        page = client.post(self.url(orders), {"input": text, "title": "kept"})
        assert page.status_code == 200
        assert expected in text_of(page)
        assert text in unescape(page.content.decode())
        assert 'value="kept"' in page.content.decode()
        assert Run.objects.count() == before

    def test_labels_that_are_none_are_told(self, client, orders):
        page = client.post(self.url(orders), {"input": '{"sku": "A"}', "labels": "team"})
        assert "'team' is not a label: write name=value." in text_of(page)

    def test_a_flow_that_is_not_declared_any_more_is_history(self, client, orders):
        FlowDefinition.objects.create(slug="gone")
        assert client.get(reverse("django_workflow:start", args=["gone"])).status_code == 404

    def test_a_definition_with_problems_is_told(self, client, unique, db):
        flow = FlowBuilder.create_flow(unique("empty"))
        page = client.get(self.url(flow))
        assert "it has no steps" in text_of(page)
        assert ">Start</button>" not in page.content.decode()
        assert client.post(self.url(flow), {"input": ""}).status_code == 200

    def test_a_paused_flow_says_so(self, client, orders):
        pause_flow(orders.slug, reason="stock-taking")
        assert "The flow is paused: stock-taking." in text_of(client.get(self.url(orders)))
        resume_flow(orders.slug)


class TestButtons:
    def names(self, user, run):
        return [button.name for button in acting_pages.buttons(user, Run.objects.select_related("flow").get(pk=run.id))]

    def test_only_what_makes_sense(self, operator, flow):
        run = flow.start({})
        assert self.names(operator, run) == ["pause", "cancel"]
        run.pause()
        assert self.names(operator, run) == ["resume", "cancel"]
        pause_flow(flow.slug)
        assert self.names(operator, run) == ["resume_flow", "cancel"]
        resume_flow(flow.slug)
        run.resume()
        testing.run_until_idle()
        assert self.names(operator, run) == ["retry"]
        assert self.names(operator, failed_run(flow)) == ["retry", "retry_all"]

    def test_only_what_the_user_may(self, viewer, flow, db):
        run = flow.start({})
        assert self.names(viewer, run) == []
        assert self.names(user_with("pauses", [VIEW, PAUSE]), run) == ["pause"]
        assert self.names(user_with("blind", [PAUSE]), run) == []

    def test_they_lead_to_pages_that_answer(self, client, operator, flow):
        runs = [flow.start({}), failed_run(flow)]
        for run in runs:
            for button in acting_pages.buttons(operator, run.run):
                assert client.get(button.url).status_code == 200

    def test_they_cost_no_statement(self, operator, flow, django_assert_num_queries):
        run = Run.objects.select_related("flow").get(pk=flow.start({}).id)
        operator.has_perm("django_workflow.view_run")
        with django_assert_num_queries(0):
            assert acting_pages.buttons(operator, run)
            assert acting_pages.step_buttons(operator, run, "first", "running")

    def test_buttons_of_steps(self, operator, viewer, flow):
        run = flow.start({}).run
        assert [item.name for item in acting_pages.step_buttons(operator, run, "first", "running")] == [
            "skip_step", "complete_step",
        ]  # fmt: skip
        assert acting_pages.step_buttons(operator, run, "last", None) == []
        assert acting_pages.step_buttons(viewer, run, "first", "running") == []
        settled = failed_run(flow).run
        assert [item.label for item in acting_pages.step_buttons(operator, settled, "first", "succeeded")] == [
            "Run again from here"
        ]

    def test_buttons_of_flows_and_queues(self, operator, viewer, flow):
        flow.start({})
        row = FlowDefinition.objects.get(slug=flow.slug)
        assert [item.name for item in acting_pages.flow_buttons(operator, row)] == ["start", "pause"]
        assert acting_pages.flow_buttons(viewer, row) == []
        pause_queue("default")
        queue = Queue.objects.get(name="default")
        assert [item.name for item in acting_pages.queue_buttons(operator, queue)] == ["resume"]
        assert acting_pages.queue_buttons(viewer, queue) == []


class TestMalice:
    def test_what_visitors_wrote_is_inert_on_every_page(self, client, make_flow):
        flow = make_flow("evil", title=EVIL, retry=ONCE)
        flow.step(name="only")(lambda input: 1 / 0)
        run = flow.start({EVIL: EVIL}, title=EVIL, labels={EVIL: EVIL}, by=EVIL)
        pages = [client.get(url_of(run, name, step="only", next=EVIL)) for name in verbs.RUN_VERBS]
        pause_flow(flow.slug, reason=EVIL, by=EVIL)
        pages.append(client.get(reverse("django_workflow:start", args=[flow.slug])))
        pages.append(client.get(reverse("django_workflow:flow_action", args=[flow.slug, "resume"])))
        resume_flow(flow.slug)
        testing.run_until_idle()
        assert run.status == "failed"
        pages.append(client.get(url_of(run, "retry", mode=EVIL, from_step=EVIL)))
        pages.append(client.get(reverse("django_workflow:runs_action", args=["retry"]), {"ids": str(run.id)}))
        pages.append(client.post(reverse("django_workflow:start", args=[flow.slug]), {"input": EVIL, "labels": EVIL}))
        answer = confirm(client, url_of(run, "retry"), reason=EVIL)
        pages.append(client.get(answer.url))
        for page in pages:
            assert page.status_code == 200
            assert "<script>alert" not in page.content.decode()
            assert "<img" not in page.content.decode()

    def test_pages_obey_a_strict_policy(self, client, flow):
        run = failed_run(flow)
        pages = [client.get(url_of(run, name)) for name in verbs.RUN_VERBS]
        pages.append(client.get(reverse("django_workflow:start", args=[flow.slug])))
        for page in pages:
            body = page.content.decode()
            assert not re.search(r"<[^>]+\s(style|on\w+)=", body)
            assert not re.search(r"<script(?![^>]*\ssrc=\"/)", body)
            assert "<style" not in body


def test_forms_are_refused_without_their_token(client_of, operator, flow):
    client = client_of(operator, enforce_csrf_checks=True)
    run = flow.start({})
    assert client.post(url_of(run, "cancel"), {"confirm": "yes"}).status_code == 403
    token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', client.get(url_of(run, "cancel")).content.decode())
    data = {"confirm": "yes", "csrfmiddlewaretoken": token[1]}
    assert client.post(url_of(run, "cancel"), data).status_code == 302
    assert run.status == "cancelled"


def test_each_action_has_a_permission_of_its_own(client_of, flow, db):
    run = flow.start({})
    for permission, names in (
        (PAUSE, {"pause", "resume"}),
        (RETRY, {"retry", "skip_step", "complete_step"}),
        (START, set()),
    ):
        client = client_of(user_with(f"only_{permission}", [VIEW, permission]))
        for name in verbs.RUN_VERBS:
            expected = 200 if name in names else 403
            assert client.get(url_of(run, name, step="first")).status_code == expected, (permission, name)
        assert client.get(reverse("django_workflow:start", args=[flow.slug])).status_code == (
            200 if permission == START else 403
        )


def test_a_site_without_the_admin_keeps_no_log_entries(client, flow, monkeypatch):
    monkeypatch.setattr(acting_pages.perform.apps, "is_installed", lambda name: False)
    run = flow.start({})
    assert client.post(url_of(run, "cancel"), {"confirm": "yes"}).status_code == 302
    assert not LogEntry.objects.exists()


def test_two_that_confirm_at_once_make_one_retry(make_flow, client_of, workflow_queues):
    flow = make_flow("raced", retry=ONCE)
    flow.step(name="only")(lambda: 1 / 0)
    run = flow.start()
    testing.run_until_idle()
    user = user_with("racer", [VIEW, RETRY])
    page = client_of(user).get(url_of(run, "retry"))
    asked_at = re.search('name="asked_at" value="([^"]+)"', page.content.decode())[1]
    answers = []

    def post(client, together):
        together.wait(30)
        answers.append(client.post(url_of(run, "retry"), {"confirm": "yes", "asked_at": asked_at}).url)
        connection.close()

    together = threading.Barrier(4)
    threads = [threading.Thread(target=post, args=(client_of(user), together)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    retries = Run.objects.filter(retry_of=run.id)
    assert retries.count() == 1
    assert set(answers) <= {
        reverse("django_workflow:run", args=[retries.get().pk]), reverse("django_workflow:run", args=[run.id]),
    }  # fmt: skip
    assert len(answers) == 4
