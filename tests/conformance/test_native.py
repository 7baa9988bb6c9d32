"""Every document in the package's own format comes back from its text, and from a row, as it was."""

import json

import pytest

from django_workflow.definition import documents, drafts
from django_workflow.definition.spec import FlowSpec
from tests.conformance.cases import cases

RUN = [case for case in cases("native") if not case.is_refused]


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.name)
def test_comes_back_as_it_was(case):
    spec = case.flow().spec
    assert FlowSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    for name in ("yaml", "json"):
        again = documents.read(documents.write(spec, name), name).compile()
        assert (again, again.fingerprint) == (spec, spec.fingerprint)
    draft = documents.read(case.text).draft
    stored = json.loads(json.dumps(drafts.to_stored(draft)))
    back = drafts.from_stored(draft.slug, draft.options.title, stored)
    assert documents.write(back) == documents.write(draft)
