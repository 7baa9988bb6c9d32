"""What a database role has to be allowed to do, and the statements that allow it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from django_workflow import db, queue
from django_workflow.conf import conf

TABLES = "django_workflow\\_%"
# of the schema that has the tables; identities need no right of their own, sequences from which ids are drawn do
LACKING = """
    WITH wanted(kind, place, name, oid, privileges) AS (
        SELECT 'table', n.nspname, c.relname, c.oid, ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND (c.relname LIKE %s AND n.nspname = %s
              OR n.nspname = 'pgmq' AND (c.relname = 'meta' OR starts_with(c.relname, %s)))
        UNION ALL
        SELECT 'sequence', n.nspname, c.relname, c.oid, ARRAY['USAGE']
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'S' AND c.relname LIKE %s AND n.nspname = %s
    )
    SELECT kind, place, name, p.privilege
    FROM wanted CROSS JOIN LATERAL unnest(privileges) WITH ORDINALITY AS p(privilege, number)
    WHERE NOT CASE kind WHEN 'table' THEN has_table_privilege(oid, p.privilege)
                        ELSE has_sequence_privilege(oid, p.privilege) END
    UNION ALL
    SELECT 'schema', '', nspname, 'USAGE' FROM pg_namespace
    WHERE nspname IN ('pgmq', %s) AND NOT has_schema_privilege(oid, 'USAGE')
"""
WHO = """
    SELECT quote_ident(current_user), quote_ident(current_database()), quote_ident(current_schema()),
           has_schema_privilege(current_schema(), 'CREATE'), has_database_privilege(current_database(), 'CREATE'),
           EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'pgmq')
"""
CAN_MAKE_QUEUES = "SELECT has_schema_privilege('pgmq', 'CREATE')"


def role() -> str:
    """Return the role that this process is in the database, as SQL names it."""
    name: str = db.rows(WHO)[0][0]
    return name


def database() -> str:
    """Return the name of the database, as SQL names it."""
    name: str = db.rows(WHO)[0][1]
    return name


def missing_grants() -> list[str]:
    """Return the statements that would allow this process's role what a worker does, each for all it is about."""
    schema = db.schema()
    own = [TABLES, schema]
    params = [*own, f"q_{queue.prefix()}", *own, schema]
    lacking: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, place, name, privilege in db.rows(LACKING, params):
        lacking[kind, f"{place}.{name}" if place else name].append(privilege)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, name), privileges in lacking.items():
        alike[kind, ", ".join(privileges)].append(name)
    order = ("schema", "table", "sequence")
    return [
        f"GRANT {privileges} ON {kind.upper()} {', '.join(sorted(names))} TO {role()};"
        for (kind, privileges), names in sorted(alike.items(), key=lambda item: order.index(item[0][0]))
    ]


def queues_it_may_not_make(names: Iterable[str]) -> list[str]:
    """Return those of the queues that do not exist and that this process's role may not make."""
    gone = sorted(set(names) - set(queue.existing()))
    return gone if gone and not db.rows(CAN_MAKE_QUEUES)[0][0] else []


def check_before_migrate(sender: Any, using: str = "default", plan: Any = (), **kwargs: Any) -> None:
    """Receiver of pre_migrate: say which rights a role lacks before PostgreSQL refuses the first statement."""
    is_ours = any(migration.app_label == "django_workflow" for migration, _ in plan)
    if using != conf.DATABASE or not is_ours or connections[using].vendor != "postgresql":
        return
    with connections[using].cursor() as cursor:
        cursor.execute(WHO)
        role, database, schema, may_make_tables, may_make_schemas, has_pgmq = cursor.fetchone()
    grants = []
    if schema is None:
        raise CommandError(f"Role {role} finds no schema for tables in database {database}: mend its search_path.")
    if not may_make_tables:
        grants.append(f"GRANT CREATE ON SCHEMA {schema} TO {role};")
    if not (may_make_schemas or has_pgmq):
        grants.append(f"GRANT CREATE ON DATABASE {database} TO {role};  -- for the schema pgmq")
    if grants:
        raise CommandError(
            f"Role {role} may not create what workflows need in database {database} (DATABASES[{using!r}]).\n"
            "As the owner of the database run:\n  " + "\n  ".join(grants) + "\nThen run manage.py migrate again."
        )
