"""How many runs have each status, and how many end in a minute: never by reading them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django_workflow import db, times
from django_workflow.read.find import lowest_at
from django_workflow.statuses import RUN_STATUSES, SUCCEEDED

#: Nobody needs to know exactly how many there are beyond this.
CAP: Final = 1_000
#: Runs of a status, and of flows, that are looked at where only those of some flows count.
WINDOW: Final = 2_000
LEAST_WINDOW: Final = 50
LOWEST, HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Count:
    """A number of things: exact, at least so many ("1,000+"), or about so many ("≈ 998,000")."""

    number: int
    is_more: bool = False
    is_about: bool = False

    def __str__(self) -> str:
        if self.is_about:
            return f"≈ {_rounded(self.number):,}"
        if self.is_more:
            return f"{self.number:,}+" if self.number else ""
        return f"{self.number:,}"

    def __bool__(self) -> bool:
        return self.number > 0


def _rounded(number: int) -> int:
    """Return the number with its first three digits."""
    return int(round(number, 3 - len(str(number)))) if number >= CAP else number


# each status has its own part of a partial index, so it stands in the text and not among the parameters
OF_STATUS = """
    SELECT 'status' AS kind, '{status}' AS status, count(*), count(*) > {cap}
    FROM (SELECT 1 FROM django_workflow_run WHERE status = '{status}' LIMIT {cap} + 1) r
"""
SUCCEEDED_AND_ALL = """
    SELECT 'status', 'succeeded', count(*) FILTER (WHERE status = 'succeeded'), count(*) > {cap}
    FROM (SELECT status FROM django_workflow_run ORDER BY id DESC LIMIT {cap} + 1) r
    UNION ALL
    SELECT 'about', relname, greatest(reltuples, 0)::bigint, true FROM pg_class
    WHERE oid IN ('django_workflow_run'::regclass, 'dw_run_not_succeeded'::regclass)
"""
# compared as rows: see `search.OF_FLOW`
OF_STATUS_AND_FLOWS = """
    SELECT 'status' AS kind, '{status}' AS status, count(*) FILTER (WHERE flow_id = ANY(%s::bigint[])),
           count(*) > {window}
    FROM (
        SELECT flow_id FROM django_workflow_run
        WHERE status <> 'succeeded' AND (status, id) BETWEEN ('{status}', '{lowest}') AND ('{status}', '{highest}')
        ORDER BY status DESC, id DESC LIMIT {window} + 1
    ) r
"""
OF_FLOWS = """
    SELECT 'flows', status, count(*)::bigint, bool_or(of_flow = {window}) OVER () FROM (
        SELECT r.status, count(*) OVER (PARTITION BY k.flow_id) AS of_flow
        FROM unnest(%s::bigint[]) AS k(flow_id), LATERAL (
            SELECT status FROM django_workflow_run
            WHERE (flow_id, id) BETWEEN (k.flow_id, '{lowest}') AND (k.flow_id, '{highest}')
            ORDER BY flow_id DESC, id DESC LIMIT {window}
        ) r
    ) newest GROUP BY status, of_flow
"""


def statement(flows: Sequence[int] | None) -> db.Statement:
    """Return the one statement that counts the runs of all flows (None), or of some; `counted` reads its rows."""
    rare = [name for name in RUN_STATUSES if name != SUCCEEDED]
    if flows is None:
        parts = [OF_STATUS.format(status=name, cap=CAP) for name in rare]
        return " UNION ALL ".join([*parts, SUCCEEDED_AND_ALL.format(cap=CAP)]), []
    ends = {"lowest": LOWEST, "highest": HIGHEST}
    parts = [OF_STATUS_AND_FLOWS.format(status=name, window=WINDOW, **ends) for name in rare]
    window = max(LEAST_WINDOW, WINDOW // max(1, len(flows)))
    sql = " UNION ALL ".join([*parts, OF_FLOWS.format(window=window, **ends)])
    return sql, [list(flows)] * (len(rare) + 1)


def counted(rows: Iterable[db.Row], *, is_of_all: bool) -> dict[str, Count]:
    """Return the counts by status, and of "all" together where that can be told."""
    of_status, of_flows, about = {}, dict.fromkeys(RUN_STATUSES, 0), {}
    is_window_full = False
    for kind, name, number, is_full in rows:
        if kind == "status":
            of_status[name] = Count(min(number, CAP), is_more=is_full or number > CAP)
        elif kind == "flows":
            of_flows[name] += number
            is_window_full = is_window_full or is_full
        elif kind == "about":
            about[name] = number
    if is_of_all:
        return _estimated(of_status, about["django_workflow_run"], about["dw_run_not_succeeded"])
    found = {}
    for name, number in of_flows.items():
        seen = Count(min(number, CAP), is_more=is_window_full or number > CAP)
        other = of_status.get(name, seen)
        # both are right, but one may know no end
        found[name] = max(seen, other, key=lambda count: (not count.is_more, count.number))
    return _with_all(found)


def _estimated(found: dict[str, Count], runs: int, not_succeeded: int) -> dict[str, Count]:
    """Replace what was not counted to the end by what the planner's statistics tell."""
    if found[SUCCEEDED].is_more and runs - not_succeeded > CAP:
        found[SUCCEEDED] = Count(runs - not_succeeded, is_about=True)
    return _with_all(found, runs)


