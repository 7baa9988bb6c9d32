"""Where subcommands write: tables and colours for a terminal, plain lines for a pipe, JSON for programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.management.color import Style, no_style
from django.core.serializers.json import DjangoJSONEncoder

from django_workflow import display, statuses, times
from django_workflow.management.workflow import tables
from django_workflow.management.workflow.tables import Cell, Column
from django_workflow.read import clock

#: How a status is coloured: the names of styles of Django's palette.
STATUS_STYLES = {
    statuses.SUCCEEDED: "SUCCESS",
    statuses.FAILED: "ERROR",
    statuses.TIMED_OUT: "ERROR",
    statuses.LOST: "ERROR",
    statuses.PAUSED: "WARNING",
    statuses.HELD: "WARNING",
    statuses.RUNNING: "HTTP_NOT_MODIFIED",
}


class _Encoder(DjangoJSONEncoder):
    """Tells times with their zone: who reads the document does not know the site's."""

    def default(self, o: Any) -> Any:
        return super().default(times.with_zone(o) if isinstance(o, datetime) else o)


class Console:
    """The output of one subcommand.

    is_json: documents are written and everything else is left out. has_colours: asked for, or a terminal.
    """

    def __init__(
        self, out: OutputWrapper, err: OutputWrapper, style: Style, *, is_json: bool, has_colours: bool
    ) -> None:
        self._out = out
        self._err = err
        self._style = style if has_colours else no_style()
        self.is_json = is_json
        self.is_terminal = out.isatty()

    @cached_property
    def now(self) -> datetime:
        """The time by the database's clock, which wrote all the others."""
        return clock.now()

    @property
    def width(self) -> int | None:
        """Columns of the terminal, or None where there is none."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def document(self, data: Any) -> None:
        """Write one JSON document, if that was asked for."""
        if self.is_json:
            self._out.write(json.dumps(data, cls=_Encoder, indent=2, ensure_ascii=False))

    def record(self, data: Mapping[str, Any]) -> None:
        """Write one JSON document in one line, at once, if that was asked for."""
        if self.is_json:
            self._out.write(json.dumps(data, cls=_Encoder, ensure_ascii=False))
            self._out.flush()

    def line(self, text: str = "") -> None:
        """Write a line for people."""
        if not self.is_json:
            self._out.write(f"{text}\n")
            self._out.flush()

    def note(self, text: str) -> None:
        """Write a line for people that is no part of the answer."""
        self._err.write(f"{text}\n", style_func=str)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, indent: str = "") -> None:
        """Write a table for people."""
        if self.is_json:
            return
        width = None if self.width is None else self.width - len(indent)
        for line in tables.render(columns, rows, width=width, paint=self.paint):
            self.line(indent + line)

    def paint(self, text: str, style: str) -> str:
        """Colour a text by the name of a style."""
        return getattr(self._style, style)(text) if style and text else text

    def heading(self, text: str) -> None:
        """Write a heading for people, after an empty line."""
        self.line()
        self.line(self.paint(text, "MIGRATE_HEADING"))

    def when(self, time: datetime | None) -> str:
        """Return a time: how long ago on a terminal, in full elsewhere."""
        if time is None:
            return ""
        return (
            display.ago(time, self.now)
            if self.is_terminal
            else times.with_zone(time).isoformat(timespec="milliseconds")
        )

    def clock(self, time: datetime) -> str:
        """Return a time as it stands before a line of a log: the clock's on a terminal, in full elsewhere."""
        if not self.is_terminal:
            return times.with_zone(time).isoformat(timespec="milliseconds")
        local = times.local(time)
        is_today = local.date() == times.local(self.now).date()
        return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")

    def took(self, begin: datetime | None, end: datetime | None) -> str:
        """Return how long something took, or has taken until now: in words on a terminal, in seconds elsewhere."""
        if begin is None:
            return ""
        time = max((end or self.now) - begin, timedelta(0))
        return display.duration(time) if self.is_terminal else f"{time.total_seconds():.3f}s"

    def short(self, run_id: object) -> str:
        """Return a run's id: its end on a terminal, which is enough to name it, and all of it elsewhere."""
        return str(run_id)[-12:] if self.is_terminal else str(run_id)

    def progress(self, text: str) -> None:
        """Rewrite the last line of a terminal; elsewhere nothing is written. An empty text clears it."""
        if not self.has_progress:
            return
        width = shutil.get_terminal_size().columns - 1
        self._err.write(
            "\r" + display.cut(text, width).ljust(width) + ("" if text else "\r"), style_func=str, ending=""
        )
        self._err.flush()

    @property
    def has_progress(self) -> bool:
        """Whether somebody sees the progress of something."""
        return self._err.isatty()


def status(value: str) -> Cell:
    """Return a status in its colour."""
    return Cell(value.replace("_", " ") if value else "", STATUS_STYLES.get(value, ""))
