"""Pages, admin and commands answer one question alike, for each of them reads it from `read/`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_workflow.models import Worker
from django_workflow.read import doctor
from tests.commands.shell import workflow
from tests.web.pages import text_of


@pytest.fixture
def browser(superuser):
    client = Client()
    client.force_login(superuser)
    return client


class TestWorkers:
    """Who is live is told by the database's clock, whatever the web server's says."""

    @pytest.fixture
    def crew(self, db):
        """A live worker, a silent one, and one that stopped."""
        now = timezone.now()
        options = {"queues": ["default"], "concurrency": 1, "lease_seconds": 30}
        Worker.objects.create(hostname="live", pid=1, heartbeat_at=now, **options)
        Worker.objects.create(hostname="silent", pid=2, heartbeat_at=now - timedelta(minutes=5), **options)
        Worker.objects.create(hostname="stopped", pid=3, heartbeat_at=now, stopped_at=now, **options)

    @pytest.fixture(params=[timedelta(0), timedelta(hours=3), -timedelta(hours=3)], ids=["right", "ahead", "behind"])
    def _clock(self, request, monkeypatch):
        now = timezone.now
        monkeypatch.setattr(timezone, "now", lambda: now() + request.param)

    @pytest.mark.usefixtures("crew", "_clock")
    def test_states_are_the_same_everywhere(self, browser):
        expected = {name: name for name in ("live", "silent", "stopped")}
        commanded = {row["hostname"]: row["state"] for row in workflow("workers", "--all", "--json").json}
        assert commanded == expected
        page = browser.get("/workflow/workers/").context
        shown = {worker.hostname: worker.state for key in ("workers", "stopped") for worker in page[key]}
        assert shown == expected
        rows = browser.get(reverse("admin:django_workflow_worker_changelist")).context["cl"].result_list
        assert {row.hostname: row.state for row in rows} == expected
        told = "\n".join(finding.text for finding in doctor.examine())
        assert "(silent:2) was last seen" in told
        assert "1 workers serve default" in told
        assert "1 worker" in text_of(browser.get("/workflow/"))


class TestIds:
    """Four digits of either end of an id are enough."""

    @pytest.fixture
    def finds(self, browser):
        """Say by which interface a text finds a run."""

        def look(text, run_id):
            try:
                command = workflow("show", text, "--json").json["run"] == str(run_id)
            except CommandError as error:
                command = str(run_id) in str(error)  # among others
            page = [run.pk for run, *_ in browser.get("/workflow/runs/", {"q": text}).context["runs"]]
            rows = browser.get(reverse("admin:django_workflow_run_changelist"), {"q": text}).context["cl"].result_list
            return command, run_id in page, run_id in [row.pk for row in rows]

        return look

    @pytest.mark.parametrize("part", [slice(0, 4), slice(0, 20), slice(-4, None), slice(-12, None), slice(None)])
    def test_a_part_of_it_finds_a_run_everywhere(self, story, finds, part):
        run_id = story.run.pk
        for text in (run_id.hex[part], run_id.hex[part].upper()):
            assert finds(text, run_id) == (True, True, True), text

    def test_three_digits_find_nothing_anywhere(self, story, finds):
        assert finds(story.run.pk.hex[-3:], story.run.pk) == (False, False, False)


def test_dead_letters_are_the_same_everywhere(story, browser):
    commanded = [row["task_id"] for row in workflow("dead", "--json").json]
    rows = browser.get(reverse("admin:django_workflow_deadletter_changelist")).context["cl"].result_list
    assert commanded == [row.pk for row in rows] == [story.rows["deadletter"].pk]
