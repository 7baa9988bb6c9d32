"""Addresses and forms that somebody made up: pages answer, or refuse with 400, 403 or 404, and never break."""

from __future__ import annotations

import pytest

from django_workflow import Retry
from django_workflow.models import Run

pytestmark = pytest.mark.slow

ODD = ["a\x00b", "\x00", "é" * 5_000, "-1", str(2**63), "9" * 400, "1e400", "NaN", "'\"{}[]\\", "\u2028\x1b[2K", ""]
GET = {
    "runs/": [
        *("q", "flow", "version", "queue", "error", "within", "from", "to", "status", "label", "before", "after"),
        "select",
    ],
    "runs/{run}/": [
        *("step", "item", "task", "activation", "turns", "status", "page", "kind", "of", "before", "lines", "whole"),
    ],
    "": ["q"],
    "queues/": ["q"],
    "workers/": ["all", "stopped"],
    "runs/{run}/actions/retry/": ["mode", "from_step", "version", "reason", "next"],
    "runs/{run}/actions/skip_step/": ["step", "activation", "reason", "next"],
    "runs/actions/cancel/": ["ids"],
    "dead-letters/actions/dismiss/": ["ids"],
}
POST = {
    "runs/{run}/actions/retry/": ["mode", "from_step", "version", "input", "reason", "next", "asked_at"],
    "runs/{run}/actions/cancel/": ["reason", "next", "asked_at"],
    "runs/{live}/actions/complete_step/": ["step", "activation", "value", "reason"],
    "runs/{live}/actions/skip_step/": ["step", "activation", "reason"],
    "runs/{live}/actions/pause/": ["reason", "next"],
    "runs/actions/cancel/": ["ids", "reason"],
    "dead-letters/actions/retry/": ["ids", "reason"],
    "flows/{flow}/start/": ["input", "title", "labels", "idempotency_key", "run_id", "next"],
    "flows/{flow}/actions/pause/": ["reason"],
    "queues/default/actions/pause/": ["reason"],
}
DEEP = "[" * 900 + "]" * 900
FINE = (200, 302, 400, 403, 404)


@pytest.fixture
def places(flow, db):
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda input: 1 / 0)
    run = flow.execute()
    return {"run": run.run_id, "live": flow.start().id, "flow": flow.slug}


@pytest.mark.parametrize("path", GET)
def test_an_address_with_odd_values_is_answered(path, places, client_of, superuser):
    client = client_of(superuser)
    for name in GET[path]:
        for value in ODD:
            response = client.get(f"/workflow/{path.format(**places)}", {name: value})
            assert response.status_code in FINE, (name, value[:20])


@pytest.mark.parametrize("path", POST)
def test_a_form_with_odd_values_is_answered(path, places, client_of, superuser):
    client = client_of(superuser)
    required = {"confirm": "yes", "step": "only"}
    for name in POST[path]:
        for value in [*ODD, DEEP, '{"a": "\\ud800"}', "1e400", "name=\x00", "\x00=value", f"{'n' * 300}=value"]:
            response = client.post(f"/workflow/{path.format(**places)}", required | {name: value})
            assert response.status_code in FINE, (name, value[:20])
    for run in Run.objects.all():
        assert "\x00" not in f"{run.title}{run.labels}{run.idempotency_key}"
