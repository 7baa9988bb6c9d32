"""What the list of runs is asked for: filters from the query string, with a friendly word where they are wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from django_workflow import times
from django_workflow.models import FlowDefinition
from django_workflow.read.search import Filters, Label
from django_workflow.statuses import RUN_STATUSES

#: How far back "within" reaches, by its word in the address, with what people call it.
PERIODS: Final[Mapping[str, tuple[timedelta, str]]] = {
    "hour": (timedelta(hours=1), "the last hour"),
    "day": (timedelta(days=1), "the last 24 hours"),
    "week": (timedelta(days=7), "the last 7 days"),
    "month": (timedelta(days=30), "the last 30 days"),
}
LONGEST: Final = 200
CURSORS: Final = ("before", "after")


def read(data: QueryDict, flows: Sequence[FlowDefinition], queues: Sequence[str]) -> Filters:
    """Return the filters that a query string asks for.

    flows, queues: which there are, as far as the user may see them.
    """
    return _Reader(data, flows, queues).filters()


class _Reader:
    """Reads one field after the other and notes what is wrong with them."""

    def __init__(self, data: QueryDict, flows: Sequence[FlowDefinition], queues: Sequence[str]) -> None:
        self.data = data
        self.flows = {flow.slug: flow for flow in flows}
        self.queues = queues
        self.problems: dict[str, str] = {}
        names = ("q", "flow", "version", "queue", "error", "within", "from", "to")
        self.given = {name: self.text(name) for name in names}

    def filters(self) -> Filters:
        """Return all that was read."""
        since, until, within = self.times()
        search = self.given["q"]
        labels = self.labels()
        if "=" in search:
            labels = (*labels, _label(search))
            search = ""
        return Filters(
            q=search,
            flow=self.flow(),
            version=self.version(),
            statuses=self.statuses(),
            labels=labels,
            queue=self.queue(),
            error=self.fingerprint(),
            since=since,
            until=until,
            within=within,
            before=self.cursor("before"),
            after=None if "before" in self.data else self.cursor("after"),
            given=self.given,
            problems=self.problems,
        )

    def text(self, name: str) -> str:
        return self.checked(name, self.data.get(name, ""))

    def checked(self, name: str, value: str) -> str:
        """Return a text without white space around it; empty if it cannot be looked for."""
        text = value.strip()
        if "\0" in text:  # PostgreSQL has no such texts
            self.problems[name] = "This cannot be looked for: it has a character that no text here has."
            return ""
        if len(text) > LONGEST:
            self.problems[name] = f"This is too long: {LONGEST} characters at most."
            return text[:LONGEST]
        return text

    def flow(self) -> FlowDefinition | None:
        slug = self.given["flow"]
        if slug and slug not in self.flows:
            self.problems["flow"] = f"There is no flow “{slug}”."
        return self.flows.get(slug)

    def version(self) -> int | None:
        text = self.given["version"].removeprefix("v")
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            self.problems["version"] = _("“%(text)s” is not a version: write its number, such as 3.") % {"text": text}
            return None
        if not self.given["flow"]:
            self.problems["version"] = "Choose the flow, too: each one counts its own versions."
        return int(text)

    def statuses(self) -> tuple[str, ...]:
        asked = [value for value in self.data.getlist("status") if value]
        if unknown := [value for value in asked if value not in RUN_STATUSES]:
            self.problems["status"] = f"Runs have no status “{unknown[0][:LONGEST]}”."
        return tuple(name for name in RUN_STATUSES if name in asked)

    def labels(self) -> tuple[Label, ...]:
        texts = [self.checked("label", value) for value in self.data.getlist("label")]
        found = tuple(_label(text) for text in texts if text)
        if any(not name for name, _ in found):
            self.problems["label"] = "A label has a name: name=value, or only the name."
        return found

    def queue(self) -> str:
        name = self.given["queue"]
        if name and name not in self.queues:
            self.problems["queue"] = f"There is no queue “{name}”."
        return name

    def fingerprint(self) -> str:
        text = self.given["error"].lower()
        if text and not re.fullmatch(r"[0-9a-f]{1,32}", text):
            self.problems["error"] = _("“%(text)s” is not a fingerprint: those have digits and the letters a to f.") % {
                "text": text
            }
            return ""
        return text

    def times(self) -> tuple[datetime | None, datetime | None, timedelta | None]:
        within = self.given["within"]
        if within and within not in PERIODS:
            self.problems["within"] = _("“%(text)s” is not one of %(periods)s.") % {
                "text": within,
                "periods": ", ".join(PERIODS),
            }
        since = self.moment("from", time.min)
        until = self.moment("to", time.max)
        if since and until and since > until:
            self.problems["to"] = _("“Created until” is before “Created from”.")
        # a time from which on is meant says more
        return since, until, PERIODS[within][0] if within in PERIODS and since is None else None

    def moment(self, name: str, day_time: time) -> datetime | None:
        """Return the point in time that a field names; of a mere date the time `day_time`."""
        text = self.given[name]
        if not text:
            return None
        try:
            value: datetime | date | None = parse_datetime(text) if len(text) > len("2026-01-31") else parse_date(text)
            if isinstance(value, datetime):
                return times.of_site(value if timezone.is_aware(value) else timezone.make_aware(value))
            if value is not None:
                return times.of_site(timezone.make_aware(datetime.combine(value, day_time)))
        except (ValueError, OverflowError):
            pass
        self.problems[name] = _("“%(text)s” is not a time: write it like 2026-01-31 or 2026-01-31 14:05.") % {
            "text": text
        }
        return None

    def cursor(self, name: str) -> UUID | None:
        """Return the run at which the page begins; an address that was cut off begins at the newest."""
        try:
            return UUID(self.data.get(name, ""))
        except ValueError:
            return None


def _label(text: str) -> Label:
    name, equals, value = text.partition("=")
    return name.strip(), value.strip() if equals else None


def address(data: QueryDict, **changes: str | UUID | Sequence[str] | None) -> str:
    """Return the query string with other values for some fields (None: without them), from the first page on."""
    query = data.copy()
    for name in CURSORS:
        query.pop(name, None)
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        elif isinstance(value, (str, UUID)):
            query[name] = str(value)
        else:
            query.setlist(name, list(value))
    return f"?{query.urlencode()}"
