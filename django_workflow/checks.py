"""System checks: mistakes in the settings, told before anything runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from django_workflow.conf import KEYS, SETTING
from django_workflow.engine.records import LEVELS


@register()
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report unknown keys and unusable values of `DJANGO_WORKFLOW`."""
    values = getattr(settings, SETTING, {})
    if not isinstance(values, dict):
        return [Error(f"{SETTING} must be a dictionary.", id="django_workflow.E001")]
    problems: list[CheckMessage] = [
        Error(
            f"{SETTING} has an unknown key {key!r}.", hint=f"Known keys: {', '.join(KEYS)}.", id="django_workflow.E002"
        )
        for key in values
        if key not in KEYS
    ]
    alias = values.get("DATABASE", "default")
    engine = settings.DATABASES.get(alias, {}).get("ENGINE", "")
    if alias not in settings.DATABASES:
        problems.append(
            Error(f"{SETTING}['DATABASE'] names {alias!r}, which is not in DATABASES.", id="django_workflow.E003")
        )
    elif "sqlite" in engine or "mysql" in engine or "oracle" in engine:
        hint = "Put the workflow tables on a PostgreSQL database with the DATABASE key."
        problems.append(
            Error(f"Workflows need PostgreSQL; {alias!r} uses {engine}.", hint=hint, id="django_workflow.E004")
        )
    if values.get("EVENT_LEVEL", "step") not in LEVELS:
        problems.append(
            Error(f"{SETTING}['EVENT_LEVEL'] must be one of {', '.join(LEVELS)}.", id="django_workflow.E005")
        )
    problems += [
        Error(f"{SETTING}[{key!r}] must be a timedelta.", id="django_workflow.E006")
        for key in ("LEASE", "GRACE", "POLL_INTERVAL", "TIMEOUT", "MAX_DURATION", "RETENTION", "ATOMIC_TIMEOUT")
        if values.get(key) is not None and not isinstance(values[key], timedelta)
    ]
    return problems
