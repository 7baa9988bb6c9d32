"""Finding runs among millions, newest first, without reading them all.

A list is read along an index in the order of ids, which are made of time, and stops once a page is full. Where few
runs match, it would read the whole table; so it looks at a window of runs only and says how far it came. The way is
chosen by what narrows most: an id or a key, an error, a status, a flow; labels that are rare come from their own index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django_workflow import db, times
from django_workflow.conf import conf
from django_workflow.models import FlowDefinition
from django_workflow.read.find import CLOCK_DIFFERENCE, ENDS_WITH, WHOLE_ID, digits_of, lowest_at, range_of
from django_workflow.statuses import SUCCEEDED

#: Rows of one page.
PAGE: Final = 50
#: Runs that are looked at for one page: some 5 ms.
WINDOW: Final = 8_000
#: The same where each of them lies on another page of the table.
SPARSE_WINDOW: Final = 2_000
#: Most runs of a rare label that are fetched and sorted.
FEW: Final = 1_000
#: Most runs with an error that are looked at for another condition.
ERRONEOUS: Final = 1_000
#: Among so many flows the window is shared out where a queue is asked for.
FLOWS_OF_A_QUEUE: Final = 10
LOWEST, HIGHEST = 0, (1 << 128) - 1


Label = tuple[str, str | None]


@dataclass(frozen=True)
class Filters:
    """What runs are wanted."""

    #: An id, its beginning or end, or an idempotency key.
    q: str = ""
    flow: FlowDefinition | None = None
    version: int | None = None
    statuses: tuple[str, ...] = ()
    #: Name and value; any value where it is None.
    labels: tuple[Label, ...] = ()
    queue: str = ""
    #: The fingerprint of an attempt's error.
    error: str = ""
    #: When the run was created, at the earliest and at the latest; within: so long ago by the database's clock.
    since: datetime | None = None
    until: datetime | None = None
    within: timedelta | None = None
    #: Older, or newer, than this run: where the page begins.
    before: UUID | None = None
    after: UUID | None = None
    #: What the form shows.
    given: Mapping[str, str] = field(default_factory=dict)
    #: What is wrong with it, by field.
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def narrows_beyond_status(self) -> bool:
        """Whether anything but flow and status was asked for."""
        return bool(
            self.q
            or self.version is not None
            or self.labels
            or self.queue
            or self.error
            or self.since
            or self.until
            or self.within
        )

    @property
    def is_any(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.narrows_beyond_status or self.flow or self.statuses or self.problems)


@dataclass(frozen=True)
class Found:
    """One page of runs."""

    #: Newest first.
    ids: list[UUID]
    #: In the direction of reading.
    has_more: bool = False
    #: Where the search stopped before the page was full; None where it saw all.
    horizon: UUID | None = None

    @property
    def is_settled(self) -> bool:
        """Whether looking elsewhere would find nothing else."""
        return self.has_more or self.horizon is None


def find(filters: Filters, visible: Sequence[int] | None) -> Found:
    """Return the page of runs that filters ask for: at most two statements.

    visible: keys of the flows whose runs may be seen; None for all.
    """
    search = _Search(filters, visible)
    best: Found | None = None
    for way in search.ways():
        found = way()
        if found is None:
            continue
        if found.is_settled:
            return found
        if best is None or len(found.ids) > len(best.ids):
            best = found
    return best or Found([])


#: The end of a window is among the rows, so that the reader knows how far the search came.
STREAM = """
    SELECT id, is_match, place = {window} AS is_end FROM (
        SELECT id, {match} AS is_match, row_number() OVER () AS place FROM (
            SELECT id, flow_id, version_id, status, labels, created_at FROM django_workflow_run
            WHERE {drive} ORDER BY {by} LIMIT {window}
        ) r
    ) w WHERE is_match OR place = {window} LIMIT {rows}
