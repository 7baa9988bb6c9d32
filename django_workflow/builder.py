"""Flows stored as data: built step by step at run time, validated and versioned when they start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition import names, schema, spec
from django_workflow.definition.declare import StepDraft, compile_flow, wire
from django_workflow.definition.registry import Handler, registry
from django_workflow.definition.retry import Retry
from django_workflow.engine import publish
from django_workflow.exceptions import DefinitionError, NotSupported, UnknownFlow, UnregisteredHandler
from django_workflow.flow import Startable
from django_workflow.models import FlowDefinition, FlowVersion, Run
from django_workflow.models.triggers import RETENTION_SETTING
from django_workflow.runs import RunHandle, RunResult

StepFunction = Callable[..., Any] | str


class StoredFlow(Startable):
    """A flow whose definition is a row; it is started like one declared in code."""

    def __init__(self, row: FlowDefinition) -> None:
        self.row = row
        self.slug = row.slug

    def __repr__(self) -> str:
        return f"<StoredFlow {self.slug}: {', '.join(step['name'] for step in self.steps) or 'no steps'}>"

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The draft's steps, as they were added."""
        steps: list[dict[str, Any]] = (self.row.draft or {}).get("steps", [])
        return steps

    def current_spec(self) -> spec.FlowSpec:
        """Return the draft compiled; raises `DefinitionError` with all problems at once."""
        self.row.refresh_from_db()
        return compile_draft(self.row)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data."""
        return self.current_spec().to_dict()

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text."""
        return self.current_spec().to_mermaid()


AnyFlow = StoredFlow | str


