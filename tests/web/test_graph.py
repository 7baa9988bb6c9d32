"""The picture of a run: states of its steps, taken transitions, and the same as a table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Retry, RetryAfter, pause, testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import StepRun
from django_workflow.web.drawing.signs import SIGNS
from django_workflow.worker.local import perform
from tests.web.markup import read
from tests.web.stories import ONCE, order_flow, rich_run


@pytest.fixture
def see(client_of, operator):
    def open_page(handle, query=""):
        return read(client_of(operator).get(f"/workflow/runs/{handle.id}/{query}").text)

    return open_page


def node(page, name):
    return page.one("a", css="node", data_node=name)


def state(page, name):
    return node(page, name).one(css="node-state").text


def taken(page):
    found = {}
    for edge in page.one(css="edges").all("path"):
        source, _, rest = edge.one("title").text.partition(" to ")
        found[source, rest.split(",")[0]] = "edge-taken" in edge.classes
    return found


def rows(page):
    table = page.one("section", data_fragment="steps").one("table")
    return {
        row.one("th").text.split()[0]: [cell.text for cell in row.all("td")] for row in table.one("tbody").all("tr")
    }


def test_nodes_follow_the_contract_of_the_script(make_flow, see, db):
    page = see(rich_run(make_flow))
    graph = page.one("div", data_graph="")
    svg = graph.one("svg", data_graph_svg="")
    assert svg.attributes["viewbox"].startswith("0 0 ")
    assert [button.attributes["data-zoom"] for button in graph.all("button")] == ["out", "in", "fit"]
    charge = node(page, "charge")
    assert {"node", "node-succeeded"} <= set(charge.classes)
    assert charge.attributes["href"] == "?step=charge#task"
    assert float(charge.attributes["data-x"]) > float(node(page, "reserve").attributes["data-x"])


def test_state_is_told_by_class_sign_and_word(make_flow, see, db):
    page = see(rich_run(make_flow))
    assert "node-skipped" in node(page, "restock").classes
    assert node(page, "restock").one(css="node-sign").one("path").attributes["d"] == SIGNS["skipped"]
    assert state(page, "restock").startswith("skipped")
    assert node(page, "restock").attributes["aria-label"] == "restock: skipped"


def test_taken_transitions_are_bold(make_flow, see, db):
    handle = order_flow(make_flow).start({"items": ["a"]})
    settle([perform(task) for task in claim.claim("default", 10, slots=10, lease=60.0)])
    assert taken(see(handle)) == {
        ("reserve", "charge"): True,
        ("reserve", "pack"): True,
        ("charge", "pack"): False,
        ("charge", "restock"): False,
        ("pack", "ship"): False,
        ("restock", "notify"): False,
        ("ship", "notify"): False,
        ("ship", "survey"): False,
    }


def test_a_step_that_failed_leads_nowhere(flow, see, db):
    @flow.step(retry=ONCE)
    def broken():
        raise ValueError

    flow.step(name="after")(lambda broken: 1)
    handle = flow.start()
    testing.run_until_idle()
    page = see(handle)
    assert taken(page) == {("broken", "after"): False}
    assert state(page, "broken").startswith("failed")
    assert state(page, "after") == "not reached"


def test_map_tells_how_far_it_is_failures_first(flow, see, db):
    @flow.map(count=100, max_parallel=40, tolerate=10, retry=ONCE)
    def each(index):
        if index in {3, 5}:
            raise ValueError
        return index

    handle = flow.start()
    settle([perform(task) for task in claim.claim("default", 37, slots=37, lease=60.0)])
    page = see(handle)
    assert state(page, "each") == "2 failed · 37/100"
    assert node(page, "each").one(css="node-failures-text").text == "2 failed"
    assert "37 of 100 tasks done; 2 failed" in node(page, "each").attributes["aria-label"]
    assert rows(page)["each"][1] == "2 failed, 37 of 100"
    done = float(node(page, "each").one("rect", css="node-done").attributes["width"])
    assert done / float(node(page, "each").one("rect", css="node-track").attributes["width"]) == pytest.approx(
        0.37, 0.01
    )


def test_conditions_are_labels(make_flow, see, db):
    page = see(rich_run(make_flow))
    assert node(page, "restock").one(css="node-condition").text == "if outputs.charge == None"


def test_running_step_shows_where_its_task_stands(flow, see, db):
    flow.step(name="queued")(lambda: 1)
    flow.step(name="later", retry=Retry(max_attempts=3))(lambda: RetryAfter(timedelta(hours=1)))
    handle = flow.start()
    assert "node-queued" in node(see(handle), "queued").classes
    claim.claim("default", 1, slots=1, lease=60.0)
    assert "node-running" in node(see(handle), "queued").classes
    pause(handle)
    assert "node-held" in node(see(handle), "later").classes


def test_long_titles_are_cut_and_told_in_full(flow, see, db):
    flow.step(name="n" * 120)(lambda: 1)
    page = see(flow.start())
    assert node(page, "n" * 120).one(css="node-title").text == "n" * 18 + "…"
    assert "n" * 120 in node(page, "n" * 120).one("title").text


def test_table_has_the_content_of_the_picture(make_flow, see, db):
    page = see(rich_run(make_flow))
    assert list(rows(page)) == ["reserve", "charge", "pack", "restock", "ship", "notify", "survey"]
    assert rows(page)["restock"][0] == "skipped"
    assert rows(page)["restock"][5] == "Its condition was not met."
    assert rows(page)["survey"][5] == "customers are asked on Mondays"


def test_chosen_step_is_marked_in_both(make_flow, see, db):
    page = see(rich_run(make_flow), "?step=ship")
    assert node(page, "ship").attributes["aria-current"] == "true"
    assert [a.text for a in page.one("table", css="steps-table").all("a", aria_current="true")] == ["ship"]


def large(flow, count=200):
    for number in range(count):
        before = sorted({f"s{max(0, number - 1 - (number * step) % 17)}" for step in (1, 7)}) if number else []
        flow.step(name=f"s{number}", depends_on=before)(lambda: 1)
    return flow.start()


def test_graph_of_200_steps_is_drawn_and_its_table_is_folded(flow, see):
    page = see(large(flow))
    assert len(page.all("a", css="node")) == 200
    assert "graph-large" in page.one("div", data_graph="").classes
    assert "open" not in page.one("section", data_fragment="steps").one("details").attributes


def test_large_picture_opens_where_something_happens(flow, see, db):
    handle = large(flow, 60)
    testing.run_until_idle(limit=1000)
    StepRun.objects.filter(run_id=handle.id, step="s40").update(status="succeeded")
    svg = see(handle).one("svg", data_graph_svg="")
    assert len(svg.attributes["data-start"].split()) == 2
