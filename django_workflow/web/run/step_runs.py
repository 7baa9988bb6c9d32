"""The passes of a step: one of them, the list of all, what led to one and what it led to, and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django_workflow import db, payload
from django_workflow.read.durations import STEP_BEGUN
from django_workflow.web.address import Address
from django_workflow.web.run.facts import Facts, Pass, StepFacts
from django_workflow.web.run.payloads import Value, limit_for, value_of_text
from django_workflow.web.run.reads import read_passes
from django_workflow.web.run.task_counts import COUNTED, Tally

#: Passes on a page, and activations that one of them is told to have led to.
TURNS: Final = 10
MOST_NEIGHBOURS: Final = 20

READ_ACTIVATION = f"""
    SELECT s.step, s.id, s.scope, s.iteration, s.source_id, s.variables_id, s.status, s.task_count, s.open_tasks,
           s.failed_count, s.created_at, s.started_at, s.ended_at, s.reason, s.message, s.error, a.sources,
           a.generation, {STEP_BEGUN.format(step="s.id")}, t.queued, t.delayed, t.due_at, t.parallel, t.paused,
           t.running, t.suspended
    FROM django_workflow_steprun s
    CROSS JOIN LATERAL (
        SELECT {COUNTED} FROM django_workflow_task WHERE step_run_id = s.id AND s.status = 'running'
    ) t
    CROSS JOIN LATERAL (
        SELECT array_agg(source ORDER BY id) AS sources, min(generation) AS generation
        FROM django_workflow_arrival
        WHERE run_id = s.run_id AND step = s.step AND scope = s.scope AND step_run_id = s.id
    ) a
    WHERE s.id = %s::bigint AND s.run_id = %s::uuid
"""  # noqa: S608  a constant
#: The columns of it behind the step's name and before the tally, as `StepFacts` calls them.
COLUMNS: Final = (
    *("id", "scope", "iteration", "source_id", "variables_id", "status", "task_count", "open_tasks", "failed_count"),
    *("created_at", "started_at", "ended_at", "reason", "message", "error", "arrived", "generation", "begun_at"),
)


def read_pass(run_id: UUID, activation: int, steps: Mapping[str, StepFacts]) -> StepFacts | None:
    """Read one activation by its id; None where the run has none such."""
    for name, *columns in db.rows(READ_ACTIVATION, [activation, run_id]):
        values = dict(zip(COLUMNS, columns, strict=False))
        values["error"] = payload.loads(values["error"])
        values["tally"] = Tally(*columns[len(COLUMNS) :])
        # its own tasks and arrivals, and nothing of those of other passes
        return replace(steps[name], **values, open_passes=1, waiting_passes=1) if name in steps else None
    return None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An activation that led to another one, or that it led to.

    id: None for a join that its arrival has not reached yet. generation: at a join. due_at: it arrives then.
    """

    id: int | None
    step: str
    scope: int
    iteration: int
    status: str
    generation: int | None
    due_at: datetime | None
    href: str = ""


@dataclass(slots=True)
class Turns:
    """What the panel tells of the passes of a step, and of the chosen one.

    listed: a page of them, newest first, with their addresses. newest: the address that follows the step.
    """

    listed: list[tuple[Pass, str]] = field(default_factory=list)
    newer: str = ""
    older: str = ""
    newest: str = ""
    led_by: list[Neighbour] = field(default_factory=list)
    leads: list[Neighbour] = field(default_factory=list)
    variables: Value | None = None


# of a join its arrivals are asked: its row knows the last of them only
READ_NEIGHBOURS = """
    (SELECT 'from', s.id, s.step, s.scope, s.iteration, s.status, NULL::int, NULL::timestamptz
     FROM django_workflow_steprun s WHERE s.id = %s::bigint AND NOT %s::bool)
    UNION ALL
    (SELECT 'from', a.source_run_id, a.source, a.scope, coalesce(s.iteration, 1), coalesce(s.status, ''), a.generation,
            NULL
     FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.source_run_id
     WHERE a.run_id = %s::uuid AND a.step = %s::text AND a.scope = %s::bigint AND a.step_run_id = %s::bigint
     ORDER BY a.id LIMIT %s::int)
    UNION ALL
    (SELECT 'to', s.id, s.step, s.scope, s.iteration, s.status, NULL, NULL FROM django_workflow_steprun s
     WHERE s.run_id = %s::uuid AND s.source_id = %s::bigint AND s.step <> ALL(%s::text[]) ORDER BY s.id LIMIT %s::int)
    UNION ALL
    (SELECT 'to', a.step_run_id, a.step, a.scope, coalesce(s.iteration, 1), coalesce(s.status, ''), a.generation,
            a.due_at
     FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.step_run_id
     WHERE a.run_id = %s::uuid AND a.source_run_id = %s::bigint ORDER BY a.id LIMIT %s::int)
"""
READ_VARIABLES = "SELECT left(values::text, %s::int), length(values::text) FROM django_workflow_variables WHERE id = %s"


def read_turns(facts: Facts, step: StepFacts, address: Address, *, has_payload: bool) -> Turns | None:
    """Read the passes of a chosen step; None where each step runs once and publishes nothing."""
    spec = facts.spec
    if step.id is None or (spec.is_plain and not spec.uses_variables):
        return None
    turns = Turns()
    if step.passes > 1:
        _list(facts, step, address, turns)
    _meet(facts, step, address, turns)
    if step.variables_id is not None:
        turns.variables = read_variables("Variables", step.variables_id, address, has_payload=has_payload)
    return turns


def _list(facts: Facts, step: StepFacts, address: Address, turns: Turns) -> None:
    offset = min((address.turns - 1) * TURNS, 2**31 - 1)
    found = read_passes(facts.run.pk, [step], TURNS + 1, offset, has_waiting=True)
    turns.listed = [(item, address.of_pass(step.step, item.id)) for item in found[:TURNS]]
    turns.newer = address.to("#passes", step=step.step, turns=address.turns - 1) if address.turns > 1 else ""
    turns.older = address.to("#passes", step=step.step, turns=address.turns + 1) if len(found) > TURNS else ""
    is_followed = address.activation is None and address.task is None
    turns.newest = "" if is_followed else address.of_step(step.step)


def _meet(facts: Facts, step: StepFacts, address: Address, turns: Turns) -> None:
    spec, run_id, most = facts.spec, facts.run.pk, MOST_NEIGHBOURS
    is_join = spec.is_join(step.step)
    joins = [name for name in spec.steps if spec.is_join(name)]
    params = [
        step.source_id, is_join, run_id, step.step, step.scope, step.id, most,
        run_id, step.id, joins, most, run_id, step.id, most,
    ]  # fmt: skip
    for side, *columns in db.rows(READ_NEIGHBOURS, params):
        found = Neighbour(*columns)
        if found.id is not None and found.step in facts.steps:
            found = replace(found, href=address.of_pass(found.step, found.id))
        (turns.led_by if side == "from" else turns.leads).append(found)


def read_variables(label: str, key: int, address: Address, *, has_payload: bool) -> Value:
    """Read variables, as far as they are shown; without the permission they stay where they are."""
    if not has_payload:
        return Value(label, is_masked=True)
    found = db.rows(READ_VARIABLES, [limit_for(address, "variables"), key])
    text, size = found[0] if found else (None, None)
    return value_of_text(label, text, size, "variables", address)