"""
BY_ID = "id BETWEEN %s::uuid AND %s::uuid"
# compared as rows, so that no other index is in this order: for most flows and statuses the planner would rather walk
# all runs and leave out the others, and look at a million of them for a flow that has ten
OF_FLOW = "(flow_id, id) BETWEEN (k.flow_id, %s::uuid) AND (k.flow_id, %s::uuid)"
OF_STATUS = "status <> 'succeeded' AND (status, id) BETWEEN ('{status}', %s::uuid) AND ('{status}', %s::uuid)"
MERGED = "SELECT id, is_match, is_end FROM ({branches}) m ORDER BY id {order} LIMIT {rows}"
OF_FLOWS = "SELECT f.* FROM unnest(%s::bigint[]) AS k(flow_id), LATERAL ({stream}) f"

# the index on labels is not in the order of ids: all that match are fetched and sorted, if they are few. Bounds of the
# id stand outside: a plan that is made for any of them would look up a million ids, to find that all are within
FEW_BY_LABEL = """
    SELECT id, is_match, total > {few} AS is_end FROM (
        SELECT id, {match} AND r.id BETWEEN %s::uuid AND %s::uuid AS is_match, count(*) OVER () AS total FROM (
            SELECT id, flow_id, version_id, status, labels, created_at FROM django_workflow_run
            WHERE labels @> %s::jsonb AND labels <> '{{}}' LIMIT {few} + 1
        ) r
    ) w WHERE is_match OR total > {few} ORDER BY id {order} LIMIT {rows}
"""

# from one run to the next: a map may have thousands of attempts with the same error in one run
BY_ERROR = """
    WITH RECURSIVE found(run_id, place) AS (
        (SELECT run_id, 1 FROM django_workflow_attempt
         WHERE fingerprint = %s AND fingerprint <> '' AND run_id BETWEEN %s::uuid AND %s::uuid
         ORDER BY run_id {order} LIMIT 1)
        UNION ALL
        SELECT (SELECT a.run_id FROM django_workflow_attempt a
                WHERE a.fingerprint = %s AND a.fingerprint <> '' AND a.run_id {beyond} f.run_id
                  AND a.run_id BETWEEN %s::uuid AND %s::uuid
                ORDER BY a.run_id {order} LIMIT 1), f.place + 1
        FROM found f WHERE f.run_id IS NOT NULL AND f.place < {window}
    )
    SELECT id, is_match, place = {window} AS is_end FROM (
        SELECT r.id, {match} AS is_match, f.place FROM found f JOIN django_workflow_run r ON r.id = f.run_id
    ) w WHERE is_match OR place = {window} ORDER BY id {order} LIMIT {rows}
"""

# a key is unique in its flow only, and the index begins with the flow; bounds of the id stand outside, as above
BY_KEY = """
    SELECT r.id, {match} AS is_match, false AS is_end
    FROM django_workflow_flowdefinition f, LATERAL (
        SELECT id, flow_id, version_id, status, labels, created_at FROM django_workflow_run
        WHERE flow_id = f.id AND idempotency_key = %s LIMIT 1
    ) r WHERE r.id BETWEEN %s::uuid AND %s::uuid
"""
OF_QUEUE = """
    SELECT f.* FROM (
        SELECT DISTINCT v.flow_id FROM django_workflow_flowversion v, jsonb_array_elements(v.spec->'steps') s
        WHERE coalesce(s->>'queue', %s) = %s
    ) k, LATERAL ({stream}) f
"""
OF_VERSION = "r.version_id IN (SELECT id FROM django_workflow_flowversion WHERE number = %s::int)"
ON_QUEUE = """
    r.version_id IN (
        SELECT v.id FROM django_workflow_flowversion v, jsonb_array_elements(v.spec->'steps') s
        WHERE coalesce(s->>'queue', %s) = %s)
