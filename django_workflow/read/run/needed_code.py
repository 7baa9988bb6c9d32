"""Code that a run needs and that no worker has: what it is, who lacks it, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django_workflow import db
from django_workflow.read.workers import IS_LIVE
from django_workflow.statuses import NO_CODE_REASONS, NO_CONDITION, NO_EXECUTOR, NO_HANDLER

#: Kinds of code that a step names.
HANDLER, CONDITION, EXECUTOR = "handler", "condition", "executor"
#: The reason of an attempt that lacked it, by kind.
REASONS = {HANDLER: NO_HANDLER, CONDITION: NO_CONDITION, EXECUTOR: NO_EXECUTOR}
KINDS = {reason: kind for kind, reason in REASONS.items()}


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of code that a step of a flow names."""

    kind: str
    name: str
    flow: str
    step: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"

    @property
    def cause(self) -> str:
        """Why a worker may lack it."""
        if self.kind == EXECUTOR:
            return "its settings do not name it in EXECUTORS"
        what = "its step was renamed" if self._is_of_step else "it was renamed"
        return f"{what}, or its app is not installed there"

    @property
    def remedy(self) -> str:
        """What to do, as the end of a sentence."""
        older = "start a worker with the older code"
        if self.kind == EXECUTOR:
            return f"add {self.name!r} to EXECUTORS, or {older}"
        if self._is_of_step:
            return f"add name={self.step!r} to the step that was renamed, or {older}"
        decorator = HANDLER if self.kind == HANDLER else CONDITION
        return f"register it again with @{decorator}({self.name!r}), or {older}"

    @property
    def _is_of_step(self) -> bool:
        return self.kind == HANDLER and self.name == f"{self.flow}.{self.step}"


@dataclass(frozen=True, slots=True)
class Missing:
    """Code for which tasks of a step were put aside.

    is_nobodys: no live worker that serves the queue has it; else it is not known of all of them.
    """

    code: Code
    queue: str
    is_nobodys: bool

    def __str__(self) -> str:
        who = "No live worker has" if self.is_nobodys else "The worker that took it does not have"
        hope = "" if self.is_nobodys else " Another worker may have it."
        return f"{who} {self.code}: {self.code.cause}.{hope} To mend it, {self.code.remedy}."


# a task of each step is looked at, one that was put aside if there is any; one in each running activation, of at most
# a thousand. Workers that serve its queue and have not handed it back for this reason may have the code
MISSING_IN = f"""
    SELECT DISTINCT ON (s.step) s.step, f.slug, t.queue, a.reason, a.missing_code, NOT EXISTS (
        SELECT 1 FROM django_workflow_worker w
        WHERE {IS_LIVE}
          AND jsonb_exists(w.queues, t.queue) AND NOT EXISTS (
            SELECT 1 FROM django_workflow_attempt x
            WHERE x.task_id = t.id AND x.worker_id = w.id AND x.outcome = 'released' AND x.reason = a.reason
              AND x.missing_code = a.missing_code))
    FROM (SELECT id, step, run_id FROM django_workflow_steprun
          WHERE run_id = %s::uuid AND status = 'running' ORDER BY id DESC LIMIT 1000) s
    JOIN django_workflow_run r ON r.id = s.run_id
    JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
    CROSS JOIN LATERAL (
        SELECT id, queue FROM django_workflow_task
        WHERE step_run_id = s.id AND status = 'queued' AND due_at IS NOT NULL LIMIT 1) t
    CROSS JOIN LATERAL (
        SELECT outcome, reason, missing_code FROM django_workflow_attempt
        WHERE task_id = t.id ORDER BY id DESC LIMIT 1) a
    WHERE a.outcome = 'released' AND a.reason = ANY(%s)
    ORDER BY s.step, s.id
"""  # noqa: S608  a constant


def missing_in(run_id: UUID) -> dict[str, Missing]:
    """Return what the steps of a run wait for because a worker did not have it, by step."""
    return {
        step: Missing(Code(KINDS[reason], name, slug, step), queue, is_nobodys)
        for step, slug, queue, reason, name, is_nobodys in db.rows(MISSING_IN, [run_id, list(NO_CODE_REASONS)])
    }
