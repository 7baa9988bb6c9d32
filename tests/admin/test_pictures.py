"""The pages of flows and versions show the picture of the definition; those of step runs tell where they stand."""

from __future__ import annotations

import pytest
from django.urls import reverse

from django_workflow import permissions
from django_workflow.models import FlowDefinition, FlowVersion, StepRun
from tests.admin.conftest import user_with
from tests.web.loops import finished, split_flow, watch_flow
from tests.web.markup import read


def page_of(name, key):
    return reverse(f"admin:django_workflow_{name}_change", args=[key])


@pytest.fixture
def open_page(superuser, client_of):
    return lambda name, key: read(client_of(superuser).get(page_of(name, key)).text)


@pytest.mark.parametrize("kind", ["flowdefinition", "flowversion"])
def test_the_picture_of_a_definition_tells_conditions_loops_and_commands(kind, make_flow, open_page, db):
    version = FlowVersion.objects.get(flow__slug=finished(watch_flow(make_flow)).run.flow.slug)
    page = open_page(kind, version.flow_id if kind == "flowdefinition" else version.pk)
    svg = page.one("svg", css="graph-svg")
    assert [edge.one("title").text for edge in svg.one(css="edges").all("path")] == [
        "probe to report, if result.number >= 5",
        "probe to probe, otherwise",
    ]
    assert len(svg.all("path", css="edge-back")) == 1
    assert [mark.one("title").text for mark in svg.all("g", css="node-mark")] == [
        "fail: the run fails, if result.number < 0",
        "noop: the branch ends, on failed",
    ]
    assert not svg.all(css="edge-taken")
    assert not svg.all("a")


def test_joins_and_named_entries_are_marked(make_flow, open_page, db):
    run = finished(split_flow(make_flow)).run
    page = open_page("flowversion", run.version_id)
    ship = page.one("g", css="node", data_node="ship")
    assert [pill.text for pill in ship.all(css="pill")] == ["all"]
    assert "joins all of check, stock" in ship.attributes["aria-label"]


def test_a_flow_without_a_version_has_no_picture(flow, open_page, db):
    assert not open_page("flowdefinition", FlowDefinition.objects.create(slug="empty").pk).all("svg", css="graph-svg")


def test_a_step_run_tells_its_scope_and_its_source(make_flow, open_page, db):
    handle = finished(split_flow(make_flow))
    ship = StepRun.objects.filter(run_id=handle.id, step="ship", scope__gt=0).first()
    page = open_page("steprun", ship.pk)
    assert page.one("div", css="field-led_by").one("a").attributes["href"] == page_of("steprun", ship.source_id)
    live = [link.attributes["href"] for link in page.all("a") if link.text == "Live page"]
    assert live == [f"/workflow/runs/{handle.id}/?step=ship&activation={ship.pk}"]


def test_variables_of_a_step_run_need_the_permission_to_view_payloads(make_flow, client_of, superuser, db):
    handle = finished(split_flow(make_flow))
    take = StepRun.objects.filter(run_id=handle.id, step="take").first()
    viewer = user_with("looks", [permissions.VIEW])
    viewer.is_staff = True
    viewer.save()
    assert "channel" in client_of(superuser).get(page_of("steprun", take.pk)).text
    assert "channel" not in client_of(viewer).get(page_of("steprun", take.pk)).text
