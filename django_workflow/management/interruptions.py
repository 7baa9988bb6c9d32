"""Ctrl-C ends a command with a line and an exit code, at any moment, and never with a traceback."""

from __future__ import annotations

import sys

from django.core.management.base import BaseCommand

from django_workflow.worker.exit_codes import INTERRUPTED


class InterruptibleCommand(BaseCommand):
    """A command that may be interrupted while it starts, works or waits."""

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as the command line says, and end quietly where Ctrl-C says so."""
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted.", style_func=str)
            sys.exit(INTERRUPTED)
