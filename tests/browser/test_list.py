"""The list of runs holds still while somebody works with it, and its bar offers what fits."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from example_project.serve.users import OPERATOR
from tests.browser.site.workflows import chain
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser


def open_list(visitor: Visitor) -> Page:
    page = visitor.visit("/workflow/runs/")
    expect(page.locator("[data-badge]")).to_have_text("live")
    return page


def rows(page: Page) -> Locator:
    return page.locator("tr[data-row]")


def tick(page: Page, run_id: object) -> Locator:
    box = page.locator(f'input[name=ids][value="{run_id}"]')
    box.check()
    return box


def test_ticked_runs_hold_the_list_until_it_is_asked_for(operator):
    old = chain.start({})
    page = open_list(operator)
    box = tick(page, old.id)
    chain.start_many([{}, {}])
    show = page.get_by_role("button", name="2 newer · show")
    expect(show).to_be_visible()
    expect(rows(page)).to_have_count(1)
    show.click()
    expect(rows(page)).to_have_count(3)
    expect(box).to_be_checked()
    expect(page.locator("input[name=ids]:checked")).to_have_count(1)
    expect(page.get_by_text("1 selected")).to_be_visible()
    operator.without_reload(lambda: expect(show).to_be_hidden())


def test_rows_do_not_move_under_the_pointer_and_come_when_it_leaves(operator):
    chain.start({})
    page = open_list(operator)
    row = rows(page).first
    row.hover()
    before = row.bounding_box()
    chain.start({})
    expect(page.get_by_role("button", name="1 newer · show")).to_be_visible()
    assert row.bounding_box() == before
    page.mouse.move(2, 2)
    expect(rows(page)).to_have_count(2)


def test_a_focused_link_holds_the_list(operator):
    handle = chain.start({})
    page = open_list(operator)
    rows(page).get_by_role("link").first.focus()
    handle.pause()
    expect(page.get_by_role("button", name="Changed · show")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.locator("#id_q").focus()
    expect(rows(page).first).to_contain_text("paused")


def test_the_bar_counts_and_offers_only_what_fits(operator):
    running, cancelled = chain.start_many([{}, {}])
    cancelled.cancel()
    page = open_list(operator)
    bar = page.get_by_role("group", name="The selected runs")
    tick(page, running.id)
    expect(bar).to_contain_text("1 selected")
    expect(bar.get_by_role("button")).to_have_text(["Pause 1", "Cancel 1"])
    tick(page, cancelled.id)
    expect(bar).to_contain_text("2 selected")
    expect(bar.get_by_role("button")).to_have_text(["Pause 1", "Retry 1", "Cancel 1"])
    bar.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("main")).to_contain_text("1 of 2 will be cancelled; 1 already cancelled.")


def test_without_scripts_the_bar_offers_everything_and_acts(visit):
    handle = chain.start({})
    page = visit(OPERATOR, java_script_enabled=False).visit("/workflow/runs/")
    tick(page, handle.id)
    expect(page.get_by_role("group", name="The selected runs").get_by_role("button")).to_have_count(4)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel 1 run").click()
    expect(rows(page).first).to_contain_text("cancelled")
