"""A run whose version this release cannot read can be cancelled and is otherwise left alone."""

from __future__ import annotations

import pytest
from django.urls import reverse

from django_workflow.models import Run, Task
from tests.web.actions.acting import confirm, failed_run, rewrite, text_of, told, url_of


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
