"""Options that operators and profiles set in the database, applied when a run starts."""

from __future__ import annotations

import json
import time

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.spec import FlowSpec

#: Seconds for which a process relies on the overrides it read: a start asks the database no more often.
FRESH = 1.0

READ_OVERRIDES = "SELECT overrides FROM django_workflow_flowdefinition WHERE slug = %s"

_read: dict[tuple[str, str], tuple[float, str]] = {}
_compiled: dict[tuple[str, str], tuple[FlowSpec, FlowSpec]] = {}


def apply(flow: FlowDeclaration) -> FlowSpec:
    """Return the flow's definition with the overrides of its row; raises `DefinitionError` where they do not fit."""
    declared = flow.spec
    text = _overrides(flow.slug)
    if text in ("{}", ""):
        return declared
    known = _compiled.get((flow.slug, text))
    if known is None or known[0] is not declared:
        spec = flow.compile(json.loads(text))
        known = _compiled[flow.slug, text] = (declared, spec)
    return known[1]


def _overrides(slug: str) -> str:
    key = (conf.DATABASE, slug)
    known = _read.get(key)
    if known is not None and time.monotonic() - known[0] < FRESH and not db.in_test_transaction():
        return known[1]
    found = db.rows(READ_OVERRIDES, [slug])
    text: str = found[0][0] if found else ""
    read = (time.monotonic(), text)
    # only once it is committed: it may be the caller's own change, which is rolled back
    db.after_commit(lambda: _read.__setitem__(key, read))
    return text
