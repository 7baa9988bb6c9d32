"""`{workflow-command} NAME`: what a management command says of itself."""

from __future__ import annotations

import argparse
from typing import ClassVar

from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from docutils import nodes
from docutils.parsers.rst import Directive

from directives import text


class Command(Directive):
    """Its help and its options; those that every command of Django has are left out."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        name = self.arguments[0]
        command = load_command_class("django_workflow", name)
        shown = [text.paragraph(command.help)]
        options = own_options(command)
        shown.append(text.code(f"python manage.py {name} [options]", "text"))
        rows = [(f"`{_written(action)}`", _described(action)) for action in options]
        return [*shown, text.table(("Option", "Meaning"), rows)] if rows else shown


def own_options(command: BaseCommand) -> list[argparse.Action]:
    """Return the options that the command itself adds."""
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)
    return list(parser._actions)  # noqa: SLF001  argparse offers no other way to look at them


def _written(action: argparse.Action) -> str:
    word = action.option_strings[-1] if action.option_strings else action.dest
    if action.nargs == 0:
        return word
    value = action.metavar or ("N" if action.type is int else "NAME")
    return f"{word} {value}{' …' if action.nargs in ('+', '*') else ''}"


def _described(action: argparse.Action) -> str:
    told = (action.help or "").replace("%%", "%")
    has_default = action.nargs != 0 and action.default not in (None, argparse.SUPPRESS)
    return f"{told} Default: `{action.default}`." if has_default else told
