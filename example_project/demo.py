"""`python -m example_project.demo`: watch real workflows run on a real PostgreSQL, executed by a real worker.

It starts PostgreSQL, brings the database up to date, starts a worker process, starts an audit of the
Python packages installed here and a few orders of a shop, shows how they proceed, and what came of them.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import django

if TYPE_CHECKING:
    from example_project.models import AuditReport, Order

ROOT = Path(__file__).resolve().parent.parent
#: The demo fails if its runs have not settled by then.
TIMEOUT = 120.0
#: Seconds between two looks at the runs; only this page looks so often, workers are notified.
LOOK = 0.1
#: How long the worker may finish what it does, when it is told to stop.
GRACE = 10

#: Customer, card, and how many of what: the fourth order wants more than there is, the fifth is not paid.
ORDERS: Sequence[tuple[str, str, dict[str, int]]] = (
    ("Ada Lovelace", "card_4242", {"tea-green": 2, "pot-cast": 1, "cup-stone": 4}),
    ("Alan Turing", "card_1881", {"tea-black": 3, "scale": 1}),
    ("Grace Hopper", "card_5100", {"cup-stone": 6, "tea-green": 1, "tea-black": 1}),
    ("Charles Babbage", "card_0005", {"pot-cast": 10_000}),
    ("Blaise Pascal", "card_declined", {"scale": 1, "tea-black": 1}),
)


class DemoFailed(Exception):
    """Something is not as it should be; the message says what."""


def main() -> int:
    """Run the demonstration and return the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    # A name that the terminal cannot show is no reason to stop; and lines come when they are written.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _stop)
    django.setup()
    from django.db import DatabaseError

    try:
        demonstrate()
    except (DemoFailed, DatabaseError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the runs stay in the database, any worker goes on with them", file=sys.stderr)
        return 130
    return 0


def demonstrate() -> None:
    """Tell the story: prepare, work, show."""
    began = time.monotonic()
    print("django_workflow: durable workflows on the PostgreSQL a site already has\n")
    prepare_database()
    with worker_process() as worker:
        audit_run, placed = start_runs()
        Watch(audit_run, placed, worker).until_settled()
    show_audit(report_of(audit_run))
    show_orders(placed)
    show_what_next(time.monotonic() - began)


def prepare_database() -> None:
    """Start PostgreSQL, if it is the embedded one and does not run, and create the tables."""
    from django.db import connection

    from example_project.database import prepare
    from example_project.orders.catalogue import stock_up

    began = time.monotonic()
    connection.ensure_connection()
    version = connection.cursor().execute("SHOW server_version").fetchone()[0].split()[0]
    folder = connection.settings_dict["OPTIONS"].get("folder")
    say("PostgreSQL", f"{version}, {f'in {shown(folder)}' if folder else 'that of DATABASE_URL'}", began)
    began = time.monotonic()
    prepare()
    stock_up()
    say("Database", "tables and products are there", began)


@dataclass
class WorkerProcess:
    """A worker, and the file with what it says."""

    process: subprocess.Popen[bytes]
    log: Any

    def check(self) -> None:
        """Raise `DemoFailed` if the worker has ended."""
        code = self.process.poll()
        if code is not None:
            self.fail(f"the worker ended by itself, with exit code {code}")

    def fail(self, problem: str) -> NoReturn:
        """Raise `DemoFailed` with a problem and the last words of the worker."""
        self.log.seek(0)
        words = self.log.read().decode(errors="replace").splitlines()[-30:]
        raise DemoFailed("\n".join([f"{problem}. Its last words:", *words] if words else [problem]))

    def stop(self) -> int:
        """Send SIGTERM, wait until the worker has finished what it does, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def worker_process() -> Iterator[WorkerProcess]:
    """Run a worker as it runs in production, a process of its own, for as long as the block takes."""
    arguments = ["run_workflow_worker", "--grace", str(GRACE), "--quiet"]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the demo, which stops the worker in order
        )
        worker = WorkerProcess(process, log)
        try:
            say("Worker", f"process {process.pid}: manage.py {' '.join(arguments)}", began)
            yield worker
        finally:
            began = time.monotonic()
            code = worker.stop()
        if code != 0:
            worker.fail(f"the worker ended with exit code {code} after SIGTERM")
        say("Worker", f"stopped by SIGTERM, exit code {code}", began)


def start_runs() -> tuple[UUID, list[Order]]:
    """Start the audit and place the orders: rows and queue messages, for any worker to take up."""
    from django.db import transaction

    from example_project.audit.flow import audit
    from example_project.orders.flow import place_order

    began = time.monotonic()
    with transaction.atomic():
        run = audit.start(title="Audit", by="demo")
        placed = [
            place_order(customer, f"{customer.split()[0].lower()}@example.com", card, items)
            for customer, card, items in ORDERS
        ]
    say("Started", f"1 run of the flow `audit`, {len(placed)} of `orders`, in one transaction", began)
    print()
    return run.id, placed


class Watch:
    """Shows how runs proceed: a bar on a terminal, elsewhere a line per event."""

    WIDTH = 32

    def __init__(self, audit_run: UUID, placed: Sequence[Order], worker: WorkerProcess) -> None:
        self._names = {audit_run: "audit"} | {order.run_id: f"order {order.pk}" for order in placed if order.run_id}
        self._worker = worker
        self._is_terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._settled: set[UUID] = set()
        self._quarter = 0

    def until_settled(self) -> None:
        """Look again and again until every run has settled; raises `DemoFailed` if that takes too long."""
        while len(self._settled) < len(self._names):
            self._worker.check()
            if time.monotonic() - self._began > TIMEOUT:
                self._worker.fail(f"after {TIMEOUT:.0f} s only {self._progress()}")
            time.sleep(LOOK)
            self._look()
        self._print("")
        print()

    def _look(self) -> None:
        from django_workflow.models import Run

        for run in Run.objects.settled().filter(pk__in=self._names).order_by("ended_at"):
            if run.pk not in self._settled:
                self._settled.add(run.pk)
                what = f"{run.status}: {run.error['message']}" if run.error else run.status
                self._print(f"  {self._elapsed()}  {self._names[run.pk]:10}  {what}", is_event=True)
        self._show_tasks()

    def _show_tasks(self) -> None:
        done, total = self._tasks()
        share = done / total if total else 0.0
        if self._is_terminal:
            filled = int(share * self.WIDTH)
            bar = "█" * filled + "░" * (self.WIDTH - filled)
            self._print(f"  {self._elapsed()}  {bar} {share:4.0%}  {self._progress()}, {done} of {total} tasks")
        elif total and int(share * 4) > self._quarter:
            self._quarter = int(share * 4)
            self._print(f"  {self._elapsed()}  {done} of {total} tasks are done", is_event=True)

    def _tasks(self) -> tuple[int, int]:
        """Return how many tasks have ended, of those known: a map makes its tasks when it begins."""
        from django.db.models import Count, Q

        from django_workflow.models import Task
        from django_workflow.statuses import TASK_TERMINAL

        tasks = Task.objects.filter(step_run__run_id__in=self._names)
        counts = tasks.aggregate(done=Count("pk", filter=Q(status__in=TASK_TERMINAL)), total=Count("pk"))
        return counts["done"], counts["total"]

    def _progress(self) -> str:
        return f"{len(self._settled)} of {len(self._names)} runs have settled"

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:6.2f} s"

    def _print(self, line: str, *, is_event: bool = False) -> None:
        if self._is_terminal:
            print(f"\r\033[K{line}", end="\n" if is_event else "", flush=True)
        elif line:
            print(line, flush=True)


def report_of(run_id: UUID) -> AuditReport:
    """Return the report that a run wrote; raises `DemoFailed` if it did not succeed."""
    from django_workflow.flow import handle
    from example_project.models import AuditReport

    result = handle(run_id).result()
    if not result.is_success:
        raise DemoFailed(f"the audit {result.status}: {result.error}")
    return AuditReport.objects.get(run_id=run_id)


def show_audit(report: AuditReport) -> None:
    """Print the largest packages and the licences of all."""
    from django.db.models import Count, Sum

    from example_project.models import PackageAudit
    from example_project.text import megabytes, shortened, table

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
    from example_project.history import Entry, history
    from example_project.text import seconds, shortened, table

    histories: dict[int, list[Entry]] = {}
    rows = []
    for order in placed:
        order.refresh_from_db()
        assert order.run_id is not None
        histories[order.pk] = entries = history(order.run_id)
        attempts = sum(1 for entry in entries if entry.step == "charge" and entry.attempt is not None)
        end = max(entry.began + (entry.took or timedelta()) for entry in entries if entry.began is not None)
        rows.append((order.pk, order.customer, order.total, order.get_status_display(), attempts, seconds(end)))
    heading("Orders")
    print(table((">order", "customer", ">total", "came to", ">payment attempts", ">after"), rows))

    order = max((order for order in placed if order.status == order.Status.SHIPPED), default=placed[0], key=lambda order: len(histories[order.pk]))
    heading(f"History of order {order.pk}: every attempt is a row in the database (run {order.run_id})")
    lines = [
        (entry.step, entry.attempt, entry.outcome, seconds(entry.began), seconds(entry.took), shortened(entry.note, 60))
        for entry in histories[order.pk]
    ]
    print(table(("step", ">attempt", "outcome", ">began after", ">took", "why"), lines))
    check_orders(placed)


def check_orders(placed: Sequence[Order]) -> None:
    """Raise `DemoFailed` unless every order came to the end that was meant for it."""
    from example_project.models import Order

    status = Order.Status
    expected = [status.SHIPPED, status.SHIPPED, status.SHIPPED, status.REJECTED, status.CANCELLED]
    for order, end in zip(placed, expected, strict=True):
        if order.status != end:
            raise DemoFailed(f"order {order.pk} is {order.status}, and should be {end}; its run is {order.run_id}")


def show_what_next(took: float) -> None:
    """Print what happened, in words, and what to try."""
    python = shlex.quote(shown(sys.executable))
    heading("What happened")
    print(
        "  The runs were rows before anybody worked on them. The worker took their tasks from queues in PostgreSQL\n"
        "  (pgmq), executed the handlers and wrote what they returned. A busy payment provider was asked again after\n"
        "  0.2 s and 0.4 s; a declined card was not, and the stock got its items back; an order for more than there\n"
        "  is failed at once. Had the worker been killed, another one would have gone on where it was."
    )
    heading("Try next")
    for command, purpose in (
        ("manage.py run_example simple", "the smallest flow; also: parallel, dynamic, errors"),
        ("manage.py run_workflow_worker", "a worker that stays; then run this demo again, and both work"),
        ("manage.py shell", "from example_project.workflows import audit; audit.execute().output"),
        ("manage.py createsuperuser", "then `manage.py runserver` and /admin/: reports, orders, stock"),
    ):
        print(f"  {python} {command:30}  {purpose}")
    print("\n  The flows are in example_project/audit/flow.py and example_project/orders/flow.py.")
    print(f"  Done in {took:.1f} s.")


def heading(text: str) -> None:
    """Print the title of a section."""
    print(f"\n{text}\n")


def say(what: str, how: str, began: float) -> None:
    """Print a line about something that was done, and how long it took."""
    print(f"  {what:11} {how:82} {time.monotonic() - began:5.2f} s", flush=True)


def shown(path: str | Path) -> str:
    """Return a path as one types it here: relative if it is below the current directory."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
