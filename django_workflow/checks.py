"""System checks of the settings: mistakes in them are told before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  Django calls it so
from django.utils.module_loading import import_string
from psycopg import IsolationLevel

from django_workflow.conf import KEYS, SETTING, Defaults
from django_workflow.definition.names import QUEUE_RULE, is_queue_name
from django_workflow.definition.retry import Retry
from django_workflow.definition.validation.flow import MAX_DURATION_CEILING, MAX_TASKS_CEILING
from django_workflow.definition.validation.retry import retry_problems
from django_workflow.engine.writing.event_log import LEVELS
from django_workflow.spelling import nearest

#: Keys whose value may be zero: no prefetching, no grace, no log lines.
MAY_BE_ZERO = frozenset({"PREFETCH", "GRACE", "LOG_LINES"})
CEILINGS = {"MAX_DURATION": MAX_DURATION_CEILING, "MAX_TASKS": MAX_TASKS_CEILING}


@register()
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report unknown keys and unusable values of `DJANGO_WORKFLOW`."""
    values = getattr(settings, SETTING, {})
    if not isinstance(values, dict):
        return [Error(f"{SETTING} must be a dictionary.", id="django_workflow.E001")]
    return [
        *(_unknown(key) for key in values if key not in KEYS),
        *_check_database(values),
        *_check_pool(values),
        *_check_names(values),
        *_check_numbers(values),
        *_check_retry(values.get("RETRY")),
        *_check_rule(values.get("OBJECT_PERMISSION")),
    ]


def _unknown(key: Any) -> Error:
    meant = nearest(key, (name.lower() for name in KEYS)) if isinstance(key, str) else None
    known = f"Known keys: {', '.join(KEYS)}."
    return _error("E002", key, "is unknown", f"Did you mean {meant.upper()!r}?" if meant else known)


def _error(number: str, key: Any, problem: str, hint: str | None = None) -> Error:
    return Error(f"{SETTING}[{key!r}] {problem}.", hint=hint, id=f"django_workflow.{number}")


def _check_database(values: Mapping[str, Any]) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    aliases = {"DATABASE": values.get("DATABASE", "default"), "LISTEN_DATABASE": values.get("LISTEN_DATABASE")}
    for key, alias in aliases.items():
        if alias is None and key == "LISTEN_DATABASE":
            continue
        if alias not in settings.DATABASES:
            problems.append(_error("E003", key, f"names {alias!r}, which is not in DATABASES"))
            continue
        level = settings.DATABASES[alias].get("OPTIONS", {}).get("isolation_level", IsolationLevel.READ_COMMITTED)
        if level != IsolationLevel.READ_COMMITTED:
            hint = "Use another alias for it, with PostgreSQL's default isolation level."
            problems.append(_error("E010", key, f"names {alias!r}, whose isolation_level is not READ COMMITTED", hint))
        engine = settings.DATABASES[alias].get("ENGINE", "")
        if any(other in engine for other in ("sqlite", "mysql", "oracle")):
            hint = "Add a PostgreSQL database and name its alias here: see the guide 'Databases'."
            names = "names" if key in values else "is not set, so it names"
            problems.append(
                _error("E004", key, f"{names} {alias!r}, which uses {engine}; workflows need PostgreSQL", hint)
            )
    return problems


#: Connections of a pool that says nothing about its size, as psycopg has it.
POOL_SIZE = 4


def _check_pool(values: Mapping[str, Any]) -> list[CheckMessage]:
    """Warn of a pool that is smaller than a worker's slots: handlers wait for each other's connections."""
    alias, slots = values.get("DATABASE", "default"), values.get("CONCURRENCY", Defaults.CONCURRENCY)
    pool = settings.DATABASES.get(alias, {}).get("OPTIONS", {}).get("pool")
    if not pool or not isinstance(slots, int):
        return []
    sizes = pool if isinstance(pool, dict) else {}
    size = sizes.get("max_size") or sizes.get("min_size", POOL_SIZE)
    if size >= slots:
        return []
    text = f"The pool of database {alias!r} has {size} connections, and a worker runs {slots} handlers at once."
    hint = "Raise max_size of the pool, or lower CONCURRENCY; handlers that find no connection in time fail."
    return [Warning(text, hint=hint, id="django_workflow.W002")]


def _check_names(values: Mapping[str, Any]) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if values.get("EVENT_LEVEL", "step") not in LEVELS:
        problems.append(_error("E005", "EVENT_LEVEL", f"must be one of {', '.join(LEVELS)}"))
    if values.get("LOG_LEVEL", "INFO") not in logging.getLevelNamesMapping():
        problems.append(_error("E011", "LOG_LEVEL", "must be the name of a level, such as INFO"))
    if not is_queue_name(values.get("DEFAULT_QUEUE", "default")):
        problems.append(_error("E008", "DEFAULT_QUEUE", f"is no queue's name: {QUEUE_RULE}"))
    return problems


def _check_numbers(values: Mapping[str, Any]) -> list[CheckMessage]:
    """Check what is a time or a number by its declared type."""
    problems: list[CheckMessage] = []
    for item in fields(Defaults):
        kind, _, optional = str(item.type).partition(" | ")
        if item.name not in values or kind not in _NUMBERS or (values[item.name] is None and optional):
            continue
        value, (number, cls, name) = values[item.name], _NUMBERS[kind]
        zero = cls(0)
        if not isinstance(value, cls) or isinstance(value, bool):
            problems.append(_error(number, item.name, f"must be a {name}, not {value!r}"))
        elif value < zero or (value == zero and item.name not in MAY_BE_ZERO):
            problems.append(_error(number, item.name, f"must be positive, not {value}"))
        elif item.name in CEILINGS and value > CEILINGS[item.name]:
            problems.append(_error(number, item.name, f"must be at most {CEILINGS[item.name]}, not {value}"))
    return problems


_NUMBERS: Mapping[str, tuple[str, Any, str]] = {
    "timedelta": ("E006", timedelta, "timedelta"),
    "int": ("E007", int, "whole number"),
}


def _check_retry(policy: Any) -> list[CheckMessage]:
    if policy is not None and not isinstance(policy, Retry):
        return [_error("E009", "RETRY", f"must be a django_workflow.Retry, not {policy!r}")]
    return [_error("E009", "RETRY", f"has a problem: {problem.message}") for problem in retry_problems(policy)]


def _check_rule(rule: Any) -> list[CheckMessage]:
    """Check the rule per flow: a page that cannot ask it shows nothing at all."""
    if isinstance(rule, str):
        try:
            rule = import_string(rule)
        except ImportError as error:
            return [_error("E012", "OBJECT_PERMISSION", f"cannot be imported: {error}")]
    if rule is not None and not callable(rule):
        return [_error("E012", "OBJECT_PERMISSION", f"must be a function or the path of one, not {rule!r}")]
    return []
