"""`manage.py workflow_export`: a flow as a document."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandParser

from django_workflow.builder import StoredFlow
from django_workflow.definition.documents import write
from django_workflow.management.workflow import arguments, documents, lookup
from django_workflow.management.workflow.refusals import refusals


class Command(documents.DocumentCommand):
    help = (
        "Write a flow as a document: a stored one as its author wrote it, one in code or a version as it is compiled."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG", help="The flow's name.")
        parser.add_argument(
            "--version", dest="number", type=arguments.positive, metavar="N",
            help="A version of it (default: what a start would use now).",
        )  # fmt: skip
        parser.add_argument("--format", choices=("yaml", "json"), default="yaml", help="What to write.")

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Let `--version` mean the flow's, not Django's."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals():
            self.stdout.write(self._text(options["slug"], options["number"], options["format"]), ending="")

    def _text(self, slug: str, number: int | None, form: str) -> str:
        if number is not None:
            return write(documents.version(slug, number).compiled, form)
        flow = lookup.find_flow(slug)
        return flow.to_document(form) if isinstance(flow, StoredFlow) else write(flow.current_spec(), form)
