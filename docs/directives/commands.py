"""`{workflow-command} NAME`: what a management command says of itself."""

from __future__ import annotations

import argparse
from typing import ClassVar

from directives import text
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from docutils import nodes
from docutils.parsers.rst import Directive


class Command(Directive):
    """Its help and its options; those that every command of Django has are left out."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        command = load_command_class("django_workflow", name)
        shown = [text.paragraph(command.help)]
        options = own_options(command)
        usage = " ".join(["python manage.py", name, *(f"[{_written(action)}]" for action in options)])
        shown.append(text.code(usage, "text"))
        rows = [(f"`{_written(action)}`", _described(action)) for action in options]
        return [*shown, text.table(("Option", "Meaning"), rows)] if rows else shown


def own_options(command: BaseCommand) -> list[argparse.Action]:
    """Return the options that the command itself adds."""
    common = {item.dest for item in BaseCommand().create_parser("", "")._actions}
    return [item for item in command.create_parser("manage.py", "")._actions if item.dest not in common]


def _written(action: argparse.Action) -> str:
    word = action.option_strings[-1] if action.option_strings else action.dest
    if action.nargs == 0:
        return word
    value = action.metavar or action.dest.upper()
    return f"{word} {value}{' …' if action.nargs in ('+', '*') else ''}"


def _described(action: argparse.Action) -> str:
    told = (action.help or "").replace("%%", "%")
    has_default = action.nargs != 0 and action.default not in (None, argparse.SUPPRESS)
    return f"{told} Default: `{action.default}`." if has_default else told
