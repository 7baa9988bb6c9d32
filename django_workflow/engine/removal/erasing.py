"""Erasing runs: everything of them, or what people and handlers said in them; each leaves a row that tells of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django_workflow import db, text
from django_workflow.conf import conf
from django_workflow.engine.removal.retention import DELETE_OF_RUNS
from django_workflow.engine.stored.locking import lock_patiently
from django_workflow.exceptions import NotSupported, RunBusy, RunNotFound
from django_workflow.models import Run
from django_workflow.models.triggers import REPAIR_SETTING, RETENTION_SETTING
from django_workflow.notifications import notifications
from django_workflow.statuses import RUN_TERMINAL

#: Runs that are erased in one transaction.
BATCH = 200
RUN, PAYLOADS = "run", "payloads"


@dataclass
class Erased:
    """What was erased: how many runs, and how many rows of each table."""

    runs: int = 0
    rows: Counter[str] = field(default_factory=Counter)


# a retry carries inputs and outputs over, so that what is to be erased is in it, too
FAMILY = """
    WITH RECURSIVE family AS (
        SELECT id, retry_of_id FROM django_workflow_run WHERE id = ANY(%s::uuid[])
        UNION
        SELECT r.id, r.retry_of_id FROM django_workflow_run r
        JOIN family f ON r.retry_of_id = f.id OR r.id = f.retry_of_id
    )
    SELECT id FROM family ORDER BY id
