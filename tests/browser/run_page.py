"""The page of a run, in the words of those who look at it."""

from __future__ import annotations

import re
from uuid import UUID

from playwright.sync_api import Locator, expect

from tests.browser.visitor import Visitor


class RunPage:
    """What somebody sees of a run, and does with it."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.page = visitor.page

    @property
    def run_id(self) -> UUID:
        """The run of the address."""
        found = re.search(r"/runs/([0-9a-f-]{36})/", self.page.url)
        assert found is not None, self.page.url
        return UUID(found[1])

    def open(self, run_id: UUID, query: str = "") -> RunPage:
        """Open a run's page."""
        self.visitor.visit(f"/workflow/runs/{run_id}/{query}")
        return self

    def live(self) -> RunPage:
        """Wait until the page is live."""
        expect(self.page.locator("[data-badge]")).to_have_text(re.compile("live", re.IGNORECASE))
        return self

    def node(self, step: str) -> Locator:
        """Return a step's place in the graph."""
        return self.page.locator(f'[data-node="{step}"]')

    def expect_step(self, step: str, status: str) -> None:
        """Wait until the graph shows a step in a status."""
        expect(self.node(step)).to_have_class(re.compile(rf"\bnode-{status}\b"))

    def expect_status(self, status: str) -> None:
        """Wait until the page shows the run in a status."""
        expect(self.page.locator("main .status").first).to_have_class(re.compile(rf"\bstatus-{status}\b"))

    def act(self, label: str, *, confirm: str | None = None, reason: str = "") -> None:
        """Press a button, give a reason, and confirm."""
        self.page.get_by_role("main").get_by_role("link", name=label, exact=True).first.click()
        self.confirm(confirm or label, reason)

    def confirm(self, label: str, reason: str = "") -> None:
        """Confirm what the page asks."""
        if reason:
            self.page.get_by_label("Reason").fill(reason)
        self.page.get_by_role("button", name=re.compile(rf"^{label}\b")).click()
