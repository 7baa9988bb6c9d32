"""Reading what settled steps gave: assembled from their tasks, never stored twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import OUTERMOST
from django_workflow.statuses import SUCCEEDED

#: Index of the task that holds an output an operator gave: it stands for the whole step, before any item.
WHOLE_STEP = -1

# of a step that ran several times, the activation that led to the asking one counts where it is of this step, else the
# latest that has settled, in the innermost scope where there is one
ACTIVATION = """
    coalesce(
        (SELECT id FROM django_workflow_steprun WHERE id = w.source_id AND step = w.step),
        (SELECT latest.id
         FROM unnest(w.scopes::bigint[]) WITH ORDINALITY AS o(scope, place)
         CROSS JOIN LATERAL (
             SELECT id FROM django_workflow_steprun
             WHERE run_id = w.run_id AND step = w.step AND scope = o.scope AND status NOT IN ('waiting', 'running')
             ORDER BY iteration DESC LIMIT 1
         ) latest
         ORDER BY o.place LIMIT 1))
"""
WANTED = db.Columns("w", place="int", run_id="uuid", step="text", is_map="bool", scopes="text", source_id="bigint")
# what an operator gave is read as it is
READ_OUTPUTS = f"""
    SELECT w.place, s.status,
           CASE WHEN s.status <> 'succeeded' THEN NULL
                WHEN w.is_map THEN coalesce(
                    (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.index = -1),
                    (SELECT jsonb_agg(t.output ORDER BY t.index) FROM django_workflow_task t
                     WHERE t.step_run_id = s.id),
                    '[]'::jsonb)
                ELSE (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = s.id ORDER BY t.index LIMIT 1)
           END
    FROM {WANTED}
    CROSS JOIN LATERAL (SELECT id, status FROM django_workflow_steprun WHERE id = {ACTIVATION} LIMIT 1) s
"""

#: A scope and those that enclose it, the innermost first.
Scopes = tuple[int, ...]
OUTERMOST_ONLY: Scopes = (OUTERMOST,)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step gave: its status and, where it succeeded, its output as JSON text."""

    status: str
    text: str | None

    @property
    def value(self) -> Any:
        """The output, decoded anew at each access so that nobody shares it."""
        return payload.loads(self.text) if self.status == SUCCEEDED else None


#: Run, step, whether it is a map, the scopes to look in, and the activation that led to the one that asks, where that
#: may make a difference.
Wanted = tuple[UUID, str, bool, Scopes, int | None]


def read_outputs(wanted: Iterable[Wanted]) -> dict[Wanted, StepOutput]:
    """Read the outputs of steps; returns what has settled, by what was wanted."""
    unique = list(dict.fromkeys(wanted))
    if not unique:
        return {}
    runs, steps, maps, scopes, sources = zip(*unique, strict=True)
    params = WANTED.lists(
        place=range(len(unique)), run_id=runs, step=steps, is_map=maps, source_id=sources,
        scopes=[db.array(list(chain)) for chain in scopes],
    )  # fmt: skip
    found = db.rows(READ_OUTPUTS, params)
    return {unique[place]: StepOutput(status, text) for place, status, text in found}


# a scope is the activation that opened it; that one was reached from the scope around it
READ_OUTER_SCOPES = """
    WITH RECURSIVE outward AS (
        SELECT w.scope AS inner_scope, w.scope, 1 AS depth FROM unnest(%s::bigint[]) AS w(scope)
        UNION ALL
        SELECT o.inner_scope, before.scope, o.depth + 1
        FROM outward o JOIN django_workflow_steprun opener ON opener.id = o.scope
        JOIN django_workflow_steprun before ON before.id = opener.source_id
        WHERE o.scope <> 0
    )
    SELECT inner_scope, array_agg(scope ORDER BY depth) FROM outward GROUP BY inner_scope
"""


def outer_scopes(scopes: Iterable[int]) -> dict[int, Scopes]:
    """Return each of `scopes` with those that enclose it, itself first."""
    nested = {scope for scope in scopes if scope != OUTERMOST}
    chains: dict[int, Scopes] = {OUTERMOST: OUTERMOST_ONLY}
    if nested:
        chains |= {scope: tuple(chain) for scope, chain in db.rows(READ_OUTER_SCOPES, [sorted(nested)])}
    return chains


