"""A page on a stand: a real browser, a site and a socket that the test plays, and a clock that it winds."""

from __future__ import annotations

import json
from pathlib import Path

from django.contrib.staticfiles import finders

ADDRESS = "http://stand.test"
POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
LIVE = 'data-live="ws/workflow/board/"'
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<script src="/connection.js" defer></script><script src="/live.js" defer></script></head>
<body><span data-badge hidden></span><p data-connection="silent" hidden>no news since <time></time></p>
<p data-connection="refused" hidden>refused</p>
<main id="content" {live}>{content}</main></body></html>"""
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def fragment(name: str, content: str) -> str:
    """Return a region that changes."""
    return f'<section data-fragment="{name}">{content}</section>'


class Stand:
    """One page; what it loads is counted, what it says is noted."""

    def __init__(self, page) -> None:
        self.page = page
        self.content = ""
        self.title = "Board"
        self.live = LIVE
        self.answer = {"status": 200}
        self.has_sockets = True
        self.is_away = False
        self.loads = 0
        self.sockets = []
        self.said = []
        self.problems = []
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.clock.install()
        page.route("**/*", self._serve)
        page.route_web_socket("**/ws/**", self._on_socket)

    def _serve(self, route) -> None:
        if route.request.url.endswith(".js"):
            path = finders.find(f"django_workflow/{route.request.url.rpartition('/')[2]}")
            route.fulfill(body=Path(path).read_text(), content_type="text/javascript")
            return
        if not route.request.url.endswith("/runs/?status=running"):
            route.fulfill(status=204)
            return
        if self.is_away:
            route.abort("internetdisconnected")
            return
        self.loads += 1
        body = PAGE.format(live=self.live, title=self.title, content=self.content)
        headers = {"Content-Security-Policy": POLICY, "Content-Type": "text/html; charset=utf-8"}
        route.fulfill(body=body, **{**self.answer, "headers": {**headers, **self.answer.get("headers", {})}})

    def _on_socket(self, socket) -> None:
        if not self.has_sockets:
            socket.close(code=1011)
            return
        self.sockets.append(socket)
        socket.on_message(lambda text: self.said.append(json.loads(text)))
        socket.send(json.dumps({"type": "hello", "version": 0}))

    def open(self, content: str = "") -> Stand:
        """Show a page; it has heard the first hello and loaded itself once after that."""
        self.content = content
        self.page.goto(f"{ADDRESS}/runs/?status=running")
        if self.live and self.has_sockets:
            self.until(lambda: self.loads == 2 and self.badge() == "live")
        self.loads = 0
        return self

    def tell(self, kind: str = "changed", **more) -> None:
        """Say something through the socket."""
        self.sockets[-1].send(json.dumps({"type": kind, "version": 1, **more}))

    def badge(self) -> str:
        return self.page.text_content("[data-badge]")

    def told(self) -> str:
        """Return what the page tells of its connection, besides the badge; "" for nothing."""
        return " ".join(self.page.locator("[data-connection]:not([hidden])").all_text_contents())

    def until(self, condition, milliseconds: int = 20_000) -> None:
        """Wind the clock on until something holds."""
        for _ in range(milliseconds // 100):
            if condition():
                return
            self.page.clock.run_for(100)
        raise AssertionError(f"not within {milliseconds} ms: {condition}, badge {self.badge()}, {self.loads} loads")

    def pass_time(self, seconds: float) -> None:
        """Wind the clock on."""
        for _ in range(round(seconds * 4)):
            self.page.clock.run_for(250)

    def hide(self, *, hidden: bool = True) -> None:
        """Let the tab be hidden, or come back."""
        self.page.evaluate(HIDE, hidden)
