"""The keys of `--json` are those that the reference lists."""

from __future__ import annotations

import re

import pytest

from django_workflow import Fail, Skip, testing
from django_workflow.models import Worker
from tests.commands.shell import workflow
from tests.docs.pages import DOCS

pytestmark = pytest.mark.django_db


def documented():
    """Return the keys of each kind of document, from the reference's table."""
    text = (DOCS / "reference" / "commands.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| (`.*) \|$", text, re.MULTILINE)
    return {kind: set(re.findall(r"`(\w+)`", keys)) for kind, keys in rows}


def test_keys_are_those_of_the_reference(flow):
    def work(ctx):
        ctx.logger.info("well")
        return Fail("no")

    flow.step(name="only")(work)
    handle = flow.start()
    testing.run_until_idle()
    Worker.objects.create(hostname="here", pid=1, concurrency=1, lease_seconds=30)
    shown = workflow("show", handle.id, "--json").json
    found = {
        "run": workflow("list", "--json").json[0],
        "step": shown["steps"][0],
        "failure": shown["failures"][0],
        "event": workflow("events", "--json").json[0],
        "line": workflow("logs", handle.id, "--json").json[0],
        "dead letter": workflow("dead", "--json").json[0],
        "queue": workflow("queues", "--json").json[0],
        "worker": workflow("workers", "--json").json[0],
    }
    keys = documented()
    assert {kind: set(document) for kind, document in found.items()} == {kind: keys[kind] for kind in found}
    assert set(shown) - keys["run"] == {"retries", "waits", "why", "steps", "failures", "events"}


def test_a_skip_has_its_reason_and_the_words_of_its_handler_apart(flow):
    flow.step(name="says")(lambda: Skip("operator"))
    flow.step(name="unmet", when="input == 1")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    steps = workflow("show", handle.id, "--json").json["steps"]
    assert {step["step"]: (step["reason"], step["message"]) for step in steps} == {
        "says": ("handler", "operator"),
        "unmet": ("condition_unmet", ""),
    }
