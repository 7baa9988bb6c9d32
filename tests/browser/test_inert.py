"""What visitors and handlers write is text on every page, never code: by escaping alone, without the content policy."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from example_project.models import Order
from tests.browser.run_page import RunPage
from tests.browser.site.workflows import EVIL, MALICE, chain, evil
from tests.waiting import eventually

pytestmark = pytest.mark.browser

#: What only executed malice leaves behind: a mark, handlers in attributes, scripts and frames of foreign origin.
TRACES = """
() => ({
    mark: window.__pwned ?? null,
    handlers: [...document.querySelectorAll("*")].flatMap((item) =>
        [...item.attributes].filter(({name}) => name.startsWith("on")).map(({name}) => `${item.tagName} ${name}`)),
    scripts: [...document.scripts].map((item) => item.getAttribute("src"))
        .filter((src) => !src || !/^\\/(static|admin\\/jsi18n)\\//.test(src)),
    frames: document.querySelectorAll("iframe, object, embed").length,
    links: [...document.querySelectorAll("[href], [src], [action], [formaction]")]
        .flatMap((item) => ["href", "src", "action", "formaction"].map((name) => item.getAttribute(name)))
        .filter((value) => /^\\s*(javascript|data|vbscript):/i.test(value ?? "")),
})
"""
CLEAN = {"mark": None, "handlers": [], "scripts": [], "frames": 0, "links": []}


@pytest.fixture
def superuser(workflow_queues) -> User:
    return User.objects.create_superuser("root", password="root")


def assert_inert(visitor, path: str = "") -> None:
    """Open a page, touch what is in it, and find no trace."""
    page = visitor.visit(path) if path else visitor.page
    assert page.evaluate(TRACES) == CLEAN, page.url
    page.keyboard.press("Tab")
    page.mouse.move(300, 300)
    page.mouse.move(600, 500)
    assert page.evaluate("() => window.__pwned ?? null") is None, page.url


def test_a_malicious_payload_is_inert_on_every_page(visit, superuser, place):
    visitor = visit("root", bypass_csp=True)
    handle = evil.start({"items": [EVIL, {EVIL: EVIL}]}, title=EVIL, labels={"customer": EVIL[:200]}, by=EVIL)
    paused = chain.start({"value": EVIL}, title=EVIL, labels={"customer": EVIL[:200]})
    paused.pause(reason=EVIL, by=EVIL)
    cancelled = chain.start({"value": EVIL})
    cancelled.cancel(reason=EVIL, by=EVIL)
    Order.objects.create(customer=MALICE[1], email="e@example.com", card=MALICE[0][:40])

    # what comes in while the page is open is put into it by the script
    run_page = RunPage(visitor).open(handle.id).live()
    place.worker()
    run_page.expect_status("failed")
    eventually(lambda: handle.status == "failed")
    assert_inert(visitor)

    run = f"/workflow/runs/{handle.id}/"
    for path in (
        "/workflow/", "/workflow/runs/", "/workflow/queues/", "/workflow/workers/",
        f"/workflow/runs/?q={EVIL}", f"/workflow/runs/?label={EVIL}",
        run, f"{run}?step=echo", f"{run}?step=say_each", f"{run}?step={EVIL}", f"{run}?events={EVIL}",
        f"{run}actions/retry/?mode=all", f"{run}actions/retry/?from_step=echo",
        f"/workflow/runs/{paused.id}/", f"/workflow/runs/{cancelled.id}/", f"/workflow/runs/{paused.id}/?step=first",
        f"/workflow/runs/{paused.id}/actions/cancel/?next={EVIL}",
        f"/workflow/runs/{paused.id}/actions/skip_step/?step=first",
        f"/workflow/runs/{paused.id}/actions/complete_step/?step=first",
        "/workflow/flows/evil/start/", "/workflow/flows/evil/actions/pause/", f"/login/?next={EVIL}",
    ):  # fmt: skip
        assert_inert(visitor, path)
    # it was there, as text
    visitor.visit(f"{run}?step=echo")
    assert "<script>window.__pwned = 'script'</script>" in visitor.page.inner_text("main")


def test_a_malicious_payload_is_inert_in_the_admin(visit, superuser, place):
    visitor = visit("root", bypass_csp=True)
    place.worker()
    handle = evil.start({"items": [EVIL]}, title=EVIL, labels={"customer": EVIL[:200]}, by=EVIL)
    eventually(lambda: handle.status == "failed")
    visitor.visit("/admin/")
    lists = [path for path in visitor.addresses('a[href^="/admin/django_workflow/"]') if not path.endswith("/add/")]
    assert len(lists) >= 6, lists
    for path in lists:
        assert_inert(visitor, path)
        details = visitor.addresses("#result_list tbody a[href*='/change/']")[:2]
        for detail in details:
            assert_inert(visitor, detail)
