"""The script of live pages in a real browser: what it replaces, what it leaves alone, and how often it loads."""

import pytest

from tests.live.stand import ADDRESS, fragment

pytestmark = pytest.mark.browser

NODE = (
    '<a class="node" data-node="{0}" data-x="{1}" data-y="{2}" href="?step={0}">'
    '<rect x="{1}" y="{2}" width="80" height="30"/></a>'
)
NODES = "".join(NODE.format(*place) for place in [("a", 10, 10), ("b", 210, 10), ("c", 210, 110), ("d", 410, 10)])
GRAPH = (
    '<div data-graph><svg data-graph-svg viewBox="0 0 500 200" width="500" height="200">'
    + NODES
    + '</svg><button type="button" data-zoom="in">in</button><button type="button" data-zoom="out">out</button>'
    '<button type="button" data-zoom="fit">fit</button></div>'
)


def text(stand, name):
    return stand.page.text_content(f"[data-fragment={name}]")


def test_only_what_differs_is_replaced(stand):
    stand.open(fragment("head", "running") + fragment("rest", "the same"))
    stand.page.evaluate("document.querySelectorAll('section').forEach((section) => { section.isOld = true; })")
    stand.title, stand.content = "Board, all done", fragment("head", "succeeded") + fragment("rest", "the same")
    stand.tell()
    stand.until(lambda: text(stand, "head") == "succeeded")
    assert stand.page.evaluate("[...document.querySelectorAll('section')].map((section) => !!section.isOld)") == [
        False,
        True,
    ]
    assert stand.page.title() == "Board, all done"
    assert stand.badge() == "live"


def test_ticking_clocks_and_tokens_of_forms_are_no_difference(stand):
    row = (
        '<span class="duration" data-since="2026-01-01T00:00:00Z">{0} s</span>'
        '<input type="hidden" name="csrfmiddlewaretoken" value="{0}">'
    )
    stand.open(fragment("head", row.format(1)))
    stand.page.evaluate("document.querySelector('section').isOld = true")
    stand.content = fragment("head", row.format(2))
    stand.tell()
    stand.until(lambda: stand.loads == 1)
    stand.pass_time(1)
    assert stand.page.evaluate("document.querySelector('section').isOld") is True


def test_durations_tick(stand):
    stand.live = ""
    stand.page.clock.set_system_time("2026-01-01T00:01:05Z")
    stand.open('<span class="duration" data-since="2026-01-01T00:00:00Z">65 s</span>')
    assert stand.page.text_content(".duration").startswith("1 min 0")
    before = stand.page.text_content(".duration")
    stand.until(lambda: stand.page.text_content(".duration") != before)


def test_many_changes_cost_few_loads_and_the_last_one_is_seen(stand):
    stand.open(fragment("head", "0"))
    stand.pass_time(10)
    stand.loads = 0
    for number in range(100):
        stand.content = fragment("head", str(number))
        stand.tell()
        stand.page.clock.run_for(20)
    assert stand.loads <= 4
    stand.until(lambda: text(stand, "head") == "99")
    assert stand.loads <= 5


def test_crowd_loads_seldom(stand):
    """Where many pages are open the server tells each how often it may load."""
    stand.open(fragment("head", "0"))
    stand.tell(pause=10)
    stand.pass_time(15)
    stand.loads = 0
    for number in range(80):
        stand.content = fragment("head", str(number))
        stand.tell(pause=10)
        stand.page.clock.run_for(250)
    assert 2 <= stand.loads <= 3
    stand.until(lambda: text(stand, "head") == "79")


def test_without_sockets_the_page_polls(stand):
    stand.has_sockets = False
    stand.open(fragment("head", "before"))
    stand.until(lambda: stand.badge() == "polling")
    stand.content = fragment("head", "after")
    stand.until(lambda: text(stand, "head") == "after", 8_000)
    stand.loads = 0
    stand.pass_time(60)
    assert 9 <= stand.loads <= 13
    stand.has_sockets = True  # the server was restarted with them
    stand.until(lambda: stand.badge() == "live", 200_000)


