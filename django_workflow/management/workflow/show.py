"""`show`: how one run stands."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

from django_workflow import statuses
from django_workflow.management.workflow import lookup
from django_workflow.management.workflow.console import Console, status
from django_workflow.management.workflow.runs import (
    as_data,
    data_text,
    error_text,
    event_data,
    label_text,
    pretty,
    standing_data,
    unserved,
)
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Cell, Column, printable
from django_workflow.models import Attempt, Event, Run
from django_workflow.read.run import durations, history, wait_reasons
from django_workflow.read.run.course import StepRunDetail, newest_step_runs
from django_workflow.read.run.durations import Standing
from django_workflow.read.run.facts import Facts, read_facts
from django_workflow.read.run.needed_code import missing_in
from django_workflow.read.run.steps import StepFacts, of_flow, read_rows
from django_workflow.read.run.tasks import failed_attempts
from django_workflow.read.versions import readable_spec
from django_workflow.runs import RunHandle

#: What `show` tells at most of a run that has very much of it, newest first.
MOST_STEPS, MOST_FAILURES, MOST_EVENTS = 200, 10, 10


class Show(Subcommand):
    name = "show"
    help = "Show a run: its status, times, steps, failures and last events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument("--output", action="store_true", help="Show the run's output, too.")

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        spec = readable_spec(run.version)
        rows = read_rows(run.pk, spec)
        facts = read_facts(run, spec, of_flow(spec, rows))
        steps = newest_step_runs(run.pk, MOST_STEPS)
        failures = failed_attempts([detail.step_run.pk for detail in steps], MOST_FAILURES)
        events = history.past_events(run.pk, (), MOST_EVENTS)
        output = {"output": RunHandle(run.pk).result().output} if options.output else {}
        waits = {step: str(missing) for step, missing in missing_in(run.pk).items()}
        why = "" if run.status == statuses.SCHEDULED else wait_reasons.of_run(facts)  # when it is due is told
        data = {
            "waits": waits,
            "why": why,
            "steps": [_step_data(detail) for detail in steps],
            "failures": [_failure_data(attempt) for attempt in failures],
            "events": [event_data(event) for event in events],
        }
        stands = durations.read([run])[run.pk]
        console.document(as_data(run) | standing_data(stands) | {"retries": _retries(facts)} | data | output)
        if not console.is_json:
            _show_facts(console, facts, stands, _told_waits(stands, waits, why))
            _show_steps(console, run, rows)
            _show_failures(console, failures)
            _show_events(console, events)
            if options.output:
                console.heading("Output")
                console.line(pretty(output["output"]))
        return DONE


def _told_waits(stands: Standing, missing: dict[str, str], why: str) -> list[str]:
    """Return the lines that tell what a run waits for, with what to do about it where a command does it."""
    found = [f"step {step}: {sentence}" for step, sentence in missing.items()]
    if why and not found and not (stands.unserved and why.endswith(wait_reasons.unserved(stands.unserved)[1:])):
        found.append(why)
    return found + ([unserved(stands.unserved)] if stands.unserved else [])


def _retries(facts: Facts) -> list[str]:
    return [str(run_id) for run_id, _ in facts.around.retries]


def _step_data(detail: StepRunDetail) -> dict[str, Any]:
    step = detail.step_run
    return {
        "id": step.pk,
        "step": step.step,
        "iteration": step.iteration,
        "scope": step.scope,
        "status": step.status,
        "reason": step.reason,
        "message": step.message,
        "tasks": detail.tasks,
        "created_at": step.created_at,
        "started_at": step.started_at,
        "begun_at": detail.begun_at,
        "ended_at": step.ended_at,
        "error": step.error,
    }


def _failure_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "step": str(attempt.task.step_run),
        "index": attempt.task.index,
        "task": attempt.task_id,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "class": attempt.error_class,
        "message": attempt.message,
        "ended_at": attempt.ended_at,
    }


def _show_facts(console: Console, facts: Facts, stands: Standing, waits: Sequence[str]) -> None:
    run, spans = facts.run, stands.spans
    lines: list[tuple[str, Cell | str]] = [
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
        ("Retried by", ", ".join(_retries(facts))),
        ("Error", error_text(run.error)),
        *(("Waits", sentence) for sentence in waits),
    ]
    for name, value in lines:
        cell = value if isinstance(value, Cell) else Cell(value)
        if cell.text:
            told = console.paint(printable(cell.text), cell.style)
            console.line(f"{console.paint(name.ljust(10), 'MIGRATE_LABEL')}  {told}")


def _show_steps(console: Console, run: Run, steps: Mapping[str, StepFacts]) -> None:
    """Show a line for each step: its only step run, or all of them together."""
    console.heading("Steps")
    if not steps:
        console.line("  No step has begun.")
        return
    if len(steps) > MOST_STEPS:
        console.line(f"  (the last {MOST_STEPS})")
    columns = (
        Column("STEP", is_flexible=True), Column("STATUS"), Column("TASKS", is_flexible=True), Column("STARTED"),
        Column("WAITED", is_right=True), Column("RAN", is_right=True), Column("REMARK", is_flexible=True),
    )  # fmt: skip
    newest = sorted(step.newest_id for step in steps.values() if step.newest_id is not None)[-MOST_STEPS:]
    rows = []
    for detail in newest_step_runs(run.pk, MOST_STEPS, newest):
        step = steps[detail.step_run.step]
        rows.append(_row_of_all(console, run, step) if step.passes > 1 else _row_of_one(console, run, detail, step))
    console.table(columns, rows, indent="  ")


def _row_of_one(console: Console, run: Run, detail: StepRunDetail, step: StepFacts) -> Sequence[Cell | str]:
    row, begun_at = detail.step_run, detail.begun_at
    end = row.ended_at or durations.clock_end(run)
    had_nothing_to_do = begun_at is None and row.ended_at is not None
    # a handler that says nothing tells nothing
    reason = "" if row.reason == statuses.SKIPPED_BY_HANDLER else row.reason
    return (
        row.step,
        status(row.status),
        task_text(detail.tasks),
        console.when(begun_at),
        "" if had_nothing_to_do else console.took(row.started_at, begun_at or end),
        console.took(begun_at, end),
        row.message or reason or error_text(row.error and row.error | {"step": ""}) or _remark(step),
    )


def _row_of_all(console: Console, run: Run, step: StepFacts) -> Sequence[Cell | str]:
    # of step runs that differ, what goes on comes first, then what is no success
    first = next(iter(step.statuses))
    is_open = first in (statuses.RUNNING, statuses.WAITING)
    return (
        f"{step.step} ×{step.passes}",
        status(first),
        f"{step.sizes:,}" + (f", {step.failures:,} failed" if step.failures else ""),
        console.when(step.began_at),
        "",
        console.took(step.began_at, durations.clock_end(run) if is_open else step.last_ended_at),
        _remark(step),
    )


def _remark(step: StepFacts) -> str:
    """Return how the step runs of a step stand, and in how many scopes."""
    parts = [f"{count:,} {name}" for name, count in step.statuses.items()] if len(step.statuses) > 1 else []
    parts += [f"{step.scopes:,} scopes"] if step.scopes > 1 else []
    return ", ".join(parts + ([f"{step.left_over:,} left waiting"] if step.left_over and step.passes else []))


def task_text(tasks: dict[str, int]) -> str:
    """Return how many tasks of a step there are, by status where they differ."""
    order = [name for name in statuses.TASK_STATUSES if name in tasks]
    if len(order) == 1 and order[0] in statuses.TASK_TERMINAL:
        return f"{tasks[order[0]]:,}"
    return ", ".join(f"{tasks[name]:,} {name}" for name in order)


def _show_failures(console: Console, failures: list[Attempt]) -> None:
    if not failures:
        return
    console.heading("Failed attempts")
    columns = (
        Column("STEP", is_flexible=True), Column("ITEM", is_right=True), Column("ATTEMPT", is_right=True),
        Column("OUTCOME"), Column("WHEN"), Column("ERROR", is_flexible=True),
    )  # fmt: skip
    rows = [
        (
            str(attempt.task.step_run),
            str(attempt.task.index),
            str(attempt.number),
            status(attempt.outcome),
            console.when(attempt.ended_at),
            error_text({"class": attempt.error_class, "message": attempt.message})
            if attempt.error_class
            else attempt.message,
        )
        for attempt in failures
    ]
    console.table(columns, rows, indent="  ")


def _show_events(console: Console, events: list[Event]) -> None:
    console.heading("Last events")
    columns = (Column("WHEN"), Column("EVENT"), Column("STEP", is_flexible=True), Column("DATA", is_flexible=True))
    rows = [(console.when(event.created_at), event.type, event.step, data_text(event.data)) for event in events]
    console.table(columns, rows, indent="  ")
