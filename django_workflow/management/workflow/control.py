"""Verbs on runs, flows, queues and steps; each stores who did it, and why."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from django_workflow.engine.retrying.request import KEPT
from django_workflow.engine.verbs.pause import pause_flow, pause_queue, resume_flow, resume_queue
from django_workflow.exceptions import WorkflowError
from django_workflow.management.workflow import arguments, lookup, runs
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, REFUSED, Subcommand
from django_workflow.models import Run
from django_workflow.runs import RunHandle, cancel, complete_step, pause, resume, retry, skip_step


class Cancel(Subcommand):
    name = "cancel"
    help = "End runs as cancelled: waiting tasks are cancelled, running handlers are told to stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", nargs="+", metavar="RUN", help=lookup.RUN_HELP)
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        words = _words(options)
        return on_each(console, options.runs, lambda run: cancel(run, **words))


class Holding(Subcommand):
    """What pause and resume have in common: they take runs, or a flow, or a queue, and leave it paused or not."""

    is_paused: bool
    of_run: Callable[..., RunHandle]
    of_flow: Callable[..., None]
    of_queue: Callable[..., None]

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_target(parser)
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        check_target(options)
        words = _words(options)
        if options.flow:
            self.of_flow(lookup.known_flow(options.flow), **words)
            return _told(console, "flow", options.flow, is_paused=self.is_paused)
        if options.queue:
            self.of_queue(lookup.known_queue(options.queue), **words)
            return _told(console, "queue", options.queue, is_paused=self.is_paused)
        return on_each(console, options.runs, lambda run: self.of_run(run, **words))


class Pause(Holding):
    name = "pause"
    help = "Hold runs, all of a flow, or a queue: running handlers finish, nothing new starts."
    is_paused = True
    of_run, of_flow, of_queue = staticmethod(pause), staticmethod(pause_flow), staticmethod(pause_queue)


class Resume(Holding):
    name = "resume"
    help = "Resume paused runs, a paused flow or a paused queue, with the delays that remained."
    is_paused = False
    of_run, of_flow, of_queue = staticmethod(resume), staticmethod(resume_flow), staticmethod(resume_queue)


def add_target(parser: ArgumentParser) -> None:
    """Take runs, or a flow, or a queue."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help=lookup.RUN_HELP)
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--flow", metavar="SLUG", help="All unsettled runs of this flow, and those started later.")
    others.add_argument("--queue", metavar="NAME", help="This queue, whoever its tasks belong to.")


def check_target(options: Any) -> None:
    """Refuse what names nothing, or more than one kind; raises `CommandError`."""
    if options.runs and (options.flow or options.queue):
        raise CommandError("Name runs, or --flow, or --queue, not several of them.")
    if not (options.runs or options.flow or options.queue):
        raise CommandError("What? Name runs, or --flow SLUG, or --queue NAME.")


def _told(console: Console, kind: str, name: str, *, is_paused: bool) -> int:
    console.document({kind: name, "is_paused": is_paused})
    console.line(f"The {kind} {name!r} {'is paused' if is_paused else 'goes on'}.")
    return DONE


def version(text: str) -> int | str:
    """Read a version: its number, or `latest`."""
    if text == "latest":
        return text
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a version: write its number, or latest")
    return int(text)


class Retry(Subcommand):
    name = "retry"
    help = "Make a new run from one that ended; what succeeded is reused, the rest runs again."

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

    def run(self, console: Console, options: Any) -> int:
        old = lookup.find_run(options.run)
        if options.from_step:
            lookup.known_step(old, options.from_step)
        new = retry(
            old,
            options.mode,
            from_step=options.from_step,
            input=options.input,
            version=options.flow_version,
            **_words(options),
        )
        console.document(runs.as_data(lookup.find_run(str(new.id))))
        console.line(f"Run {new.id} retries {old.pk}" if console.is_terminal else str(new.id))
        return DONE


class Skip(Subcommand):
    name = "skip"
    help = "End a step that waits or runs as skipped; the run goes on without it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_step(parser)

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        step = lookup.known_step(run, options.step)
        return on_each(console, [str(run.pk)], lambda run: skip_step(run, step, **_words(options)))


class Complete(Subcommand):
    name = "complete"
    help = "End a step that waits or runs as succeeded, with an output of yours; the run goes on with it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_step(parser)
        parser.add_argument(
            "--value", type=arguments.json_value, metavar="JSON", help="Its output (default: null); of a map, a list."
        )

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        step = lookup.known_step(run, options.step)
        return on_each(console, [str(run.pk)], lambda run: complete_step(run, step, options.value, **_words(options)))


def add_step(parser: ArgumentParser) -> None:
    """Take a step of a run."""
    parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
    parser.add_argument("step", metavar="STEP", help="The step's name.")
    arguments.add_author(parser)


def _words(options: Any) -> dict[str, Any]:
    return {"reason": options.reason, "by": arguments.author(options.by)}


def on_each(console: Console, names: list[str], verb: Callable[[Run], RunHandle]) -> int:
    """Do something with each run named and say how it stands then; a name that is wrong lets nothing be done."""
    chosen = [lookup.find_run(name) for name in dict.fromkeys(names)]
    answers, code = [], DONE
    for run in chosen:
        try:
            changed = verb(run).refresh().run
        except WorkflowError as error:
            code = REFUSED
            answers.append(runs.as_data(run) | {"refused": error.message})
            console.note(error.message)
        else:
            answers.append(runs.as_data(changed) | {"refused": None})
            console.line(f"Run {changed.pk} of {changed.flow.slug} is {changed.status.replace('_', ' ')}.")
    console.document(answers)
    return code
