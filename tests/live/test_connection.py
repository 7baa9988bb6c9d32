"""A page that hears nothing any more says so where its reader looks."""

from __future__ import annotations

import pytest

from tests.live.stand import fragment

pytestmark = pytest.mark.browser


def test_page_without_socket_and_without_answers_says_since_when(stand):
    stand.open(fragment("head", "before"))
    assert stand.told() == ""
    stand.has_sockets, stand.is_away = False, True
    stand.sockets[-1].close()
    stand.until(lambda: stand.told().startswith("no news since "))
    said = stand.told()
    assert said != "no news since "
    stand.pass_time(20)
    assert stand.told() == said, "it is of the last news, however long ago"
    stand.problems.clear()  # the browser notes loads that fail
    stand.is_away, stand.content = False, fragment("head", "after")
    stand.until(lambda: stand.told() == "" and stand.page.text_content("[data-fragment=head]") == "after")
    stand.problems.clear()


def test_lost_socket_alone_is_no_silence_while_the_page_is_fetched(stand):
    stand.open(fragment("head", "before"))
    stand.has_sockets = False
    stand.sockets[-1].close()
    stand.until(lambda: stand.loads >= 2)
    assert (stand.badge(), stand.told()) == ("polling", "")


def test_one_load_that_fails_is_no_silence_while_there_is_a_socket(stand):
    stand.open(fragment("head", "before"))
    stand.answer = {"status": 503}
    stand.tell()
    stand.until(lambda: stand.badge() == "stale")
    assert stand.told() == ""
    stand.until(lambda: stand.told().startswith("no news since "))
    stand.answer = {"status": 200}
    stand.until(lambda: stand.told() == "")
    stand.problems.clear()


def test_clocks_stand_still_while_there_is_no_news(stand):
    stand.open(fragment("head", '<span class="duration" data-since="2026-01-01T00:00:00Z"></span>'))
    stand.has_sockets, stand.is_away = False, True
    stand.sockets[-1].close()
    stand.until(lambda: stand.told() != "")
    before = stand.page.text_content(".duration")
    stand.pass_time(5)
    assert stand.page.text_content(".duration") == before
    stand.problems.clear()


def test_network_that_comes_back_is_used_at_once(stand):
    stand.open(fragment("head", "before"))
    stand.has_sockets, stand.is_away = False, True
    stand.sockets[-1].close()
    stand.until(lambda: stand.told() != "")
    stand.pass_time(60)  # pauses between tries have grown
    stand.has_sockets, stand.is_away = True, False
    stand.page.evaluate("window.dispatchEvent(new Event('online'))")
    stand.until(lambda: stand.badge() == "live" and stand.told() == "", 4_000)
    stand.problems.clear()  # of the time without a network


def test_page_that_may_not_be_seen_any_more_says_so(stand):
    stand.open(fragment("head", "before"))
    stand.answer = {"status": 403}
    stand.tell()
    stand.until(lambda: stand.told() == "refused")
    stand.problems.clear()
    stand.answer = {"status": 200}
    stand.until(lambda: stand.told() == "", 60_000)


def test_focus_in_a_part_that_is_replaced_stays_on_the_part_itself(stand):
    panel = '<section data-fragment="task" id="task" tabindex="-1">{}</section>'
    stand.open(panel.format("running"))
    stand.page.focus("#task")
    stand.content = panel.format("succeeded")
    stand.tell()
    stand.until(lambda: stand.page.text_content("#task") == "succeeded")
    assert stand.page.evaluate("document.activeElement.id") == "task"
