"""How many runs end: a figure per minute of the last hour, and its picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django_workflow import db, times
from django_workflow.web.runs.run_counts import CAP, Count
from django_workflow.web.runs.search import lowest_at

MINUTES: Final = 60
#: Ends that are counted: on a busy site those of fewer minutes.
MOST: Final = 10_000
DAY: Final = timedelta(days=1)

STATEMENT = """
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
    SELECT 'failed of a day', '', count(*) FILTER (WHERE {of_flows}), count(*) > {cap}
    FROM (
        SELECT flow_id FROM django_workflow_run
        WHERE status <> 'succeeded' AND (status, id) BETWEEN ('failed', %s::uuid) AND ('failed', '{highest}')
        ORDER BY status DESC, id DESC LIMIT {cap} + 1
    ) r
"""
HIGHEST: Final = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute in the picture."""

    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """Runs that ended: how many, in how many minutes, the most in one of them, and bars.

    failed_of_a_day: those made within a day that failed.
    """

    ended: Count
    minutes: int
    peak: int
    bars: list[Bar]
    failed_of_a_day: Count


def statement(flows: Sequence[int] | None) -> db.Statement:
    """Return the statement that counts for all flows (None), or for some; `read` reads its rows."""
    of_flows = "true" if flows is None else "flow_id = ANY(%s::bigint[])"
    sql = STATEMENT.format(most=MOST, minutes=MINUTES, cap=CAP, highest=HIGHEST, of_flows=of_flows)
    params: list[Any] = [] if flows is None else [list(flows), list(flows)]
    return sql, [*params, UUID(int=lowest_at(times.now() - DAY))]


#: Size of the picture.
WIDTH, HEIGHT, GAP = 360.0, 48.0, 1.5


def read(rows: Iterable[db.Row], now: datetime | None = None) -> Pulse:
    """Return what the rows of `statement` tell; rows of other kinds are left alone."""
    this_minute = int(times.with_zone(now or times.now()).timestamp() // 60)
    per_minute: dict[int, int] = {}
    oldest: int | None = None
    failed = Count(0)
    for kind, name, number, is_end in rows:
        if kind == "ended":
            per_minute[int(name)] = number
            oldest = int(name) if is_end else oldest
        elif kind == "failed of a day":
            failed = Count(min(number, CAP), is_more=is_end)
    if oldest is not None:
        per_minute.pop(oldest)  # not all of it was counted
    minutes = MINUTES if oldest is None else max(1, this_minute - oldest)
    peak = max(per_minute.values(), default=0)
    step = WIDTH / MINUTES
    bars = []
    for minute, number in sorted(per_minute.items()):
        place = MINUTES - 1 - (this_minute - minute)
        if 0 <= place < MINUTES:
            height = max(1.5, HEIGHT * number / peak)
            bars.append(Bar(round(place * step, 2), round(HEIGHT - height, 2), round(height, 2)))
    return Pulse(Count(sum(per_minute.values())), minutes, peak, bars, failed)
