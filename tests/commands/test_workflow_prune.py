"""`workflow_prune`: how long runs are kept, and how many went."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_workflow import testing
from django_workflow.management.commands import workflow_prune
from django_workflow.models import Run
from tests.commands.shell import workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def old_runs(flow):
    flow.step(name="only")(lambda: None)
    flow.start_many(range(5))
    testing.run_until_idle()
    Run.objects.update(ended_at="2020-01-01T00:00Z")
    flow.start()
    testing.run_until_idle()


def prune(*arguments, **options):
    return workflow(*arguments, command="workflow_prune", **options)


def test_how_long_runs_are_kept_has_to_be_said(old_runs, settings):
    settings.DJANGO_WORKFLOW = {"RETENTION": None}
    with pytest.raises(CommandError, match=r"Say --older-than 90d, or set DJANGO_WORKFLOW\['RETENTION'\]"):
        prune()
    with pytest.raises(CommandError, match="'90' is not a duration: a number with a unit"):
        prune("--older-than", "90")
    assert Run.objects.count() == 6


def test_dry_run_only_counts(old_runs):
    assert prune("--older-than", "30d", "--dry-run").out == (
        "5 runs that settled more than 30 d ago would be deleted.\n"
    )
    assert Run.objects.count() == 6


def test_retention_is_the_default(old_runs, settings):
    settings.DJANGO_WORKFLOW = {"RETENTION": timedelta(days=30)}
    assert prune("--json").json == {"runs": 5, "older_than_seconds": 2_592_000.0, "dry_run": False}
    assert prune("--json").json["runs"] == 0
    assert Run.objects.count() == 1


def test_batches_go_one_after_the_other_under_a_progress_bar(old_runs, monkeypatch):
    monkeypatch.setattr(workflow_prune, "BATCH", 2)
    answer = prune("--older-than", "30d", on_terminal=True)
    assert answer.out == "Deleted 5 runs that settled more than 30 d ago.\n"
    for told in ("0%  0/5 runs", "40%  2/5 runs", "80%  4/5 runs"):
        assert told in answer.err
    assert prune("--older-than", "30d").err == ""
