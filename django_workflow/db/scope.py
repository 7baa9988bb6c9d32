"""The schema in which the site's tables stand, told by the names of what the whole database shares.

Several sites may use one database, each in a schema of its own: queues, NOTIFY channels and advisory locks of one
must not be those of another. In the schema `public` they have their plain names.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_workflow.conf import conf
from django_workflow.db.sessions import connection, on_own_connection

PLAIN = "public"
FIND_SCHEMA = """
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('django_workflow_run')
"""
#: The schema by what decides it: where the database is, who asks, and the search path it is asked with.
_schemas: dict[tuple[Any, ...], str] = {}


class _Latest(threading.local):
    """The session of this thread that was asked last, and its schema."""

    session: Any = None
    schema = ""


_latest = _Latest()


def schema() -> str:
    """Return the schema of the site's tables, by this thread's connection; it is read once per process."""
    wrapper = connection()
    session = wrapper.connection
    if session is not None and session is _latest.session:
        return _latest.schema
    found = _schemas.get(_key(wrapper))
    if found is None:
        return _read(wrapper)
    _latest.session, _latest.schema = session, found
    return found


def schema_heard_by(wrapper: BaseDatabaseWrapper) -> str:
    """Return the same for a connection that listens, on which this thread's own one need not be opened."""
    main = connection()
    known = _schemas.get(_key(main))
    if known is not None:
        return known
    return _read(wrapper) if wrapper.alias == conf.DATABASE else on_own_connection(schema)


def tag() -> str:
    """Return five letters and digits that stand for the schema; nothing for `public`."""
    return _tag(schema())


def scoped(name: str, of: str | None = None) -> str:
    """Return the name of a channel or lock as this site alone uses it.

    of: the schema, where it is known already.
    """
    letters = _tag(schema() if of is None else of)
    return f"{name}.{letters}" if letters else name


def number_of_schema() -> int:
    """Return a number that stands for the schema, for keys of advisory locks; 0 for `public`."""
    name = schema()
    return 0 if name == PLAIN else int.from_bytes(_digest(name)[:8], "big", signed=True)


def _tag(name: str) -> str:
    return "" if name == PLAIN else base64.b32encode(_digest(name)).decode().lower()[:5]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _key(wrapper: BaseDatabaseWrapper) -> tuple[Any, ...]:
    entry = wrapper.settings_dict
    place = entry["NAME"], entry["HOST"], entry["PORT"], entry["USER"]
    return (conf.DATABASE, *place, (entry.get("OPTIONS") or {}).get("options"))


def _read(wrapper: BaseDatabaseWrapper) -> str:
    # past `rows`, which would send what the batch holds back
    with wrapper.cursor() as cursor:
        cursor.execute(FIND_SCHEMA)
        found = cursor.fetchone()
        if found is None:  # before the first migrate
            cursor.execute("SELECT current_schema()")
            return cursor.fetchone()[0] or PLAIN
    name: str = found[0]
    _schemas[_key(connection())] = name
    return name