class FlowBuilder:
    """Edits the draft of a stored flow; each call checks names, `publish` or the first start checks the whole."""

    @staticmethod
    def create_flow(
        slug: str,
        *,
        title: str = "",
        max_duration: timedelta | None = None,
        max_tasks: int | None = None,
        input_schema: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        queue: str | None = None,
        executor: str | None = None,
    ) -> StoredFlow:
        """Store a new flow without steps; options as for `Flow`.

        Raises `DefinitionError` for a name that is taken or none, and for a schema that cannot be used.
        """
        if not names.is_name(slug):
            raise DefinitionError([f"flow {slug!r}: a slug is {names.NAME_RULE}"])
        if input_schema is not None and (problems := schema.problems(input_schema)):
            raise DefinitionError([f"flow: {problem}" for problem in problems], flow=slug)
        options = {
            "max_duration": max_duration.total_seconds() if max_duration else None,
            "max_tasks": max_tasks,
            "input_schema": schema.as_json(input_schema) if input_schema else None,
            "defaults": _storable({"retry": retry, "timeout": timeout, "queue": queue, "executor": executor}),
        }
        try:
            with db.atomic():
                row = FlowDefinition.objects.using(conf.DATABASE).create(
                    slug=slug,
                    title=title,
                    source=FlowDefinition.Source.STORED,
                    draft={"options": {key: value for key, value in options.items() if value}, "steps": []},
                )
        except IntegrityError as error:
            raise DefinitionError([f"flow {slug!r}: a flow of this name exists already"]) from error
        return StoredFlow(row)

    @classmethod
    def add_step(cls, flow: AnyFlow, name: str, depends_on: Iterable[str] = (), **options: Any) -> StoredFlow:
        """Add a step to the draft.

        depends_on: steps added before. handler: the registered function's name, by default the step's.
        Further options as for `Flow.step`. Raises `DefinitionError` naming what is wrong with this step.
        """
        return cls._add(flow, name, spec.SINGLE, depends_on, options)

    @classmethod
    def add_map_step(
        cls,
        flow: AnyFlow,
        name: str,
        *,
        over: str | None = None,
        count: int | None = None,
        depends_on: Iterable[str] = (),
        **options: Any,
    ) -> StoredFlow:
        """Add a map step to the draft: over a path or a count; otherwise as `add_step`."""
        source = {"over": over} if over is not None else {}
        source |= {"count": count} if count is not None else {}  # type: ignore[dict-item]
        return cls._add(flow, name, spec.MAP, depends_on, source | options)

    @staticmethod
    def get_flow(slug: str) -> StoredFlow:
        """Return a stored flow; raises `UnknownFlow`."""
        stored = FlowDefinition.objects.using(conf.DATABASE).filter(source=FlowDefinition.Source.STORED)
        row = stored.filter(slug=slug).first()
        if row is None:
            known = ", ".join(stored.values_list("slug", flat=True)) or "none"
            raise UnknownFlow(f"No flow {slug!r} is stored in this database (stored: {known}).")
        return StoredFlow(row)

    @staticmethod
    def list_flows() -> list[StoredFlow]:
        """Return all stored flows, by slug."""
        rows = FlowDefinition.objects.using(conf.DATABASE).filter(source=FlowDefinition.Source.STORED)
        return [StoredFlow(row) for row in rows.order_by("slug")]

    @classmethod
    def delete_flow(cls, flow: AnyFlow) -> None:
        """Delete a stored flow and its versions; raises `NotSupported` while it has runs."""
        stored = cls._stored(flow)
        count = Run.objects.using(conf.DATABASE).filter(flow_id=stored.row.pk).count()
        if count:
            raise NotSupported(
                f"Flow {stored.slug!r} has {count} runs; they go with retention, then it can be deleted."
            )
        with db.atomic():
            db.rows("SELECT set_config(%s, 'on', true)", [RETENTION_SETTING])
            stored.row.delete()

    @classmethod
    def publish(cls, flow: AnyFlow) -> FlowVersion:
        """Validate the whole draft and make it a version; the same draft again gives the same version."""
        compiled = cls._stored(flow).current_spec()
        _, version_id = publish.version_of(compiled)
        return FlowVersion.objects.using(conf.DATABASE).get(pk=version_id)

    @classmethod
    def _stored(cls, flow: AnyFlow) -> StoredFlow:
        return cls.get_flow(flow) if isinstance(flow, str) else flow

    @classmethod
    def _add(
        cls, flow: AnyFlow, name: str, kind: str, depends_on: Iterable[str], options: dict[str, Any]
    ) -> StoredFlow:
        stored = cls._stored(flow)
        explicit = [depends_on] if isinstance(depends_on, str) else list(depends_on)
        with db.atomic():
            rows = FlowDefinition.objects.using(conf.DATABASE).select_for_update(no_key=True)
            row = rows.get(pk=stored.row.pk)
            _check_new_step(row, name, explicit, options)
            step = {"name": name, "kind": kind, "depends_on": explicit} | _storable(options)
            row.draft = {**(row.draft or {}), "steps": [*(row.draft or {}).get("steps", []), step]}
            row.save(update_fields=["draft", "updated_at"])
        stored.row = row
        return stored


def execute_dynamic(
    flow: AnyFlow,
    input: Any = None,
    step_functions: Mapping[str, StepFunction] | None = None,
    *,
    workers: bool = False,
    timeout: timedelta | None = None,
    **options: Any,
) -> RunResult | RunHandle:
    """Run a stored flow with functions given now.

    step_functions: step name -> function, or name of a registered one; a step left out uses its own handler.
    workers: False runs it here and returns the `RunResult`; True starts it for workers and returns
        the `RunHandle`, for which every function must be registered (`@handler("name")`).
    timeout: of a run here. Further options as for `Flow.start`.
    Raises `DefinitionError`, `UnknownFlow`, or `UnregisteredHandler` naming all that are not registered.
    """
    stored = FlowBuilder.get_flow(flow) if isinstance(flow, str) else flow
    stored.row.refresh_from_db()
    functions = dict(step_functions or {})
    unknown = sorted(set(functions) - {step["name"] for step in stored.steps})
    if unknown:
        raise DefinitionError(
            [f"step_functions names {name!r}, which is no step" for name in unknown], flow=stored.slug
        )
    bound = _Bound(stored.row, functions, local=not workers)
    if workers:
        return bound.start(input, **options)
    return bound.execute(input, timeout=timeout, handlers=bound.handlers, **options)


