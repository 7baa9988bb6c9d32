"""`list` and `show`: which runs there are, and how one of them stands."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Prefetch, Q, Sum, prefetch_related_objects

from django_workflow import statuses
from django_workflow.conf import conf
from django_workflow.management.workflow import arguments, lookup
from django_workflow.management.workflow.console import Console, status
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Cell, Column, printable
from django_workflow.models import Attempt, Event, FlowVersion, Run, StepRun, Task
from django_workflow.read import durations
from django_workflow.read.durations import Standing
from django_workflow.read.needed_code import missing_in
from django_workflow.read.overview import list_runs
from django_workflow.read.versions import readable_spec
from django_workflow.runs import RunHandle
from django_workflow.web.run import wait_reasons
from django_workflow.web.run.facts import Facts
from django_workflow.web.run.reads import ItemPage, read_around, read_course, read_missing, read_steps, read_tasks

UNSETTLED = tuple(status for status in statuses.RUN_STATUSES if status not in statuses.RUN_TERMINAL)
#: What `show` tells at most of a run that has very much of it, newest first.
MOST_STEPS, MOST_FAILURES, MOST_EVENTS = 200, 10, 10


def as_data(run: Run) -> dict[str, Any]:
    """Return what `--json` says of a run; its input and output are not in it."""
    return {
        "run": str(run.pk),
        "flow": run.flow.slug,
        "version": run.version.number,
        "status": run.status,
        "title": run.title,
        "labels": run.labels,
        "started_by": run.started_by,
        "idempotency_key": run.idempotency_key,
        "retry_of": str(run.retry_of_id) if run.retry_of_id else None,
        "created_at": run.created_at,
        "due_at": run.due_at,
        "started_at": run.started_at,
        "paused_at": run.paused_at,
        "deadline_at": run.deadline_at,
        "ended_at": run.ended_at,
        "error": run.error,
    }


def label_text(run: Run) -> str:
    """Return a run's labels in one line."""
    return " ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))


class List(Subcommand):
    name = "list"
    help = "List runs, newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--flow", metavar="SLUG", help="Only runs of this flow.")
        states = parser.add_mutually_exclusive_group()
        states.add_argument(
            "--status", action="append", choices=statuses.RUN_STATUSES, metavar="STATUS",
            help=f"Only runs with this status; may be repeated: {', '.join(statuses.RUN_STATUSES)}.",
        )  # fmt: skip
        states.add_argument("--unsettled", action="store_true", help="Only runs that are scheduled, running or paused.")
        parser.add_argument(
            "--since", type=arguments.duration, metavar="DURATION", help="Only runs made in this time, such as 2h."
        )
        parser.add_argument(
            "--label", action="append", type=arguments.label, metavar="NAME=VALUE",
            help="Only runs with this label; may be repeated.",
        )  # fmt: skip
        parser.add_argument(
            "--limit", type=arguments.positive, default=20, metavar="N", help="So many at most (default: 20)."
        )

    def run(self, console: Console, options: Any) -> int:
        wanted = options.status or (UNSETTLED if options.unsettled else None)
        found = list_runs(
            wanted,
            lookup.known_flow(options.flow) if options.flow else None,
            since=options.since,
            labels=arguments.one_of_each(options.label) if options.label else None,
            limit=options.limit + 1,
        )
        shown = found[: options.limit]
        standings = durations.read(shown)
        # of what is prefetched Django asks the router
        prefetch_related_objects(shown, Prefetch("version", FlowVersion.objects.using(conf.DATABASE)))
        console.document([as_data(run) | standing_data(standings[run.pk]) for run in shown])
        if shown:
            console.table(COLUMNS, [_row(console, run, standings[run.pk]) for run in shown])
            _tell_unserved(console, standings.values())
        elif lookup.runs().exists():
            console.line("No run is like that. All of them: manage.py workflow list")
        else:
            console.line("No runs yet. Start one with: manage.py workflow start FLOW")
        if len(found) > options.limit and console.is_terminal:
            console.line(f"There are more: --limit {options.limit * 5}")
        return DONE


COLUMNS = (
    Column("RUN"), Column("FLOW", is_flexible=True), Column("STATUS"), Column("CREATED"),
    Column("WAITED", is_right=True), Column("RAN", is_right=True), Column("BY", is_flexible=True),
    Column("TITLE", is_flexible=True), Column("LABELS", is_flexible=True),
)  # fmt: skip


def standing_data(stands: Standing) -> dict[str, Any]:
    """Return what `--json` says of when a worker began a run, and of the queue where it waits for one in vain."""
    return {"begun_at": stands.spans.begun_at, "unserved_queue": stands.unserved or None}


