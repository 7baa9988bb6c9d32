"""The operations at the shell: on runs, flows, queues and steps; each stores who did it, and why."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandError

from django_workflow.engine.retrying.request import KEPT
from django_workflow.exceptions import WorkflowError
from django_workflow.management.workflow import arguments, lookup, runs
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, REFUSED, Subcommand
from django_workflow.models import Run
from django_workflow.operations import FLOWS, QUEUES, RUNS, STEPS
from django_workflow.operations.holding import Holding
from django_workflow.operations.operation import Operation, Words
from django_workflow.operations.retry import RetryWords
from django_workflow.operations.steps import Completion, StepOfRun
from django_workflow.runs import RunHandle
from django_workflow.statuses import in_words


class Act(Subcommand):
    """An operation at the shell."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self.operation = operation
        self.name = operation.command or operation.name  # type: ignore[misc]
        self.help = operation.summary or operation.meaning  # type: ignore[misc]

    def words(self, options: Any) -> dict[str, Any]:
        """Return what is said with it, by the fields of its words."""
        return {"reason": options.reason}

    def on_each(self, console: Console, targets: Sequence[tuple[Run, Any]], options: Any) -> int:
        """Do it to each target and say how its run stands then."""
        words, by = self.operation.words(**self.words(options)), arguments.author(options.by)
        answers, code = [], DONE
        for run, target in targets:
            try:
                self.operation.perform(target, words, by)
            except WorkflowError as error:
                code = REFUSED
                answers.append(runs.as_data(run) | {"refused": error.message})
                console.note(error.message)
            else:
                changed = RunHandle(run.pk).run
                answers.append(runs.as_data(changed) | {"refused": None})
                console.line(f"Run {changed.pk} of {changed.flow.slug} is {in_words(changed.status)}.")
        console.document(answers)
        return code


class ActOnRuns(Act):
    """An operation on runs, or on a flow or a queue where there is one of the same name."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        super().__init__(operation)
        self.on_rows: dict[str, Holding[Any]] = {
            kind: table[operation.name]
            for kind, table in (("flow", FLOWS), ("queue", QUEUES))
            if operation.name in table
        }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", nargs="*" if self.on_rows else "+", metavar="RUN", help=lookup.RUN_HELP)
        if self.on_rows:
            others = parser.add_mutually_exclusive_group()
            others.add_argument(
                "--flow", metavar="SLUG", help="All unsettled runs of this flow, and those started later."
            )
            others.add_argument("--queue", metavar="NAME", help="This queue, whoever its tasks belong to.")
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        named = {kind: getattr(options, kind) for kind in self.on_rows if getattr(options, kind)}
        if options.runs and named:
            raise CommandError("Name runs, or --flow, or --queue, not several of them.")
        if not (options.runs or named):
            raise CommandError("What? Name runs, or --flow SLUG, or --queue NAME.")
        for kind, name in named.items():
            return self.on_row(console, kind, name, options)
        # a name that is wrong lets nothing be done
        chosen = [lookup.find_run(name) for name in dict.fromkeys(options.runs)]
        return self.on_each(console, [(run, run) for run in chosen], options)

    def on_row(self, console: Console, kind: str, name: str, options: Any) -> int:
        """Do it to a flow or a queue and say how that stands then."""
        operation = self.on_rows[kind]
        known = {"flow": lookup.known_flow, "queue": lookup.known_queue}[kind](name)
        operation.act(known, reason=options.reason, by=arguments.author(options.by))
        console.document({kind: name, "is_paused": operation.pauses})
        console.line(f"The {kind} {name!r} {'is paused' if operation.pauses else 'goes on'}.")
        return DONE


class ActOnStep(Act):
    """An operation on a step of a run."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument("step", metavar="STEP", help="The step's name.")
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        return self.on_each(console, [(run, StepOfRun(run, lookup.known_step(run, options.step)))], options)


class Complete(ActOnStep):
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--value", type=arguments.json_value, metavar="JSON", help="Its output (default: null); of a map, a list."
        )

    def words(self, options: Any) -> dict[str, Any]:
        return super().words(options) | {"value": options.value}


def version(text: str) -> int | str:
    """Read a version: its number, or `latest`."""
    if text == "latest":
        return text
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a version: write its number, or latest")
    return int(text)


class Retry(Act):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument(
            "--mode", choices=("failed", "all"), default="failed",
            help="failed: what failed and what follows, of a map step its failed items; all: everything.",
        )  # fmt: skip
        parser.add_argument(
            "--from", dest="from_step", metavar="STEP", help="This step and all that follows it, whatever it came to."
        )
        parser.add_argument("--input", type=arguments.json_value, default=KEPT, metavar="JSON", help="Another input.")
        parser.add_argument(
            "--version", dest="flow_version", type=version, metavar="N",
            help="Another version of the flow: its number, or latest.",
        )  # fmt: skip
        arguments.add_author(parser)

    def words(self, options: Any) -> dict[str, Any]:
        own = {name: getattr(options, name) for name in ("mode", "from_step", "input")}
        return super().words(options) | own | {"version": options.flow_version}

    def run(self, console: Console, options: Any) -> int:
        old = lookup.find_run(options.run)
        if options.from_step:
            lookup.known_step(old, options.from_step)
        done = self.operation.perform(old, RetryWords(**self.words(options)), arguments.author(options.by))
        console.document(runs.as_data(lookup.find_run(str(done.run_id))))
        console.line(f"Run {done.run_id} retries {old.pk}" if console.is_terminal else str(done.run_id))
        return DONE


#: The subcommands of operations whose words hold more than a reason.
OF_WORDS: Final[dict[type[Words], type[Act]]] = {RetryWords: Retry, Completion: Complete}


def subcommands() -> list[Subcommand]:
    """Return a subcommand for each operation on runs and steps."""
    found: list[Subcommand] = []
    for table, kind in ((RUNS, ActOnRuns), (STEPS, ActOnStep)):
        found += [OF_WORDS.get(item.words, kind)(item) for item in table.values()]
    return found
