"""What the pages show again and again: statuses, times, durations, JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.urls import get_script_prefix
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from django_workflow import times
from django_workflow.display import duration
from django_workflow.payload import readable
from django_workflow.statuses import in_words
from django_workflow.web.drawing import signs

register = template.Library()
register.filter(duration)


@register.filter
def words(value: str) -> str:
    """Return a status, or another name of the engine's, as people say it."""
    return in_words(value)


@register.simple_tag
def status(value: str) -> SafeString:
    """Return a pill that tells a status by sign, word and colour."""
    return format_html('<span class="status status-{}">{} {}</span>', value, sign(value), words(value))


@register.simple_tag
def sign(name: str) -> SafeString:
    """Return a sign as a picture that stands in a line of text; its meaning stands beside it in words."""
    path = sign_path(name)
    return format_html('<svg class="sign" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>', path)


@register.simple_tag
def sign_path(name: str) -> SafeString:
    """Return a sign as a part of a larger picture, in a field of 16 by 16."""
    solid = mark_safe(' class="sign-solid"') if signs.is_solid(name) else ""
    return format_html('<path{} d="{}"/>', solid, signs.path_of(name))


@register.simple_tag
def socket(*parts: object) -> str:
    """Return the address of a socket on this host, below the path of the site where that is not the host's root."""
    return f"{get_script_prefix()}ws/workflow/{'/'.join(map(str, parts))}/".removeprefix("/")


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """Return a point in time as an element that scripts may put into words."""
    if value is None:
        return "–"
    local = times.local(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        times.with_zone(value).isoformat(), f"{local:%Y-%m-%d %H:%M:%S %Z}", f"{local:%b %d, %H:%M:%S}",
    )  # fmt: skip


@register.filter(expects_localtime=True)
def clock(value: datetime) -> str:
    """Return the time of day to the millisecond, which Django's formats of dates cannot tell."""
    return f"{value:%H:%M:%S}.{value.microsecond // 1000:03}"


@register.filter(expects_localtime=True)
def iso(value: datetime) -> str:
    """Return a point in time as scripts and other programs read it."""
    return times.with_zone(value).isoformat()


@register.simple_tag
def elapsed(start: datetime | None, end: datetime | None, now: datetime) -> SafeString | str:
    """Return the time between two moments; without an end it goes on (a script lets it tick).

    now: the database's time when these were read.
    """
    if start is None:
        return "–"
    return lasted((now if end is None else end) - start, start if end is None else None)


@register.simple_tag
def lasted(time: timedelta | None, since: datetime | None = None) -> SafeString | str:
    """Return a length of time; one that goes on since a moment ticks by a script."""
    if time is None:
        return "–"
    if since is None:
        return format_html('<span class="duration">{}</span>', duration(time))
    moment = times.with_zone(since).isoformat()
    return format_html('<span class="duration" data-since="{}">{}</span>', moment, duration(time))


@register.filter
def pretty(value: Any) -> str:
    """Return a JSON value as indented text."""
    return readable(value)


@register.filter
def short(value: Any) -> str:
    """Return the end of a run's id, by which people tell runs apart."""
    return str(value)[-12:]


@register.filter
def error_class(value: Any) -> str:
    """Return the name of an error's class without its module."""
    return str(value or "").rpartition(".")[2]


#: Lines and characters of a message that are shown before its reader asks for all of it.
OPENING_LINES, OPENING_CHARACTERS = 6, 600


@register.filter
def opening(text: str) -> str:
    """Return the beginning of a text, with a sign of what is left out; a text that is not long as it is."""
    lines = str(text).splitlines()
    begin = "\n".join(lines[:OPENING_LINES])[:OPENING_CHARACTERS]
    return f"{begin.rstrip()}…" if len(lines) > OPENING_LINES or len(str(text)) > OPENING_CHARACTERS else str(text)


@register.filter
def is_long(text: str) -> bool:
    """Say whether more than the beginning of a text has to be asked for."""
    return opening(text) != str(text)
