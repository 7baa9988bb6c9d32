"""Times as the site has them: with a time zone or, where `USE_TZ` is False, in the site's own and without one.

The columns of times know the zone, and Django reads them as the site has its times. What the package makes by itself,
from ids, seconds or texts, becomes such a time here, so that times of all origins can be compared and shown.
"""

from __future__ import annotations

from datetime import MINYEAR, UTC, datetime

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """Return the time of this computer."""
    return timezone.now()


def of_site(moment: datetime) -> datetime:
    """Return a time that has a zone, as the site has its times; the first or last there is where it would be beyond."""
    if settings.USE_TZ:
        return moment
    try:
        return timezone.make_naive(moment, timezone.get_default_timezone())
    except OverflowError:  # in the zone of the site it is in a year that no calendar has
        return datetime.min if moment.year == MINYEAR else datetime.max  # noqa: DTZ901  the site has no zone


def with_zone(moment: datetime) -> datetime:
    """Return a time of the site's with its zone, for what leaves the site: files, scripts, other programs."""
    return timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment


def local(moment: datetime) -> datetime:
    """Return a time of the site's as a reader's clock shows it."""
    return timezone.localtime(moment) if settings.USE_TZ else moment


def is_complete(moment: datetime) -> bool:
    """Say whether a time that somebody gives is one moment: without a zone only where the site has none."""
    return not settings.USE_TZ or timezone.is_aware(moment)


def of_json(text: str | None) -> datetime | None:
    """Return a time of the database that came within JSON."""
    return None if text is None else of_site(datetime.fromisoformat(text))


def of_epoch(seconds: float | None) -> datetime | None:
    """Return a time given in seconds since 1970, which JSON has as a number or a text."""
    return None if seconds is None else of_site(datetime.fromtimestamp(float(seconds), UTC))
