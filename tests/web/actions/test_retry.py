"""The page of a retry tells per step what runs again, and makes one retry of a run."""

from __future__ import annotations

import json
import re
import threading

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.urls import reverse

from django_workflow import retry, testing
from django_workflow.models import FlowVersion, Run, Task
from django_workflow.operations import RETRY as RETRYING
from django_workflow.operations.retry import RetryWords
from django_workflow.permissions import RETRY, VIEW
from tests.web.actions.acting import EVIL, ONCE, confirm, failed_run, text_of, told, url_of
from tests.web.conftest import user_with
from tests.web.loops import split_flow


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
            preview = RETRYING.preview(run.run, RetryWords(**query)).rehearsal
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
