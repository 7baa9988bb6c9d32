"""`manage.py workflow_validate`: is a document a flow, and is it what its author meant?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django_workflow.management.workflow import documents
from django_workflow.management.workflow.refusals import refusals
from django_workflow.management.workflow.subcommand import REFUSED


class Command(documents.DocumentCommand):
    help = "Check documents: all problems with their lines, and warnings. Nothing is stored; no database is needed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        documents.add_files(parser)
        self.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        console = self.console(options)
        with refusals():
            sources = [documents.checked(name, options["format"]) for name in options["files"]]
        console.document([source.as_data() for source in sources])
        for source in sources:
            documents.tell_problems(console, source)
            if not source.problems:
                count = len(source.spec.steps) if source.spec is not None else 0
                told = f"flow {source.document.slug!r}, {count} step{'' if count == 1 else 's'}"
                console.line(f"{source.name}: {console.paint('valid', 'SUCCESS')}, {told}")
        if any(source.problems for source in sources):
            sys.exit(REFUSED)
