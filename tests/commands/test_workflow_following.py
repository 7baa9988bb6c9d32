"""`events` and `logs`, and how following them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from django.core.management import CommandError
from django.db import connections

from django_workflow import testing
from tests.commands.shell import workflow
from tests.workers import ROOT, database_url


@pytest.fixture
def two_steps(flow):
    def first(ctx):
        ctx.logger.warning("careful:\n  the second line \x1b[31m")
        ctx.logger.info("well")
        ctx.emit("measured", {"grams": 120})

    flow.step(name="first")(first)
    flow.step(name="second", depends_on=["first"])(lambda: None)
    return flow


def types(answer):
    return [item["type"] for item in answer.json]


ALL = ["run.started", "step.started", "measured", "step.completed", "step.started", "step.completed", "run.completed"]


def test_events_of_a_run_or_of_all_are_told_oldest_first(db, two_steps):
    assert workflow("events").out == "No events yet; they come with runs.\n"
    first, second = two_steps.start(), two_steps.start()
    testing.run_until_idle()
    assert types(workflow("events", first.id, "--json")) == ALL
    assert len(workflow("events", "--json").json) == 2 * len(ALL)
    assert [item["number"] for item in workflow("events", first.id, "--json", "--limit", 2).json] == [6, 7]
    assert types(workflow("events", first.id, "--type", "run.*", "--type", "measured", "--json")) == [
        "run.started", "measured", "run.completed",
    ]  # fmt: skip
    assert {item["run"] for item in workflow("events", "--type", "run.started", "--json").json} == {
        str(first.id), str(second.id),
    }  # fmt: skip
    assert "measured        first  grams=120" in workflow("events", first.id).out
    assert workflow("events", "--type", "run.failed").out == "No such events yet.\n"
    with pytest.raises(CommandError, match="'r\\*n' is not a type of events"):
        workflow("events", "--type", "r*n")


def test_logs_are_told_by_step_and_level(db, two_steps):
    handle = two_steps.start()
    assert "Nothing was logged. Handlers log with ctx.logger" in workflow("logs", handle.id).out
    testing.run_until_idle()
    assert [line["message"].split(":")[0] for line in workflow("logs", handle.id, "--json").json] == ["careful", "well"]
    (line,) = workflow("logs", handle.id, "--level", "warning", "--json").json
    assert (line["step"], line["index"], line["attempt"], line["level"]) == ("first", 0, 1, "warning")
    assert workflow("logs", handle.id, "--step", "second", "--json").json == []
    told = workflow("logs", handle.id).out
    assert "WARNING  first  careful:\n" in told
    assert "\x1b" not in told
    with pytest.raises(CommandError, match=r"There is no step 'secnd'\. Did you mean 'second'"):
        workflow("logs", handle.id, "--step", "secnd")


class Follower(threading.Thread):
    """Follows in a thread with connections of its own, as another shell does."""

    def __init__(self, *words):
        super().__init__()
        self.words = words
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = workflow(*self.words)
        finally:
            connections.close_all()


def test_followed_run_is_told_to_its_end(workflow_queues, two_steps):
    handle = two_steps.start()
    follower = Follower("events", handle.id, "-f", "--json")
    testing.run_until_idle()
    follower.join(15)
    assert [item["type"] for item in follower.answer.records] == ALL
    assert [item["number"] for item in follower.answer.records] == list(range(1, len(ALL) + 1))
    assert follower.answer.code == 0


def test_followed_logs_end_with_the_run(workflow_queues, two_steps):
    handle = two_steps.start()
    follower = Follower("logs", handle.id, "-f", "--json")
    testing.run_until_idle()
    follower.join(15)
    assert [line["message"].split(":")[0] for line in follower.answer.records] == ["careful", "well"]


def test_following_of_a_settled_run_tells_the_past_and_ends(workflow_queues, two_steps):
    handle = two_steps.start()
    testing.run_until_idle()
    assert [item["type"] for item in workflow("events", handle.id, "-f", "--json").records] == ALL
    limited = workflow("events", handle.id, "-f", "--json", "--limit", 3, "--type", "step.*").records
    assert [item["number"] for item in limited] == [4, 5, 6]


@pytest.fixture
def shell(monkeypatch):
    """Start `manage.py workflow` as a process of its own, against the test's database."""
    started = []

    def start(*words, **options):
        environment = os.environ | {"DATABASE_URL": database_url(), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "workflow", *map(str, words)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_ctrl_c_ends_following_of_all_with_a_line_and_code_130(workflow_queues, two_steps, shell):
    handle = two_steps.start()
    process = shell(
        "events", "-f", "--json", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    assert str(handle.id) in process.stdout.readline()
    testing.run_until_idle()
    told = [process.stdout.readline() for _ in range(len(ALL) - 1)]
    assert '"run.completed"' in told[-1]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")


@pytest.mark.slow
def test_reader_that_has_read_enough_is_no_error(workflow_queues, two_steps, shell):
    two_steps.start_many(range(200))
    process = shell("list", "--limit", 200)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, "")
