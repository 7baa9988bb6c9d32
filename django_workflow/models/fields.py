"""Database defaults of the models."""

from __future__ import annotations

from django.db import models


class ClockTimestamp(models.Func):
    """The one clock of the engine: the database's, which moves on within a transaction."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()
    arity = 0
    allowed_default = True
