"""The app of the site."""

from __future__ import annotations

import os

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Removes the guard that the environment names, for races that are expected to fail without it."""

    name = "tests.chaos.site"
    label = "chaos_site"

    def ready(self) -> None:
        if name := os.environ.get("BREAK_GUARD"):
            from tests.races.guards import GUARDS

            GUARDS[name].remove(setattr)
