"""Settings that a database gives to every new session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from django_workflow import db


@contextmanager
def defaults(**settings: str) -> Iterator[None]:
    """Let new sessions of the test's database begin with these settings; those that are open keep theirs."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    for key, value in settings.items():
        db.run_script(f"ALTER DATABASE {name} SET {key} = '{value}'")
    try:
        yield
    finally:
        for key in settings:
            db.run_script(f"ALTER DATABASE {name} RESET {key}")
