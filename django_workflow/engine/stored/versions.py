"""Making definitions known to the database: flows, immutable versions, queues.

A version is published before it is needed: after migrating, when a worker starts, or at first use
over a short connection of its own, so that a request's transaction holds neither DDL nor the lock
of a new version's row. Where the caller's transaction itself stands in the way, because it has changed
the flow, it publishes in that transaction.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError
from django.db.models import Max

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import DefinitionError, UnknownFlow
from django_workflow.ids import content_id
from django_workflow.models import FlowDefinition, FlowVersion, Queue

logger = logging.getLogger("django_workflow")

T = TypeVar("T")

#: Milliseconds for which a connection of its own waits for a lock. The caller's transaction may hold it, and
#: PostgreSQL sees no deadlock where one process waits for itself over two connections.
PATIENCE_MS = 100


class Published:
    """What this process knows to be in the database, so that a start asks for nothing twice."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Forget everything: the database was emptied or migrated."""
        self.versions: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        self.specs: dict[tuple[str, int], FlowSpec] = {}
        self.queues: set[tuple[str, str]] = set()
        self.unreadable: set[tuple[str, int]] = set()
        db.forget_drawn_ids()


published = Published()


def version_of(spec: FlowSpec) -> tuple[int, int]:
    """Return the ids of the flow and of the version that holds `spec`; what is new is published, queues included."""
    return published.versions.get(_key(spec)) or _publish([spec])[0]


def _key(spec: FlowSpec) -> tuple[str, str, str, str]:
    return conf.DATABASE, conf.DEFAULT_QUEUE, spec.slug, spec.fingerprint


def _publish(specs: Sequence[FlowSpec]) -> list[tuple[int, int]]:
    """Publish definitions of different flows and their queues; return the ids of each one's flow and version."""
    if taken := taken_by_stored_flows(spec.slug for spec in specs):
        raise DefinitionError(list(taken.values()))
    is_inside = _add_missing(lambda: _unstored(specs), _add_versions)
    ensure_queues(set().union(*map(queues_of, specs)), is_inside=is_inside)
    stored = _versions_of(specs)
    found = [stored[spec.slug, spec.fingerprint] for spec in specs]
    known = {_key(spec): ids for spec, ids in zip(specs, found, strict=True)}
    _remember(lambda: published.versions.update(known))
    for spec, (_, version_id) in zip(specs, found, strict=True):
        published.specs[conf.DATABASE, version_id] = spec  # what is rolled back leaves no id to another version
    return found


def taken_by_stored_flows(slugs: Iterable[str]) -> dict[str, Problem]:
    """Return what is wrong with flows declared in code whose slugs flows stored as data have, by slug."""
    declared = {slug: place for slug in slugs if (place := registry.place_of(slug)) is not None}
    if not declared:
        return {}
    rows = FlowDefinition.objects.using(conf.DATABASE).filter(slug__in=declared, source=FlowDefinition.Source.STORED)
    return {
        slug: Problem(
            "name_taken",
            ("slug",),
            f"flow {slug!r} is declared twice: {declared[slug]}, and stored as data in the database "
            f"{conf.DATABASE!r} since {created_at:%Y-%m-%d %H:%M}; give one of them another name",
            place="",
        )
        for slug, created_at in rows.order_by("slug").values_list("slug", "created_at")
    }


def spec_of(version_id: int) -> FlowSpec:
    """Return the definition of a version; versions are immutable, so it is read once per process."""
    key = (conf.DATABASE, version_id)
    spec = published.specs.get(key)
    if spec is None:
        version = FlowVersion.objects.using(conf.DATABASE).get(pk=version_id)
        # known in tests, too: what is rolled back leaves no id to another version
        spec = published.specs[key] = FlowSpec.from_dict(version.spec)
    return spec


HAS_VERSION_WITH = """
    SELECT EXISTS (
        SELECT 1 FROM django_workflow_flowversion v JOIN django_workflow_flowdefinition f ON f.id = v.flow_id
        WHERE f.slug = %s AND v.spec @> %s::jsonb
    )
"""


