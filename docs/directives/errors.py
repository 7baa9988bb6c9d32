"""`{workflow-errors}`: the tree of errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive

from directives import text
from django_workflow import exceptions


class Errors(Directive):
    """Every public error with its meaning and its fields."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        rows = [
            (f"`{cls.__name__}`", " ".join((inspect.getdoc(cls) or "").split()), ", ".join(_fields(cls)))
            for cls in public_errors()
        ]
        return [text.table(("Error", "Meaning", "Fields"), rows)]


def public_errors() -> list[type[Exception]]:
    """Return the errors in the order they are declared."""
    return [
        item
        for item in vars(exceptions).values()
        if inspect.isclass(item) and issubclass(item, exceptions.WorkflowError)
    ]


def _fields(cls: type[Exception]) -> Iterator[str]:
    names = dict.fromkeys(["message", *inspect.get_annotations(cls)])
    if cls is not exceptions.WorkflowError and "__init__" in vars(cls):
        names.update(dict.fromkeys(name for name in inspect.signature(cls).parameters if name != "self"))
    return (f"`{name}`" for name in names)