def _with_all(found: dict[str, Count], about: int = 0) -> dict[str, Count]:
    counts = {name: found[name] for name in RUN_STATUSES}
    if not any(count.is_more or count.is_about for count in counts.values()):
        return {"all": Count(sum(count.number for count in counts.values())), **counts}
    if about > CAP:
        return {"all": Count(about, is_about=True), **counts}
    return counts


def count(flows: Sequence[int] | None) -> dict[str, Count]:
    """Count the runs by status: those of all flows (None), or of some."""
    return counted(db.rows(*statement(flows)), is_of_all=flows is None)


MINUTES: Final = 60
#: Ends that are counted: on a busy site those of fewer minutes.
MOST_ENDS: Final = 10_000
DAY: Final = timedelta(days=1)

ENDED = """
    SELECT 'ended', minute::text, count(*), bool_or(is_oldest) FROM (
        SELECT floor(extract(epoch FROM ended_at) / 60)::bigint AS minute, place = {most} AS is_oldest, flow_id FROM (
            SELECT ended_at, flow_id, row_number() OVER () AS place FROM (
                SELECT ended_at, flow_id FROM django_workflow_run
                WHERE ended_at >= statement_timestamp() - interval '{minutes} minutes'
                ORDER BY ended_at DESC LIMIT {most}
            ) r
        ) r
    ) r WHERE {of_flows} GROUP BY minute
    UNION ALL
    SELECT 'now', '', floor(extract(epoch FROM statement_timestamp()) / 60)::bigint, false
    UNION ALL
    SELECT 'failed of a day', '', count(*) FILTER (WHERE {of_flows}), count(*) > {cap}
    FROM (
        SELECT flow_id FROM django_workflow_run
        WHERE status <> 'succeeded' AND (status, id) BETWEEN ('failed', %s::uuid) AND ('failed', '{highest}')
        ORDER BY status DESC, id DESC LIMIT {cap} + 1
    ) r
"""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many runs ended in each of the last minutes."""

    #: By minutes since 1970; minutes without an end are left out.
    per_minute: dict[int, int]
    #: The present one.
    this_minute: int
    #: Minutes that were counted.
    minutes: int
    #: Runs created within a day that failed.
    failed_of_a_day: Count

    @property
    def ended(self) -> Count:
        """All of them together."""
        return Count(sum(self.per_minute.values()))

    @property
    def peak(self) -> int:
        """The most in one minute."""
        return max(self.per_minute.values(), default=0)


def throughput(rows: Iterable[db.Row]) -> Throughput:
    """Return what the rows of `ENDED` tell; rows of other kinds are left alone."""
    per_minute: dict[int, int] = {}
    oldest: int | None = None
    this_minute, failed = 0, Count(0)
    for kind, name, number, is_end in rows:
        if kind == "ended":
            per_minute[int(name)] = number
            oldest = int(name) if is_end else oldest
        elif kind == "now":
            this_minute = number
        elif kind == "failed of a day":
            failed = Count(min(number, CAP), is_more=is_end)
    if oldest is not None:
        per_minute.pop(oldest)  # not all of it was counted
    minutes = MINUTES if oldest is None else max(1, this_minute - oldest)
    return Throughput(per_minute, this_minute, minutes, failed)


def figures(flows: Sequence[int] | None) -> tuple[dict[str, Count], Throughput]:
    """Count runs by status, and those that ended, of all flows (None) or of some: one statement."""
    by_status, params = statement(flows)
    of_flows = "true" if flows is None else "flow_id = ANY(%s::bigint[])"
    ended = ENDED.format(most=MOST_ENDS, minutes=MINUTES, cap=CAP, highest=HIGHEST, of_flows=of_flows)
    of_ended: list[Any] = [] if flows is None else [list(flows), list(flows)]
    # ids are made by the clocks of web servers and workers, as this one
    since = lowest_at(times.now() - DAY)
    rows = db.rows(f"({by_status}) UNION ALL ({ended})", [*params, *of_ended, UUID(int=since)])
    return counted(rows, is_of_all=flows is None), throughput(rows)