def has_version_with(slug: str, step: str) -> bool:
    """Say whether any version of a flow has a step: its code may ask for it in runs of older ones."""
    return bool(db.rows(HAS_VERSION_WITH, [slug, json.dumps({"steps": [{"name": step}]})])[0][0])


def readable_spec(version_id: int) -> FlowSpec | None:
    """Return the definition of a version; None where it is gone, or a later release wrote it in other words.

    That is logged once: whoever asks does so again and again.
    """
    try:
        return spec_of(version_id)
    except DatabaseError:
        raise
    except Exception as error:
        if db.is_retryable(error):
            raise  # it says nothing about the version
        if (conf.DATABASE, version_id) not in published.unreadable:
            published.unreadable.add((conf.DATABASE, version_id))
            logger.exception("flow version %s cannot be read by this release; it is left to a newer one", version_id)
        return None


def slug_of(version_id: int) -> str:
    """Return the slug of a version's flow, for logs: also of a version that this release cannot read."""
    spec = readable_spec(version_id)
    return f"version {version_id}" if spec is None else spec.slug


def can_decide(version_id: int) -> bool:
    """Say whether this process has code for whatever a version's conditions ask, wherever its runs are."""
    spec = readable_spec(version_id)
    return spec is not None and not missing_code(spec)


def missing_code(spec: FlowSpec) -> list[str]:
    """Return the callables that decisions about a flow may need and this process does not have."""
    names = {name for path in spec.path_callables.values() for name in path}
    return sorted(name for name in names if not registry.has_callable(name))


def ensure_queues(names: Iterable[str], *, is_inside: bool = False) -> None:
    """Create the queues `names` where they do not exist.

    is_inside: in the caller's transaction, as the flow that names them: what is rolled back must leave no name behind.
    """
    wanted = {name for name in names if (conf.DATABASE, name) not in published.queues}
    if wanted:
        _add_missing(lambda: _missing_queues(wanted), _create_queues, is_inside=is_inside)
        known = {(conf.DATABASE, name) for name in wanted}
        _remember(lambda: published.queues.update(known))


def queues_of(spec: FlowSpec) -> set[str]:
    """Return the names of the queues a flow's steps use."""
    return {step.queue or conf.DEFAULT_QUEUE for step in spec.steps.values()}


def publish_declared() -> None:
    """Publish every sound flow declared in this process, and its queues; the others are named in the log.

    One mistake in one flow keeps none of the others from their work.
    """
    ensure_queues([conf.DEFAULT_QUEUE])
    taken = taken_by_stored_flows(flow.slug for flow in registry.flows())
    unsound = {
        flow.slug: f"{'; '.join(error.problems)} (manage.py check names the lines)"
        for flow, error in registry.invalid()
    } | taken
    for slug, problem in unsound.items():
        logger.error("flow %r is not served: %s", slug, problem)
    specs = [spec for spec in registry.specs() if spec.slug not in unsound]
    _publish([spec for spec in specs if _key(spec) not in published.versions])
    flows = FlowDefinition.objects.using(conf.DATABASE)
    flows.filter(slug__in=[spec.slug for spec in specs], retired_at__isnull=False).update(retired_at=None)


def publish_after_migrate(sender: Any, using: str = "default", **kwargs: Any) -> None:
    """Receiver of post_migrate, which also follows the flush of a transactional test."""
    if using != conf.DATABASE or not db.allows_migrate("django_workflow", using):
        return
    published.forget()
    if db.rows("SELECT to_regclass('django_workflow_flowdefinition') IS NOT NULL")[0][0]:
        publish_declared()


def _add_missing(missing: Callable[[], list[T]], add: Callable[[list[T]], None], *, is_inside: bool = False) -> bool:
    """Add what is missing outside the caller's transaction, or inside it where that is what stands in the way.

    missing: reads, in the caller's transaction, what has to be added. is_inside: add it in the caller's transaction.
    Returns whether anything was added in there.
    """
    wanted = missing()
    if wanted and not is_inside and db.in_transaction() and not db.in_test_transaction():
        try:
            db.on_own_connection(lambda: _add_without_waiting(add, wanted))
        except OperationalError as error:
            # a lock that the caller may hold, or no connection to be had: one wait, which PostgreSQL can judge
            logger.info("published in the caller's transaction: %s", error)
        wanted = missing()
    if wanted:
        add(wanted)
    return bool(wanted) and db.in_transaction()