def _tell_unserved(console: Console, standings: Iterable[Standing]) -> None:
    """Tell the queues in which runs wait and that no worker serves."""
    for name in sorted({stands.unserved for stands in standings if stands.unserved}):
        console.note(_unserved(name))


def _unserved(queue: str) -> str:
    return f"No worker serves queue {queue}: manage.py run_workflow_worker --queues {queue}"


def _row(console: Console, run: Run, stands: Standing) -> Sequence[Cell | str]:
    return (
        console.short(run.pk),
        run.flow.slug,
        status(run.status),
        console.when(run.created_at),
        console.took(stands.spans.waits_from, stands.spans.waits_to),
        console.took(stands.spans.runs_from, stands.spans.runs_to),
        run.started_by,
        run.title,
        label_text(run),
    )


class Show(Subcommand):
    name = "show"
    help = "Show a run: its status, times, steps, failures and last events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument("--output", action="store_true", help="Show the run's output, too.")

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        steps = _newest(_of(StepRun, run))
        failures = _failures(steps)
        events = list(_of(Event, run).order_by("-number")[:MOST_EVENTS])[::-1]
        output = {"output": RunHandle(run.pk).result().output} if options.output else {}
        waits = {step: str(missing) for step, missing in missing_in(run.pk).items()}
        why = _why(run)
        data = {
            "waits": waits,
            "why": why,
            "steps": steps,
            "failures": failures,
            "events": [event_data(event) for event in events],
        }
        stands = durations.read([run])[run.pk]
        console.document(as_data(run) | standing_data(stands) | {"retries": _retries(run)} | data | output)
        if not console.is_json:
            _show_facts(console, run, stands, _told_waits(stands, waits, why))
            _show_steps(console, run)
            _show_failures(console, failures)
            _show_events(console, events)
            if options.output:
                console.heading("Output")
                console.line(pretty(output["output"]))
        return DONE


def _why(run: Run) -> str:
    """Say why nothing of a run is executed now, in the words of its live page."""
    if run.status in statuses.RUN_TERMINAL or run.status == statuses.SCHEDULED:  # of that one, when it is due is told
        return ""
    spec = readable_spec(run.version)
    facts = Facts(run, spec, read_steps(run.pk, spec), read_around(run, spec))
    facts.course = read_course(run.pk, spec, facts.steps)
    read_tasks(facts, ItemPage(), has_payload=False)
    read_missing(facts)
    return wait_reasons.of_run(facts)


def _told_waits(stands: Standing, missing: dict[str, str], why: str) -> list[str]:
    """Return the lines that tell what a run waits for, with what to do about it where a command does it."""
    found = [f"step {step}: {sentence}" for step, sentence in missing.items()]
    if why and not found and not (stands.unserved and why.endswith(wait_reasons.unserved(stands.unserved)[1:])):
        found.append(why)
    return found + ([_unserved(stands.unserved)] if stands.unserved else [])


def pretty(value: Any) -> str:
    """Return a JSON value for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def event_data(event: Event) -> dict[str, Any]:
    """Return what `--json` says of an event."""
    return {
        "run": str(event.run_id),
        "number": event.number,
        "type": event.type,
        "step": event.step,
        "task": event.task_id,
        "data": event.data,
        "created_at": event.created_at,
    }


def _of(model: Any, run: Run) -> Any:
    return model.objects.using(conf.DATABASE).filter(run_id=run.pk)


def _retries(run: Run) -> list[str]:
    return [str(pk) for pk in lookup.runs().filter(retry_of=run.pk).order_by("id").values_list("pk", flat=True)]


def _newest(activations: Any) -> list[dict[str, Any]]:
    """Return the newest activations in the order in which they began."""
    found: list[StepRun] = list(activations.order_by("-id")[:MOST_STEPS])
    # a join is made before it starts
    shown = sorted(found, key=lambda step: (step.started_at or step.ended_at or step.created_at, step.pk))
    begins = durations.read_begins(shown)
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    tasks = Task.objects.using(conf.DATABASE).filter(step_run__in=[step.pk for step in shown])
    for step_run, state, count in tasks.order_by().values_list("step_run", "status").annotate(Count("id")):
        counts[step_run][state] = count
    return [_step_data(step, counts[step.pk], begins.get(step.pk)) for step in shown]


def _step_data(step: StepRun, tasks: dict[str, int], begun_at: datetime | None) -> dict[str, Any]:
    return {
        "id": step.pk,
        "step": step.step,
        "iteration": step.iteration,
        "scope": step.scope,
        "status": step.status,
        "reason": step.reason,
        "message": step.message,
        "tasks": tasks,
        "created_at": step.created_at,
        "started_at": step.started_at,
        "begun_at": begun_at,
        "ended_at": step.ended_at,
        "error": step.error,
    }


def _failures(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last attempts that did not end as they should, in order."""
    found = (
        Attempt.objects.using(conf.DATABASE)
        .filter(task__step_run__in=[step["id"] for step in steps])
        .exclude(outcome__in=(statuses.RELEASED, statuses.CANCELLED))
        .select_related("task__step_run")
        .order_by("-id")[:MOST_FAILURES]
    )
    return [
        {
            "step": str(attempt.task.step_run),
            "index": attempt.task.index,
            "task": attempt.task_id,
            "attempt": attempt.number,
            "outcome": attempt.outcome,
            "class": attempt.error_class,
            "message": attempt.message,
            "ended_at": attempt.ended_at,
        }
        for attempt in reversed(found)
    ]