def test_socket_that_is_lost_comes_back_and_the_page_catches_up(stand):
    stand.open(fragment("head", "before"))
    stand.has_sockets = False
    stand.sockets[-1].close()
    stand.until(lambda: stand.badge() == "polling")
    stand.has_sockets = True
    stand.content = fragment("head", "after")
    stand.until(lambda: stand.badge() == "live" and text(stand, "head") == "after")


def test_database_that_is_away_makes_the_page_stale_until_resync(stand):
    stand.open(fragment("head", "before"))
    stand.tell("stale")
    stand.until(lambda: stand.badge() == "stale")
    stand.content = fragment("head", "after")
    stand.tell("resync")
    stand.until(lambda: stand.badge() == "live" and text(stand, "head") == "after")


def test_what_was_counted_a_while_ago_is_looked_at_once_more(stand):
    stand.open(fragment("head", "8 run"))
    stand.answer = {"status": 200, "headers": {"Retry-After": "9"}}
    stand.tell()
    stand.until(lambda: stand.loads == 1)
    stand.answer, stand.content = {"status": 200}, fragment("head", "nothing runs")
    stand.pass_time(8)
    assert stand.loads == 1
    stand.until(lambda: text(stand, "head") == "nothing runs")
    stand.pass_time(20)
    assert stand.loads == 2


def test_silence_is_asked_about_and_no_answer_means_another_socket(stand):
    stand.open(fragment("head", '<span data-since="2026-01-01T00:00:00Z"></span>'))
    stand.until(lambda: {"type": "resync"} in stand.said, 12_000)
    stand.tell("resync")
    stand.until(lambda: stand.loads == 1)
    stand.said.clear()
    stand.until(lambda: stand.said, 12_000)
    stand.until(lambda: len(stand.sockets) == 2, 12_000)
    stand.until(lambda: stand.badge() == "live")


@pytest.mark.parametrize(
    "answer", [{"status": 302, "headers": {"Location": "/login/"}}, {"status": 403}, {"status": 404}]
)
def test_page_that_may_not_be_seen_any_more_is_stale_and_stays_as_it_is(stand, answer):
    stand.open(fragment("head", "before"))
    stand.answer = answer
    stand.tell()
    stand.until(lambda: stand.badge() == "stale")
    assert text(stand, "head") == "before"
    stand.problems.clear()  # the browser notes answers of 403 and 404
    stand.answer = {"status": 200}
    stand.content = fragment("head", "after")
    stand.until(lambda: stand.badge() == "live" and text(stand, "head") == "after", 60_000)
    stand.problems.clear()


def test_refused_socket_asks_the_page_itself(stand):
    stand.open(fragment("head", "before"))
    stand.answer = {"status": 403}
    stand.tell("refused")
    stand.sockets[-1].close(code=4403)
    stand.until(lambda: stand.badge() == "stale")
    stand.problems.clear()


def test_server_error_is_stale_and_over_when_it_is_over(stand):
    stand.open(fragment("head", "before"))
    stand.answer = {"status": 500}
    stand.tell()
    stand.until(lambda: stand.badge() == "stale")
    stand.problems.clear()
    stand.answer = {"status": 200}
    stand.until(lambda: stand.badge() == "live")


def test_hidden_tabs_stop_and_catch_up(stand):
    stand.open(fragment("head", "before"))
    stand.hide()
    stand.tell()
    stand.pass_time(60)
    assert stand.loads == 0
    assert len(stand.sockets) == 1
    stand.content = fragment("head", "after")
    stand.hide(hidden=False)
    stand.until(lambda: text(stand, "head") == "after" and stand.badge() == "live")
    assert len(stand.sockets) == 2


FORM = (
    '<form id="find"><input name="q" value="{0}"><input type="checkbox" name="run" value="1">'
    '<textarea name="why"></textarea></form>'
)


