"""The events of a run as a story: who did what, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django_workflow import payload
from django_workflow.display import duration
from django_workflow.read.run import history
from django_workflow.read.run.facts import Facts
from django_workflow.read.run.history import EventRow
from django_workflow.read.run.wait_reasons import clock, names
from django_workflow.statuses import SKIPPED_BY_HANDLER
from django_workflow.templatetags.django_workflow import short
from django_workflow.web.address import Address
from django_workflow.web.run.graph import REASONS
from django_workflow.web.run.payloads import HIDDEN_REASON

#: Events shown at once.
MOST: Final = 80


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: when, and a sentence of which `step` is a part that may be a link.

    tone: a status whose sign and colour fit.
    """

    number: int
    at: datetime
    offset: str
    before: str
    step: str
    href: str
    after: str
    data: str
    tone: str
    is_operator: bool

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.step}{self.after}"


@dataclass(frozen=True, slots=True)
class Narrative:
    """A page of events, in their order, and the same as Markdown."""

    events: list[Happening]
    older: str
    newest: str
    all: str
    markdown: str
    is_filtered: bool


def read(facts: Facts, address: Address, *, has_payload: bool) -> Narrative:
    """Read the newest events that the address asks for."""
    rows = history.read_events(
        facts.run.pk, MOST + 1, before=address.before, kind=address.kind, step=address.of, has_payload=has_payload
    )
    shown = rows[:MOST][::-1]
    events = [_happening(facts, row, address, has_payload=has_payload) for row in shown]
    return Narrative(
        events=events,
        older=address.to("#events", before=shown[0].number) if len(rows) > MOST else "",
        newest=address.to("#events", before=None) if address.before else "",
        all=address.to("#events", before=None, kind="", of=""),
        markdown=_markdown(facts, events),
        is_filtered=bool(address.kind or address.of or address.before),
    )


#: What the events of runs and steps say: without and with somebody who did it, and which status they look like.
SENTENCES: Final = {
    "run.scheduled": ("The run was scheduled", "{by} scheduled the run", "scheduled"),
    "run.started": ("The run started", "{by} started the run", "running"),
    "run.completed": ("The run succeeded", "", "succeeded"),
    "run.failed": ("The run failed", "", "failed"),
    "run.cancelled": ("The run was cancelled", "{by} cancelled the run", "cancelled"),
    "run.timed_out": ("The run timed out", "", "timed_out"),
    "run.paused": ("The run was paused", "{by} paused the run", "paused"),
    "run.resumed": ("The run was resumed", "{by} resumed the run", "running"),
    "step.started": (" started", "", "running"),
    "step.completed": (" succeeded", "{by} completed ", "succeeded"),
    "step.failed": (" failed", "", "failed"),
    "step.skipped": (" was skipped", "{by} skipped ", "skipped"),
    "step.left_over": (" was left waiting", "", "held"),
    "task.completed": (" succeeded", "", "succeeded"),
    "task.failed": (" failed", "", "failed"),
    "task.retried": (" failed and is tried again", "", "queued"),
}


def _happening(facts: Facts, row: EventRow, address: Address, *, has_payload: bool) -> Happening:
    # a handler may give its events any type; those of the engine about runs and steps belong to no task
    is_engine = row.type in SENTENCES and (row.task_id is None) != row.type.startswith("task.")
    if not is_engine:
        before, after, tone = "", f" told {row.type}", "note"
        step, data, is_operator = row.step, row.data if row.data not in (None, "null") else "", False
    elif row.type.startswith("run."):
        before, step, after, tone = _of_run(row)
        data, is_operator = "", bool(row.by)
    else:
        before, after, tone = _of_step(row, has_payload=has_payload)
        step, data, is_operator = row.step, "", bool(row.by)
    begin = facts.run.started_at or facts.run.created_at
    known = step in facts.steps
    return Happening(
        number=row.number,
        at=row.created_at,
        offset=f"+{duration(row.created_at - begin)}" if row.created_at >= begin else "",
        before=before,
        step=step,
        href=address.of_step(step) if known else "",
        after=after,
        data=data or ("" if has_payload or is_engine else HIDDEN),
        tone=tone,
        is_operator=is_operator,
    )


#: Stands for data that the viewer may not see.
HIDDEN: Final = "hidden"


def _of_run(row: EventRow) -> tuple[str, str, str, str]:
    alone, done_by, tone = SENTENCES[row.type]
    text = done_by.format(by=row.by) if row.by and done_by else alone
    if row.type == "run.started" and row.retry_of:
        what = "all of run" if row.mode == "all" else "what failed in run"
        since = f", from step {row.from_step} on" if row.from_step else ""
        text = f"{row.by or 'Somebody'} retried {'run' if since else what} {short(row.retry_of)}{since}"
    if row.type == "run.failed" and row.error_class:
        # its data name the step
        return text + _because(row), "", "", tone
    return text + (f": {row.reason}" if row.reason else ""), "", "", tone


def _of_step(row: EventRow, *, has_payload: bool) -> tuple[str, str, str]:
    alone, done_by, tone = SENTENCES[row.type]
    if row.type.startswith("task."):
        return f"Attempt {row.attempt or '?'} of ", alone, tone
    if row.by and done_by:
        return done_by.format(by=row.by), f": {row.why}" if row.why else "", tone
    if row.reason == "operator":
        return "Somebody " + done_by.format(by="").strip() + " ", f": {row.why}" if row.why else "", tone
    if row.left_over:
        return "Join ", alone + _left_over(payload.loads(row.left_over)), tone
    if row.iteration or row.scope:
        parts = [f"pass {row.iteration}"] if row.iteration else []
        parts += [f"scope {row.scope}"] if row.scope else []
        return "", f"{alone}, {', '.join(parts)}", tone
    reason = REASONS.get(row.reason or "", "")
    if row.reason == SKIPPED_BY_HANDLER and row.has_skip_message:
        reason = (row.message or "") if has_payload else HIDDEN_REASON
    if reason:
        return "", f"{alone}: {reason[0].lower()}{reason[1:].rstrip('.')}", tone
    return "", alone + _because(row), tone


def _left_over(data: Mapping[str, Any]) -> str:
    """Say who reached a join, and who did not, when nothing could reach it any more."""
    there, missing = ([str(name) for name in data.get(key) or ()] for key in ("arrived", "missing"))
    told = f" in generation {data['generation']}" if data.get("generation") else ""
    told += f": {names(there)} arrived" if there else ""
    return f"{told}, {names(missing)} never did" if missing else told


def _because(row: EventRow) -> str:
    told = [part for part in (row.error_class, row.message) if part]
    return f": {': '.join(told)}" if told else ""


SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def _markdown(facts: Facts, events: list[Happening]) -> str:
    """Return the events as a Markdown list, for a chat or an issue."""
    run = facts.run
    lines = [f"**{_escaped(str(run))}** ({run.flow.slug} v{run.version.number}, run `{run.pk}`): {run.status}", ""]
    for event in events:
        data = f": `{event.data.replace('`', chr(39))}`" if event.data and event.data != HIDDEN else ""
        lines.append(f"- `{clock(event.at, facts.now)}` {_escaped(event.text)}{data}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
