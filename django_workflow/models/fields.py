"""Database defaults of the models."""

from __future__ import annotations

from django.db import models


class CurrentTransaction(models.Func):
    """The writing transaction's id: what is read below the oldest open one is never added to."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()
    arity = 0
    allowed_default = True


class ClockTimestamp(models.Func):
    """The one clock of the engine: the database's, which moves on within a transaction."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()
    arity = 0
    allowed_default = True
