"""django-tasks-db as a contender: its worker runs one task at a time, in one process, by design."""

from __future__ import annotations

import os
import sys

import django
import protocol
from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    INSTALLED_APPS=["django_tasks_db"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"],
            # The worker asks Django to drop old connections after each task; without this it reconnects every time.
            "CONN_MAX_AGE": None,
        }
    },
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}},
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django_tasks_db.models import DBTaskResult  # noqa: E402

try:
    from django.tasks import task  # Django 6
except ImportError:
    from django_tasks import task

# A task is stored by its import path, and the worker imports it: the module must not be `__main__`.
sys.modules.setdefault("peer_django_tasks_db", sys.modules[__name__])


@task
def noop() -> None:
    """Do nothing."""
    protocol.begin()


noop.func.__module__ = "peer_django_tasks_db"


class DjangoTasksDb:
    """Runs are task results."""

    def setup(self) -> None:
        """Migrate."""
        call_command("migrate", verbosity=0)

    def start(self, kind: str, count: int) -> None:
        """Enqueue in one transaction, which is the fastest way it has."""
        with transaction.atomic():
            for _ in range(count):
                {"noop": noop}[kind].enqueue()

    def is_settled(self) -> bool:
        """Nothing is ready or running."""
        return not DBTaskResult.objects.filter(status__in=["READY", "RUNNING"]).exists()

    def succeeded(self) -> int:
        """Count the results that succeeded."""
        return DBTaskResult.objects.filter(status="SUCCESSFUL").count()

    def work(self) -> None:
        """Its management command, without the random delay at start and without a line per task."""
        call_command("db_worker", startup_delay=False, reload=False, verbosity=0, interval=0.1)


if __name__ == "__main__":
    protocol.main(DjangoTasksDb())
