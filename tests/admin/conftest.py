"""Users and browsers as for the live pages, and a site's story to look at."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from django_workflow import Retry, testing
from django_workflow.models import Attempt, DeadLetter, Erasure, Event, FlowVersion, Queue, Run, StepRun, Task, Worker
from tests.web.conftest import _site, client_of, operator, stranger, superuser, user_with, viewer  # noqa: F401

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def story(make_flow, db):
    """A run that failed with an evil error, one that goes on, and a row of every model."""
    flow = make_flow("a_story", retry=Retry(max_attempts=1))  # first in lists, whatever other tests declare

    @flow.map(over="input.items")
    def each(item, index):
        if index == 1:
            raise RuntimeError(EVIL)
        return EVIL

    failed = flow.start({"items": [EVIL, EVIL], "secret": "s3cret"}, labels={"team": "a"}, idempotency_key="key-1")
    testing.run_until_idle()
    live = flow.start({"items": [EVIL]}, title=EVIL)
    worker = Worker.objects.create(
        hostname="host", pid=1, queues=["default"], concurrency=4, lease_seconds=30, running_count=1
    )
    rows = {
        "flowdefinition": failed.run.flow,
        "flowversion": FlowVersion.objects.get(flow__slug=flow.slug),
        "run": failed.run,
        "steprun": StepRun.objects.get(run_id=failed.id),
        "task": Task.objects.get(run_id=failed.id, status="failed"),
        "attempt": Attempt.objects.get(run_id=failed.id),
        "deadletter": DeadLetter.objects.dead().get(run_id=failed.id),
        "event": Event.objects.filter(run_id=failed.id).first(),
        "queue": Queue.objects.get(name="default"),
        "worker": worker,
        "erasure": Erasure.objects.create(run_id=uuid4(), flow=failed.run.flow, flow_slug=flow.slug, what="run"),
    }
    return SimpleNamespace(flow=flow, failed=failed, live=live, rows=rows, run=Run.objects.get(pk=failed.id))
