"""Who may retry but not see payloads learns nothing of an input or a value."""

from __future__ import annotations

import json
from dataclasses import replace

from django.db import transaction
from django.utils.html import escape

from django_workflow.models import Run
from django_workflow.operations.retry import MISFIT
from django_workflow.permissions import RETRY, VIEW
from tests.web.actions.acting import EVIL, confirm, failed_run, text_of, told, url_of
from tests.web.conftest import user_with


class TestWithoutViewPayload:
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
            assert MISFIT in text
            assert "alert(1)" not in text
