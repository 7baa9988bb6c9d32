"""What handlers in processes of their own tell a test: rows of `auth_group`."""

from __future__ import annotations

import time

from django.contrib.auth.models import Group


def tell(what: str) -> None:
    """Leave a trace that a test can see."""
    Group.objects.create(name=f"{what} {time.monotonic_ns()}")


def told(what: str) -> int:
    """Return how often something was told."""
    return Group.objects.filter(name__startswith=f"{what} ").count()
