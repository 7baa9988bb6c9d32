"""What is gone from a site's code and serves nobody any more: flows, versions, queues and workers are removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import versions
from django_workflow.exceptions import UnknownFlow
from django_workflow.models import FlowDefinition
from django_workflow.models.triggers import RETENTION_SETTING


@dataclass
class Removed:
    """What was removed, by name; versions and workers only in numbers.

    retired: flows that have runs, which keep them until retention takes these; the board shows them no more.
    kept: flows that have runs which have not settled.
    """

    flows: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    versions: int = 0
    workers: int = 0

    def as_dict(self) -> dict[str, list[str] | int]:
        """Return it as a dictionary."""
        return asdict(self)


# the flow's row is the lock under which its versions are published
GONE_FLOWS = """
    SELECT f.slug, EXISTS (SELECT 1 FROM django_workflow_run r WHERE r.flow_id = f.id),
           EXISTS (SELECT 1 FROM django_workflow_run r
                   WHERE r.flow_id = f.id AND r.status IN ('scheduled', 'running', 'paused')),
           f.retired_at IS NOT NULL
    FROM django_workflow_flowdefinition f
    WHERE (f.source = 'code' OR f.retired_at IS NOT NULL) AND f.slug <> ALL(%s::text[])
    ORDER BY f.slug FOR NO KEY UPDATE OF f
"""
RETIRE = """
    UPDATE django_workflow_flowdefinition SET retired_at = clock_timestamp()
    WHERE slug = ANY(%s::text[]) AND retired_at IS NULL RETURNING slug
"""
DELETE_VERSIONS_OF = """
    DELETE FROM django_workflow_flowversion
    WHERE flow_id IN (SELECT id FROM django_workflow_flowdefinition WHERE slug = ANY(%s::text[]))
"""
DELETE_FLOWS = "DELETE FROM django_workflow_flowdefinition WHERE slug = ANY(%s::text[])"
UNUSED_VERSIONS = """
    SELECT v.id FROM django_workflow_flowversion v
    WHERE v.number < (SELECT max(number) FROM django_workflow_flowversion l WHERE l.flow_id = v.flow_id)
      AND NOT EXISTS (SELECT 1 FROM django_workflow_run r WHERE r.flow_id = v.flow_id AND r.version_id = v.id)
"""
DELETE_VERSIONS = "DELETE FROM django_workflow_flowversion WHERE id = ANY(%s::bigint[])"
SILENT_WORKERS = """
    SELECT id FROM django_workflow_worker WHERE heartbeat_at < clock_timestamp() - interval '1 day'
"""
DELETE_WORKERS = "DELETE FROM django_workflow_worker WHERE id = ANY(%s::bigint[])"


def remove_gone(*, dry_run: bool = False) -> Removed:
    """Remove what this process's code does not declare and nobody uses; retire what has runs.

    A flow is gone that was declared in code and is not any more; so are versions that are not the latest and have no
    runs, queues that no flow names, no worker serves and no task is in, and workers not heard of for a day. Where a
    removed flow, version or queue is declared again, publishing makes it anew.

    dry_run: tell what would be removed and do nothing.
    """
    declared = [flow.slug for flow in registry.flows()]
    with db.atomic():
        db.rows("SELECT set_config(%s, 'on', true)", [RETENTION_SETTING])
        removed = Removed()
        for slug, has_runs, has_open_runs, is_retired in db.rows(GONE_FLOWS, [declared]):
            if has_open_runs:
                removed.kept.append(slug)
            elif not has_runs:
                removed.flows.append(slug)
            elif not is_retired:
                removed.retired.append(slug)
        version_ids = [row[0] for row in db.rows(UNUSED_VERSIONS)]
        workers = [row[0] for row in db.rows(SILENT_WORKERS)]
        removed.versions, removed.workers = len(version_ids), len(workers)
        removed.queues = _gone_queues(removed.flows)
        if dry_run:
            return removed
        db.execute(RETIRE, [removed.retired])
        db.execute(DELETE_VERSIONS, [version_ids])
        db.execute(DELETE_VERSIONS_OF, [removed.flows])
        db.execute(DELETE_FLOWS, [removed.flows])
        db.execute(DELETE_WORKERS, [workers])
        for name in removed.queues:
            _remove_queue(name)
    versions.published.forget()
    return removed


def retire_flow(slug: str) -> None:
    """Take a flow off the board; publishing it again brings it back. Raises `UnknownFlow`."""
    if not FlowDefinition.objects.using(conf.DATABASE).filter(slug=slug).exists():
        raise UnknownFlow(f"No flow {slug!r} is stored in this database.")
    db.rows(RETIRE, [[slug]])


# what waits in it has a message, or a row that says when it is due, or belongs to a run that has not settled
USED_QUEUES = """
    SELECT name FROM django_workflow_queue q
    WHERE EXISTS (SELECT 1 FROM django_workflow_worker w
                  WHERE w.stopped_at IS NULL AND w.queues ? q.name
                    AND w.heartbeat_at > clock_timestamp() - make_interval(secs => 2 * w.lease_seconds))
       OR EXISTS (SELECT 1 FROM django_workflow_run r
                  JOIN django_workflow_steprun s ON s.run_id = r.id AND s.status = 'running'
                  JOIN django_workflow_task t ON t.step_run_id = s.id AND t.queue = q.name
                  WHERE r.status IN ('scheduled', 'running', 'paused')
                    AND t.status IN ('queued', 'held', 'running', 'suspended'))
"""
NAMED_VERSIONS = """
    SELECT v.id FROM django_workflow_flowversion v JOIN django_workflow_flowdefinition f ON f.id = v.flow_id
    WHERE f.slug <> ALL(%s::text[]) AND (
        f.retired_at IS NULL AND v.number = (
            SELECT max(number) FROM django_workflow_flowversion l WHERE l.flow_id = f.id)
        OR EXISTS (SELECT 1 FROM django_workflow_run r
                   WHERE r.flow_id = f.id AND r.version_id = v.id AND r.status IN ('scheduled', 'running', 'paused')))
"""


def _gone_queues(removed_flows: Iterable[str]) -> list[str]:
    """Return the queues that no flow names, no worker serves and no task is in."""
    used = {conf.DEFAULT_QUEUE, *(row[0] for row in db.rows(USED_QUEUES))}
    for spec in registry.specs():
        used |= versions.queues_of(spec)
    for (version_id,) in db.rows(NAMED_VERSIONS, [list(removed_flows)]):
        stored = versions.readable_spec(version_id)
        if stored is None:
            return []  # a later release wrote it, and knows which queues it names
        used |= versions.queues_of(stored)
    found = db.rows("SELECT name FROM django_workflow_queue WHERE paused_at IS NULL ORDER BY name")
    return [name for (name,) in found if name not in used]


def _remove_queue(name: str) -> None:
    queue.drop(name)
    db.execute("DELETE FROM django_workflow_queue WHERE name = %s", [name])