def test_fragment_in_which_somebody_types_is_left_alone(stand):
    stand.open(fragment("form", FORM.format("")) + fragment("head", "before"))
    stand.page.fill("[name=q]", "failed")
    stand.page.focus("[name=q]")
    stand.content = fragment("form", FORM.format("new")) + fragment("head", "after")
    stand.tell()
    stand.until(lambda: text(stand, "head") == "after")
    assert stand.page.input_value("[name=q]") == "failed"
    assert stand.page.evaluate("document.activeElement.name") == "q"


def test_what_was_typed_ticked_and_opened_is_kept(stand):
    details = "<details><summary>more</summary><p>{0}</p></details>"
    rows = "".join(f"<p>row {number}</p>" for number in range(50))
    tall = f'<div class="scroll" id="tall">{rows}</div>'
    stand.open(fragment("all", FORM.format("") + details.format("before") + tall))
    stand.page.evaluate("Object.assign(document.querySelector('#tall').style, {height: '100px', overflow: 'auto'})")
    stand.page.fill("[name=why]", "because")
    stand.page.check("[name=run]")
    stand.page.click("summary")
    stand.content = fragment("all", FORM.format("") + details.format("after") + tall)
    stand.tell()
    stand.until(lambda: "after" in text(stand, "all"))
    assert stand.page.input_value("[name=why]") == "because"
    assert stand.page.is_checked("[name=run]")
    assert stand.page.evaluate("document.querySelector('details').open") is True
    assert stand.page.evaluate("document.activeElement.localName") == "summary"


@pytest.mark.parametrize("name", ["", ' data-key="input"'], ids=["without a name", "with a name"])
def test_what_is_opened_and_focused_stays_so_when_another_one_comes_before_it(stand, name):
    attempt = '<details id="attempt-{0}"><summary>#{0}</summary></details>'
    more = f"<details{name}><summary>the input</summary>12</details>"
    stand.open(fragment("all", attempt.format(1) + more))
    stand.page.click("text=the input")
    stand.content = fragment("all", attempt.format(2) + attempt.format(1) + more)
    stand.tell()
    stand.until(lambda: "#2" in text(stand, "all"))
    opened = "[...document.querySelectorAll('details[open]')].map((details) => details.textContent)"
    assert stand.page.evaluate(opened) == ["the input12"]
    if name:
        assert stand.page.evaluate("document.activeElement.textContent") == "the input"


def test_kept_fragments_are_left_alone(stand):
    stand.open(fragment("kept", "<p data-keep>before</p>") + fragment("head", "before"))
    stand.content = fragment("kept", "<p data-keep>after</p>") + fragment("head", "after")
    stand.tell()
    stand.until(lambda: text(stand, "head") == "after")
    assert text(stand, "kept") == "before"


def view_of(stand):
    return [float(number) for number in stand.page.get_attribute("[data-graph-svg]", "viewBox").split()]


def focused(stand):
    return stand.page.evaluate("document.activeElement.dataset.node")


def test_arrow_keys_walk_the_graph(stand):
    stand.open(fragment("graph", GRAPH))
    stand.page.focus("[data-node=a]")
    for key, node in [
        ("ArrowRight", "b"),
        ("ArrowDown", "c"),
        ("ArrowDown", "c"),
        ("ArrowUp", "b"),
        ("ArrowRight", "d"),
    ]:
        stand.page.keyboard.press(key)
        assert focused(stand) == node


