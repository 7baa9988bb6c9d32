"""Flows that Orquesta documents describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asgiref.sync import async_to_sync

from django_workflow.contrib.orquesta import language
from django_workflow.contrib.orquesta.actions import Action, Actions, arguments_of, handler_of, is_coroutine, noop
from django_workflow.contrib.orquesta.compiling import ANY_ACTION, NOOP, compile_text
from django_workflow.definition.declare import OnFailure, functions
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.places import Place
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.validation.flow import override_problem, problems_of_overrides
from django_workflow.engine.stored import overrides
from django_workflow.exceptions import DefinitionError
from django_workflow.startable import Startable

#: Options of a task that operators may set in the database.
OPTIONS = ("queue", "executor", "timeout", "title", "retry", "max_parallel")


class OrquestaFlow(Startable):
    """A flow that an Orquesta document describes, with the functions of its actions.

    text: the document, in YAML.
    actions: what its tasks may do; see `Flow.from_orquesta`.
    slug: the flow's name. on_failure: as for `Flow`.
    Raises `DefinitionError` with all problems of the document and their lines. While Django starts, whoever uses the
    flow is told of them, and `manage.py check`: one document keeps a site from nothing else.
    """

    def __init__(self, text: str, actions: Actions, slug: str, on_failure: OnFailure = None) -> None:
        self.on_failure, problems = functions(on_failure)
        _check_arguments(text, actions, slug, problems)
        self.slug = slug
        self.text = text
        self.actions = actions
        self._found: FlowSpec | DefinitionError
        handlers: dict[str, Action] = {}
        try:
            self._found = compile_text(text, slug, self._knows)
            handlers = self._handlers()
        except DefinitionError as error:
            if not registry.is_starting():
                raise
            self._found = error
        language.register()
        registry.add_flow(self)
        for name, function in handlers.items():
            registry.add_handler(name, function, of_flow=True)

    def __repr__(self) -> str:
        steps = () if isinstance(self._found, DefinitionError) else self._found.steps
        return f"<{type(self).__name__} {self.slug}: {', '.join(steps)}>"

    @property
    def spec(self) -> FlowSpec:
        """The compiled definition; raises `DefinitionError` with all problems at once."""
        if isinstance(self._found, DefinitionError):
            raise DefinitionError(self._found.problems, flow=self.slug)
        return self._found

    def current_spec(self) -> FlowSpec:
        """Return the definition that a start uses now: the document's, with the overrides of the database."""
        flow: Any = self
        return overrides.apply(flow)

    def compile(self, layers: Mapping[str, Mapping[str, Any]] | None = None) -> FlowSpec:
        """Return the definition with options of its tasks replaced, by task; raises `DefinitionError`."""
        layers = layers or {}
        problems = problems_of_overrides(layers, set(self.spec.steps))
        if not problems:
            problems = [
                override_problem("unknown_option", name, f"{option!r} is none of {', '.join(OPTIONS)}", option)
                for name, options in layers.items()
                for option in options
                if option not in OPTIONS
            ]
        if problems:
            raise DefinitionError(problems, flow=self.slug)
        steps = {name: _overridden(step, layers.get(name, {})) for name, step in self.spec.steps.items()}
        return replace(self.spec, steps=steps)

    def place_of(self, step: str | None) -> Place | None:
        """Return where the code stands that declares the flow."""
        return registry.place_of(self.slug)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data."""
        return self.spec.to_dict()

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text."""
        return self.spec.to_mermaid()

    def _knows(self, action: str) -> bool:
        return action == NOOP or action in self.actions

    def _handlers(self) -> dict[str, Action]:
        """Return what a worker calls for the actions of the document, by the names of handlers."""
        found = {}
        for name in {step.handler for step in self.spec.steps.values()}:
            action = name.removeprefix(f"{self.slug}.")
            found[name] = self._any_action() if action == ANY_ACTION else handler_of(self._function(action))
        return found

    def _function(self, action: str) -> Action:
        if action == NOOP and action not in self.actions:
            return noop
        function = self.actions[action]
        if not callable(function):
            raise DefinitionError(
                [Problem("unknown_handler", (), f"action {action!r}: {function!r} is no function", place="")],
                flow=self.slug,
            )
        return function

    def _any_action(self) -> Action:
        def run(action: Any, inputs: Any, ctx: Any) -> Any:
            if not isinstance(action, str) or not self._knows(action):
                raise LookupError(f"There is no action {action!r} in actions.")
            function = self._function(action)
            if is_coroutine(function):
                return async_to_sync(function)(**arguments_of(function, inputs, ctx))
            return function(**arguments_of(function, inputs, ctx))

        return run


def _check_arguments(text: Any, actions: Any, slug: Any, problems: list[Problem]) -> None:
    if not isinstance(text, str):
        message = f"text must be the document as text, not {type(text).__name__}"
        problems.append(Problem("bad_value", (), message, place=""))
    if not (hasattr(actions, "__contains__") and hasattr(actions, "__getitem__")) or isinstance(actions, str | list):
        kind = type(actions).__name__
        message = f"actions must be functions by name, such as {{'core.http': http}}, not {kind}"
        problems.append(Problem("bad_value", (), message, place=""))
    if problems:
        raise DefinitionError(problems, flow=str(slug))


def _overridden(step: StepSpec, options: Mapping[str, Any]) -> StepSpec:
    values = {name: value for name, value in options.items() if value is not None}
    if "retry" in values:
        values["retry"] = {**step.retry, **values["retry"]}
    return replace(step, **values)
