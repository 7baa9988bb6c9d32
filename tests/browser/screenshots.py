"""Pictures of the live pages: `python -m tests.browser.screenshots FOLDER [NAME...]`.

They show what `run.py serve` shows after a while: wide and narrow, in light and dark.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ARGUMENTS, BROWSERS
from tests.browser.visitor import Visitor
from tests.examples.serving import Serving

WIDTHS = {1280: 860, 390: 844}
SCHEMES = ("light", "dark")
#: Seconds until there is something to see; a step takes about so long.
A_WHILE, PACE = 75, 2.0


def board(page: Page) -> None:
    """What runs now."""
    page.goto("/workflow/")


def runs(page: Page) -> None:
    """All runs."""
    page.goto("/workflow/runs/")


def order(page: Page) -> None:
    """A run of `orders`, in the middle of it."""
    page.goto("/workflow/runs/?flow=orders")
    _follow_newest(page)
    page.locator('[data-node="pack"].node-running').wait_for(timeout=60_000)


def panel(page: Page) -> None:
    """The same, with a step's panel."""
    page.goto("/workflow/runs/?flow=orders&status=succeeded")
    _follow_newest(page)
    page.goto(re.sub(r"\?.*", "", page.url) + "?step=pack")


def long_map(page: Page) -> None:
    """An audit of all packages."""
    page.goto("/workflow/runs/?flow=audit")
    _follow_newest(page)


def rerun(page: Page) -> None:
    """What a rerun from a step would do."""
    panel(page)
    page.get_by_role("link", name="Rerun from here").first.click()


def queues(page: Page) -> None:
    """Queues."""
    page.goto("/workflow/queues/")


def workers(page: Page) -> None:
    """Workers."""
    page.goto("/workflow/workers/")


def admin(page: Page) -> None:
    """Runs in the admin."""
    page.goto("/admin/django_workflow/run/")


VIEWS: dict[str, Callable[[Page], None]] = {
    view.__name__.replace("_", "-"): view
    for view in (board, runs, order, panel, long_map, rerun, queues, workers, admin)
}


def _follow_newest(page: Page) -> None:
    page.locator('main a[href*="/workflow/runs/"]').filter(has_not_text="Runs").first.click()


def shoot(browser: Browser, serving: Serving, folder: Path, names: list[str]) -> None:
    """Make the pictures."""
    for scheme in SCHEMES:
        for width, height in WIDTHS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, base_url=serving.address
            )
            visitor = Visitor(context, serving.address)
            visitor.log_in("operator", serving.password("operator"))
            for name in names:
                VIEWS[name](visitor.page)
                visitor.page.wait_for_timeout(400)  # the badge
                visitor.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
                visitor.page.screenshot(path=folder / f"{name}-{width}-{scheme}-whole.png", full_page=True)
            for complaint in visitor.complaints():
                sys.stderr.write(f"{complaint}\n")
            context.close()


def main(folder: Path, names: list[str]) -> None:
    """Serve, wait a while, and look."""
    folder.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory(prefix="wf-") as place, sync_playwright() as playwright:
        Path(place).chmod(0o755)
        serving = Serving(Path(place) / "pg", pace=PACE)
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            page = browser.new_page()
            page.wait_for_timeout(1000 * A_WHILE)
            shoot(browser, serving, folder, names or list(VIEWS))
            browser.close()
        finally:
            sys.stderr.write(f"{serving.end()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