def _show_facts(console: Console, run: Run, stands: Standing, waits: Sequence[str]) -> None:
    spans = stands.spans
    facts: list[tuple[str, Cell | str]] = [
        ("Run", str(run.pk)),
        ("Flow", f"{run.flow.slug}, version {run.version.number}"),
        ("Status", status(run.status)),
        ("Title", run.title),
        ("Labels", label_text(run)),
        ("Key", run.idempotency_key or ""),
        ("Created", " ".join(filter(None, [console.when(run.created_at), run.started_by and f"by {run.started_by}"]))),
        ("Due", console.when(run.due_at) if run.status == statuses.SCHEDULED else ""),
        ("Paused", console.when(run.paused_at) if run.status == statuses.PAUSED else ""),
        ("Started", console.when(spans.begun_at)),
        ("Waited", console.took(spans.waits_from, spans.waits_to)),
        ("Ran", console.took(spans.runs_from, spans.runs_to)),
        ("Deadline", "" if run.ended_at else console.when(run.deadline_at)),
        ("Retry of", str(run.retry_of_id or "")),
        ("Retried by", ", ".join(_retries(run))),
        ("Error", error_text(run.error)),
        *(("Waits", sentence) for sentence in waits),
    ]
    for name, value in facts:
        cell = value if isinstance(value, Cell) else Cell(value)
        if cell.text:
            told = console.paint(printable(cell.text), cell.style)
            console.line(f"{console.paint(name.ljust(10), 'MIGRATE_LABEL')}  {told}")


def error_text(error: dict[str, Any] | None) -> str:
    """Return in one line what ended a run or a step."""
    if not error:
        return ""
    place = f"step {error['step']}: " if error.get("step") else ""
    name = str(error.get("class", "")).rpartition(".")[2]
    return f"{place}{name}: {error.get('message', '')}"


@dataclass
class Passes:
    """The activations of one step, counted by the database: of a loop there are thousands.

    left_over: joins that the end of the run found waiting; they never began, and count nowhere else.
    """

    counts: dict[str, int] = field(default_factory=dict)
    left_over: int = 0
    scopes: int = 0
    tasks: int = 0
    failed: int = 0
    newest: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def status(self) -> str:
        """What the step does: of activations that differ, what goes on comes first, then what is no success."""
        return min(self.counts, key=STANDING.index)

    @property
    def remark(self) -> str:
        """How they stand, and in how many scopes."""
        parts = [f"{count:,} {name}" for name, count in self.counts.items()] if len(self.counts) > 1 else []
        parts += [f"{self.scopes:,} scopes"] if self.scopes > 1 else []
        return ", ".join(parts + ([f"{self.left_over:,} left waiting"] if self.left_over and self.counts else []))


#: Statuses of activations, what tells most first.
STANDING = (
    statuses.RUNNING, statuses.WAITING, statuses.FAILED, statuses.CANCELLED, statuses.SKIPPED, statuses.SUCCEEDED
)  # fmt: skip


def _passes(run: Run) -> dict[str, Passes]:
    """Count the activations of each step."""
    found: dict[str, Passes] = defaultdict(Passes)
    is_left = Q(status=statuses.CANCELLED, started_at=None)
    rows = _of(StepRun, run).values("step", "status", is_left=is_left).order_by("is_left")
    sums = {"tasks": Sum("task_count"), "failed": Sum("failed_count"), "scopes": Count("scope", distinct=True)}
    times = {"first": Min("started_at"), "last": Max("ended_at"), "newest": Max("id"), "count": Count("id")}
    for row in rows.annotate(**sums, **times):
        passes = found[row["step"]]
        if row["is_left"]:
            passes.left_over = row["count"]
            passes.newest = passes.newest or row["newest"]
            continue
        passes.counts[row["status"]] = row["count"]
        passes.scopes = max(passes.scopes, row["scopes"])
        passes.tasks += row["tasks"]
        passes.failed += row["failed"]
        passes.newest = max(passes.newest, row["newest"])
        passes.started_at = min(filter(None, [passes.started_at, row["first"]]), default=None)
        passes.ended_at = max(filter(None, [passes.ended_at, row["last"]]), default=None)
    return found


