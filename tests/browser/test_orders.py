"""An order, from the button that starts it to its end, looked at and acted on in a browser."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from django_workflow.models import Event, FlowDefinition, Run, Task
from django_workflow.statuses import PAUSED, RUNNING, SUCCEEDED
from example_project.models import Order
from example_project.orders.catalogue import stock_up
from example_project.orders.flow import create_order
from example_project.orders.gateway import busy_attempts
from example_project.serve.users import OPERATOR
from tests.browser.run_page import RunPage
from tests.browser.site.workflows import parcels
from tests.waiting import eventually

pytestmark = pytest.mark.browser

ITEMS = {"tea-green": 2, "cup-stone": 3, "scale": 1}
#: What the page did to its elements, by the class that a node of the graph has now.
OBSERVE = """
() => {
    window.__seen = [];
    const note = () => {
        for (const node of document.querySelectorAll("[data-node]")) {
            const line = `${node.dataset.node} ${node.getAttribute("class")}`;
            if (!window.__seen.includes(line)) window.__seen.push(line);
        }
    };
    new MutationObserver(note).observe(document.body, {subtree: true, childList: true, attributes: true});
    note();
}
"""


@pytest.fixture
def order(workflow_queues) -> Order:
    stock_up()
    while True:  # one whose payment is quick
        made = create_order("Ada Lovelace", "ada@example.com", "card_4242", ITEMS)
        if busy_attempts(f"order-{made.pk}") == 0:
            return made


@pytest.fixture
def quick(place) -> None:
    """Nothing outside makes anybody wait."""
    place.gates.open("outside")


def start_orders(operator, order) -> RunPage:
    """Start the run from the board, as people do."""
    # the worker publishes it again: a test's database begins without what `migrate` has published
    eventually(FlowDefinition.objects.filter(slug="orders").exists)
    page = operator.visit("/workflow/")
    for more in page.locator("details[data-key=more-flows] summary").all():
        more.click()
    page.get_by_role("link", name="Start a run: orders").click()
    page.get_by_label("Input").fill(json.dumps({"order": order.pk}))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(re.compile(r"/workflow/runs/[0-9a-f-]{36}/"))
    return RunPage(operator)


def tasks(run_id, step: str, **filters) -> int:
    return Task.objects.filter(step_run__run_id=run_id, step_run__step=step, **filters).count()


def test_the_graph_turns_without_a_reload_and_pausing_lets_finish_what_runs_and_starts_nothing(
    visit, passwords, place, order
):
    place.worker()
    operator = visit()
    operator.log_in("operator", passwords["operator"])
    expect(operator.page).to_have_url(re.compile("/workflow/$"))
    run_page = start_orders(operator, order).live()
    run_id = run_page.run_id
    page = operator.page
    page.evaluate(OBSERVE)

    operator.without_reload(lambda: run_page.expect_step("charge", "running"))
    run_page.expect_step("reserve", "succeeded")

    run_page.act("Pause", reason="the bank is asleep")
    run_page.live().expect_status("paused")
    expect(page.get_by_role("main")).to_contain_text("the bank is asleep")
    assert tasks(run_id, "charge", status=RUNNING) == 1  # what runs goes on
    page.evaluate(OBSERVE)

    def finishes() -> None:
        place.gates.open("outside")
        run_page.expect_step("charge", "succeeded")

    operator.without_reload(finishes)
    # it was settled after the pause, and all that it activated is held
    eventually(lambda: tasks(run_id, "charge", status=SUCCEEDED) == 1)
    run = Run.objects.get(pk=run_id)
    assert run.status == PAUSED
    assert not Task.objects.filter(step_run__run_id=run_id, status=RUNNING).exists()
    assert tasks(run_id, "pack") == tasks(run_id, "pack", status="held")
    assert Event.objects.filter(run_id=run_id, step="pack", type__contains="began").count() == 0
    run_page.expect_status("paused")

    place.gates.close("outside")
    run_page.act("Resume")
    run_page.live().expect_step("pack", "running")
    page.evaluate(OBSERVE)
    place.gates.open("outside")
    operator.without_reload(lambda: run_page.expect_status("succeeded"))
    for step in ("reserve", "charge", "pack", "ship", "notify"):
        run_page.expect_step(step, "succeeded")
    run_page.expect_step("restock", "skipped")
    seen = page.evaluate("() => window.__seen")
    assert any(line.startswith("pack ") and "node-running" in line for line in seen), seen
    assert any(line.startswith("notify ") and "node-succeeded" in line for line in seen), seen
    order.refresh_from_db()
    assert order.status == Order.Status.SHIPPED


def test_a_log_is_read_while_its_task_writes_it(operator, place, order):
    place.gates.open("outside")
    place.worker()
    run_page = start_orders(operator, order).live()
    run_page.expect_status("succeeded")
    place.gates.close("outside")
    run_page.open(run_page.run_id, "?step=pack")
    operator.page.get_by_role("link", name="Run again from here").click()
    run_page.confirm("Run again from pack")
    run_page.live().expect_step("pack", "running")
    run_page.node("pack").click()
    operator.page.get_by_role("main").get_by_role("table", name="Items").get_by_role("link", name="0").click()
    log = operator.page.get_by_role("region", name="Lines logged by pack")
    expect(log).to_contain_text("taking 2 × tea-green from the shelf")
    expect(log).not_to_contain_text("packed tea-green")

    def packs() -> None:
        place.gates.open("outside")
        expect(log).to_contain_text("packed tea-green, 240 g")

    operator.without_reload(packs)


def test_cancelling_ends_the_run_on_the_page(operator, place, order):
    place.worker()
    run_page = start_orders(operator, order).live()
    run_page.expect_step("charge", "running")
    run_page.act("Cancel", reason="ordered twice")
    run_page.expect_status("cancelled")
    run_page.expect_step("charge", "cancelled")
    expect(operator.page.get_by_role("main")).to_contain_text("ordered twice")
    expect(operator.page.get_by_role("link", name="Cancel", exact=True)).to_have_count(0)


def test_rerunning_from_a_step_shows_before_what_it_reuses_and_what_it_executes(operator, place, quick, order):
    place.worker()
    run_page = start_orders(operator, order)
    run_page.expect_status("succeeded")
    first = run_page.run_id
    run_page.open(first, "?step=pack")
    operator.page.get_by_role("link", name="Run again from here").click()
    preview = operator.page.get_by_role("table")
    for step, fate in {
        "reserve": "reused", "charge": "reused", "pack": "runs", "ship": "runs", "notify": "runs",
    }.items():  # fmt: skip
        expect(
            preview.get_by_role("row").filter(has=operator.page.get_by_role("rowheader", name=step))
        ).to_contain_text(fate)
    run_page.confirm("Run again from pack", "the parcel was lost")
    operator.page.wait_for_url(lambda url: str(first) not in url)
    run_page.expect_status("succeeded")
    second = run_page.run_id
    assert tasks(second, "pack", status=SUCCEEDED, origin="") == len(ITEMS)
    assert tasks(second, "reserve", origin="carried") == tasks(second, "charge", origin="carried") == 1
    expect(operator.page.locator(f'a[href*="{first}"]').first).to_be_visible()


def test_retrying_what_failed_executes_only_the_failed_items_of_a_map(operator, place):
    place.worker()
    first = parcels.start({"count": 9})
    run_page = RunPage(operator).open(first.id).live()
    run_page.expect_step("deliver", "failed")
    run_page.expect_status("failed")
    done = set(
        Task.objects.filter(step_run__run_id=first.id, step_run__step="deliver", status=SUCCEEDED).values_list(
            "index", flat=True
        )
    )
    expect(run_page.node("deliver")).to_contain_text("failed")

    place.gates.open("road")
    operator.page.get_by_role("link", name="Retry failed").click()
    row = operator.page.get_by_role("table").get_by_role("row").filter(has_text="deliver")
    expect(row).to_contain_text("what did not succeed runs again")
    run_page.confirm("Retry failed", "the road is open")
    operator.page.wait_for_url(lambda url: str(first.id) not in url)
    run_page.expect_status("succeeded")
    again = Task.objects.filter(step_run__run_id=run_page.run_id, step_run__step="deliver")
    assert set(again.filter(origin="carried").values_list("index", flat=True)) == done
    assert set(again.filter(origin="", status=SUCCEEDED).values_list("index", flat=True)) == set(range(9)) - done
    assert tasks(run_page.run_id, "collect", origin="carried") == 1
    expect(operator.page.get_by_role("main")).to_contain_text("carried over")


def test_everything_works_by_reloading_where_scripts_are_switched_off(visit, place, order):
    place.worker()
    operator = visit(OPERATOR, java_script_enabled=False)
    run_page = start_orders(operator, order)
    run_id = run_page.run_id
    eventually(lambda: tasks(run_id, "charge", status=RUNNING) == 1)
    run_page.open(run_id).expect_step("charge", "running")
    run_page.act("Pause", reason="no hurry")
    run_page.expect_status("paused")
    place.gates.open("outside")
    run_page.act("Resume")
    eventually(lambda: Run.objects.get(pk=run_id).status == SUCCEEDED)
    run_page.open(run_id).expect_status("succeeded")
    run_page.node("pack").click()
    operator.page.get_by_role("table", name="Items").get_by_role("link", name="0").click()
    expect(operator.page.get_by_role("region", name="Lines logged by pack")).to_contain_text("packed tea-green")
