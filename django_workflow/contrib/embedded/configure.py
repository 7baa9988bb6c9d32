"""The ``DATABASES`` entry of a site that has a PostgreSQL in production and none at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES = ("postgres", "postgresql")
KEYS_IN_QUERY = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}


class InvalidDatabaseURL(ValueError):
    """DATABASE_URL cannot be read."""

    def __init__(self, problem: str) -> None:
        # Never the URL itself: it holds a password, and errors end up in logs.
        super().__init__(
            f"DATABASE_URL {problem}. Expected postgresql://user:password@host:port/name, "
            "or postgresql:///name?host=/folder/of/the/socket."
        )


def database(folder: Path | str, *, name: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Describe the site's database: ``DATABASE_URL`` if that is set, else an embedded PostgreSQL.

    Args:
        folder: where the embedded PostgreSQL lives.
        name: the name of its database.
        environ: where to look for ``DATABASE_URL``.

    Returns:
        An entry for ``DATABASES``.

    Raises:
        InvalidDatabaseURL: ``DATABASE_URL`` is set, but not to the URL of a PostgreSQL database.
    """
    if url := environ.get("DATABASE_URL"):
        return parse_url(url)
    return {"ENGINE": "django_workflow.contrib.embedded", "NAME": name, "OPTIONS": {"folder": str(folder)}}


def parse_url(url: str) -> dict[str, Any]:
    """Read a PostgreSQL URL as libpq understands it; query parameters it does not name become ``OPTIONS``.

    Raises:
        InvalidDatabaseURL: with what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InvalidDatabaseURL(f"has the scheme {parts.scheme!r}, which is not PostgreSQL's")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    entry: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": _port(parts),
    }
    entry.update({key: query.pop(word) for word, key in KEYS_IN_QUERY.items() if word in query})
    if not entry["NAME"]:
        raise InvalidDatabaseURL("names no database")
    return {**entry, "OPTIONS": query}


def _port(parts: SplitResult) -> str:
    try:
        return str(parts.port or "")
    except ValueError as error:
        raise InvalidDatabaseURL("has a port that is not a number") from error