class _Bound(StoredFlow):
    """A stored flow whose steps are bound to functions."""

    def __init__(self, row: FlowDefinition, functions: Mapping[str, StepFunction], *, local: bool) -> None:
        super().__init__(row)
        self.handlers: dict[str, Handler] = {}
        self._names: dict[str, str] = {}
        missing = []
        for step in self.steps:
            given = functions.get(step["name"], step.get("handler", step["name"]))
            name = given if isinstance(given, str) else registry.name_of(given)
            if not isinstance(given, str) and local:
                name = f"{row.slug}.{step['name']}"
                self.handlers[name] = Handler.of(name, given)
            elif name is None or registry.handler(name) is None:
                missing.append(f"{step['name']} ({name or getattr(given, '__qualname__', given)})")
            self._names[step["name"]] = name or ""
        if missing:
            raise UnregisteredHandler(
                f"Flow {row.slug!r}: no registered handler for {', '.join(missing)}; "
                'decorate the function with @handler("name") in a workflows.py, or run it here.'
            )

    def current_spec(self) -> spec.FlowSpec:
        return compile_draft(self.row, self._names, self.handlers)


def compile_draft(
    row: FlowDefinition, handler_names: Mapping[str, str] | None = None, handlers: Mapping[str, Handler] | None = None
) -> spec.FlowSpec:
    """Compile a stored draft, with the overrides of its row; raises `DefinitionError` with all problems."""
    draft = row.draft or {}
    options = draft.get("options", {})
    drafts = []
    for step in draft.get("steps", []):
        settings = {key: value for key, value in step.items() if key not in ("name", "kind", "depends_on", "handler")}
        if "when" in settings and isinstance(settings["when"], dict):
            settings["when"] = spec.Condition(**settings["when"])
        name = (handler_names or {}).get(step["name"]) or step.get("handler", step["name"])
        known = (handlers or {}).get(name) or registry.handler(name)
        drafts.append(_draft(step, name, known, settings))
    seconds = options.get("max_duration")
    return compile_flow(
        row.slug,
        drafts,
        options.get("defaults", {}),
        title=row.title,
        max_duration=timedelta(seconds=seconds) if seconds else None,
        max_tasks=options.get("max_tasks"),
        input_schema=options.get("input_schema"),
        overrides=row.overrides,
    )


def _draft(step: Mapping[str, Any], handler_name: str, handler: Handler | None, options: dict[str, Any]) -> StepDraft:
    params = handler.params if handler else ()
    draft = StepDraft(step["name"], handler_name, step["kind"], params, options=options)
    over = options.get("over")
    if handler is None:
        draft.depends_on = tuple(step["depends_on"])
        draft.problems.append(
            f"step {step['name']!r}: no handler {handler_name!r} is registered; "
            f'decorate a function with @handler("{handler_name}") in a workflows.py'
        )
    else:
        draft.depends_on = wire(handler, step["depends_on"], over)
    return draft


def _check_new_step(row: FlowDefinition, name: str, depends_on: list[str], options: Mapping[str, Any]) -> None:
    known = {step["name"] for step in (row.draft or {}).get("steps", [])}
    problems = []
    if not names.is_name(name):
        problems.append(f"step {name!r}: a name is {names.NAME_RULE}")
    elif name in names.RESERVED:
        problems.append(f"step {name!r}: this name is reserved")
    if name in known:
        problems.append(f"step {name!r}: it was added before")
    problems += [
        f"step {name!r}: it depends on {source!r}, which was not added before"
        for source in depends_on
        if source not in known
    ]
    handler = options.get("handler", name)
    if not isinstance(handler, str):
        problems.append(f"step {name!r}: handler= is the name of a registered function, not {handler!r}")
    if problems:
        raise DefinitionError(problems, flow=row.slug)


def _storable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON: times as seconds, retry policies and callables by what names them."""
    return {key: _stored(key, value) for key, value in options.items() if value is not None}


def _stored(key: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Retry):
        if callable(value.strategy):
            raise DefinitionError(["retry: a stored flow names its strategy; register it with @condition"])
        return value.declared()
    if callable(value):
        raise DefinitionError([f"option {key}: a stored flow names functions, it does not hold them"])
    return value
