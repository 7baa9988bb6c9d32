"""Definitions in the database: versions, what a run is pinned to, overrides."""

from __future__ import annotations

import pytest

from django_workflow import DefinitionError, Flow, Retry, testing
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import overrides
from django_workflow.engine.stored import versions as stored_versions
from django_workflow.models import FlowDefinition, FlowVersion, Run


def versions(slug):
    return list(FlowVersion.objects.filter(flow__slug=slug).order_by("number").values_list("number", flat=True))


def declare(slug, *steps, **options):
    flow = Flow(slug, **options)
    for name in steps:
        flow.step(name=name)(lambda: None)
    return flow


def test_same_definition_again_is_the_same_version(db, unique):
    slug = unique("flow")
    first = declare(slug, "a", "b").start()
    second = declare(slug, "a", "b").start()
    assert versions(slug) == [1]
    assert first.run.version_id == second.run.version_id


def test_changed_definition_is_a_new_version_and_the_old_one_comes_back(db, unique):
    slug = unique("flow")
    numbers = [declare(slug, *steps).start().run.version.number for steps in (["a"], ["a", "b"], ["a"])]
    assert numbers == [1, 2, 1]


@pytest.mark.parametrize("options", [{"title": "Other"}, {"max_tasks": 5}, {"queue": "other"}, {"retry": Retry(2)}])
def test_every_option_is_part_of_the_version(db, unique, options):
    slug = unique("flow")
    declare(slug, "a").start()
    declare(slug, "a", **options).start()
    assert versions(slug) == [1, 2]


def test_run_keeps_its_version_when_a_deploy_adds_a_step(db, unique):
    slug = unique("flow")
    old = declare(slug, "a").start()
    new_flow = declare(slug, "a")
    new_flow.step(name="b", depends_on=["a"])(lambda: "b")
    new = new_flow.start()
    testing.run_until_idle()
    assert set(old.result().output) == {"a"}
    assert set(new.result().output) == {"b"}


def test_refused_definition_leaves_no_row(db, unique):
    slug = unique("flow")
    flow = declare(slug, "a")
    flow.step(name="b", depends_on=["nowhere"], retry=Retry(max_attempts=0))(lambda: None)
    with pytest.raises(DefinitionError) as caught:
        flow.start()
    assert len(caught.value.problems) == 2
    assert not FlowDefinition.objects.filter(slug=slug).exists()
    assert not Run.objects.exists()


def test_overrides_replace_options_at_the_next_start(flow, db):
    calls = []

    @flow.step(retry=Retry(max_attempts=1))
    def fails():
        calls.append(1)
        raise ValueError

    flow.execute()
    assert len(calls) == 1
    FlowDefinition.objects.filter(slug=flow.slug).update(
        overrides={"fails": {"retry": {"max_attempts": 2, "base": 0.001}}}
    )
    result = flow.execute()
    assert len(calls) == 3
    assert result.run.version.number == 2
    FlowDefinition.objects.filter(slug=flow.slug).update(overrides={})
    assert flow.execute().run.version.number == 1


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ({"missing": {"queue": "x"}}, "override of step 'missing': there is no such step"),
        ({"only": {"colour": "red"}}, "unknown option 'colour'"),
        ({"only": {"timeout": -1}}, "timeout must be positive"),
    ],
)
def test_overrides_that_do_not_fit_refuse_the_start(flow, db, layers, problem):
    flow.step(name="only")(lambda: None)
    flow.start()
    FlowDefinition.objects.filter(slug=flow.slug).update(overrides=layers)
    with pytest.raises(DefinitionError) as caught:
        flow.start()
    assert problem in str(caught.value)
    assert Run.objects.count() == 1


def test_overrides_reach_a_running_process_within_a_second(workflow_queues, flow, monkeypatch):
    flow.step(name="only")(lambda: None)
    assert flow.start().run.version.number == 1
    FlowDefinition.objects.filter(slug=flow.slug).update(overrides={"only": {"timeout": 5}})
    monkeypatch.setattr(overrides, "FRESH", 0.0)
    assert flow.start().run.version.number == 2


def test_versions_are_published_for_all_declared_flows_after_migrating(transactional_db, flow):
    flow.step(name="only", queue="of_its_own")(lambda: None)
    stored_versions.publish_declared()
    assert versions(flow.slug) == [1]
    assert "of_its_own" in stored_versions.queue.existing()
    assert flow in registry.flows()