"""


def erase(
    run_ids: Sequence[UUID], *, payloads_only: bool = False, reason: str = "", by: str = "", dry_run: bool = False
) -> Erased:
    """Erase settled runs together with their retries and the runs they are retries of.

    payloads_only: keep what happened and when, and erase what was said: inputs, outputs, items, variables, messages of
    errors, the data of events, log lines. Such a run cannot be retried.
    reason, by: kept, with the counts, in a row of `Erasure` for each run. dry_run: count the runs and do nothing.
    Raises `RunNotFound`, and `NotSupported` for a run that has not settled; then none is erased. Raises `RunBusy` where
    another transaction holds a run for too long, and says how many were erased before.
    """
    reason, by = text.remarks(reason, by)
    family: list[UUID] = [row[0] for row in db.rows(FAMILY, [list(run_ids)])]
    for run_id in run_ids:
        if run_id not in family:
            raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    # of all batches before the first is erased: a run that has settled stays so
    _check_settled(family)
    result = Erased()
    for start in range(0, len(family), BATCH):
        chunk = family[start : start + BATCH]
        with db.atomic():
            flows = _lock(chunk, result.runs, len(family), dry_run=dry_run)
            if not dry_run:
                counts = _erase_payloads(chunk) if payloads_only else _delete(chunk)
                told = [json.dumps(counts[run_id]) for run_id in flows]
                what = PAYLOADS if payloads_only else RUN
                erased = ERASED.lists(run_id=list(flows), flow_id=list(flows.values()), counts=told)
                db.execute(RECORD, [what, by, reason, *erased])
                db.notify_after_commit(notifications(runs=chunk))
                for rows in counts.values():
                    result.rows.update(rows)
        result.runs += len(flows)
    return result


def labelled(labels: Mapping[str, str]) -> list[UUID]:
    """Return the settled and unsettled runs that have all of these labels."""
    found = Run.objects.using(conf.DATABASE).filter(labels__contains=dict(labels))
    return list(found.order_by("id").values_list("id", flat=True))


UNSETTLED = (
    "SELECT id, status FROM django_workflow_run WHERE id = ANY(%s::uuid[]) AND status <> ALL(%s::text[]) LIMIT 1"
)
FLOWS_OF = "SELECT id, flow_id FROM django_workflow_run WHERE id = ANY(%s::uuid[]) ORDER BY id"


def _check_settled(run_ids: Sequence[UUID]) -> None:
    """Raise `NotSupported` where one of the runs has not ended."""
    for run_id, status in db.rows(UNSETTLED, [list(run_ids), sorted(RUN_TERMINAL)]):
        raise NotSupported(
            f"Run {run_id} is {status}; only a settled run can be erased. Cancel it first.",
            run_id=run_id, status=status,
        )  # fmt: skip


def _lock(run_ids: Sequence[UUID], done: int, total: int, *, dry_run: bool) -> dict[UUID, int]:
    """Lock the runs of a batch and return the ids of their flows.

    done, total: how many runs were erased before, of how many. Raises `RunBusy`.
    """
    try:
        lock_patiently(run_ids)
    except RunBusy as error:
        if dry_run or not done:
            raise
        raise RunBusy(
            f"Another transaction has held a run for too long. {done:,} of {total:,} runs were erased before; erase "
            "the others when it has ended."
        ) from error
    return dict(db.rows(FLOWS_OF, [list(run_ids)]))


def _counting(statement: str, table: str) -> str:
    """Return a statement that executes another one and counts its rows, by run."""
    key = "id" if table == "run" else "run_id"
    return f"WITH done AS ({statement} RETURNING {key}) SELECT {key}, count(*) FROM done GROUP BY {key}"


def _delete(run_ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    """Delete runs with all that belongs to them."""
    db.rows("SELECT set_config(%s, 'on', true)", [RETENTION_SETTING])
    counts: dict[UUID, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for statement in DELETE_OF_RUNS:
        table = statement.split()[2].removeprefix("django_workflow_")
        for run_id, count in db.rows(_counting(statement, table), [run_ids]):
            counts[run_id][table] = count
    return counts


def _texts(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


#: What is kept of an event of the engine's: who did something, and what it was about. Events of tasks say payloads.
KEPT_OF_EVENTS = ("by", "class", "step", "iteration", "scope", "generation", "arrived", "missing", "retry_of", "mode")
ERASE_PAYLOADS = {
    "run": """
        UPDATE django_workflow_run SET input = NULL, output = NULL, error = error || '{"message": ""}',
               erased_at = clock_timestamp()
        WHERE id = ANY(%s::uuid[])
    """,
    "steprun": """
        UPDATE django_workflow_steprun SET error = error || '{"message": ""}', message = ''
        WHERE run_id = ANY(%s::uuid[])
    """,
    "task": """
        UPDATE django_workflow_task SET item = NULL, output = NULL, progress = NULL WHERE step_run_id IN (
            SELECT id FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[]))
    """,
    "attempt": """
        UPDATE django_workflow_attempt SET message = '', traceback = '', fingerprint = '' WHERE task_id IN (
            SELECT t.id FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
            WHERE s.run_id = ANY(%s::uuid[]))
    """,
    "variables": "UPDATE django_workflow_variables SET values = '{}', stamps = '{}' WHERE run_id = ANY(%s::uuid[])",
    "event": f"""
        UPDATE django_workflow_event e
        SET data = CASE WHEN task_id IS NULL THEN (
            SELECT jsonb_object_agg(key, value) FROM jsonb_each(e.data) WHERE key IN ({_texts(KEPT_OF_EVENTS)})) END
        WHERE run_id = ANY(%s::uuid[]) AND data IS NOT NULL
    """,
    "tasklog": "DELETE FROM django_workflow_tasklog WHERE run_id = ANY(%s::uuid[])",
}


def _erase_payloads(run_ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    """Erase what was said in runs, and keep that they were."""
    db.rows("SELECT set_config(%s, 'on', true), set_config(%s, 'on', true)", [RETENTION_SETTING, REPAIR_SETTING])
    counts: dict[UUID, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for table, statement in ERASE_PAYLOADS.items():
        for run_id, count in db.rows(_counting(statement, table), [run_ids]):
            counts[run_id][table] = count
    return counts


ERASED = db.Columns("n", run_id="uuid", flow_id="bigint", counts="text")
RECORD = f"""
    INSERT INTO django_workflow_erasure (run_id, flow_id, flow_slug, what, counts, "by", reason)
    SELECT n.run_id, f.id, f.slug, %s, n.counts::jsonb, %s, %s
    FROM {ERASED}
    JOIN django_workflow_flowdefinition f ON f.id = n.flow_id
"""
