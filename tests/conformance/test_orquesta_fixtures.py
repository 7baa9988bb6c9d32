"""Orquesta's own documents come to what Orquesta's own tests say.

They are not in this repository: DJANGO_WORKFLOW_ORQUESTA names the folder, `orquesta/tests/fixtures/workflows/native`
of a checkout of StackStorm's orquesta.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from django_workflow import DefinitionError, Flow
from django_workflow.contrib.orquesta import ActionFailed
from tests.conformance.cases import FOLDER

FIXTURES = os.environ.get("DJANGO_WORKFLOW_ORQUESTA", "")
SCENARIOS = {
    f"{document}/{about}": (document, scenario)
    for document, scenarios in yaml.safe_load((FOLDER / "orquesta_fixtures.yaml").read_text()).items()
    for about, scenario in scenarios.items()
}
#: Where we differ, with what it comes to here; docs/reference/orquesta.md says why.
DIFFERENCES: Mapping[str, Mapping[str, Any]] = {
    # what had not begun when a task failed does not begin; which that is depends on who was quicker
    "parallel/fail_single_branch": {"counts": {"task1": 1, "task2": 1, "task4": 1}},
    "parallel/fail_multiple_branches": {"counts": {"task1": 1, "task2": 1, "task4": 1}},
    # the place of every item is there, also of those that were not done
    "with-items-remediate/items_list_with_error_and_remediation": {"output": {"items": ["fee", "fi", None, None]}},
}


def test_page_has_all_documents_with_their_scenarios():
    page = (FOLDER.parent.parent / "docs" / "reference" / "orquesta.md").read_text()
    told = dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \|", page, re.MULTILINE))
    assert told == {document: str(times) for document, times in Counter(name for name, _ in SCENARIOS.values()).items()}


class Scripted:
    """Any action, which does what the scenario says for its task."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        self.script = script

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self.act

    def act(self, ctx: Any, **inputs: Any) -> Any:
        """Return or raise what stands there for this execution."""
        entry = self.script.get(ctx.step)
        if isinstance(entry, dict):
            entry = entry["items"][ctx.index]
        elif entry:
            entry = entry[min(ctx.iteration - 1 + ctx.attempt - 1, len(entry) - 1)]
        if entry and "fails_with" in entry:
            raise ActionFailed(entry["fails_with"])
        return entry["value"] if entry else None


@pytest.mark.skipif(not FIXTURES, reason="DJANGO_WORKFLOW_ORQUESTA names no folder")
@pytest.mark.parametrize("name", SCENARIOS)
def test_document_of_orquesta(name, db):
    document, scenario = SCENARIOS[name]
    text = Path(FIXTURES, f"{document}.yaml").read_text()
    actions = Scripted(scenario.get("script", {}))
    if "refused" in scenario:
        with pytest.raises(DefinitionError):
            Flow.from_orquesta(text, actions=actions, slug="fixture")
        return
    flow = Flow.from_orquesta(text, actions=actions, slug="fixture")
    result = flow.execute(scenario.get("input"), timeout=timedelta(seconds=60))
    expected = {"output": None, **scenario, **DIFFERENCES.get(name, {})}
    told = (result.status, result.counts, result.output, result.errors)
    assert (result.status, result.counts) == (expected["status"], expected["counts"]), told
    assert result.output == expected["output"] or expected["output"] is None, told
