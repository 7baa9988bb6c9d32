"""The public face: declare a flow, start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_workflow.definition.declare import FlowDeclaration, OnFailure
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import overrides
from django_workflow.exceptions import NotSupported
from django_workflow.startable import Startable

if TYPE_CHECKING:
    from django_workflow.contrib.orquesta.actions import Actions
    from django_workflow.contrib.orquesta.flow import OrquestaFlow


class Flow(Startable, FlowDeclaration):
    """A flow declared in code: its steps, and the verbs that start it."""

    def current_spec(self) -> FlowSpec:
        """Return the definition that a start uses now: the code's, with the overrides of the database."""
        return overrides.apply(self)

    @classmethod
    def from_orquesta(cls, text: str, *, actions: Actions, slug: str, on_failure: OnFailure = None) -> OrquestaFlow:
        """Return the flow that an Orquesta document describes; needs the extra `orquesta`.

        text: the document, in YAML.
        actions: functions by the names of actions, in a dictionary or whatever answers as one. Each is called with
        the task's input as keyword arguments, and with `ctx` where it has a parameter of that name; it returns the
        result, or raises. It may be a coroutine.
        slug: the flow's name. on_failure: as for `Flow`.
        Raises `DefinitionError` with all problems of the document and their lines, or of what was given instead.
        """
        try:
            from django_workflow.contrib.orquesta.flow import OrquestaFlow  # noqa: PLC0415  an extra
        except ImportError as error:
            if (error.name or "").split(".")[0] not in ("yaql", "jinja2", "regex"):
                raise
            # no pip line: on PyPI the project's name belongs to somebody else
            raise NotSupported(
                f"Orquesta documents need {error.name}: install django_workflow with its extra 'orquesta'."
            ) from error
        return OrquestaFlow(text, actions, slug, on_failure)
