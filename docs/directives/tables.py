"""`{workflow-tables}`: the models as tables: columns, constraints, indexes, triggers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from django.apps import apps
from django.db import connection, models
from docutils import nodes
from docutils.parsers.rst import Directive

from directives import text


class Tables(Directive):
    """One part per model, in the order they are declared."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        return [node for model in _models() for node in _describe(model)]


def _models() -> list[type[models.Model]]:
    found = apps.get_app_config("django_workflow").get_models()
    return [model for model in found if not model._meta.proxy]  # noqa: SLF001  see below


def _describe(model: type[models.Model]) -> Iterator[nodes.Node]:
    meta = model._meta  # noqa: SLF001  Django's documented way to look at a model
    yield nodes.rubric("", "", nodes.Text(f"{model.__name__} · "), nodes.literal(text=meta.db_table))
    yield text.paragraph((inspect.getdoc(model) or "").replace("\n\n", " "))
    yield text.table(("Column", "Type", "Remark"), [_column(field) for field in meta.local_fields])
    rules = [*_constraints(meta), *_triggers(meta)]
    if rules:
        yield text.bullets(rules)


def _column(field: models.Field) -> tuple[str, str, str]:
    remarks = []
    if field.primary_key:
        remarks.append("primary key")
    elif field.unique:
        remarks.append("unique")
    if field.null:
        remarks.append("may be null")
    if field.is_relation:
        constraint = "" if field.db_constraint else ", without a constraint"
        remarks.append(f"refers to `{field.related_model.__name__}`{constraint}")
    if field.help_text:
        remarks.append(str(field.help_text).rstrip("."))
    return f"`{field.column}`", str(field.db_type(connection)), "; ".join(remarks)


def _constraints(meta: models.options.Options) -> Iterator[str]:
    for item in meta.constraints:
        if isinstance(item, models.UniqueConstraint):
            where = f" where `{_told(item.condition)}`" if item.condition else ""
            yield f"`{item.name}`: unique {', '.join(f'`{name}`' for name in item.fields)}{where}"
        else:
            yield f"`{item.name}`: check `{_told(item.condition)}`"
    for item in meta.indexes:
        where = f" where `{_told(item.condition)}`" if item.condition else ""
        yield f"index `{item.name}` on {', '.join(f'`{name}`' for name in item.fields)}{where}"


def _triggers(meta: models.options.Options) -> Iterator[str]:
    for item in getattr(meta, "triggers", ()):
        yield f"trigger `{item.name}`, {str(item.when).lower()} {str(item.operation).lower()}, once per statement"


def _told(condition: models.Q) -> str:
    parts = [f"{name.replace('__', ' ')} = {value}" for name, value in condition.children]
    return " and ".join(parts)
