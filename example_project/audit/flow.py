"""The audit as a flow: list the packages, measure each, sort their licences, write a report.

discover ──> measure (one task per package) ──> classify ──> read_licence_texts ──> report
                                                             (only if a licence is unclear)
"""

from __future__ import annotations

import platform
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django_workflow import Fail, Flow, Retry
from example_project import pace
from example_project.audit import licences
from example_project.audit.packages import Package, find_packages, licence_texts, normalised, read_package
from example_project.models import AuditReport, PackageAudit

if TYPE_CHECKING:
    from django_workflow.worker.jobs.context import Context

audit = Flow("audit", title="Audit of the installed Python packages", max_duration=timedelta(minutes=10))


@audit.step
def discover(input: dict[str, Any] | None) -> dict[str, Any] | Fail:
    """List what is installed; `{"packages": [...]}` as input chooses some of it."""
    installed, nameless = find_packages()
    wanted = (input or {}).get("packages")
    if wanted is not None:
        by_name = {normalised(name): name for name in installed}
        if unknown := [name for name in wanted if normalised(name) not in by_name]:
            # Another attempt would not find them either: the outcome is Fail, not an exception.
            return Fail(f"not installed: {', '.join(unknown)}")
        installed = [by_name[normalised(name)] for name in wanted]
    return {"python": platform.python_version(), "packages": installed, "nameless": nameless}


# A package that cannot be read is no reason to know nothing of the others: up to a tenth may fail.
@audit.map(over="discover.packages", max_parallel=8, tolerate=0.1, retry=Retry(max_attempts=2, retry_on=(OSError,)))
def measure(item: str) -> Package:
    """Read one package: metadata, licence, files and their sizes."""
    pace.take_time(0.5)
    return read_package(item)


@audit.step
def classify(measure: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Sort the licences into families; an item that failed is None in the list."""
    families = {package["name"]: licences.family(package["licence"]) for package in measure if package}
    return {
        "families": families,
        "unclear": [name for name, family in families.items() if family == licences.UNCLEAR],
    }


@audit.step(when="len(outputs.classify.unclear) > 0", on_exhausted="skip")
def read_licence_texts(classify: dict[str, Any]) -> dict[str, str]:
    """Look into the licence files of the packages whose metadata does not tell; by package, what is in them."""
    found = {}
    for package in classify["unclear"]:
        names = dict.fromkeys(filter(None, map(licences.recognise, licence_texts(package))))
        if names:
            found[package] = " AND ".join(names)
    return found


# Atomic: the rows and the end of this step are one transaction, so there is exactly one report per run.
@audit.step(atomic=True)
def report(
    discover: dict[str, Any],
    measure: list[dict[str, Any] | None],
    classify: dict[str, Any],
    ctx: Context,
    read_licence_texts: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Write the report; `read_licence_texts` is None where that step was skipped."""
    row = AuditReport.objects.create(
        run_id=ctx.run_id, python=discover["python"], unreadable=_unreadable(discover, ctx)
    )
    packages = []
    for values in filter(None, measure):
        package = Package(**values)
        family = classify["families"][package.name]
        if text := (read_licence_texts or {}).get(package.name):
            values |= {"licence": text, "licence_source": "text"}
            family = licences.family(text)
        packages.append(PackageAudit(report=row, family=family, **values))
    PackageAudit.objects.bulk_create(packages)
    return {"report": row.pk, "packages": len(packages), "unreadable": len(row.unreadable), "bytes": row.size}


def _unreadable(discover: dict[str, Any], ctx: Context) -> list[dict[str, str]]:
    failed = [
        {"name": discover["packages"][failure["index"]], "error": f"{failure['class']}: {failure['message']}"}
        for failure in ctx.failures("measure")
    ]
    return failed + [{"name": "", "error": "no readable metadata"}] * discover["nameless"]
