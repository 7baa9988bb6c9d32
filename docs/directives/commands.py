"""`{workflow-command} NAME [SUBCOMMAND]`: what a management command, or a word after it, says of itself."""

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
    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        name, *words = self.arguments
        command = load_command_class("django_workflow", name)
        options = own_options(command)
        told = command.help
        if words:
            parser = subcommands(options)[words[0]]
            told, options = parser.description, shown_options(parser)
        shown = [text.paragraph(told)]
        shown.append(text.code(f"python manage.py {' '.join(self.arguments)} {_usage(options)}", "text"))
        if found := subcommands(options):
            rows = [(f"`{word}`", parser.description or "") for word, parser in found.items()]
            return [*shown, text.table(("Subcommand", "Meaning"), rows)]
        rows = [(f"`{_written(action)}`", _described(action)) for action in options]
        return [*shown, text.table(("Option", "Meaning"), rows)] if rows else shown


def own_options(command: BaseCommand) -> list[argparse.Action]:
    """Return the options that the command itself adds."""
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)
    return shown_options(parser)


def shown_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options that help shows, but for help itself."""
    actions = parser._actions  # noqa: SLF001  argparse offers no other way to look at them
    return [action for action in actions if action.help != argparse.SUPPRESS and action.dest != "help"]


def subcommands(options: list[argparse.Action]) -> dict[str, argparse.ArgumentParser]:
    """Return the words that a command takes, each with what it takes itself."""
    return {
        name: parser
        for action in options
        if action.nargs == argparse.PARSER and action.choices is not None
        for name, parser in dict(action.choices).items()
    }


def _usage(options: list[argparse.Action]) -> str:
    words = []
    for action in options:
        if not action.option_strings:
            word = f"{action.metavar or action.dest}{' …' if action.nargs in ('+', '*') else ''}"
            words.append(f"[{word}]" if action.nargs in ("?", "*") else word)
    return " ".join([*words, "[options]"])


def _written(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"{action.metavar or action.dest}{' …' if action.nargs in ('+', '*') else ''}"
    word = ", ".join(action.option_strings)
    if action.nargs == 0:
        return word
    choices = "|".join(map(str, action.choices or ()))
    value = action.metavar or choices or ("N" if action.type is int else "NAME")
    return f"{word} {value}{' …' if action.nargs in ('+', '*') else ''}"


def _described(action: argparse.Action) -> str:
    told = (action.help or "").replace("%%", "%")
    is_simple = isinstance(action.default, (str, int)) and action.default != "" and "(default" not in told
    has_default = action.nargs != 0 and is_simple and action.default != argparse.SUPPRESS
    return f"{told} Default: `{action.default}`." if has_default else told
