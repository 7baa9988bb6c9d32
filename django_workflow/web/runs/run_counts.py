"""How many runs have each status: never by reading them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django_workflow import db
from django_workflow.statuses import RUN_STATUSES, SUCCEEDED

#: Nobody needs to know exactly how many there are beyond this.
CAP: Final = 1_000
#: Runs of a status, and of flows, that are looked at where only those of some flows count.
WINDOW: Final = 2_000
LEAST_WINDOW: Final = 50
LOWEST, HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Count:
    """A number of runs: exact, at least so many ("1,000+"), or about so many ("≈ 998,000")."""

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
# compared as rows: see `finding.OF_FLOW`
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
