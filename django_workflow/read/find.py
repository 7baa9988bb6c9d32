"""What somebody names: a run by its id or a part of it, a flow, a queue; and when an id was made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django_workflow import db, times
from django_workflow.conf import conf
from django_workflow.models import FlowDefinition, Queue, Run, StepRun

#: Digits of an id's beginning, or of its end, that are at least needed to look for it.
LEAST_DIGITS: Final = 4
WHOLE_ID: Final = 32
#: Ids are made by the clocks of web servers and workers, times by the database's.
CLOCK_DIFFERENCE: Final = timedelta(minutes=10)
#: Of so many of the newest runs the ends of ids are compared where a page has to be quick: some 50 ms.
NEWEST: Final = 100_000

#: Whether the id of a run, whose row is `r`, ends with some digits; the parameters: how many, and which.
ENDS_WITH: Final = "right(replace(r.id::text, '-', ''), %s::int) = %s::text"
LIKE: Final = f"""
    SELECT id FROM django_workflow_run WHERE id BETWEEN %s::uuid AND %s::uuid
    UNION
    SELECT id FROM (SELECT id FROM django_workflow_run ORDER BY id DESC LIMIT %s::bigint) r WHERE {ENDS_WITH}
    ORDER BY id DESC LIMIT %s::int
"""  # noqa: S608  a constant


def digits_of(text: str) -> str:
    """Return the hexadecimal digits of what may be an id, its beginning or its end; "" for what is none of them."""
    digits = text.strip().lower().replace("-", "")
    return digits if re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},{WHOLE_ID}}}", digits) else ""


def range_of(digits: str) -> tuple[UUID, UUID]:
    """Return the lowest and the highest id that begin with some digits."""
    return UUID(digits.ljust(WHOLE_ID, "0")), UUID(digits.ljust(WHOLE_ID, "f"))


def runs_like(text: str, most: int, *, among: int | None = None) -> list[UUID]:
    """Return ids of runs that are, begin or end with what a text says, newest first.

    among: so many of the newest runs are looked at for the end; None for all.
    """
    digits = digits_of(text)
    if not digits:
        return []
    if len(digits) == WHOLE_ID:
        return [UUID(digits)]
    return [row[0] for row in db.rows(LIKE, [*range_of(digits), among, len(digits), digits, most])]


# a key is unique in its flow only, and the index begins with the flow
WITH_KEY: Final = """
    SELECT r.id FROM django_workflow_flowdefinition f, LATERAL (
        SELECT id FROM django_workflow_run WHERE flow_id = f.id AND idempotency_key = %s::text LIMIT 1) r
"""


def runs_with_key(key: str) -> list[UUID]:
    """Return ids of runs that were started with an idempotency key: one of each flow at most."""
    return [] if "\0" in key else [row[0] for row in db.rows(WITH_KEY, [key])]


def made_at(run_id: UUID) -> datetime | None:
    """Return the time that an id is made of; None for ids of other kinds."""
    return times.of_epoch((run_id.int >> 80) / 1000) if run_id.version == 7 else None


def lowest_at(when: datetime, later: timedelta = timedelta(0)) -> int:
    """Return the number that ids made at a time, or so much later, are not below."""
    # as numbers: the first and the last day that there is have nothing before and behind them
    return max(0, int((times.with_zone(when).timestamp() + later.total_seconds()) * 1000)) << 80


def run(run_id: UUID) -> Run | None:
    """Return a run with its flow and version."""
    found: Run | None = Run.objects.using(conf.DATABASE).select_related("flow", "version").filter(pk=run_id).first()
    return found


def step_run(key: int) -> StepRun | None:
    """Return a step run."""
    found: StepRun | None = StepRun.objects.using(conf.DATABASE).filter(pk=key).first()
    return found


def flow_of(run_id: UUID) -> FlowDefinition | None:
    """Return the flow of a run."""
    runs = Run.objects.using(conf.DATABASE).filter(pk=run_id)
    found: FlowDefinition | None = _flows().filter(pk__in=runs.values("flow_id")).first()
    return found


def flow_ids_of(runs: Iterable[UUID | str]) -> dict[UUID, int]:
    """Return the id of each run's flow, of the runs that there are."""
    found = Run.objects.using(conf.DATABASE).filter(pk__in=list(runs))
    return dict(found.values_list("pk", "flow_id"))


def flow(slug: str) -> FlowDefinition | None:
    """Return a flow by its slug."""
    found: FlowDefinition | None = None if "\0" in slug else _flows().filter(slug=slug).first()
    return found


def flows() -> list[FlowDefinition]:
    """Return all flows that have been published or stored, without their drafts and overrides."""
    return list(_flows().defer("draft", "overrides"))


def _flows() -> Any:
    return FlowDefinition.objects.using(conf.DATABASE).defer("draft")


def queue(name: str) -> Queue | None:
    """Return a queue by its name."""
    # no queue has a NUL in its name, and PostgreSQL takes no text with one
    found: Queue | None = None if "\0" in name else Queue.objects.using(conf.DATABASE).filter(name=name).first()
    return found


def queue_names() -> list[str]:
    """Return the names of all queues."""
    return list(Queue.objects.using(conf.DATABASE).values_list("name", flat=True))
