"""What code may leave behind in the context it runs in."""

from __future__ import annotations

import contextvars
import decimal

from django.conf import settings
from django.utils import timezone, translation

variable = contextvars.ContextVar("variable", default="fresh")
FRESH = ["fresh", settings.LANGUAGE_CODE, settings.TIME_ZONE, 28]


def seen() -> list[object]:
    """Return what is there."""
    return [variable.get(), translation.get_language(), timezone.get_current_timezone_name(), decimal.getcontext().prec]


def leave() -> list[object]:
    """Return what is there, and leave something else behind."""
    found = seen()
    variable.set("left")
    translation.activate("fr")
    timezone.activate("Asia/Tokyo")
    decimal.setcontext(decimal.Context(prec=5))
    return found
