"""Dead letters are dismissed with a reason, or their runs retried."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from django_workflow.models import Dismissal, Run, Task
from tests.web.actions.acting import failed_run, text_of, told
from tests.web.ids import raise_ids


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
