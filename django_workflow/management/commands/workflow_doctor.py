"""`manage.py workflow_doctor`: what is wrong, and what to do."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.db.utils import OperationalError

from django_workflow.conf import conf
from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.read.doctor import ERROR, OK, WARNING, Finding, examine
from django_workflow.worker.runners import examination


class Command(InterruptibleCommand):
    help = "Examine the database, queues, workers and flows; exits 1 where something is wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Findings as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            findings = [*examine(), *examination.examine()]
        except OperationalError as error:
            remedy = f"start the server, or mend DATABASES[{conf.DATABASE!r}]"
            findings = [Finding(ERROR, f"the database does not answer: {error}".strip(), remedy)]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            self._print(findings)
        if any(finding.level == ERROR for finding in findings):
            sys.exit(1)

    def _print(self, findings: list[Finding]) -> None:
        styles = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, ERROR: self.style.ERROR}
        for finding in findings:
            self.stdout.write(f"{styles[finding.level](finding.level.ljust(8))} {finding.text}")
            if finding.remedy:
                self.stdout.write(f"         → {finding.remedy}")
        counts = {level: sum(finding.level == level for finding in findings) for level in (ERROR, WARNING)}
        self.stdout.write(f"{counts[ERROR]} errors, {counts[WARNING]} warnings")
