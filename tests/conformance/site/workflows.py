"""The flows of all documents."""

from __future__ import annotations

from tests.conformance.cases import KINDS, cases

FLOWS = {case.slug: case.flow() for kind in KINDS for case in cases(kind) if not case.is_refused}
