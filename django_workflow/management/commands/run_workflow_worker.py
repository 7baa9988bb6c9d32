"""`manage.py run_workflow_worker`: execute tasks until stopped."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.names import QUEUE_RULE, is_queue_name
from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.worker import readiness, status_line
from django_workflow.worker.options import WorkerOptions
from django_workflow.worker.process import WorkerProcess
from django_workflow.worker.runners import executors
from django_workflow.worker.supervisor import Supervisor, child_command


def seconds(text: str) -> timedelta:
    """Read a number of seconds."""
    return timedelta(seconds=float(text))


class Command(InterruptibleCommand):
    help = (
        "Execute workflow tasks. Ctrl-C or SIGTERM stops: running handlers finish within the grace time, "
        "everything else is handed back. A second one stops at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queues", nargs="+", metavar="NAME",
            help="Queues to serve, in the order to look at them (default: DEFAULT_QUEUE).",
        )  # fmt: skip
        parser.add_argument("--concurrency", type=int, help="Handlers that run at once in one process.")
        parser.add_argument("--prefetch", type=int, help="Tasks claimed beyond those, while handlers are quick.")
        parser.add_argument("--processes", type=int, default=1, help="Worker processes under one supervisor.")
        parser.add_argument(
            "--executor",
            default="thread",
            help="Where synchronous handlers run: thread, process, or a name in EXECUTORS.",
        )
        parser.add_argument(
            "--lease", type=seconds, metavar="SECONDS", help="How long a crashed worker's tasks stay away."
        )
        parser.add_argument(
            "--grace", type=seconds, metavar="SECONDS", help="How long running handlers may finish at a stop."
        )
        parser.add_argument(
            "--drain", action="store_true", help="Stop when the queues are empty; shows a progress bar."
        )
        parser.add_argument("--reload", action="store_true", help="Restart when the code changes, for development.")
        parser.add_argument("--quiet", action="store_true", help="No status line.")
        # one of several processes: what is warned of at the start has been said
        parser.add_argument("--child", action="store_true", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        worker_options = self._options(options)
        try:
            readiness.check(worker_options.queues)
        except readiness.NotReady as error:
            raise CommandError(str(error)) from error
        if db.in_transaction():
            # a worker opens its connection anew, and what the caller has not committed goes with the old one
            raise CommandError(
                "This connection is in a transaction, which a worker would discard. Call the command outside of the "
                "transaction or from a thread; in tests use django_workflow.testing.run_until_idle()."
            )
        if not options["child"]:
            readiness.warn(worker_options.queues)
        is_own = getattr(self, "_called_from_command_line", True)
        if options["processes"] > 1 or options["reload"]:
            if not is_own:
                raise CommandError(
                    "--processes and --reload start this command again, so it must be called from the command line. "
                    "Start several processes that call it with processes=1."
                )
            arguments = [item for item in sys.argv[1:] if item != "--reload"]
            arguments += ["--processes", "1", "--quiet", "--child"]
            db.close()  # this process works with no database
            code = Supervisor(child_command(arguments), options["processes"], reload=options["reload"]).run()
            sys.exit(code)
        try:
            process = WorkerProcess(worker_options)
            self._run(process, is_own=is_own, is_quiet=options["quiet"])
        except DatabaseError as error:
            # once it runs, a worker waits for a database that is away
            if not db.is_of_connection(error):
                raise
            text = f"The connection to the database ended while the worker started: {error}\nStart it again."
            raise CommandError(text) from error
        if is_own and process.exit_code:
            sys.exit(process.exit_code)

    def _run(self, process: WorkerProcess, *, is_own: bool, is_quiet: bool) -> None:
        with process.stopped_by_signals(is_own=is_own):
            if is_quiet:
                process.run()
                return
            line = status_line.for_stream(self.stderr, process.dispatcher)
            line.start()
            process.run()
            line.finish()

    def _options(self, options: dict[str, Any]) -> WorkerOptions:
        queues = options["queues"] or [conf.DEFAULT_QUEUE]
        for name in queues:
            if not is_queue_name(name):
                raise CommandError(f"{name!r} is not a queue name: {QUEUE_RULE}.")
        concurrency = options["concurrency"] if options["concurrency"] is not None else conf.CONCURRENCY
        prefetch = options["prefetch"] if options["prefetch"] is not None else conf.PREFETCH
        lease = options["lease"] if options["lease"] is not None else conf.LEASE
        grace = options["grace"] if options["grace"] is not None else conf.GRACE
        if concurrency < 1 or prefetch < 0 or options["processes"] < 1:
            raise CommandError("--concurrency and --processes must be at least 1, --prefetch at least 0.")
        if lease < timedelta(seconds=1):
            raise CommandError("--lease must be at least 1 second.")
        if grace < timedelta(0):
            raise CommandError("--grace must be at least 0 seconds.")
        if options["executor"] not in executors.known():
            raise CommandError(executors.unknown(options["executor"]))
        return WorkerOptions(
            queues=tuple(dict.fromkeys(queues)),
            concurrency=concurrency,
            prefetch=prefetch,
            executor=options["executor"],
            lease=lease,
            grace=grace,
            drain=options["drain"],
        )
