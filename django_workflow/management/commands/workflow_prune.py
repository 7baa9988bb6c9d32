"""`manage.py workflow_prune`: delete runs that settled long ago."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_workflow.conf import conf
from django_workflow.engine.timers import prune
from django_workflow.management.workflow import arguments
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.tables import duration

#: Runs deleted in one transaction.
BATCH = 1_000
BAR = 24


class Command(BaseCommand):
    help = (
        "Delete runs that settled long ago, with all that belongs to them. "
        "The keeper does so by itself where RETENTION is set."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than", type=arguments.duration, metavar="DURATION",
            help="Runs that settled longer ago than this, such as 30d (default: RETENTION).",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="Only say how many would go.")
        parser.add_argument("--json", action="store_true", help="JSON for programs; nothing else on standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        older_than = options["older_than"] if options["older_than"] is not None else conf.RETENTION
        if older_than is None:
            raise CommandError(
                "How long are runs kept? Say --older-than 90d, or set DJANGO_WORKFLOW['RETENTION'] to a timedelta."
            )
        console = Console(
            self.stdout, self.stderr, self.style, is_json=options["json"], has_colours=self.stdout.isatty()
        )
        count = prune(older_than, dry_run=True) if options["dry_run"] else prune_all(console, older_than)
        console.document(
            {"runs": count, "older_than_seconds": older_than.total_seconds(), "dry_run": options["dry_run"]}
        )
        told = f"{count:,} run{'' if count == 1 else 's'} that settled more than {duration(older_than)} ago"
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
