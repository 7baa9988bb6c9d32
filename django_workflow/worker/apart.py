"""Where another process enters: it can be imported before Django is set up, which models cannot."""

from __future__ import annotations

import sys

import django
from django.apps import apps


def perform(text: str) -> str:
    """Run the described job in whatever process or thread this is; return its outcome as JSON text.

    This is what the site's own executors call.
    """
    if not apps.ready:
        django.setup()
    from django_workflow.worker import connections, remote  # noqa: PLC0415  models need Django to be ready

    try:
        return remote.perform(text)
    finally:
        # nobody tells when this thread ends
        connections.close_all()


def main(descriptor: int) -> None:
    """Be a child process of a worker."""
    django.setup()
    from django_workflow.worker import remote  # noqa: PLC0415  models need Django to be ready

    remote.serve(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
