"""A step, or one of its open passes, is skipped or completed by hand."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from django_workflow import complete_step, testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Event, StepRun
from django_workflow.worker.local import perform
from tests.web.actions.acting import confirm, text_of, told, url_of
from tests.web.loops import split_flow


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
