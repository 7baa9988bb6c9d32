"""The declared output of runs that are ended from outside, in languages in which such a run has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import NATIVE, FlowSpec
from django_workflow.engine.routing import decide
from django_workflow.engine.routing.facts import RunFacts
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.outputs import read_inputs
from django_workflow.engine.stored.state import StoredState

RUNNING_BRANCHES = """
    SELECT DISTINCT variables_id FROM django_workflow_steprun
    WHERE run_id = %s AND status = 'running' AND variables_id IS NOT NULL ORDER BY variables_id
"""
STORE = """
    UPDATE django_workflow_run r SET output = n.output::jsonb
    FROM unnest(%s::uuid[], %s::text[]) AS n(id, output) WHERE r.id = n.id
"""


def store_outputs(ended: Sequence[tuple[UUID, int, int | None]]) -> None:
    """Store what runs that have just been ended declare as output, as far as it can be evaluated.

    ended: of each run its id, its version, and the variables of the branches that had ended; the caller holds their
    locks, and their step runs are still as they were.
    """
    found: list[tuple[UUID, str]] = []
    for run_id, version_id, variables in ended:
        spec = versions.readable_spec(version_id)  # a run that a later release wrote can be ended, too
        if spec is not None and spec.language != NATIVE and spec.output:
            output = _output(run_id, spec, variables)
            if output is not None:
                found.append((run_id, payload.dumps(output, what="The output of the run")))
    if found:
        db.execute(STORE, [list(column) for column in zip(*found, strict=True)])


def _output(run_id: UUID, spec: FlowSpec, variables: int | None) -> Any:
    facts = RunFacts(
        input=payload.loads(read_inputs([run_id]).get(run_id)),
        state=StoredState(run_id, spec),
        variables=variables,
        max_output=conf.MAX_OUTPUT_BYTES,
    )
    return decide.output_of_cut_off(spec, facts, [row[0] for row in db.rows(RUNNING_BRANCHES, [run_id])])
