"""What processes that tests start leave out."""

from __future__ import annotations

from example_project.settings import INSTALLED_APPS


def lean(*more: str) -> list[str]:
    """Return the example project's apps and others, with an admin that looks for no pages: a fifth of a start."""
    quiet = {"django.contrib.admin": "django.contrib.admin.apps.SimpleAdminConfig"}
    return [*(quiet.get(app, app) for app in INSTALLED_APPS), *more]
