"""What there is to do now, and when there is more: what a keeper asks before its duties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.engine.stored import versions

# one statement tells an idle keeper that there is nothing to do
WHAT_IS_DUE = """
    SELECT
        EXISTS (SELECT 1 FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
                WHERE t.message_id IS NULL AND t.due_at <= clock_timestamp() AND t.status = 'queued'
                  AND NOT r.is_local),
        EXISTS (SELECT 1 FROM django_workflow_run WHERE status = 'scheduled' AND due_at <= clock_timestamp()),
        EXISTS (SELECT 1 FROM django_workflow_run
                WHERE status IN ('scheduled', 'running', 'paused') AND deadline_at <= clock_timestamp()
                  AND status <> 'paused'),
        EXISTS (SELECT 1 FROM django_workflow_flowdefinition WHERE paused_at IS NOT NULL),
        EXISTS (SELECT 1 FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
                WHERE a.generation IS NULL AND a.due_at <= clock_timestamp() AND r.status = 'running'
                  AND NOT r.is_local),
        extract(epoch FROM least(
            (SELECT min(due_at) FROM django_workflow_task
             WHERE message_id IS NULL AND due_at > clock_timestamp() AND status = 'queued'),
            (SELECT min(due_at) FROM django_workflow_run WHERE status = 'scheduled' AND due_at > clock_timestamp()),
            (SELECT min(due_at) FROM django_workflow_arrival
             WHERE generation IS NULL AND due_at > clock_timestamp())
        ) - clock_timestamp())::float8
"""


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do now, and the seconds until there is more, None where nothing waits for its time."""

    tasks: bool
    runs: bool
    deadlines: bool
    pauses: bool
    arrivals: bool
    seconds_to_next: float | None


def what_is_due() -> Due:
    """Return whether tasks, scheduled runs, deadlines and arrivals are due, and whether a flow is paused."""
    return Due(*db.rows(WHAT_IS_DUE)[0])


HAS_DELAYED = """
    SELECT EXISTS (SELECT 1 FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
                   WHERE t.message_id IS NULL AND t.due_at IS NOT NULL AND t.status = 'queued'
                     AND t.queue = ANY(%s::text[]) AND NOT r.is_local)
"""


def has_delayed_tasks(queues: Sequence[str]) -> bool:
    """Say whether any task of these queues waits in its row for a later time."""
    return bool(db.rows(HAS_DELAYED, [list(queues)])[0][0])


JOINS_WAITED_FOR = """
    SELECT DISTINCT r.version_id, a.step
    FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
    WHERE a.generation IS NULL AND a.due_at IS NOT NULL AND r.status = 'running' AND NOT r.is_local
"""


def has_delayed_arrivals(queues: Sequence[str]) -> bool:
    """Say whether an arrival at a join of these queues waits for a later time; those left to others do not count."""
    return any(
        versions.can_decide(version_id)
        and (versions.spec_of(version_id).steps[step].queue or conf.DEFAULT_QUEUE) in queues
        for version_id, step in db.rows(JOINS_WAITED_FOR)
    )