"""


class _Search:
    """One search: its conditions, its range of ids, and the ways to go."""

    def __init__(self, filters: Filters, visible: Sequence[int] | None) -> None:
        self.filters = filters
        self.visible = visible
        self.is_ascending = filters.after is not None
        self.order = "ASC" if self.is_ascending else "DESC"
        self.flows = self._flows()
        self.low, self.high = self._range()

    def _flows(self) -> list[int] | None:
        """Return the flows whose runs are wanted; None for all."""
        if self.filters.flow is None:
            return None if self.visible is None else list(self.visible)
        key = self.filters.flow.pk
        return [key] if self.visible is None or key in self.visible else []

    def _range(self) -> tuple[int, int]:
        filters, low, high = self.filters, LOWEST, HIGHEST
        if filters.since is not None:
            low = lowest_at(filters.since, -CLOCK_DIFFERENCE)
        if filters.within is not None:
            low = max(low, lowest_at(times.now() - filters.within, -CLOCK_DIFFERENCE))
        if filters.until is not None:
            high = lowest_at(filters.until, CLOCK_DIFFERENCE)
        if filters.before is not None:
            high = min(high, filters.before.int - 1)
        if filters.after is not None:
            low = max(low, filters.after.int + 1)
        return low, high

    def ways(self) -> Iterable[Callable[[], Found | None]]:
        """Yield the ways to find runs, the most promising first; there are two at most."""
        filters = self.filters
        if self.low > self.high or self.flows == []:
            return
        if filters.q:
            yield self.by_search
            if 0 < len(digits_of(filters.q)) < WHOLE_ID:
                yield self.by_end_of_id
            return
        if filters.error:
            yield self.by_error
            return
        is_unlucky = bool(filters.statuses) and SUCCEEDED not in filters.statuses
        if is_unlucky:
            yield self.by_status
        elif filters.flow is not None:
            yield self.by_flow
        else:
            yield self.by_time
        if any(value is not None for _, value in filters.labels):
            yield self.by_rare_label
        elif self.flows is not None and (is_unlucky or filters.flow is None):
            yield self.by_flow
        elif filters.queue and filters.flow is None:
            yield self.by_queue

    def by_time(self) -> Found:
        """Look at all runs, newest first."""
        return self.read(self.stream())

    def by_status(self) -> Found:
        """Look at the runs of each status; each has its own part of an index, if the status is written out."""
        names = self.filters.statuses
        window = SPARSE_WINDOW // len(names)
        drives = [OF_STATUS.format(status=name) for name in names]
        return self.merged([self.stream(drive, by=("status", "id"), window=window) for drive in drives])

    def by_flow(self) -> Found:
        """Look at the runs of each flow."""
        assert self.flows is not None
        sql, params = self.stream(OF_FLOW, by=("flow_id", "id"), window=WINDOW // len(self.flows))
        return self.merged([(OF_FLOWS.format(stream=sql), [self.flows, *params])])

    def by_queue(self) -> Found:
        """Look at the runs of each flow that has, or had, a step on the queue."""
        sql, params = self.stream(OF_FLOW, by=("flow_id", "id"), window=WINDOW // FLOWS_OF_A_QUEUE)
        return self.merged([(OF_QUEUE.format(stream=sql), [conf.DEFAULT_QUEUE, self.filters.queue, *params])])

    def by_rare_label(self) -> Found | None:
        """Fetch what the index on labels knows; None if that is too much."""
        match, params = self.match()
        labels = {name: value for name, value in self.filters.labels if value is not None}
        sql = FEW_BY_LABEL.format(match=match, few=FEW, order=self.order, rows=PAGE + 1)
        rows = db.rows(sql, [*params, *self.bounds(), json.dumps(labels)])
        if any(is_end for _, _, is_end in rows):
            return None
        return self.page(rows)

    def by_error(self) -> Found:
        """Go from one run that had the error to the next."""
        match, params = self.match()
        window = ERRONEOUS if match != "true" else PAGE + 2
        sql = BY_ERROR.format(
            match=match, window=window, order=self.order, rows=PAGE + 2, beyond=">" if self.is_ascending else "<"
        )
        start = [self.filters.error, *self.bounds()]
        return self.read((sql, [*start, *start, *params]))

    def by_search(self) -> Found | None:
        """Look for an idempotency key, and for the beginning of ids; None if there are none."""
        match, params = self.match()
        branches: list[db.Statement] = [(BY_KEY.format(match=match), [*params, self.filters.q, *self.bounds()])]
        if digits := digits_of(self.filters.q):
            first, last = range_of(digits)
            low, high = max(self.low, first.int), min(self.high, last.int)
            if low <= high:
                branches.append(self.stream(bounds=[UUID(int=low), UUID(int=high)]))
        found = self.merged(branches)
        return found if found.ids or found.horizon else None

    def by_end_of_id(self) -> Found:
        """Look at all runs for the end of an id, as lists show it."""
        digits = digits_of(self.filters.q)
        return self.read(self.stream(also=ENDS_WITH, also_params=[len(digits), digits]))

    def stream(
        self,
        drive: str = BY_ID,
        *,
        by: Sequence[str] = ("id",),
        window: int | None = None,
        bounds: Sequence[UUID] = (),
        also: str = "",
        also_params: Sequence[Any] = (),
    ) -> db.Statement:
        """Return the statement that looks at a window of runs in the order of their ids.

        drive: a condition that an index in the order `by` serves. also: one that every match has to keep besides.
        """
        match, params = self.match()
        if also:
            match, params = f"({match}) AND {also}", [*params, *also_params]
        sql = STREAM.format(
            match=match,
            drive=drive,
            by=", ".join(f"{name} {self.order}" for name in by),
            window=max(PAGE + 2, WINDOW if window is None else window),
            rows=PAGE + 1,
        )
        return sql, [*params, *(bounds or self.bounds())]

    def bounds(self) -> list[UUID]:
        """Return the lowest and the highest id that are wanted."""
        return [UUID(int=self.low), UUID(int=self.high)]

    def match(self) -> db.Statement:
        """Return the condition that a run has to keep, with its parameters."""
        filters = self.filters
        parts: list[tuple[str, list[Any]]] = []
        if self.flows is not None:
            parts.append(("r.flow_id = ANY(%s::bigint[])", [self.flows]))
        if filters.statuses:
            parts.append(("r.status = ANY(%s::text[])", [list(filters.statuses)]))
        if filters.version is not None:
            parts.append((OF_VERSION, [filters.version]))
        if filters.queue:
            parts.append((ON_QUEUE, [conf.DEFAULT_QUEUE, filters.queue]))
        for name, value in filters.labels:
            if value is None:
                parts.append(("r.labels ? %s", [name]))
            else:
                parts.append(("r.labels @> %s::jsonb", [json.dumps({name: value})]))
        if filters.since is not None:
            parts.append(("r.created_at >= %s::timestamptz", [filters.since]))
        if filters.within is not None:
            parts.append((WITHIN, [filters.within.total_seconds()]))
        if filters.until is not None:
            parts.append(("r.created_at <= %s::timestamptz", [filters.until]))
        if filters.error and filters.q:
            parts.append((HAS_ERROR, [filters.error]))
        condition = " AND ".join(sql for sql, _ in parts) or "true"
        return condition, [value for _, values in parts for value in values]

    def merged(self, branches: Sequence[db.Statement]) -> Found:
        """Read several streams as one."""
        text = " UNION ALL ".join(f"({sql})" for sql, _ in branches)
        sql = MERGED.format(branches=text, order=self.order, rows=2 * PAGE)
        return self.read((sql, [value for _, params in branches for value in params]))

    def read(self, statement: db.Statement) -> Found:
        return self.page(db.rows(*statement))

    def page(self, rows: Iterable[db.Row]) -> Found:
        """Return what rows tell, up to a full page or the first end of a window."""
        ids: list[UUID] = []
        horizon = None
        for run_id, is_match, is_end in rows:
            if is_match and run_id not in ids:
                ids.append(run_id)
            if len(ids) > PAGE:
                break
            if is_end:
                horizon = run_id
                break
        has_more = len(ids) > PAGE
        ids = ids[:PAGE]
        return Found(ids[::-1] if self.is_ascending else ids, has_more, horizon)


WITHIN = "r.created_at >= statement_timestamp() - make_interval(secs => %s::float8)"
HAS_ERROR = """
    EXISTS (SELECT 1 FROM django_workflow_attempt a
            WHERE a.run_id = r.id AND a.fingerprint = %s AND a.fingerprint <> '')
"""
