"""The one function that other people's executors call; it can be imported before Django is set up."""

from __future__ import annotations

import django
from django.apps import apps


def perform(text: str) -> str:
    """Run the described job here, in whatever process or thread this is, and return its outcome as JSON text."""
    if not apps.ready:
        django.setup()
    from django_workflow.worker import connections, remote

    try:
        return remote.perform(text)
    finally:
        # nobody tells when this thread ends
        connections.close_all()