def _show_steps(console: Console, run: Run) -> None:
    """Show a line for each step: its only activation, or all of them together."""
    console.heading("Steps")
    passes = _passes(run)
    if not passes:
        console.line("  No step has begun.")
        return
    if len(passes) > MOST_STEPS:
        console.line(f"  (the last {MOST_STEPS})")
    columns = (
        Column("STEP", is_flexible=True), Column("STATUS"), Column("TASKS", is_flexible=True), Column("STARTED"),
        Column("WAITED", is_right=True), Column("RAN", is_right=True), Column("REMARK", is_flexible=True),
    )  # fmt: skip
    kept = sorted(passes, key=lambda name: passes[name].newest)[-MOST_STEPS:]
    steps = _newest(_of(StepRun, run).filter(pk__in=[passes[name].newest for name in kept]))
    rows = [
        _row_of_passes(console, run, step["step"], passes[step["step"]])
        if passes[step["step"]].count > 1
        else _row_of_step(console, run, step, passes[step["step"]])
        for step in steps
    ]
    console.table(columns, rows, indent="  ")


def _row_of_step(console: Console, run: Run, step: dict[str, Any], passes: Passes) -> Sequence[Cell | str]:
    begun_at, end = step["begun_at"], step["ended_at"] or durations.clock_end(run)
    had_nothing_to_do = begun_at is None and step["ended_at"] is not None
    return (
        step["step"],
        status(step["status"]),
        task_text(step["tasks"]),
        console.when(begun_at),
        "" if had_nothing_to_do else console.took(step["started_at"], begun_at or end),
        console.took(begun_at, end),
        step["message"] or _reason(step) or error_text(step["error"] and step["error"] | {"step": ""}) or passes.remark,
    )


def _reason(step: dict[str, Any]) -> str:
    """Return why a step was skipped; a handler that says nothing tells nothing."""
    return "" if step["reason"] == statuses.SKIPPED_BY_HANDLER else str(step["reason"])


def _row_of_passes(console: Console, run: Run, name: str, passes: Passes) -> Sequence[Cell | str]:
    is_open = passes.status in (statuses.RUNNING, statuses.WAITING)
    return (
        f"{name} ×{passes.count}",
        status(passes.status),
        f"{passes.tasks:,}" + (f", {passes.failed:,} failed" if passes.failed else ""),
        console.when(passes.started_at),
        "",
        console.took(passes.started_at, durations.clock_end(run) if is_open else passes.ended_at),
        passes.remark,
    )


def task_text(tasks: dict[str, int]) -> str:
    """Return how many tasks of a step there are, by status where they differ."""
    order = [name for name in statuses.TASK_STATUSES if name in tasks]
    if len(order) == 1 and order[0] in statuses.TASK_TERMINAL:
        return f"{tasks[order[0]]:,}"
    return ", ".join(f"{tasks[name]:,} {name}" for name in order)


def _show_failures(console: Console, failures: list[dict[str, Any]]) -> None:
    if not failures:
        return
    console.heading("Failed attempts")
    columns = (
        Column("STEP", is_flexible=True), Column("ITEM", is_right=True), Column("ATTEMPT", is_right=True),
        Column("OUTCOME"), Column("WHEN"), Column("ERROR", is_flexible=True),
    )  # fmt: skip
    rows = [
        (
            failure["step"],
            str(failure["index"]),
            str(failure["attempt"]),
            status(failure["outcome"]),
            console.when(failure["ended_at"]),
            error_text(failure | {"step": ""}) if failure["class"] else failure["message"],
        )
        for failure in failures
    ]
    console.table(columns, rows, indent="  ")


def _show_events(console: Console, events: list[Event]) -> None:
    console.heading("Last events")
    columns = (Column("WHEN"), Column("EVENT"), Column("STEP", is_flexible=True), Column("DATA", is_flexible=True))
    rows = [(console.when(event.created_at), event.type, event.step, data_text(event.data)) for event in events]
    console.table(columns, rows, indent="  ")


def data_text(data: Any) -> str:
    """Return the data of an event in one line."""
    if not isinstance(data, dict):
        return "" if data is None else str(data)
    return " ".join(
        f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in data.items()
    )
