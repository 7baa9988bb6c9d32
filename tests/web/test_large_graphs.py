"""Flows that are too large for a picture: their pages are quick and small, and say so."""

from __future__ import annotations

import time

import pytest
from django.urls import reverse

from django_workflow import When
from django_workflow.models import FlowVersion
from django_workflow.web.drawing.picture import MOST_WAYS
from tests.web.markup import read

#: Enough for more edges than a picture has; 150 are as quick to show, and take long to declare.
STEPS = 40


@pytest.fixture
def dense(flow):
    """Every step leads to every step, on a condition."""
    names = [f"step_{number}" for number in range(STEPS)]
    for name in names:
        ways = [When(f"result == {number}", to=to) for number, to in enumerate(names)]
        flow.step(name=name, next=ways, join=None)(lambda: STEPS)
    flow.options = type(flow.options)(entry=names[:1])
    return flow


def test_page_of_a_run_of_a_dense_graph_is_small_and_quick(dense, client_of, superuser, db):
    run = dense.execute()
    assert run.is_success
    client = client_of(superuser)
    url = f"/workflow/runs/{run.run_id}/"
    client.get(url)
    began = time.thread_time()
    response = client.get(url)
    took = time.thread_time() - began
    assert len(response.content) < 500_000
    assert took < 1.0, "seconds of this thread, whatever else the machine does"
    page = read(response.text)
    assert not page.all(css="node")
    assert "This graph has 40 steps and 1600 edges, too many for a picture. The table below has all steps." in page.text
    rows = page.one(css="steps-table").all("tr")
    assert len(rows) == STEPS + 1
    ways = rows[1].one(css="ways").all("li")
    assert (len(ways), ways[-1].text) == (MOST_WAYS + 1, f"and {STEPS - MOST_WAYS} more")


def test_admin_tells_that_there_is_no_picture(dense, client_of, superuser, db):
    dense.execute()
    version = FlowVersion.objects.get(flow__slug=dense.slug)
    client = client_of(superuser)
    for url in (
        reverse("admin:django_workflow_flowversion_change", args=[version.pk]),
        reverse("admin:django_workflow_flowdefinition_change", args=[version.flow_id]),
    ):
        response = client.get(url)
        assert response.status_code == 200
        assert "too many for a picture" in response.text
        assert len(response.content) < 500_000
