"""Nothing keeps people out: axe finds no fault, light and wide, dark and narrow."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from example_project.orders.catalogue import stock_up
from example_project.orders.flow import place_order
from example_project.serve.users import OPERATOR
from tests.browser.axe import violations
from tests.browser.site.workflows import chain, numbers, parcels
from tests.waiting import eventually

pytestmark = pytest.mark.browser

#: Colour scheme and width: what is laid out does not depend on the colours, nor they on it.
LOOKS = (("light", 1280), ("dark", 390))


SMALL = """
() => ["one", "two"].forEach((name) => {
    const button = document.createElement("button");
    Object.assign(button.style, {width: "12px", height: "12px", padding: 0, minHeight: 0});
    button.ariaLabel = name;
    document.querySelector("main").append(button);
})
"""


@pytest.fixture
def superuser(workflow_queues) -> User:
    return User.objects.create_superuser("root", password="root")


@pytest.fixture
def rich(place) -> dict[str, str]:
    """Runs in every state, and the addresses of their pages."""
    stock_up()
    place.worker()
    place.gates.open("outside")
    shipped = place_order("Ada Lovelace", "ada@example.com", "card_4242", {"tea-green": 2, "cup-stone": 3})
    rejected = place_order("Charles Babbage", "charles@example.com", "card_0005", {"pot-cast": 10_000})
    failed = parcels.start({"count": 12}, title="Twelve parcels", labels={"region": "north"})
    many = numbers.start(list(range(150)))
    running = chain.start({"value": 1}, title="In the middle")
    paused = chain.start({"value": 2})
    paused.pause(reason="lunch", by=OPERATOR)
    cancelled = chain.start({"value": 3})
    cancelled.cancel(reason="a mistake", by=OPERATOR)
    retried = eventually(lambda: failed.status == "failed" and failed.retry(by=OPERATOR))
    eventually(lambda: many.status == "succeeded")
    ids = {
        "shipped": shipped.run_id, "rejected": rejected.run_id, "failed": failed.id, "many": many.id,
        "running": running.id, "paused": paused.id, "cancelled": cancelled.id, "retried": retried.id,
    }  # fmt: skip
    return {name: f"/workflow/runs/{number}/" for name, number in ids.items()}


def faults(visitor, paths, looks=LOOKS) -> dict[str, object]:
    """Return what axe finds, by address and look, and which pages are wider than the window."""
    found: dict[str, object] = {}
    for path in paths:
        page = visitor.visit(path)
        for scheme, width in looks:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            told = violations(page)
            if page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth"):
                told["wide"] = "only parts of a page may be scrolled sideways"
            if told:
                found[f"{path} {scheme} {width}"] = told
    return found


def test_live_pages_have_no_fault(operator, rich):
    paths = [
        "/workflow/", "/workflow/runs/", "/workflow/runs/?status=failed", "/workflow/runs/?q=nothing-is-called-so",
        "/workflow/queues/", "/workflow/workers/",
        *rich.values(),
        f"{rich['shipped']}?step=pack&item=0", f"{rich['failed']}?step=deliver", f"{rich['running']}?step=first",
        f"{rich['paused']}?step=second", f"{rich['many']}?step=each",
        f"{rich['failed']}actions/retry/", f"{rich['shipped']}actions/retry/?from_step=pack",
        f"{rich['running']}actions/cancel/", f"{rich['running']}actions/complete_step/?step=first",
        "/workflow/queues/default/actions/pause/", "/workflow/flows/orders/start/", "/login/",
    ]  # fmt: skip
    assert faults(operator, paths) == {}


def test_pages_of_a_viewer_and_of_an_empty_site_have_no_fault(viewer, place):
    assert faults(viewer, ["/workflow/", "/workflow/runs/", "/workflow/queues/", "/workflow/workers/"]) == {}
    handle = chain.start({"value": 1})
    assert faults(viewer, [f"/workflow/runs/{handle.id}/?step=first"]) == {}


def test_a_small_target_beside_another_one_is_a_fault(viewer):
    page = viewer.visit("/workflow/")
    page.evaluate(SMALL)
    assert "target-size" in violations(page)


def test_admin_pages_have_no_fault_that_the_stock_user_list_does_not_have(visit, superuser, rich):
    visitor = visit("root")
    stock = faults(visitor, ["/admin/auth/user/", f"/admin/auth/user/{superuser.pk}/change/"])
    known = {rule for told in stock.values() for rule in told}
    visitor.visit("/admin/")
    lists = visitor.addresses('a[href^="/admin/django_workflow/"]')
    paths = {path for path in lists if not path.endswith("/add/")}
    assert len(paths) >= 6
    details = set()
    for path in sorted(paths):
        visitor.visit(path)
        details.update(visitor.addresses("#result_list tbody a[href*='/change/']")[:1])
    found = faults(visitor, sorted(paths | details), looks=LOOKS[:1])  # the others are Django's own
    more = {place: {rule: told[rule] for rule in told if rule not in known} for place, told in found.items()}
    assert {place: told for place, told in more.items() if told} == {}


def test_a_long_word_makes_no_page_of_the_admin_wider(visit, superuser):
    handle = chain.start({"value": "v" * 150}, title="t" * 150, labels={"name": "n" * 150}, idempotency_key="k" * 150)
    handle.cancel(reason="r" * 150, by="b" * 100)
    visitor = visit("root")
    pages = [f"/admin/django_workflow/run/{handle.id}/{part}/" for part in ("change", "history")]
    event = handle.run.events.order_by("number").last()
    pages += [f"/admin/django_workflow/event/{event.pk}/change/", "/admin/django_workflow/run/"]
    told = faults(visitor, pages)
    assert not [place for place, found in told.items() if "wide" in found]
