"""Where another process enters: it can be imported before Django is set up, which models cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from django.apps import apps


def perform(text: str) -> str:
    """Run the described job in whatever process or thread this is; return its outcome as JSON text.

    This is what the site's own executors call.
    """
    if not apps.ready:
        django.setup()
    from django_workflow.worker.jobs import connections  # noqa: PLC0415  models need Django to be ready
    from django_workflow.worker.runners import external  # noqa: PLC0415  models need Django to be ready

    try:
        return external.perform(text)
    finally:
        # nobody tells when this thread ends
        connections.close_all()


def examine(handlers: list[str]) -> dict[str, Any]:
    """Say whether this process could run these handlers: the error, if any, and those it does not know.

    An engine may ask in its event loop, where Django lets nobody use the database: a thread does it.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_examine, handlers).result()


def _examine(handlers: list[str]) -> dict[str, Any]:
    try:
        django.setup()
        from django_workflow import db  # noqa: PLC0415  models need Django to be ready
        from django_workflow.definition.registry import registry  # noqa: PLC0415

        unknown = [name for name in handlers if registry.handler(name) is None]
    except Exception as error:
        return {"error": f"Django cannot be set up: {error}", "unknown": [], "reaches_database": False}
    try:
        db.rows("SELECT 1 FROM django_workflow_task LIMIT 1")
    except Exception as error:
        return {"error": f"the database is out of reach: {error}", "unknown": unknown, "reaches_database": False}
    finally:
        db.close()
    return {"error": None, "unknown": unknown, "reaches_database": True}


def main(descriptor: int) -> None:
    """Be a child process of a worker."""
    django.setup()
    from django_workflow.worker.runners import child  # noqa: PLC0415  models need Django to be ready

    child.serve(descriptor)