def test_graph_is_zoomed_moved_and_fitted(stand):
    stand.open(fragment("graph", GRAPH))
    stand.page.click("[data-zoom=in]")
    assert view_of(stand) == [50, 20, 400, 160]
    stand.page.click("[data-zoom=fit]")
    assert view_of(stand) == [0, 0, 500, 200]
    box = stand.page.locator("[data-graph-svg]").bounding_box()
    stand.page.mouse.move(box["x"] + 250, box["y"] + 180)
    stand.page.mouse.down()
    stand.page.mouse.move(box["x"] + 200, box["y"] + 170)
    stand.page.mouse.up()
    assert view_of(stand)[:2] == pytest.approx([50, 10], abs=1)
    stand.page.mouse.wheel(0, -100)
    stand.pass_time(0.5)
    assert view_of(stand)[2] == 500, "the page is scrolled past a graph"
    stand.page.keyboard.down("Control")
    stand.page.mouse.wheel(0, -100)
    stand.page.keyboard.up("Control")
    stand.until(lambda: view_of(stand)[2] == 400)
    stand.page.focus("[data-node=a]")
    stand.page.keyboard.press("0")
    assert view_of(stand) == [0, 0, 500, 200]


def test_zoom_and_focus_survive_a_change(stand):
    stand.open(fragment("graph", GRAPH))
    stand.page.click("[data-zoom=in]")
    stand.page.focus("[data-node=b]")
    stand.content = fragment("graph", GRAPH.replace("node", "node node-running", 1))
    stand.tell()
    stand.until(lambda: stand.page.query_selector(".node-running") is not None)
    assert view_of(stand) == [50, 20, 400, 160]
    assert focused(stand) == "b"
    stand.page.click("[data-zoom=fit]")
    assert view_of(stand) == [0, 0, 500, 200]


def test_node_outside_the_view_is_brought_into_it(stand):
    stand.open(fragment("graph", GRAPH))
    for _ in range(8):
        stand.page.click("[data-zoom=in]")
    stand.page.focus("[data-node=b]")
    stand.page.keyboard.press("ArrowRight")
    x, y, width, height = view_of(stand)
    assert focused(stand) == "d"
    assert x < 410 < x + width
    assert y < 10 < y + height


LARGE = GRAPH.replace('viewBox="0 0 500 200" width="500" height="200"', 'viewBox="0 0 4000 2000" {0}height="300"')


def test_large_graph_begins_readable_where_something_happens(stand):
    stand.open(fragment("graph", LARGE.format('data-start="3950 1000" width="600" ')))
    assert view_of(stand) == [3400, 850, 600, 300]
    stand.content = fragment("graph", LARGE.format('data-start="100 100" width="600" '))
    stand.tell()
    stand.until(lambda: stand.page.get_attribute("[data-graph-svg]", "data-start") == "100 100")
    assert view_of(stand) == [3400, 850, 600, 300], "it does not jump while somebody looks"
    stand.page.click("[data-zoom=fit]")
    stand.content = fragment("graph", LARGE.format('data-start="200 100" width="600" '))
    stand.tell()
    stand.until(lambda: stand.page.get_attribute("[data-graph-svg]", "data-start") == "200 100")
    assert view_of(stand) == [0, 0, 4000, 2000]


def test_graph_that_fits_is_shown_whole(stand):
    stand.open(fragment("graph", GRAPH.replace("<svg ", '<svg data-start="100 100" ')))
    assert view_of(stand) == [0, 0, 500, 200]


def test_text_is_copied_where_the_clipboard_is_not_to_be_had(stand):
    """The address is no secure context: the old way is taken."""
    stand.open(
        '<pre id="markdown">**all** that happened</pre>'
        '<button type="button" data-copy="#markdown" hidden>Copy</button><textarea id="into"></textarea>'
    )
    stand.page.click("[data-copy]")
    stand.until(lambda: stand.page.text_content("[data-copy]") == "Copied")
    stand.page.focus("#into")
    stand.page.keyboard.press("Control+V")
    assert stand.page.input_value("#into") == "**all** that happened"
    stand.until(lambda: stand.page.text_content("[data-copy]") == "Copy")


def test_page_without_any_part_has_no_complaint(stand):
    stand.live = ""
    stand.open("<p>nothing here</p>")
    stand.pass_time(12)
    assert stand.loads == 0
    assert stand.sockets == []
    assert ADDRESS in stand.page.url
