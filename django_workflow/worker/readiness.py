"""Whether a worker can work at all: what is missing is said in words, with what to do, before it begins."""

from __future__ import annotations

import difflib
import logging
import pkgutil
from collections.abc import Iterable, Sequence
from importlib import import_module

from django.conf import settings
from django.db import DatabaseError

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import versions
from django_workflow.exceptions import DefinitionError
from django_workflow.read import rights

logger = logging.getLogger("django_workflow.worker")


class NotReady(Exception):
    """A worker cannot begin; the text says why, and what to do."""


# by the catalogue: `to_regclass` is refused to a role that may not use the schema
IS_THERE = """
    SELECT to_regclass('django_workflow_task') IS NOT NULL,
           EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'pgmq' AND c.relname = 'meta')
"""
ARE_MIGRATIONS_RECORDED = "SELECT to_regclass('django_migrations') IS NOT NULL"
APPLIED = "SELECT name FROM django_migrations WHERE app = 'django_workflow'"


def check(queues: Sequence[str]) -> None:
    """Raise `NotReady` where a worker of these queues cannot begin: no database, no tables, rights that lack."""
    try:
        _check_tables()
        _check_rights(queues)
    except DatabaseError as error:
        if not db.is_of_connection(error):
            raise
        raise NotReady(
            f"The database does not answer: {str(error).strip()}. "
            f"Start the server, or mend DATABASES[{conf.DATABASE!r}] in the settings."
        ) from error


def _check_tables() -> None:
    has_tables, has_pgmq = db.rows(IS_THERE)[0]
    if not has_tables:
        raise NotReady(
            f"Database {conf.DATABASE!r} has no tables of workflows. "
            "Run manage.py migrate, then start the worker again."
        )
    if not has_pgmq:
        raise NotReady(
            f"Database {conf.DATABASE!r} has the tables of workflows, but not pgmq, which holds the queues: it was "
            "left out of a restore, or dropped. Install it: manage.py shell -c "
            f'"from django_workflow import queue; queue.install({conf.DATABASE!r})"'
        )


def _check_rights(queues: Sequence[str]) -> None:
    if grants := rights.missing_grants():
        raise NotReady(
            f"Role {rights.role()} lacks rights that a worker needs in database {rights.database()} "
            f"(DATABASES[{conf.DATABASE!r}]). As the owner of the tables run:\n  " + "\n  ".join(grants)
        )
    wanted = {*queues, conf.DEFAULT_QUEUE, *_queues_in_code()}
    if names := rights.queues_it_may_not_make(wanted):
        raise NotReady(
            f"There is no queue {', '.join(names)}, and role {rights.role()} may not make it. Run manage.py migrate as "
            "the owner of the tables, or as the owner run:\n"
            f"  GRANT CREATE ON SCHEMA pgmq TO {rights.role()};"
        )


def _queues_in_code() -> set[str]:
    found: set[str] = set()
    for flow in registry.flows():
        try:
            found |= versions.queues_of(flow.spec)
        except DefinitionError:
            continue  # who publishes it says what is wrong
    return found


QUEUES_OF_VERSIONS = """
    SELECT DISTINCT coalesce(step->>'queue', %s) FROM django_workflow_flowversion v
    CROSS JOIN LATERAL jsonb_array_elements(v.spec->'steps') AS step
"""


def warn(queues: Sequence[str]) -> None:
    """Warn of what a worker can work with and is hardly meant: unused queues, migrations that are not applied."""
    if unapplied := _unapplied_migrations():
        logger.warning("migrations are not applied: %s; run manage.py migrate", ", ".join(unapplied))
    used = _queues_in_code() | {name for (name,) in db.rows(QUEUES_OF_VERSIONS, [conf.DEFAULT_QUEUE])}
    if not used:
        logger.warning(
            "No flow is known, neither in code nor in the database: is the app whose workflows.py declares it in "
            "INSTALLED_APPS?"
        )
        return
    for name in queues:
        # who serves others as well serves the default one for what may come
        if name in used or (name == conf.DEFAULT_QUEUE and used.intersection(queues)):
            continue
        alike = difflib.get_close_matches(name, used, n=1)
        hint = f"Did you mean {alike[0]}?" if alike else "Name those to serve with --queues."
        logger.warning(
            "No flow uses queue %s, which this worker serves; %s", name, f"flows use {_listed(used)}. {hint}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _unapplied_migrations() -> list[str]:
    if "django_workflow" in settings.MIGRATION_MODULES or not db.rows(ARE_MIGRATIONS_RECORDED)[0][0]:
        return []
    package = import_module("django_workflow.migrations")
    names = [item.name for item in pkgutil.iter_modules(package.__path__) if not item.name.startswith("_")]
    applied = {name for (name,) in db.rows(APPLIED)}
    return sorted(set(names) - applied)
