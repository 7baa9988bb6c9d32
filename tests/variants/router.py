"""The router of a site that reads from a replica."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import django
from django.db import connections, models

import django_workflow

PACKAGE = Path(django_workflow.__file__).parent
DJANGO = Path(django.__file__).parent
ALIAS = "replica"


class Router:
    """Sends the package's reads of its own tables to a database that does not answer; what tests read is read."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        if model._meta.app_label != "django_workflow" or not _asks_the_package(sys._getframe(1)):
            return None
        connections.databases.setdefault(ALIAS, connections.databases["default"] | {"HOST": "/nowhere", "PORT": ""})
        return ALIAS

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool:
        return True


class Always(Router):
    """Sends all reads of the package's tables there, whoever reads."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        if model._meta.app_label != "django_workflow":
            return None
        connections.databases.setdefault(ALIAS, connections.databases["default"] | {"HOST": "/nowhere", "PORT": ""})
        return ALIAS


def _asks_the_package(frame: FrameType | None) -> bool:
    """Say whether the code that wants to know is the package's: the first that is not Django's."""
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(DJANGO):
        frame = frame.f_back
    return frame is not None and Path(frame.f_code.co_filename).is_relative_to(PACKAGE)
