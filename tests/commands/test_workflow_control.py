"""Verbs from the shell: who did it and why is stored, and what is refused is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_workflow import Fail, testing
from django_workflow.management.workflow import arguments
from django_workflow.models import Event, Run
from django_workflow.statuses import RUNNING
from tests.commands.shell import workflow
from tests.trouble import trouble

pytestmark = pytest.mark.django_db


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda input: input)
    return flow


def last_event(run):
    return Event.objects.filter(run_id=run.id).order_by("-number").first()


def test_cancel_ends_runs_and_stores_who_and_why(simple):
    first, second = simple.start(), simple.start(delay=timedelta(hours=1))
    answer = workflow("cancel", first.id, str(second.id)[-8:], "--reason", "wrong input")
    assert answer.code == 0
    assert answer.out.splitlines() == [f"Run {run.id} of {simple.slug} is cancelled." for run in (first, second)]
    assert last_event(second).data == {"reason": "wrong input", "by": arguments.login_name()}
    workflow("cancel", first.id, "--by", "ada")
    assert last_event(first).data["reason"] == "wrong input"


@pytest.mark.parametrize("code", ["57014", "40P01"])
def test_what_the_database_cannot_do_now_is_told_as_such(simple, code):
    run = simple.start()
    with trouble(code, "new.status = 'cancelled'", table="django_workflow_run"):
        with pytest.raises(CommandError, match=r"The database could not do this now: trouble(?s:.*)Try again\.$"):
            workflow("cancel", run.id)
        assert run.status == "running"
        assert workflow("cancel", run.id).code == 0


def test_cancel_of_one_that_ended_is_refused_and_the_others_are_cancelled(simple):
    done = simple.start()
    testing.run_until_idle()
    waiting = simple.start()
    answer = workflow("cancel", done.id, waiting.id, "--json")
    assert answer.code == 1
    assert "has already ended succeeded" in answer.err
    assert [(item["status"], item["refused"] is None) for item in answer.json] == [
        ("succeeded", False), ("cancelled", True),
    ]  # fmt: skip


def test_wrong_name_lets_nothing_be_done(simple):
    handle = simple.start()
    with pytest.raises(CommandError, match="There is no run 'abcdef'"):
        workflow("cancel", handle.id, "abcdef")
    assert Run.objects.get().status == RUNNING


def test_nobody_logged_in_is_no_error(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert arguments.login_name() == ""


def test_paused_run_is_held_and_resumed(simple):
    handle = simple.start(1)
    assert workflow("pause", handle.id, "--reason", "lunch").out == f"Run {handle.id} of {simple.slug} is paused.\n"
    assert last_event(handle).data == {"reason": "lunch", "by": arguments.login_name()}
    testing.run_until_idle()
    assert handle.status == "paused"
    assert workflow("resume", handle.id, "--by", "ada", "--json").json[0]["status"] == "running"
    testing.run_until_idle()
    assert handle.status == "succeeded"
    assert workflow("resume", handle.id).code == 1


def test_flow_is_paused_with_its_runs(simple):
    handle = simple.start(1)
    assert workflow("pause", "--flow", simple.slug).out == f"The flow {simple.slug!r} is paused.\n"
    assert handle.status == "paused"
    refused = workflow("resume", handle.id)
    assert refused.code == 1
    assert "is paused, and with it its runs; resume the flow" in refused.err
    assert workflow("resume", "--flow", simple.slug, "--json").json == {"flow": simple.slug, "is_paused": False}
    assert handle.status == "running"


def test_queue_is_paused(make_flow, unique):
    name = unique("queue")
    flow = make_flow(queue=name)
    flow.step(name="only")(lambda: None)
    flow.start()
    assert workflow("pause", "--queue", name, "--reason", "full").out == f"The queue {name!r} is paused.\n"
    assert "paused just now" in workflow("queues", on_terminal=True).out
    assert workflow("resume", "--queue", name).out == f"The queue {name!r} goes on.\n"
    assert "paused" not in workflow("queues").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pause"], "Name runs, or --flow SLUG, or --queue NAME"),
        (["pause", "--flow", "nonsense"], "There is no flow 'nonsense'"),
        (["resume", "--queue", "defualt"], "There is no queue 'defualt'"),
        (["pause", "--flow", "a", "--queue", "b"], "not allowed with argument"),
        (["pause", "abcd", "--queue", "b"], "Name runs, or --flow, or --queue, not several of them"),
    ],
)
def test_what_is_to_be_paused_has_to_be_clear(words, told):
    with pytest.raises(CommandError, match=told):
        workflow(*words)


@pytest.fixture
def failed(flow):
    """A run of three steps whose second failed; each pass of a step is counted."""
    passes = []

    def step(name, *, works):
        def work():
            passes.append(name)
            return works or len(passes) > 2 or Fail("not yet")

        flow.step(name=name, depends_on=[] if name == "first" else ["first"])(work)

    step("first", works=True)
    step("second", works=False)
    handle = flow.start("old")
    testing.run_until_idle()
    assert handle.status == "failed"
    return handle, passes


def test_retry_carries_over_what_succeeded(failed):
    handle, passes = failed
    data = workflow("retry", handle.id, "--reason", "mended", "--json").json
    assert data["retry_of"] == str(handle.id)
    testing.run_until_idle()
    assert passes == ["first", "second", "second"]
    assert workflow("show", data["run"], "--json").json["status"] == "succeeded"
    assert workflow("show", handle.id, "--json").json["retries"] == [data["run"]]
    assert data["run"] in workflow("show", handle.id).out


def test_retry_takes_a_mode_a_step_an_input_and_a_version(failed):
    handle, passes = failed
    first = workflow("retry", handle.id, "--mode", "all", "--input", '"new"', "--version", "latest").out.strip()
    testing.run_until_idle()
    assert Run.objects.get(pk=first).input == "new"
    assert passes == ["first", "second"] * 2
    workflow("retry", first, "--from", "second", "--version", "1")
    testing.run_until_idle()
    assert passes == ["first", "second"] * 2 + ["second"]
    with pytest.raises(CommandError, match=r"There is no step 'secnd'\. Did you mean 'second'"):
        workflow("retry", handle.id, "--from", "secnd")
    with pytest.raises(CommandError, match="'newest' is not a version: write its number, or latest"):
        workflow("retry", handle.id, "--version", "newest")


def test_retry_needs_a_settled_run(simple):
    with pytest.raises(CommandError, match="only a settled run can be retried"):
        workflow("retry", simple.start().id)


def test_a_refused_retry_names_the_options_of_the_command(flow):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    with pytest.raises(CommandError, match=r"Nothing failed .*--from STEP, or everything with --mode all\.$"):
        workflow("retry", handle.id)


def test_step_is_skipped_or_completed_by_hand(flow):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"])(lambda first: first)
    skipped, completed = flow.start(), flow.start()
    assert workflow("skip", skipped.id, "first", "--reason", "not today").code == 0
    assert workflow("complete", completed.id, "first", "--value", "[5]").code == 0
    testing.run_until_idle()
    assert skipped.result().output == {"second": None}
    assert completed.result().output == {"second": [5]}
    assert "operator" in workflow("show", skipped.id).out
    refused = workflow("complete", skipped.id, "second")
    assert (refused.code, "already" in refused.err) == (1, True)
    with pytest.raises(CommandError, match=r"There is no step 'frist'\. Did you mean 'first'"):
        workflow("skip", skipped.id, "frist")


def test_dead_letters_are_listed_and_retried(failed):
    handle, _ = failed
    (letter,) = workflow("dead", "--json").json
    assert (letter["run_id"], letter["step"], letter["message"]) == (str(handle.id), "second", "not yet")
    assert "Fail: not yet" in workflow("dead", "list").out
    assert "dead retry ID" in workflow("dead", on_terminal=True).out
    (run_id,) = workflow("dead", "retry", letter["task_id"], "--json").json["runs"]
    testing.run_until_idle()
    assert Run.objects.get(pk=run_id).status == "succeeded"
    assert workflow("dead").out.startswith("No dead letters.")


def test_all_dead_letters_of_a_flow_are_retried(failed, unique):
    handle, _ = failed
    slug = handle.run.flow.slug
    assert len(workflow("dead", "retry", "--all", "--flow", slug, "--json").json["runs"]) == 1
    assert workflow("dead", "retry", "--all", "--flow", slug).out == "No dead letters.\n"


def test_dead_letters_are_dismissed_with_a_reason(failed):
    (letter,) = workflow("dead", "--json").json
    with pytest.raises(CommandError, match="Say why, for whoever asks later: --reason TEXT"):
        workflow("dead", "dismiss", letter["task_id"])
    answer = workflow("dead", "dismiss", letter["task_id"], "--reason", "known")
    assert answer.out == "Dismissed 1 dead letter.\n"
    again = workflow("dead", "dismiss", letter["task_id"], "--reason", "known")
    assert "1 of them are no dead letters, or were dismissed before" in again.err
    assert workflow("dead", "--json").json == []
    assert workflow("dead", "dismiss", "--all", "--reason", "none").out == "Dismissed 0 dead letters.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["retry"], "Which ones\\? Give ids, as listed by manage.py workflow dead, or --all"),
        (["retry", "1", "--all"], "Give ids, or --all, not both"),
        (["retry", "1", "--queue", "default"], "--flow and --queue go with --all|There is no queue"),
        (["retry", "4711"], "No dead letters: 4711"),
        (["bury"], "invalid choice"),
        (["list", "1"], "List all, or of one flow"),
    ],
)
def test_which_letters_has_to_be_clear(words, told):
    with pytest.raises(CommandError, match=told):
        workflow("dead", *words)
