"""The small examples do what their texts say, every time they are run."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.core.management import CommandError, call_command

from django_workflow import FlowBuilder
from django_workflow.definition.registry import registry
from django_workflow.testing import assert_settled, statuses_of
from example_project.examples import EXAMPLES, ON_A_WORKER, dynamic, errors, notifications, parallel, simple
from example_project.history import history

pytestmark = pytest.mark.django_db


def outcomes(result, step):
    return [entry.outcome for entry in history(result.run_id) if entry.step == step]


# messages are received once they are committed
COMMITTING = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=COMMITTING if name == "notifications" else ())
        for name in EXAMPLES
        if name not in ON_A_WORKER
    ],
)
def test_each_runs_by_its_name_as_often_as_one_likes(name, capsys):
    for _ in range(2):
        call_command("run_example", name)
    module = import_module(f"example_project.examples.{name}")
    assert module.__doc__.splitlines()[0] in capsys.readouterr().out


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(CommandError, match=r"choose from .*simple.*parallel.*dynamic.*errors"):
        call_command("run_example", "nonsense")


def test_every_flow_of_the_site_is_found_by_workers():
    known = {flow.slug for flow in registry.flows()}
    assert {"audit", "orders", "word_count", "checksums", "errors_retried", "errors_slow"} <= known
    assert registry.handler("text.words") is not None


def test_simple_counts_words():
    result = simple.word_count.execute(simple.TEXT).raise_for_status()
    assert result["most_frequent"] == ["and", "i", "to", "before", "go"]
    assert simple.word_count.execute("").raise_for_status()["most_frequent"] == []


def test_parallel_joins_both_branches():
    result = parallel.checksum_flow.execute(str(parallel.FOLDER)).raise_for_status()
    files = sorted(path.name for path in parallel.FOLDER.glob("*.py"))
    assert [line.split("  ")[1] for line in result["manifest"]["checksums"]] == files
    assert result["manifest"]["longest"] in files
    assert result.counts == {"files": 1, "checksums": len(files), "longest": 1, "manifest": 1}


def test_parallel_maps_an_empty_folder_to_an_empty_list(tmp_path):
    result = parallel.checksum_flow.execute(str(tmp_path)).raise_for_status()
    assert result["manifest"] == {"checksums": [], "longest": ""}
    assert "checksums" not in result.counts


def test_dynamic_builds_the_flow_of_the_choice_once():
    flow = dynamic.stored_flow("my_measures", ["words", "longest_word"])
    assert [step["name"] for step in flow.steps] == ["words", "longest_word", "collect"]
    assert dynamic.measured(flow, {}) == {"words": 15, "longest_word": "workflow"}
    assert dynamic.measured(flow, {"words": dynamic.distinct_words}) == {"words": 13, "longest_word": "workflow"}
    assert dynamic.stored_flow("my_measures", ["sentences"]).steps == flow.steps
    assert [stored.slug for stored in FlowBuilder.list_flows()] == ["my_measures"]


def test_errors_retried_works_at_the_third_attempt():
    result = errors.retried.execute().raise_for_status()
    assert outcomes(result, "connect") == ["failed", "failed", "succeeded"]
    assert outcomes(result, "ask") == ["failed", "succeeded"]
    assert result["ask"] == "connected, and answered"


def test_errors_given_up_fails_at_the_first_attempt_and_runs_nothing_more():
    result = errors.given_up.execute({"amount": "12 apples"})
    assert (result.status, result.error["class"]) == ("failed", "ValueError")
    assert outcomes(result, "parse") == ["failed"]
    assert "book" not in result.counts
    assert errors.given_up.execute({"amount": "12"}).raise_for_status()["book"] == 12


def test_errors_skipped_goes_on_with_the_default():
    result = errors.skipped.execute().raise_for_status()
    assert_settled(result.run, steps={"weather": "skipped", "greeting": "succeeded"})
    assert outcomes(result, "weather") == ["failed", "failed", "skipped"]
    assert result["greeting"] == "Good morning! We know nothing about the weather."


def test_errors_branch_is_skipped_and_the_other_is_not():
    result = errors.branch.execute().raise_for_status()
    assert statuses_of(result.run) == {"preview": "skipped", "thumbnail": "skipped", "original": "succeeded"}
    assert result.output == {"original": "stored"}


def test_errors_slow_is_stopped_and_works_at_the_second_attempt():
    result = errors.slow.execute().raise_for_status()
    assert outcomes(result, "compute") == ["timed_out", "succeeded"]
    assert result["compute"] == "done at attempt 2"


@COMMITTING
def test_notifications_reach_both_listeners_and_one_that_was_away():
    said = []
    notifications.run(said.append)
    screen, archive = (sorted(line.partition(":")[2].strip().split(", ")) for line in said[1:3])
    assert screen == archive
    installed = notifications.announcement.execute().raise_for_status()["announce"]
    assert len([item for item in screen if item.endswith("%")]) == installed
    assert len(screen) == 2 * installed
    assert "never heard of" not in "".join(said)
    assert said[3].endswith("news while nobody listened")
    assert said[5].strip().startswith("run.started, step.started packages, step.completed packages")