def _add_without_waiting(add: Callable[[list[T]], None], wanted: list[T]) -> None:
    with db.atomic(), db.lock_timeout(PATIENCE_MS):
        add(wanted)


def _remember(note: Callable[[], None]) -> None:
    """Note what the database has, as soon as it is committed: what is rolled back must not be known later."""
    if not db.in_test_transaction():
        db.after_commit(note)


def _unstored(specs: Sequence[FlowSpec]) -> list[FlowSpec]:
    """Return the definitions that have no version."""
    found = _versions_of(specs)
    return [spec for spec in specs if (spec.slug, spec.fingerprint) not in found]


def _versions_of(specs: Sequence[FlowSpec]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the ids of flow and version of those definitions that are stored, by slug and fingerprint."""
    versions = FlowVersion.objects.using(conf.DATABASE).filter(
        flow__slug__in=[spec.slug for spec in specs], fingerprint__in=[spec.fingerprint for spec in specs]
    )
    rows = versions.values_list("flow__slug", "fingerprint", "flow_id", "id")
    return {(slug, fingerprint): (flow_id, version_id) for slug, fingerprint, flow_id, version_id in rows}


def _add_versions(specs: Sequence[FlowSpec]) -> None:
    """Store definitions, where no other process has done so meanwhile."""
    flows = FlowDefinition.objects.using(conf.DATABASE)
    versions = FlowVersion.objects.using(conf.DATABASE)
    # in one order in every process: those that publish the same wait for each other, never in a circle
    specs = sorted(specs, key=attrgetter("slug"))
    with db.atomic():
        new = [FlowDefinition(id=content_id(spec.slug), slug=spec.slug, title=spec.title) for spec in specs]
        flows.bulk_create(new, ignore_conflicts=True)
        # the row of the flow is the lock under which version numbers are given
        locked = flows.filter(slug__in=[spec.slug for spec in specs]).order_by("slug").select_for_update(no_key=True)
        ids = dict(locked.values_list("slug", "id"))
        found = _versions_of(specs)
        last = dict(versions.filter(flow__in=ids.values()).values_list("flow").annotate(Max("number")).order_by())
        added = [spec for spec in specs if (spec.slug, spec.fingerprint) not in found]
        versions.bulk_create(
            FlowVersion(
                # whoever remembers it over a restore, a fixture or a flush remembers this very definition
                id=content_id(spec.slug, spec.fingerprint),
                flow_id=ids[spec.slug],
                number=last.get(ids[spec.slug], 0) + 1,
                fingerprint=spec.fingerprint,
                spec=spec.to_dict(),
            )
            for spec in added
        )


def _missing_queues(names: Iterable[str]) -> list[str]:
    """Return the queues that have no messages' table or no row."""
    rows = Queue.objects.using(conf.DATABASE).filter(name__in=names).values_list("name", flat=True)
    return sorted(set(names) - (set(rows) & set(queue.existing())))


def _create_queues(names: list[str]) -> None:
    with db.atomic():
        new = sorted(set(names) - set(queue.existing()))
        if new:
            queue.create(new)
        Queue.objects.using(conf.DATABASE).bulk_create(
            [Queue(id=content_id(name), name=name) for name in names], ignore_conflicts=True
        )


def restore_queues() -> int:
    """Make the queues of this site again whose tables are gone; returns how many."""
    names = Queue.objects.using(conf.DATABASE).values_list("name", flat=True)
    gone = sorted(set(names) - set(queue.existing()))
    if gone:
        logger.warning("the tables of queues are gone and are made again: %s", ", ".join(gone))
        queue.create(gone)
    return len(gone)


def latest_version(slug: str) -> FlowVersion:
    """Return the newest version of a stored flow, else raise `UnknownFlow`."""
    version = FlowVersion.objects.using(conf.DATABASE).filter(flow__slug=slug).order_by("-number").first()
    if version is None:
        raise UnknownFlow(f"No flow {slug!r} is stored in this database.")
    return version
