"""What the doctor finds, and what it says to do about it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.utils import OperationalError

from django_workflow import RetryAfter, To, pause_flow, pause_queue, queue, testing
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import versions
from django_workflow.models import Queue, Run, Task, Worker


@pytest.fixture
def healthy(db, settings):
    """An installation in which all is well."""
    settings.DJANGO_WORKFLOW = {"RETENTION": timedelta(days=90)}
    versions.publish_declared()
    Worker.objects.create(hostname="here", pid=1, concurrency=1, lease_seconds=30, queues=queue.existing())


def doctor(*arguments):
    """Return the exit code and what the doctor printed."""
    out = StringIO()
    try:
        call_command("workflow_doctor", *arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def findings(level):
    return [item for item in json.loads(doctor("--json")[1]) if item["level"] == level]


def test_healthy_installation_has_no_findings(healthy):
    code, text = doctor()
    assert code == 0
    assert text.endswith("0 errors, 0 warnings\n"), text
    assert "PostgreSQL" in text
    assert "1 workers serve" in text


def test_findings_come_with_what_to_do(healthy, flow):
    flow.step(name="only")(lambda: None)
    flow.start()
    Worker.objects.all().delete()
    code, text = doctor()
    assert code == 1
    assert "queue 'default' holds 1 messages and no live worker serves it" in text
    assert "→ run: manage.py run_workflow_worker --queues default" in text


def test_broken_flow_is_named(healthy, flow):
    flow.step(name="only", depends_on=["nowhere"])(lambda: None)
    (finding,) = findings("error")
    assert f"Flow '{flow.slug}' has 1 problem" in finding["text"]


def test_handlers_that_live_runs_need_and_nobody_has_are_named(healthy, flow):
    flow.step(name="only")(lambda: None)
    flow.start()
    registry._handlers.pop(f"{flow.slug}.only")
    assert any(
        f"handlers that this code does not have: {flow.slug}.only" in item["text"] for item in findings("warning")
    )


def test_worker_that_fell_silent_is_told(healthy):
    Worker.objects.create(hostname="there", pid=2, concurrency=1, lease_seconds=0.000001, queues=[])
    assert any("(there:2) was last seen" in item["text"] for item in findings("warning"))


def test_queue_that_is_behind_is_told(healthy, flow):
    flow.step(name="only")(lambda: None)
    flow.start_many(range(3))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pgmq.q_wfq_default SET vt = vt - interval '1 hour'")
    assert any("3 tasks wait, the oldest for 3,6" in item["text"] for item in findings("warning"))


def test_queue_that_is_missing_is_told(healthy, make_flow, unique):
    name = unique("queue")
    make_flow(queue=name).step(name="only")(lambda: None)
    assert any(f"queue '{name}' does not exist" in item["text"] for item in findings("error"))
    assert not Queue.objects.filter(name=name).exists()


def test_run_that_nobody_will_end_is_told(healthy, flow):
    flow.step(name="only")(lambda: None)
    flow.start()
    Task.objects.update(status="failed")
    assert any("1 running runs have no open task" in item["text"] for item in findings("error"))


def test_run_that_waits_for_a_delayed_arrival_is_healthy(healthy, make_flow):
    flow = make_flow(entry=["late", "other"])
    flow.step(name="late", next=[To("join", delay=timedelta(hours=1))])(lambda: None)
    flow.step(name="other", next="join")(lambda: None)
    flow.step(name="join", join="all")(lambda: None)
    flow.start()
    testing.run_until_idle()
    assert not findings("error")


def test_overdue_run_is_told(healthy, flow):
    flow.step(name="later")(lambda: RetryAfter(timedelta(hours=1)))
    flow.start()
    testing.run_until_idle()
    Run.objects.update(deadline_at="2020-01-01T00:00Z")
    assert any("past their deadline: no keeper is at work" in item["text"] for item in findings("warning"))


def test_database_that_does_not_answer_is_an_answer(healthy, monkeypatch):
    def refuses():
        raise OperationalError("connection refused")

    monkeypatch.setattr("django_workflow.management.commands.workflow_doctor.examine", refuses)
    code, text = doctor()
    assert code == 1
    assert "the database does not answer: connection refused" in text
    assert "DATABASES['default']" in text


def test_keeping_for_ever_is_told(healthy, settings):
    settings.DJANGO_WORKFLOW = {}
    assert any("settled runs are kept for ever" in item["text"] for item in findings("warning"))


def test_what_is_paused_is_named_with_who_and_why_and_how_to_resume_it(healthy, flow):
    flow.step(name="only")(lambda: 1)
    flow.start()
    pause_queue("default", reason="disk full", by="ann")
    pause_flow(flow.slug)
    texts = [(item["text"], item["remedy"]) for item in findings("warning")]
    assert len(texts) == 2
    assert texts[0][0].startswith(f"flow '{flow.slug}' is paused for 0 s")
    assert texts[1][0].endswith("s by ann: disk full")
    assert texts[1][1].endswith("manage.py workflow resume --queue default")
