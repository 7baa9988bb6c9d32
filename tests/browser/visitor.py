"""A page in a real browser, and what it complains about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response, expect

expect.set_options(timeout=15_000)

#: Before anything else runs in a page: what the policy refused, and what came through sockets, and when.
WATCH = """
window.__refused = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.__refused.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
window.__sockets = [];
window.__messages = [];
window.WebSocket = class extends WebSocket {
    constructor(...words) {
        super(...words);
        window.__sockets.push(this);
        this.addEventListener("message", (event) =>
            window.__messages.push([performance.timeOrigin + performance.now(), event.data]));
    }
};
"""
#: What the site sends with every page.
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
#: How often this document was loaded: an update of a part is no navigation.
NAVIGATIONS = "() => [performance.timeOrigin, performance.getEntriesByType('navigation').length]"


class Visitor:
    """Somebody with a browser of their own, who notes everything that goes wrong."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.address = address
        self.problems: list[str] = []
        self.policies: dict[str, str | None] = {}
        self._allowed: list[re.Pattern[str]] = []
        context.add_init_script(WATCH)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("dialog", self._on_dialog)
        context.on("response", self._on_response)
        self.page: Page = context.new_page()

    def allow(self, pattern: str) -> None:
        """Expect a complaint that matches: the test provokes it."""
        self._allowed.append(re.compile(pattern))

    def visit(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(path if path.startswith("http") else self.address + path)
        return self.page

    def log_in(self, name: str, password: str, to: str = "") -> None:
        """Log in as people do, on the way to a page or to where the site leads them."""
        self.visit(f"/login/?next={to}" if to else "/login/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/workflow/**")

    def without_reload(self, action: Callable[[], Any]) -> None:
        """Do something, or wait for something, during which the document must stay the same one."""
        before = self.page.evaluate(NAVIGATIONS)
        self.page.evaluate("() => { window.__mark = 'the same document' }")
        action()
        assert self.page.evaluate(NAVIGATIONS) == before
        assert self.page.evaluate("() => window.__mark") == "the same document"

    def addresses(self, selector: str) -> list[str]:
        """Return where the links of the page lead that fit a selector."""
        found = self.page.locator(selector)
        return list(dict.fromkeys(found.evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")))

    def complaints(self) -> list[str]:
        """Return what went wrong so far, without what was expected."""
        for page in self.context.pages:
            self.problems += [f"refused: {line}" for line in page.evaluate("() => (window.__refused ?? []).splice(0)")]
        lax = [url for url, policy in self.policies.items() if url.startswith(self.address) and policy != POLICY]
        self.problems += [f"not the policy of the site: {url}" for url in lax]
        return [text for text in self.problems if not any(pattern.search(text) for pattern in self._allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_response(self, response: Response) -> None:
        if response.request.resource_type == "document":
            self.policies[response.url] = response.headers.get("content-security-policy")
