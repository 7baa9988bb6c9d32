"""How pages are laid out: long words, paper, focus, and a page without its site."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from example_project.serve.users import OPERATOR
from tests.browser.axe import violations
from tests.browser.run_page import RunPage
from tests.browser.site.workflows import LONGEST, chain, lengthy
from tests.waiting import eventually

pytestmark = pytest.mark.browser

PRESSED = "header.bar, button, .button, input, select, .tabs, .pager, nav"
SEEN = "(found) => found.filter((item) => item.checkVisibility()).map((item) => item.outerHTML)"
IS_WIDE = "() => document.documentElement.scrollWidth > window.innerWidth"


@pytest.fixture
def long_run(place):
    """A failed run of which every word is as long as it may be."""
    place.worker()
    handle = lengthy.start(
        {"value": "v" * 500}, title="t" * 200, labels={"n" * 60: "w" * 150}, by="b" * 150, idempotency_key="k" * 150
    )
    eventually(lambda: handle.status == "failed")
    return handle


def pages_of(handle) -> list[str]:
    run = f"/workflow/runs/{handle.id}/"
    return [
        "/workflow/", "/workflow/runs/", f"/workflow/runs/?flow={LONGEST}", "/workflow/queues/", "/workflow/workers/",
        run, f"{run}?step=step_of_a_long_name_that_goes_on_and_on_and_on", f"{run}actions/retry/",
        f"/workflow/flows/{LONGEST}/start/", f"/workflow/flows/{LONGEST}/actions/pause/",
    ]  # fmt: skip


def test_the_longest_words_make_no_page_wider_than_the_window(operator, long_run):
    wide = {}
    for path in pages_of(long_run):
        page = operator.visit(path)
        for width in (390, 1024, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            wide[path, width] = page.evaluate(IS_WIDE)
    assert [place for place, is_wide in wide.items() if is_wide] == []


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_the_list_of_runs_fits_the_window_with_its_error_column(operator, long_run, width):
    page = operator.visit("/workflow/runs/")
    page.set_viewport_size({"width": width, "height": 900})
    place = page.get_by_role("region", name="Table of runs")
    assert place.evaluate("(item) => item.scrollWidth <= item.clientWidth")
    error = place.get_by_text("ErrorOfALongName").locator("visible=true")
    expect(error).to_have_count(1)
    assert error.evaluate("(item) => item.getBoundingClientRect().right <= window.innerWidth")


def test_pages_with_the_longest_words_have_no_fault(operator, long_run):
    operator.page.set_viewport_size({"width": 390, "height": 844})
    told = {}
    for path in pages_of(long_run):
        told[path] = violations(operator.visit(path))
    assert {path: found for path, found in told.items() if found} == {}


def test_long_message_shows_its_beginning_and_all_of_it_when_asked(operator, long_run):
    page = RunPage(operator).open(long_run.id).page
    notice = page.locator('[data-fragment="notices"]')
    expect(notice).to_contain_text("0: xxx")
    expect(notice.get_by_text("39: xxx")).to_be_hidden()
    notice.get_by_text("Show the whole message").click()
    expect(notice.get_by_text("39: xxx")).to_be_visible()
    expect(notice.locator(".error-message:visible")).to_have_count(1)


def test_printed_pages_have_neither_bars_nor_buttons_and_are_whole(operator, long_run):
    for path in pages_of(long_run)[:7]:
        page = operator.visit(path)
        page.set_viewport_size({"width": 720, "height": 1000})
        page.emulate_media(media="print", color_scheme="dark")
        assert page.locator(PRESSED).evaluate_all(SEEN) == [], path
        assert not page.evaluate(IS_WIDE), path
        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)", "paper is light"
        page.emulate_media(media="screen", color_scheme="light")


def test_focus_goes_to_the_panel_when_a_step_is_chosen(operator):
    run_page = RunPage(operator).open(chain.start({}).id).live()
    run_page.node("second").focus()
    operator.page.keyboard.press("Enter")
    operator.page.wait_for_url("**step=second**")
    expect(operator.page.locator("#task")).to_be_focused()
    operator.page.keyboard.press("Tab")
    assert operator.page.evaluate("() => document.querySelector('#task').contains(document.activeElement)")


def test_page_without_its_site_says_so_until_it_is_back(operator):
    operator.allow("ERR_INTERNET_DISCONNECTED|WebSocket")
    run_page = RunPage(operator).open(chain.start({}).id).live()
    notice = operator.page.get_by_text("There has been no news from the site since")
    expect(notice).to_be_hidden()

    def be_offline() -> None:
        operator.context.set_offline(True)
        operator.page.evaluate("() => window.__sockets.forEach((socket) => socket.close())")
        expect(notice).to_be_visible()
        operator.context.set_offline(False)
        expect(notice).to_be_hidden(timeout=40_000)
        run_page.live()

    operator.without_reload(be_offline)


def test_who_may_not_see_a_page_logs_out_and_in_as_somebody_else(visit, passwords):
    User.objects.create_user("stranger")
    visitor = visit("stranger")
    visitor.allow("403|404")
    page = visitor.visit("/workflow/runs/")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    assert violations(page) == {}
    page.get_by_role("button", name="Log in as somebody else").click()
    page.wait_for_url("**/login/?next=%2Fworkflow%2Fruns%2F")
    page.get_by_label("Username").fill(OPERATOR)
    page.get_by_label("Password").fill(passwords[OPERATOR])
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url("**/workflow/runs/")
    for path in ("/workflow/runs/no-such-id/", "/workflow/flows/nothing/start/"):
        visitor.visit(path)
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
        assert violations(page) == {}
    page.get_by_role("link", name="All runs").click()
    page.wait_for_url("**/workflow/runs/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login/")
