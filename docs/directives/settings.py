"""`{workflow-settings}`: every key of `DJANGO_WORKFLOW`, from `conf.Defaults`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import timedelta
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from directives import text
from django_workflow.conf import Defaults


class Settings(Directive):
    """One entry per key: its name, type, default, and the comment that describes it."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        comments = dict(_comments())
        listed = nodes.definition_list()
        for item in fields(Defaults):
            default = item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc]
            term = nodes.term("", "", nodes.literal(text=item.name), ids=[f"setting-{item.name}"])
            facts = text.paragraph(f"`{item.type}`, default `{told(default)}`")
            listed += nodes.definition_list_item(
                "", term, nodes.definition("", facts, text.paragraph(comments[item.name]))
            )
        return [listed]


def told(default: Any) -> str:
    """Return a default as a reader would write it."""
    if isinstance(default, timedelta):
        for unit in ("days", "hours", "minutes", "seconds"):
            size = timedelta(**{unit: 1})
            if default % size == timedelta(0):
                return f"timedelta({unit}={default // size})"
    return f"{default:_}" if isinstance(default, int) and not isinstance(default, bool) else repr(default)


def _comments() -> Iterator[tuple[str, str]]:
    collected: list[str] = []
    for line in inspect.getsource(Defaults).splitlines():
        if match := re.match(r"\s+#: ?(.*)", line):
            collected.append(match[1])
        elif match := re.match(r"\s+([A-Z_]+):", line):
            yield match[1], " ".join(collected)
            collected = []
