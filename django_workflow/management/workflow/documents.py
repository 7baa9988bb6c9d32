"""What the commands for documents share: reading files, finding definitions, telling problems and changes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from django_workflow.definition import documents
from django_workflow.definition.documents import Document
from django_workflow.definition.documents.differences import Difference
from django_workflow.definition.problems import Problem, problems_of
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.validation.topology import advice
from django_workflow.exceptions import DefinitionError
from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.management.workflow import lookup
from django_workflow.management.workflow.console import Console
from django_workflow.models import FlowVersion
from django_workflow.read import find, versions

STDIN = "-"
STYLES = {"added": "SUCCESS", "removed": "ERROR", "changed": "WARNING"}


class DocumentCommand(InterruptibleCommand):
    """A command that may answer in JSON."""

    requires_system_checks: list[str] = []

    def add_json(self, parser: ArgumentParser) -> None:
        """Take `--json`."""
        parser.add_argument("--json", action="store_true", help="JSON for programs; nothing else on standard output.")

    def console(self, options: dict[str, Any]) -> Console:
        """Return where to write."""
        has_colours = options["force_color"] or (self.stdout.isatty() and not options["no_color"])
        return Console(
            self.stdout, self.stderr, self.style, is_json=options.get("json", False), has_colours=has_colours
        )


@dataclass
class Source:
    """A file and what was read of it."""

    name: str
    document: Document
    spec: FlowSpec | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Return what is said of it, for programs."""
        return {
            "file": self.name,
            "flow": self.document.slug or None,
            "problems": [problem.as_data() for problem in self.problems],
            "warnings": [problem.as_data() for problem in self.warnings],
        }


def add_files(parser: ArgumentParser) -> None:
    """Take files."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="Documents in YAML or JSON; - is standard input.")
    add_format(parser)


def add_format(parser: ArgumentParser) -> None:
    """Take the format of what is read."""
    parser.add_argument(
        "--format",
        choices=("yaml", "json"),
        help="What they are written in (default: as their names say, else found out).",
    )


def read(name: str, format: str | None) -> Document:
    """Read a document; raises `CommandError` for a file that cannot be read."""
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror}.") from error
    return documents.parse(data, format or documents.format_of(name))


def checked(name: str, format: str | None) -> Source:
    """Read and validate a document without a look at the database."""
    source = Source(name, read(name, format))
    try:
        source.spec = source.document.compile()
    except DefinitionError as error:
        source.problems = problems_of(error)
    else:
        source.warnings = source.document.located(advice(source.spec))
    return source


def tell_problems(console: Console, source: Source) -> None:
    """Write each problem and warning in a line of its own, as editors and compilers do."""
    for problem in source.problems:
        console.line(f"{where(source.name, problem)}: {console.paint('error', 'ERROR')}: {what(problem)}")
    for problem in source.warnings:
        console.line(f"{where(source.name, problem)}: {console.paint('warning', 'WARNING')}: {what(problem)}")


def where(name: str, problem: Problem) -> str:
    """Return file and line of a problem."""
    return name if problem.line is None else f"{name}:{problem.line}:{problem.column}"


def what(problem: Problem) -> str:
    """Return what a problem says, without its line."""
    return f"{problem.place}: {problem.message}" if problem.place else problem.message


def tell_differences(console: Console, found: Sequence[Difference], *, indent: str = "") -> None:
    """Write what changes."""
    for item in found:
        sign, _, rest = str(item).partition(" ")
        console.line(f"{indent}{console.paint(sign, STYLES[item.kind])} {rest}")


def current_spec(slug: str) -> FlowSpec:
    """Return the definition that a start would use now; raises `CommandError` for an unknown flow."""
    return lookup.find_flow(slug).current_spec()


def version(slug: str, number: int) -> FlowVersion:
    """Return a version of a flow; raises `CommandError`."""
    lookup.known_flow(slug)
    flow = find.flow(slug)
    found = versions.numbered(flow.pk, number) if flow is not None else None
    if found is None:
        newest = versions.newest(flow.pk) if flow is not None else None
        known = "it has none yet" if newest is None else f"the newest is {newest.number}"
        raise CommandError(f"Flow {slug!r} has no version {number}; {known}.")
    return found
