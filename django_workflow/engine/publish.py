"""Making definitions known to the database: flows, immutable versions, queues.

A version is published before it is needed: after migrating, when a worker starts, or at first use
over a short connection of its own, so that a request's transaction holds neither DDL nor the lock
of a new version's row.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from django.db.models import Max

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import UnknownFlow
from django_workflow.models import FlowDefinition, FlowVersion, Queue

logger = logging.getLogger("django_workflow")


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
        db.forget_drawn_ids()


published = Published()


def version_of(spec: FlowSpec) -> tuple[int, int]:
    """Return the ids of the flow and of the version that holds `spec`; what is new is published, queues included."""
    key = (conf.DATABASE, conf.DEFAULT_QUEUE, spec.slug, spec.fingerprint)
    known = published.versions.get(key)
    if known is None:
        known = _elsewhere(lambda: _publish_version(spec))
        ensure_queues(queues_of(spec))
        if not db.in_test_transaction():
            published.versions[key] = known
            published.specs[key[0], known[1]] = spec
    return known


def spec_of(version_id: int) -> FlowSpec:
    """Return the definition of a version; versions are immutable, so it is read once per process."""
    key = (conf.DATABASE, version_id)
    spec = published.specs.get(key)
    if spec is None:
        version = FlowVersion.objects.using(conf.DATABASE).get(pk=version_id)
        spec = FlowSpec.from_dict(version.spec)
        if not db.in_test_transaction():
            published.specs[key] = spec
    return spec


def readable_spec(version_id: int) -> FlowSpec | None:
    """Return the definition of a version, or None where a later release of this package wrote it in other words."""
    try:
        return spec_of(version_id)
    except (KeyError, TypeError, ValueError):
        logger.exception("flow version %s cannot be read by this release; it is left to a newer one", version_id)
        return None


def ensure_queues(names: Iterable[str]) -> None:
    """Create the queues `names` where they do not exist."""
    wanted = {name for name in names if (conf.DATABASE, name) not in published.queues}
    if wanted:
        _elsewhere(lambda: _create_queues(sorted(wanted)))
        if not db.in_test_transaction():
            published.queues |= {(conf.DATABASE, name) for name in wanted}


def queues_of(spec: FlowSpec) -> set[str]:
    """Return the names of the queues a flow's steps use."""
    return {step.queue or conf.DEFAULT_QUEUE for step in spec.steps.values()}


def publish_declared() -> None:
    """Publish every flow declared in this process, and its queues."""
    ensure_queues({conf.DEFAULT_QUEUE}.union(*(queues_of(flow.spec) for flow in registry.flows())))
    for flow in registry.flows():
        version_of(flow.spec)


def publish_after_migrate(sender: Any, using: str = "default", **kwargs: Any) -> None:
    """Receiver of post_migrate, which also follows the flush of a transactional test."""
    if using != conf.DATABASE or not db.allows_migrate("django_workflow", using):
        return
    published.forget()
    if db.rows("SELECT to_regclass('django_workflow_flowdefinition') IS NOT NULL")[0][0]:
        publish_declared()


def _elsewhere(work: Any) -> Any:
    """Run `work` outside the caller's transaction; inside it only where a test rolls everything back."""
    if db.in_transaction() and not db.in_test_transaction():
        return db.on_own_connection(work)
    return work()


def _publish_version(spec: FlowSpec) -> tuple[int, int]:
    flows = FlowDefinition.objects.using(conf.DATABASE)
    with db.atomic():
        flow, _ = flows.get_or_create(slug=spec.slug, defaults={"title": spec.title})
        # the row of the flow is the lock under which version numbers are given
        flows.select_for_update(no_key=True).get(pk=flow.pk)
        versions = FlowVersion.objects.using(conf.DATABASE).filter(flow=flow)
        found = versions.filter(fingerprint=spec.fingerprint).first()
        if found is None:
            last = versions.aggregate(last=Max("number"))["last"] or 0
            found = FlowVersion.objects.using(conf.DATABASE).create(
                flow=flow, number=last + 1, fingerprint=spec.fingerprint, spec=spec.to_dict()
            )
    return flow.pk, found.pk


def _create_queues(names: list[str]) -> None:
    with db.atomic():
        new = sorted(set(names) - set(queue.existing()))
        if new:
            queue.create(new)
        Queue.objects.using(conf.DATABASE).bulk_create([Queue(name=name) for name in names], ignore_conflicts=True)


def latest_version(slug: str) -> FlowVersion:
    """Return the newest version of a stored flow, else raise `UnknownFlow`."""
    version = FlowVersion.objects.using(conf.DATABASE).filter(flow__slug=slug).order_by("-number").first()
    if version is None:
        raise UnknownFlow(f"No flow {slug!r} is stored in this database.")
    return version
