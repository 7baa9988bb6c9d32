"""The declared output of runs that are ended from outside, in languages in which such a run has one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.decide import output_of_cut_off
from django_workflow.engine.routing.facts import RunFacts
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.stored.outputs import read_inputs
from django_workflow.engine.stored.state import StoredState

RUNNING_BRANCHES = """
    SELECT DISTINCT variables_id FROM django_workflow_steprun
    WHERE run_id = %s AND status = 'running' AND variables_id IS NOT NULL ORDER BY variables_id
"""


def outputs(runs: Iterable[LockedRun]) -> dict[UUID, str]:
    """Return what runs that are about to be ended declare as output, as JSON text, as far as it can be evaluated.

    The caller holds their locks, and their step runs are still as they were.
    """
    found: dict[UUID, str] = {}
    for run in runs:
        spec = versions.readable_spec(run.version_id)  # a run that a later release wrote can be ended, too
        if spec is not None and spec.dialect.gives_partial_output and spec.output:
            output = _output(run, spec)
            if output is not None:
                found[run.id] = payload.dumps(output, what="The output of the run")
    return found


def _output(run: LockedRun, spec: FlowSpec) -> Any:
    facts = RunFacts(
        input=payload.loads(read_inputs([run.id]).get(run.id)),
        state=StoredState(run.id, spec),
        variables=run.variables_id,
        max_output=conf.MAX_OUTPUT_BYTES,
    )
    return output_of_cut_off(spec, facts, [row[0] for row in db.rows(RUNNING_BRANCHES, [run.id])])
