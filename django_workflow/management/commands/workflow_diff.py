"""`manage.py workflow_diff`: what changes between two definitions of a flow."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from django_workflow.definition.documents.differences import differences
from django_workflow.definition.spec import FlowSpec
from django_workflow.management.workflow import documents
from django_workflow.management.workflow.refusals import refusals
from django_workflow.management.workflow.subcommand import REFUSED
from django_workflow.read import find


class Command(documents.DocumentCommand):
    help = (
        "Tell what changes: from the flow as it starts now to a document, "
        "from a version to the flow as it starts now, or from one version to another."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG", help="The flow's name.")
        parser.add_argument("one", metavar="FILE|VERSION", help="A document, or the number of a version.")
        parser.add_argument("other", nargs="?", metavar="VERSION", help="The version to compare that one with.")
        parser.add_argument("--check", action="store_true", help="Exit 1 where something changes.")
        documents.add_format(parser)
        self.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        console = self.console(options)
        with refusals():
            found = differences(*_compared(options["slug"], options["one"], options["other"], options["format"]))
        console.document([asdict(item) for item in found])
        documents.tell_differences(console, found)
        if not found:
            console.line("Nothing changes.")
        if found and options["check"]:
            sys.exit(REFUSED)


def _compared(slug: str, one: str, other: str | None, format: str | None) -> tuple[FlowSpec, FlowSpec]:
    """Return the definitions before and after."""
    if not one.isdecimal():
        before = documents.current_spec(slug) if other is None else documents.version(slug, _number(other)).compiled
        row = find.flow(slug)
        # an import leaves the overrides as they are
        return before, documents.read(one, format).compile(row.overrides if row is not None else None)
    before = documents.version(slug, int(one)).compiled
    after = documents.current_spec(slug) if other is None else documents.version(slug, _number(other)).compiled
    return before, after


def _number(text: str) -> int:
    """Read the number of a version."""
    if not text.isdecimal():
        raise CommandError(f"{text!r} is not a version's number.")
    return int(text)
