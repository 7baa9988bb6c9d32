"""A loop on its page: its counters grow while somebody watches."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.run_page import RunPage
from tests.browser.site.workflows import counters, watch
from tests.browser.test_axe import faults

pytestmark = pytest.mark.browser


def test_a_loops_counter_grows_on_the_page(operator, place):
    place.worker()
    run_page = RunPage(operator).open(watch.start({}).id).live()
    page, probe = run_page.page, run_page.node("probe")
    back = page.locator(".edge-label", has_text="otherwise")

    def turn() -> None:
        run_page.expect_step("probe", "running")
        place.gates.open("look 1")
        expect(probe).to_contain_text("pass 2")
        place.gates.open("look 2")
        expect(probe.locator(".pill-passes")).to_have_text("×3")
        expect(back).to_contain_text("×2")
        place.gates.open("look 3")
        place.gates.open("look 4")
        run_page.expect_status("succeeded")
        expect(back).to_contain_text("×3")
        expect(page.get_by_role("row", name="probe")).to_contain_text(["report if result.is_ready (taken)"])

    operator.without_reload(turn)
    run_page.open(run_page.run_id, "?step=probe")
    page.get_by_role("table", name="Passes").get_by_role("link", name="2", exact=True).click()
    expect(page.locator("#task")).to_contain_text("pass 2 of 4")
    page.locator("#task").get_by_text("Variables when it began").click()
    expect(page.locator("#task .variables")).to_contain_text('"looks": 1')


def test_pages_of_loops_and_splits_have_no_fault(operator, place):
    place.worker()
    for number in range(1, 5):
        place.gates.open(f"look {number}")
    turned, split = watch.start({}), counters.start({})
    run_page = RunPage(operator).open(turned.id, "?step=probe").live()
    run_page.expect_status("succeeded")
    open_page = RunPage(operator).open(split.id).live()
    open_page.expect_step("hand_over", "waiting")
    paths = [f"/workflow/runs/{turned.id}/?step=probe", f"/workflow/runs/{split.id}/?step=hand_over"]
    assert faults(operator, paths) == {}