class RunOutputs(Mapping[str, Any]):
    """A run's outputs by step, read from the database when first asked for; only succeeded steps are in it.

    texts: outputs in hand. scopes: where to look.
    """

    def __init__(
        self, run_id: UUID, spec: FlowSpec, texts: Mapping[str, str] | None = None, scopes: Scopes = OUTERMOST_ONLY
    ) -> None:
        self._run_id = run_id
        self._spec = spec
        self._texts = texts or {}
        self._scopes = scopes
        self._known: dict[str, Any] = {}

    def __getitem__(self, step: str) -> Any:
        if step in self._texts and step not in self._known:
            self._known[step] = payload.loads(self._texts[step])
        if step not in self._known:
            if step not in self._spec.steps:
                raise KeyError(step)
            wanted = (self._run_id, step, self._spec.steps[step].kind == MAP, self._scopes, None)
            found = read_outputs([wanted]).get(wanted)
            if found is None or found.status != SUCCEEDED:
                raise KeyError(step)
            self._known[step] = found.value
        return self._known[step]

    def __iter__(self) -> Iterator[str]:
        return (step for step in self._spec.steps if step in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


READ_RESULT = """
    SELECT CASE WHEN %s::bool THEN coalesce(
               (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = w.id AND t.index = -1),
               (SELECT jsonb_agg(t.output ORDER BY t.index) FROM django_workflow_task t WHERE t.step_run_id = w.id),
               '[]'::jsonb)
           ELSE (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = w.id ORDER BY t.index LIMIT 1) END
    FROM (SELECT %s::bigint AS id) w
"""


def read_result(step_run_id: int, step: StepSpec) -> Any:
    """Return what one activation of a step gave."""
    return payload.loads(db.rows(READ_RESULT, [step.kind == MAP, step_run_id])[0][0])


READ_STATUSES = """
    SELECT w.step, s.status
    FROM unnest(%s::text[]) AS w(step)
    CROSS JOIN LATERAL (
        SELECT latest.status
        FROM unnest(%s::bigint[]) WITH ORDINALITY AS o(scope, place)
        CROSS JOIN LATERAL (
            SELECT status FROM django_workflow_steprun
            WHERE run_id = %s AND step = w.step AND scope = o.scope AND id <> %s ORDER BY iteration DESC LIMIT 1
        ) latest
        ORDER BY o.place LIMIT 1
    ) s
"""


def read_statuses(run_id: UUID, spec: FlowSpec, scopes: Scopes, without: int = 0) -> dict[str, str]:
    """Return the latest status of each step that was reached; `without` a step run, as if it had not begun."""
    return dict(db.rows(READ_STATUSES, [list(spec.steps), list(scopes), run_id, without]))


READ_INPUTS = "SELECT id, input FROM django_workflow_run WHERE id = ANY(%s::uuid[])"


def read_inputs(run_ids: Iterable[UUID]) -> dict[UUID, str | None]:
    """Read the inputs of runs as JSON text."""
    unique = list(dict.fromkeys(run_ids))
    return dict(db.rows(READ_INPUTS, [unique])) if unique else {}


def run_output(run_id: UUID, spec: FlowSpec, declared: Any = None) -> Any:
    """Return a run's output: the declared one as it is stored, else what its leaf steps that succeeded gave.

    A document of another language that declares none has none.
    """
    if not spec.dialect.gives_last_outputs:
        return declared
    if spec.output:
        return declared or {}
    found = read_outputs((run_id, leaf, spec.steps[leaf].kind == MAP, OUTERMOST_ONLY, None) for leaf in spec.leaves)
    return {step: output.value for (_, step, *_), output in found.items() if output.status == SUCCEEDED}


READ_FAILURES = f"""
    SELECT t.index, a.error_class, a.message
    FROM (SELECT %s::uuid AS run_id, %s::text AS step, %s::bigint[] AS scopes, %s::bigint AS source_id) w
    JOIN django_workflow_task t ON t.step_run_id = {ACTIVATION} AND t.status = 'failed'
    JOIN LATERAL (SELECT error_class, message FROM django_workflow_attempt
                  WHERE task_id = t.id ORDER BY number DESC, id DESC LIMIT 1) a ON true
    ORDER BY t.index
"""


def read_failures(wanted: Wanted) -> list[dict[str, Any]]:
    """Return index, class and message of the tasks of a step that failed for good."""
    run_id, step, _, scopes, source = wanted
    return [
        {"index": index, "class": error_class, "message": message}
        for index, error_class, message in db.rows(READ_FAILURES, [run_id, step, list(scopes), source])
    ]
