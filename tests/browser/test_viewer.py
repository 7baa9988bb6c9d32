"""Somebody who may only look."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from django_workflow.models import Run
from example_project.serve.users import OPERATOR, VIEWER
from tests.browser.run_page import RunPage
from tests.browser.site.workflows import chain, parcels
from tests.waiting import eventually

pytestmark = pytest.mark.browser

ACTIONS = ("Pause", "Resume", "Cancel", "Retry", "Retry failed", "Run all again", "Run again", "Run again from here",
           "Skip", "Mark done", "Start a run", "Start", "Dismiss")  # fmt: skip
#: Sends a form as the page would, from the page's own origin, with the token of its session.
POST = """
async ([url, token]) => {
    const body = new URLSearchParams({csrfmiddlewaretoken: token, confirm: "yes", reason: "forged"});
    const answer = await fetch(url, {method: "POST", body, headers: {"X-CSRFToken": token}});
    return [answer.status, await answer.text()];
}
"""
#: Opens a socket of its own, says something on it, and tells how that ended.
SEND = """
([path, text]) => new Promise((resolve) => {
    const got = [];
    const socket = new WebSocket(`ws://${location.host}/${path}`);
    socket.onopen = () => socket.send(text);
    socket.onmessage = (event) => got.push(JSON.parse(event.data).type);
    socket.onclose = (event) => resolve([got, event.code]);
})
"""


def token_of(visitor) -> str:
    """Return a CSRF token of a visitor's session, from a form that everybody gets."""
    page = visitor.visit("/login/")
    return page.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value")


def expect_no_actions(page) -> None:
    """See no button and no link that does something."""
    main = page.get_by_role("main")
    for label in ACTIONS:
        expect(main.get_by_role("link", name=label, exact=True)).to_have_count(0)
        expect(main.get_by_role("button", name=label, exact=True)).to_have_count(0)
    expect(main.locator("form[method=post]")).to_have_count(0)


def test_a_viewer_sees_runs_but_no_buttons_no_payloads_and_no_logs(viewer, operator, place):
    place.worker()
    running = chain.start({"secret": "of the customer"})
    failed = parcels.start({"count": 3})
    eventually(lambda: failed.status == "failed")
    for path in ("", "runs/", "queues/", "workers/"):
        viewer.visit(f"/workflow/{path}")
        expect_no_actions(viewer.page)
    for handle, query in ((running, ""), (running, "?step=first"), (failed, ""), (failed, "?step=deliver")):
        page = RunPage(viewer).open(handle.id, query).live().page
        expect_no_actions(page)
        assert "of the customer" not in page.content()
        assert "the road to" not in page.content()
        assert "delivered 0" not in page.content()
    # what is hidden from one is shown to the other
    RunPage(operator).open(failed.id, "?step=deliver")
    expect(operator.page.get_by_role("main")).to_contain_text("the road to 1 is closed")


def test_forged_posts_are_refused_for_want_of_the_permission(visit, place):
    place.worker()
    handle = chain.start({})
    viewer, operator = visit(VIEWER), visit(OPERATOR)
    viewer.allow("403")
    run = f"/workflow/runs/{handle.id}/actions"
    paths = [
        f"{run}/pause/", f"{run}/cancel/", f"{run}/skip_step/?step=first", f"{run}/complete_step/?step=first",
        f"{run}/retry/", f"/workflow/runs/actions/cancel/?ids={handle.id}", "/workflow/queues/default/actions/pause/",
        "/workflow/flows/chain/actions/pause/", "/workflow/flows/chain/start/",
    ]  # fmt: skip
    token = token_of(viewer)
    for path in paths:
        status, text = viewer.page.evaluate(POST, [path, token])
        assert (path, status) == (path, 403)
        assert "CSRF" not in text
    assert Run.objects.get(pk=handle.id).status == "running"
    assert Run.objects.count() == 1
    # the same form in the hands of one who may
    status, _ = operator.page.evaluate(POST, [paths[0], token_of(operator)])
    assert status == 200
    assert Run.objects.get(pk=handle.id).status == "paused"


@pytest.mark.parametrize("text", ['{"type": "pause"}', '{"type": "subscribe", "run": "*"}', "pause", "[]", "null"])
def test_a_forged_socket_message_is_refused_and_the_socket_closed(viewer, text):
    handle = chain.start({})
    viewer.visit("/workflow/")
    for path in ("ws/workflow/board/", f"ws/workflow/runs/{handle.id}/"):
        got, code = viewer.page.evaluate(SEND, [path, text])
        assert got[-1] == "refused"
        assert code == 4403
    assert handle.status == "running"


def test_a_socket_is_refused_to_strangers(visit):
    handle = chain.start({})
    stranger = visit()
    stranger.allow("WebSocket")
    stranger.visit("/login/")
    for path in ("ws/workflow/board/", f"ws/workflow/runs/{handle.id}/"):
        got, code = stranger.page.evaluate(SEND, [path, "{}"])
        assert set(got) <= {"refused"}
        assert code in {4403, 1006}
