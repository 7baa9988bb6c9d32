"""`{workflow-sql} engine.tasks.claim.TAKE`: a statement as the code has it."""

from __future__ import annotations

import textwrap
from importlib import import_module
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive

from directives import text


class Sql(Directive):
    """The constant's text; a name that is not there fails the build."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        module, _, name = self.arguments[0].rpartition(".")
        statement = getattr(import_module(f"django_workflow.{module}"), name)
        return [text.code(textwrap.dedent(statement).strip(), "postgresql")]
