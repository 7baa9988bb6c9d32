"""Pictures of the live pages: `python -m tests.browser.screenshots FOLDER [NAME...]`.

They show what `run.py serve` shows after a while: wide and narrow, in light and dark.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import chromium
from tests.browser.visitor import Visitor
from tests.examples.serving import Serving

WIDTHS = {1280: 860, 390: 844}
SCHEMES = ("light", "dark")
#: Brings pages to what is to be seen.
View = Callable[[Sequence[Page]], None]
#: Seconds until there is something to see, and how long a step about takes.
A_WHILE, PACE = 100, 3.0
#: More than there is: the loop has to order until nothing is missing.
ORDERS = [{"good": "pen", "count": 40}, {"good": "ink", "count": 9}]


def look_at(path: str) -> View:
    """Return a view: a page by its address."""

    def view(pages: Sequence[Page]) -> None:
        for page in pages:
            page.goto(path)

    return view


def newest(pages: Sequence[Page], query: str) -> str:
    """Return the address of the newest run of a list."""
    pages[0].goto(f"/workflow/runs/?{query}")
    return str(pages[0].locator(".run-cell a").first.get_attribute("href"))


def start(pages: Sequence[Page], flow: str, value: object, title: str = "") -> str:
    """Start a run by its page and return its address."""
    page = pages[0]
    page.goto(f"/workflow/flows/{flow}/start/")
    page.get_by_label("Input").fill(json.dumps(value))
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(re.compile(r"/workflow/runs/[0-9a-f-]{36}/"))
    return page.url


def reached(pages: Sequence[Page], step: str, state: str) -> None:
    """Wait until all pages show a step in a state."""
    for page in pages:
        page.locator(f'[data-node="{step}"]').filter(has_text=re.compile(state)).wait_for(timeout=90_000)


def order(pages: Sequence[Page], number: int) -> None:
    """A run of `orders` in which parcels are packed."""
    look_at(start(pages, "orders", {"order": number}, f"Order {number} of Ada Lovelace"))(pages)
    reached(pages, "pack", r"running · \d")


def long_map(pages: Sequence[Page]) -> None:
    """An audit of all packages."""
    look_at(start(pages, "audit", None, "All packages"))(pages)
    reached(pages, "measure", r"running · [3-9]\d/")


def panel(pages: Sequence[Page]) -> None:
    """What happened in a step of it."""
    look_at(newest(pages, "flow=orders&status=succeeded") + "?step=pack&item=0#task")(pages)


def failed(pages: Sequence[Page]) -> None:
    """A run that failed."""
    look_at(newest(pages, "status=failed"))(pages)


def under_way(flow: str, value: object, seconds: float) -> View:
    """Return a view: a run of a flow some seconds after its start."""

    def view(pages: Sequence[Page]) -> None:
        look_at(start(pages, flow, value))(pages)
        pages[0].wait_for_timeout(1000 * seconds)

    return view


def rerun(pages: Sequence[Page]) -> None:
    """What a rerun from a step would do."""
    look_at(newest(pages, "flow=orders&status=succeeded") + "actions/retry/?from_step=pack")(pages)


VIEWS: dict[str, View] = {
    "long-map": long_map,
    "board": look_at("/workflow/"),
    "runs": look_at("/workflow/runs/"),
    "panel": panel,
    "failed": failed,
    "rerun": rerun,
    "loop": under_way("monitoring_loop", {"folder": "/", "least_free": 0, "checks": 12, "pause": PACE}, 20),
    "entries": under_way("several_entries", {"goods": {"pen": 4, "ink": 2}, "orders": ORDERS}, 12),
    "join": under_way("join_two_of_three", {"text": "See you at noon, by the fountain."}, 5),
    "start": look_at("/workflow/flows/orders/start/"),
    "queues": look_at("/workflow/queues/"),
    "workers": look_at("/workflow/workers/"),
    "admin": look_at("/admin/django_workflow/run/"),
}


def shoot(visitors: dict[str, Visitor], folder: Path, views: dict[str, View]) -> None:
    """Make the pictures: all four of a page at one time."""
    for name, view in views.items():
        view([visitor.page for visitor in visitors.values()])
        for look, visitor in visitors.items():
            visitor.page.screenshot(path=folder / f"{name}-{look}.png")
        for look, visitor in visitors.items():
            visitor.page.screenshot(path=folder / f"{name}-{look}-whole.png", full_page=True)
            for complaint in visitor.complaints():
                sys.stderr.write(f"{name} {look}: {complaint}\n")


def come(browser: Browser, serving: Serving) -> dict[str, Visitor]:
    """Log the operator in, in a window of each kind."""
    visitors = {}
    for scheme, (width, height) in product(SCHEMES, WIDTHS.items()):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=serving.address
        )
        visitor = visitors[f"{width}-{scheme}"] = Visitor(context, serving.address)
        visitor.log_in("operator", serving.password("operator"))
    return visitors


def main(folder: Path, names: list[str]) -> None:
    """Serve, wait a while, and look."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wf-") as place, sync_playwright() as playwright:
        Path(place).chmod(0o755)
        serving = Serving(Path(place) / "pg", pace=PACE)
        try:
            browser = chromium.launch(playwright)
            visitors = come(browser, serving)
            next(iter(visitors.values())).page.wait_for_timeout(1000 * A_WHILE)
            number = int(serving.found(r'\{"order": (\d+)\}'))
            views = {"order": partial(order, number=number), **VIEWS}
            shoot(visitors, folder, {name: views[name] for name in names or views})
            browser.close()
        finally:
            sys.stderr.write(f"{serving.end()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
