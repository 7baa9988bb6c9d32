"""On a site that reads from a replica the package reads what it needs where it is written."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from django_workflow import FlowBuilder, handler, testing
from django_workflow.models import FlowVersion, Run, Task
from tests.commands.shell import workflow


@pytest.fixture(autouse=True)
def _replica(settings, db):
    settings.DATABASE_ROUTERS = ["tests.variants.router.Router"]


@handler("replica_nothing")
def nothing():
    """Do nothing."""


def test_a_draft_is_published_as_it_is_now(unique):
    builder = FlowBuilder()
    flow = builder.create_flow(unique())
    builder.add_step(flow, "first", handler="replica_nothing")
    builder.publish(flow)
    builder.add_step(flow, "second", depends_on=["first"], handler="replica_nothing")
    builder.publish(flow)
    versions = FlowVersion.objects.filter(flow__slug=flow.slug).order_by("number")
    names = [[step["name"] for step in version.spec["steps"]] for version in versions]
    assert names == [["first"], ["first", "second"]]


def test_what_belongs_to_a_row_is_read_where_the_row_is(flow, settings):
    @flow.step
    def fails():
        raise LookupError

    handle = flow.start()
    testing.run_until_idle()
    row = handle.refresh().run
    task = Task.objects.get(run_id=row.pk)
    settings.DATABASE_ROUTERS = ["tests.variants.router.Always"]
    row.refresh_from_db()
    assert task.step_run.run.flow == row.flow
    assert [event.run for event in row.events.all()] == [row] * row.events.count()
    assert testing.statuses_of(handle) == {"fails": "running"}
    assert Run.objects.using("default").get(pk=row.pk).version.flow_id == row.flow_id
    assert Run.objects.all().db == "replica"  # what a site asks for itself goes where its router says


def test_roles_are_compared_with_what_is_written(capsys):
    call_command("workflow_roles")
    call_command("workflow_roles")
    assert "is as it should be" in capsys.readouterr().out


def test_runs_are_listed_with_their_versions(flow):
    flow.step(name="only")(lambda: None)
    run = flow.start()
    assert [(row["run"], row["version"]) for row in workflow("list", "--json").json] == [(str(run.id), 1)]
