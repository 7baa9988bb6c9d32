"""`manage.py workflow_import`: documents become stored flows."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from django_workflow import builder, db
from django_workflow.builder import FlowBuilder
from django_workflow.definition.documents.differences import Difference
from django_workflow.definition.problems import Problem, problems_of
from django_workflow.definition.validation.topology import advice
from django_workflow.exceptions import DefinitionError
from django_workflow.management.workflow import documents
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.documents import Source
from django_workflow.management.workflow.refusals import refusals
from django_workflow.management.workflow.subcommand import REFUSED
from django_workflow.read import find


class Command(documents.DocumentCommand):
    help = (
        "Store the flows that documents say, or replace the drafts of those that have their names. "
        "All of them or, if anything is wrong, none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        documents.add_files(parser)
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--publish", action="store_true", help="Make a version of each at once (default: at its next start)."
        )
        how.add_argument("--dry-run", action="store_true", help="Only say what would change.")
        self.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        console = self.console(options)
        with refusals():
            plans = [plan(documents.Source(name, documents.read(name, options["format"]))) for name in options["files"]]
            refuse_twins(plans)
            is_refused = any(item.source.problems for item in plans)
            if not is_refused and not options["dry_run"]:
                store(plans, publishes=options["publish"])
        console.document([item.as_data() for item in plans])
        for item in plans:
            documents.tell_problems(console, item.source)
            if not is_refused:
                _tell(console, item, is_dry=options["dry_run"])
        if is_refused:
            console.note("Nothing was stored.")
            sys.exit(REFUSED)


@dataclass
class Plan:
    """What an import does with one file: its flow is new, or changes."""

    source: Source
    is_new: bool = True
    changes: list[Difference] = field(default_factory=list)
    version: int | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it for programs."""
        return self.source.as_data() | {
            "is_new": self.is_new,
            "changes": [asdict(item) for item in self.changes],
            "version": self.version,
        }


def plan(source: Source) -> Plan:
    """Say what the import of a document would change."""
    row = find.flow(source.document.slug)
    try:
        source.spec = builder.checked(source.document, row).spec
    except DefinitionError as error:
        source.problems = problems_of(error)
        return Plan(source, row is None)
    source.warnings = source.document.located(advice(source.spec))
    return Plan(source, row is None, builder.changes(row, source.spec))


def refuse_twins(plans: list[Plan]) -> None:
    """Tell of files that say the same flow."""
    counts = Counter(item.source.document.slug for item in plans)
    for item in plans:
        slug = item.source.document.slug
        if slug and counts[slug] > 1:
            message = f"a flow of this name is said by {counts[slug]} of these files"
            twin = Problem("name_taken", ("slug",), message)
            item.source.problems = [*item.source.problems, *item.source.document.located([twin])]


def store(plans: list[Plan], *, publishes: bool) -> None:
    """Store all of them in one transaction, and then make versions."""
    with db.atomic():
        flows = [FlowBuilder.import_document(item.source.document) for item in plans]
    if publishes:
        for item, flow in zip(plans, flows, strict=True):
            item.version = FlowBuilder.publish(flow).number


def _tell(console: Console, item: Plan, *, is_dry: bool) -> None:
    slug, would = item.source.document.slug, "would be " if is_dry else ""
    if item.is_new:
        console.line(f"{item.source.name}: flow {slug!r} {would}stored")
    elif not item.changes:
        console.line(f"{item.source.name}: flow {slug!r} is as it was")
    else:
        console.line(f"{item.source.name}: flow {slug!r} {would}changed")
        documents.tell_differences(console, item.changes, indent="  ")
    if item.version is not None:
        console.line(f"{item.source.name}: version {item.version} is published")
