"""`manage.py workflow_prune`: delete runs that settled long ago or are named, and what is gone from the code."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from django_workflow import display
from django_workflow.conf import conf
from django_workflow.engine.removal import erasing, unused
from django_workflow.engine.removal.erasing import Erased
from django_workflow.engine.removal.retention import prune
from django_workflow.exceptions import WorkflowError
from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.management.workflow import arguments
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.lookup import find_run

#: Runs deleted in one transaction.
BATCH = 1_000
BAR = 24


class Command(InterruptibleCommand):
    help = (
        "Delete runs that settled long ago, with all that belongs to them; the keeper does so by itself where "
        "RETENTION is set. Or erase the runs that are named, or remove what is gone from the code."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--older-than", type=arguments.duration, metavar="DURATION",
            help="Runs that settled longer ago than this, such as 30d (default: RETENTION).",
        )  # fmt: skip
        which.add_argument(
            "--run", action="append", metavar="ID",
            help="Erase this settled run, with its retries and the runs it is a retry of. May be given several times.",
        )  # fmt: skip
        which.add_argument(
            "--label", action="append", type=arguments.label, metavar="NAME=VALUE",
            help="Erase the settled runs with this label; of several labels, with all of them.",
        )  # fmt: skip
        which.add_argument(
            "--gone", action="store_true",
            help="Remove flows, versions, queues and workers that are gone and serve nobody; retire flows with runs.",
        )  # fmt: skip
        parser.add_argument(
            "--payloads", action="store_true",
            help="With --run or --label: keep what happened, and erase inputs, outputs, messages and log lines.",
        )  # fmt: skip
        arguments.add_author(parser)
        parser.add_argument("--dry-run", action="store_true", help="Only say how many would go.")
        parser.add_argument("--json", action="store_true", help="JSON for programs; nothing else on standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(
            self.stdout, self.stderr, self.style, is_json=options["json"], has_colours=self.stdout.isatty()
        )
        is_erasing = bool(options["run"] or options["label"])
        if options["payloads"] and not is_erasing:
            raise CommandError("Whose payloads? Say --run or --label.")
        if is_erasing:
            erase(console, options)
        elif options["gone"]:
            remove_gone(console, is_rehearsal=options["dry_run"])
        else:
            delete_old(console, options)


def erase(console: Console, options: dict[str, Any]) -> None:
    """Erase the runs that are named, or their payloads."""
    if options["run"]:
        run_ids = [find_run(text).pk for text in options["run"]]
    else:
        run_ids = erasing.labelled(arguments.one_of_each(options["label"]))
    who = {"reason": options["reason"] or "", "by": arguments.author(options["by"])}
    try:
        erased = erasing.erase(run_ids, payloads_only=options["payloads"], dry_run=options["dry_run"], **who)
    except WorkflowError as error:
        raise CommandError(str(error)) from error
    console.document({"runs": erased.runs, "rows": dict(erased.rows), "dry_run": options["dry_run"]})
    console.line(_told(erased, payloads_only=options["payloads"], is_rehearsal=options["dry_run"]))


def _told(erased: Erased, *, payloads_only: bool, is_rehearsal: bool) -> str:
    runs = f"{erased.runs:,} run{'' if erased.runs == 1 else 's'}"
    what = f"The payloads of {runs}" if payloads_only else runs[:1].upper() + runs[1:]
    if is_rehearsal:
        return f"{what} would be erased, retries included."
    rows = ", ".join(f"{table} {count:,}" for table, count in sorted(erased.rows.items()))
    return f"{what} erased, retries included" + (f"; rows: {rows}." if rows else ".")


def remove_gone(console: Console, *, is_rehearsal: bool) -> None:
    """Remove what is gone from the code and serves nobody."""
    removed = unused.remove_gone(dry_run=is_rehearsal)
    console.document({**removed.as_dict(), "dry_run": is_rehearsal})
    lines = [
        *_named("flow", "removed", removed.flows),
        *_named("flow", "retired, for it has runs", removed.retired),
        *_named("flow", "kept, for it has runs that have not settled", removed.kept),
        *_named("queue", "removed", removed.queues),
    ]
    lines += [f"{removed.versions:,} versions without runs removed"] if removed.versions else []
    lines += [f"{removed.workers:,} workers removed, not seen for a day"] if removed.workers else []
    for line in lines or ["Nothing is gone."]:
        console.line(f"would be: {line}" if is_rehearsal and lines else line)


def _named(kind: str, what: str, names: list[str]) -> list[str]:
    return [f"{kind} {name}: {what}" for name in names]


def delete_old(console: Console, options: dict[str, Any]) -> None:
    """Delete runs that settled long ago."""
    older_than = options["older_than"] if options["older_than"] is not None else conf.RETENTION
    if older_than is None:
        raise CommandError(
            "How long are runs kept? Say --older-than 90d, or set DJANGO_WORKFLOW['RETENTION'] to a timedelta."
        )
    count = prune(older_than, dry_run=True) if options["dry_run"] else prune_all(console, older_than)
    console.document({"runs": count, "older_than_seconds": older_than.total_seconds(), "dry_run": options["dry_run"]})
    told = f"{count:,} run{'' if count == 1 else 's'} that settled more than {display.exact(older_than)} ago"
    console.line(f"{told} would be deleted." if options["dry_run"] else f"Deleted {told}.")


def prune_all(console: Console, older_than: timedelta) -> int:
    """Delete in batches, each a transaction of its own, and return how many runs went."""
    total = prune(older_than, dry_run=True)
    done = 0
    while True:
        console.progress(_bar(done, total))
        count = prune(older_than, limit=BATCH)
        done += count
        if count < BATCH:
            console.progress("")
            return done


def _bar(done: int, total: int) -> str:
    share = min(done / total, 1.0) if total else 1.0
    filled = int(share * BAR)
    return f"{'█' * filled}{'░' * (BAR - filled)} {share:4.0%}  {done:,}/{total:,} runs"
