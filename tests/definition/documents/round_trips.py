"""What must come back the same from its text, and from the database."""

from __future__ import annotations

import json

from django_workflow.definition import documents, drafts


def check_round_trips(draft, spec):
    """Write a flow in both formats, from its definition and from its draft, and read it again."""
    for flow in (draft, spec):
        for form in ("yaml", "json"):
            text = documents.write(flow, form)
            again = documents.read(text, form)
            assert documents.write(again.draft, form) == text
            assert again.compile() == spec
            assert again.compile().fingerprint == spec.fingerprint
    assert as_jsonb(draft).compile() == spec


def as_jsonb(draft):
    """Return a draft as the database gives it back: with the keys of objects in another order."""
    stored = json.loads(json.dumps(drafts.to_stored(draft), sort_keys=True))
    return drafts.from_stored(draft.slug, draft.options.title, stored)
