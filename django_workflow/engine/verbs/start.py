"""Starting runs: `start` inserts them, many at once, in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError

from django_workflow import arguments, db, payload, text, times
from django_workflow.conf import conf
from django_workflow.definition.schemas import schema
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import Decision
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, facts_of
from django_workflow.engine.stored.state import FreshState
from django_workflow.engine.writing import runs
from django_workflow.engine.writing.advance import Advance
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.exceptions import InvalidArgument, NotSupported, PayloadError
from django_workflow.ids import uuid7
from django_workflow.statuses import RUNNING, SCHEDULED

#: Longest idempotency key, and longest name and value of a label, in characters.
MAX_KEY = MAX_LABEL = 200


@dataclass(slots=True)
class StartRequest:
    """One run to be started.

    input: any JSON value. run_id: chosen by the caller. delay: seconds; at: a time; at most one of them.
    """

    input: Any = None
    idempotency_key: str | None = None
    run_id: UUID | None = None
    delay: float | None = None
    at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    by: str = ""
    is_local: bool = False

    def __post_init__(self) -> None:
        if self.idempotency_key is not None:
            self.idempotency_key = text.exact(self.idempotency_key, "an idempotency key", MAX_KEY, least=1)
        if self.run_id is not None:
            self.run_id = arguments.uuid(self.run_id, "run_id=")
        self.title = text.said(self.title, "title=", text.TITLE)
        self.by = text.said(self.by, "by=", text.AUTHOR)


def checked_labels(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return labels as texts by name; raises `InvalidArgument` for what is none, and for texts that cannot be kept."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise InvalidArgument(f"labels are texts by name, not {text.shown(labels)}")
    checked = {}
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidArgument(f"labels are texts by name, not {text.shown(name)}: {text.shown(value)}")
        key = text.exact(name, "The name of a label", MAX_LABEL, least=1)
        checked[key] = text.exact(value, f"The label {key!r}", MAX_LABEL)
    return checked


REFUSED = db.Columns("w", place="int", key="text", id="uuid")
FIND_EXISTING = f"""
    SELECT w.place, r.id, r.flow_id FROM {REFUSED}
    JOIN django_workflow_run r ON r.id = w.id OR (r.flow_id = %s AND r.idempotency_key = w.key)
"""


def start(spec: FlowSpec, requests: Sequence[StartRequest]) -> list[UUID]:
    """Insert runs and activate their entry steps, in the caller's transaction: no commit, no run.

    spec: the definition they are pinned to; it is published first where it is new.
    Returns the runs' ids in the order of the requests; where the idempotency key or the run id was
    used before, the existing run's id.
    Raises `PayloadError` for an input that is not JSON, too large, or unlike the flow's schema, and `NotSupported`
    for a run id that another flow's run has; then no run is made.
    """
    if not requests:
        return []
    try:
        return db.with_fresh_ids(lambda: _start(spec, requests))
    except DatabaseError as error:
        if not db.is_of_memory(error):
            raise
        versions.published.forget()
    return _start(spec, requests)


def _start(spec: FlowSpec, requests: Sequence[StartRequest]) -> list[UUID]:
    flow_id, version_id = versions.version_of(spec)
    new = [_NewRun.of(spec, version_id, request) for request in requests]
    advance = Advance(EventLog(are_first=True))
    with db.batch():
        ids, made = _insert(new, spec, flow_id)
        for run in made:
            run.activate(advance, spec)
        # the runs' own notification is left to their first change: nobody can watch what was not there
        advance.finish(())
    return ids


@dataclass(slots=True)
class _NewRun:
    """A run about to be inserted, with the decision about its entry steps."""

    row: LockedRun
    request: StartRequest
    input: str
    decision: Decision | None

    @classmethod
    def of(cls, spec: FlowSpec, version_id: int, request: StartRequest) -> _NewRun:
        written = payload.dump_input(request.input, flow=spec.slug)
        # routing sees what is stored, as it will later: a tuple is a list then, a date a text
        stored = payload.loads(written) if spec.reads_input or spec.input_schema is not None else None
        check_input(spec, stored)
        row = LockedRun(request.run_id or uuid7(), RUNNING, version_id, 0, 0, request.is_local)
        if request.delay is not None or request.at is not None:
            row.status = SCHEDULED
            return cls(row, request, written, None)
        decision = decide(spec, facts_of(row, spec, FreshState(), stored), is_start=True)
        row.begin(decision)
        return cls(row, request, written, decision)

    def new_row(self) -> tuple[Any, ...]:
        row, request = self.row, self.request
        error = (self.decision.error or self.decision.failing) if self.decision else None
        output = self.decision.output if self.decision else None
        return runs.NEW_RUNS.row(
            id=row.id, status=row.status, is_local=row.is_local, open_steps=row.open_steps, task_count=row.task_count,
            input=self.input, error=json.dumps(error) if error else None, key=request.idempotency_key,
            labels=json.dumps(dict(request.labels)), title=request.title, by=request.by, variables=row.variables_id,
            output=None if output is None else payload.dump_output(output, step="output"), delay=request.delay,
            at=None if request.at is None else times.with_zone(request.at),
        )  # fmt: skip

    def activate(self, advance: Advance, spec: FlowSpec) -> None:
        data = {"by": self.request.by} if self.request.by else None
        if self.decision is None:
            advance.events.run(self.row.id, "run.scheduled", data)
        else:
            advance.events.run(self.row.id, "run.started", data)
            advance.add(self.row, spec, self.decision)


def check_input(spec: FlowSpec, value: Any) -> None:
    """Raise `PayloadError` for a stored value that does not fit the flow's schema, where it declares one."""
    if spec.input_schema is None:
        return
    found = schema.violations(spec.input_validator, value)
    if found:
        told = f" {found[0]}" if len(found) == 1 else ":" + "".join(f"\n  - {item}" for item in found)
        raise PayloadError(
            f"The input of flow {spec.slug!r} does not fit its schema{told}", path=found[0].path, violations=found
        )


def _insert(new: Sequence[_NewRun], spec: FlowSpec, flow_id: int) -> tuple[list[UUID], list[_NewRun]]:
    """Insert runs; return the id for each, of an earlier run where it was refused, and those that were made."""
    duration = spec.max_duration or conf.MAX_DURATION.total_seconds()
    ids = [run.row.id for run in new]
    rows, common = [run.new_row() for run in new], {"flow_id": flow_id, "version_id": new[0].row.version_id}
    if all(run.request.run_id is None and run.request.idempotency_key is None for run in new):
        runs.insert(rows, **common, duration=duration)
        return ids, list(new)
    inserted = runs.insert_missing(rows, **common, duration=duration)
    made: list[_NewRun] = []
    refused: list[int] = []
    for place, run in enumerate(new):
        if run.row.id in inserted:
            inserted.remove(run.row.id)  # the same id twice in one call is made once
            made.append(run)
        else:
            refused.append(place)
    if refused:
        keys = [new[place].request.idempotency_key for place in refused]
        wanted = REFUSED.lists(place=refused, key=keys, id=[ids[place] for place in refused])
        for place, run_id, found_flow in db.rows(FIND_EXISTING, [*wanted, flow_id]):
            if found_flow != flow_id:
                raise NotSupported(f"Run {run_id} exists and is not of flow {spec.slug!r}; choose another run_id.")
            ids[place] = run_id
    return ids, made
