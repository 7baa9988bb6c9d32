"""What came of the runs, as tables."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Count, Sum

from django_workflow.statuses import FAILED
from example_project.demo.output import heading, shown
from example_project.history import Entry, history
from example_project.models import AuditReport, Order, PackageAudit
from example_project.text import megabytes, seconds, shortened, table


def show_audit(report: AuditReport) -> None:
    """Print the largest packages and the licences of all."""
    packages = report.packages.all()
    heading(f"Audit: {len(packages)} packages of Python {report.python}, {megabytes(report.size)}; the ten largest")
    rows = [
        (
            shortened(package.name, 28),
            shortened(package.version, 14),
            megabytes(package.size),
            f"{package.file_count:,}",
            shortened(package.licence, 32),
            package.licence_source,
            package.get_family_display(),
        )
        for package in packages[:10]
    ]
    print(table(("package", "version", ">size", ">files", "licence", "declared in", "family"), rows))
    families = packages.order_by().values("family").annotate(count=Count("pk"), bytes=Sum("size"))
    labels = dict(PackageAudit.Family.choices)
    print()
    print(
        table(
            ("licences", ">packages", ">size"),
            [
                (labels[row["family"]], row["count"], megabytes(row["bytes"]))
                for row in families.order_by("-count", "family")
            ],
        )
    )
    for problem in report.unreadable:
        print(f"  not read: {problem['name'] or 'a package without a name'}: {problem['error']}")


def show_orders(placed: Sequence[Order]) -> None:
    """Print what became of the orders, and the history of the one that took most attempts."""
    histories: dict[int, list[Entry]] = {}
    rows = []
    for order in placed:
        order.refresh_from_db()
        assert order.run_id is not None
        histories[order.pk] = entries = history(order.run_id)
        attempts = sum(1 for entry in entries if entry.step == "charge" and entry.attempt is not None)
        end = max((entry.began + (entry.took or timedelta()) for entry in entries if entry.began), default=None)
        total = f"{order.total:,.2f}"
        rows.append((order.pk, order.customer, total, order.get_status_display(), attempts, seconds(end)))
    heading("Orders")
    print(table((">order", "customer", ">total", "came to", ">payment attempts", ">after"), rows))

    # The most telling one: of those that were shipped, the one with the most failures on the way.
    failures = {pk: sum(entry.outcome == FAILED for entry in entries) for pk, entries in histories.items()}
    order = max(placed, key=lambda order: (order.status == order.Status.SHIPPED, failures[order.pk]))
    heading(f"History of order {order.pk}, read from the rows of run {order.run_id}")
    lines = [
        (entry.step, entry.attempt, entry.outcome, seconds(entry.began), seconds(entry.took), shortened(entry.note, 60))
        for entry in histories[order.pk]
    ]
    print(table(("step", ">attempt", "outcome", ">began after", ">took", "why"), lines))


def show_what_next(took: float) -> None:
    """Print what happened, in words, and what to try."""
    python = shlex.quote(shown(sys.executable))
    heading("What happened")
    print(
        "  The runs were rows before anybody worked on them. The worker took their tasks from queues in PostgreSQL\n"
        "  (pgmq), executed the handlers and wrote what they returned. A busy payment provider was asked again after\n"
        "  0.2 s and 0.4 s; a declined card was not, and the stock got its items back. The order for more than there\n"
        "  is in stock failed at once. Had the worker been killed, another one would have gone on where it was."
    )
    heading("Try next")
    for command, purpose in (
        ("manage.py run_example simple", "the smallest flow; also: parallel, dynamic, errors, notifications"),
        ("manage.py run_workflow_worker", "a worker that stays; then run this demo again, and both work"),
        ("manage.py shell", "from example_project.workflows import audit; audit.execute().output"),
        ("run.py serve", "the same as a site: live pages, and the admin with reports, orders, stock"),
    ):
        print(f"  {python} {command:30}  {purpose}")
    print("\n  The flows are in example_project/audit/flow.py and example_project/orders/flow.py.")
    print(f"  Done in {took:.1f} s.")
