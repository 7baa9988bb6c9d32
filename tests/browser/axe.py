"""axe-core: what in a page keeps people out, by WCAG 2.2 AA and by what is good practice besides."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

#: After colours have stopped to change; without preloading, which makes style sheets that a strict policy refuses.
RUN = """
async () => {
    const changes = document.getAnimations().filter((item) => item instanceof CSSTransition);
    await Promise.allSettled(changes.map((item) => item.finished));
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const found = await window.axe.run(document, {
        resultTypes: ["violations"], preload: false,
        runOnly: {type: "tag", values: tags},
        rules: {"target-size": {enabled: true}},  // axe leaves it out where it is not asked for
    });
    return found.violations.map(({id, help, nodes}) => ({
        id, help, nodes: nodes.map((node) => `${node.target.join(" ")}: ${node.html.slice(0, 200)}
            ${node.failureSummary}`),
    }));
}
"""


@cache
def _source() -> str:
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def violations(page: Page) -> dict[str, Any]:
    """Return what axe finds in a page, by rule; it comes in by the debugger's door, so no policy is in its way."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_source())
    found: list[dict[str, Any]] = page.evaluate(RUN)
    return {item["id"]: [item["help"], *item["nodes"]] for item in found}
