"""Flows stored as data: built step by step at run time, validated and versioned when they start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Unpack

from django.db import IntegrityError

from django_workflow import arguments, db, stored_steps
from django_workflow.conf import conf
from django_workflow.definition import documents, drafts, elements, names, spec
from django_workflow.definition.declare import exact
from django_workflow.definition.documents.differences import Difference, differences
from django_workflow.definition.drafts import FlowDraft
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import Handler, registry
from django_workflow.definition.retry import Retry
from django_workflow.definition.validation.flow import flow_problems
from django_workflow.definition.written import times
from django_workflow.definition.written.options import StoredMapOptions, StoredStep, StoredStepOptions
from django_workflow.definition.written.steps import FlowOptions
from django_workflow.engine.removal import unused
from django_workflow.engine.stored import versions
from django_workflow.exceptions import DefinitionError, InvalidArgument, NotSupported, UnknownFlow, UnregisteredHandler
from django_workflow.ids import content_id
from django_workflow.models import FlowDefinition, FlowVersion, Run
from django_workflow.models.triggers import RETENTION_SETTING
from django_workflow.runs import RunHandle, RunResult
from django_workflow.startable import Startable
from django_workflow.stored_steps import NewStep
from django_workflow.text import shown

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

    def _read_again(self) -> None:
        """Read the row as it is now; raises `UnknownFlow` where it was deleted."""
        try:
            self.row.refresh_from_db()
        except FlowDefinition.DoesNotExist as error:
            raise self._gone() from error

    def _gone(self) -> UnknownFlow:
        return UnknownFlow(f"The flow {self.slug!r} was deleted; create or import it again.")

    def current_spec(self) -> spec.FlowSpec:
        """Return the draft compiled; raises `DefinitionError` with all problems at once, and `UnknownFlow`."""
        self._read_again()
        return compile_draft(self.row)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data."""
        return self.current_spec().to_dict()

    def to_document(self, format: str = "yaml") -> str:
        """Return the draft as a document, in "yaml" or "json"; raises `UnknownFlow` where it was deleted."""
        self._read_again()
        return documents.write(draft_of(self.row), format)

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
        max_iterations: int | None = None,
        entry: Iterable[str] | None = None,
        vars: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        input_schema: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        queue: str | None = None,
        executor: str | None = None,
        steps: Iterable[StoredStep] = (),
    ) -> StoredFlow:
        """Store a new flow; options as for `Flow`.

        steps: as for `add_steps`.
        Raises `DefinitionError` for a name that is taken or none, and for all options and steps that cannot be used.
        """
        slug = exact(slug)
        new = stored_steps.several(steps)
        entry = None if entry is None else arguments.items(entry, "entry=")
        options = FlowOptions(
            title=title, max_duration=max_duration, max_tasks=max_tasks, max_iterations=max_iterations, entry=entry,
            vars=vars, output=output, input_schema=input_schema,
        )  # fmt: skip
        defaults = {"retry": retry, "timeout": timeout, "queue": queue, "executor": executor}
        numbers = times.given_as_numbers(defaults | {"max_duration": max_duration})
        problems = [*numbers, *flow_problems(slug, options, defaults)]
        added, wrong = stored_steps.stored(new, ())
        if problems := list(dict.fromkeys(problems + wrong)):
            raise DefinitionError(problems, flow=slug)
        return StoredFlow(FlowBuilder._new_row(FlowDraft(slug, options, defaults, ()), added))

    @classmethod
    def add_steps(cls, flow: AnyFlow, steps: Iterable[StoredStep]) -> StoredFlow:
        """Add several steps to the draft: all of them or, where one cannot be used, none.

        The draft is written once, however many they are; `add_step` writes the whole of it each time.

        steps: dictionaries of what `add_step` takes, `name` among them; one with `over` or `count` is a map step.
        They may depend on each other in any order, and on steps added before.
        Raises `DefinitionError` with everything that is wrong with them.
        """
        return cls._add(flow, stored_steps.several(steps))

    @classmethod
    def add_step(
        cls, flow: AnyFlow, name: str, depends_on: Iterable[str] = (), **options: Unpack[StoredStepOptions]
    ) -> StoredFlow:
        """Add a step to the draft.

        depends_on: steps added before. handler: the registered function's name, by default the step's.
        Further options as for `Flow.step`; `next` may name steps that come later.
        Raises `DefinitionError` naming what is wrong with this step, and `UnknownFlow` where the flow was deleted.
        """
        return cls._add(flow, [stored_steps.given(name, elements.SINGLE, depends_on, options)])

    @classmethod
    def add_map_step(
        cls,
        flow: AnyFlow,
        name: str,
        *,
        over: str | None = None,
        count: int | None = None,
        depends_on: Iterable[str] = (),
        **options: Unpack[StoredMapOptions],
    ) -> StoredFlow:
        """Add a map step to the draft: over a path or a count; otherwise as `add_step`."""
        source = {key: value for key, value in (("over", over), ("count", count)) if value is not None}
        return cls._add(flow, [stored_steps.given(name, elements.MAP, depends_on, {**source, **options})])

    @staticmethod
    def get_flow(slug: str) -> StoredFlow:
        """Return a stored flow; raises `UnknownFlow`."""
        stored = FlowDefinition.objects.using(conf.DATABASE).filter(source=FlowDefinition.Source.STORED)
        row = stored.filter(slug=exact(slug)).first() if names.is_name(slug) else None
        if row is None:
            known = ", ".join(stored.values_list("slug", flat=True)) or "none"
            raise UnknownFlow(f"No flow {shown(slug)} is stored in this database (stored: {known}).")
        return StoredFlow(row)

    @staticmethod
    def list_flows() -> list[StoredFlow]:
        """Return all stored flows, by slug."""
        rows = FlowDefinition.objects.using(conf.DATABASE).filter(source=FlowDefinition.Source.STORED)
        return [StoredFlow(row) for row in rows.order_by("slug")]

    @classmethod
    def delete_flow(cls, flow: AnyFlow) -> None:
        """Delete a stored flow and its versions; raises `NotSupported` while it has runs, and `UnknownFlow`."""
        stored = cls._stored(flow)
        stored._read_again()  # noqa: SLF001  of this module
        count = Run.objects.using(conf.DATABASE).filter(flow_id=stored.row.pk).count()
        if count:
            raise NotSupported(
                f"Flow {stored.slug!r} has {count} runs; they go with retention, then it can be deleted. Until then "
                "retire it, and the board shows it no more: FlowBuilder.retire_flow()"
            )
        with db.atomic():
            db.rows("SELECT set_config(%s, 'on', true)", [RETENTION_SETTING])
            stored.row.delete()
        # for what the caller does next, and for what other threads have remembered until it commits
        versions.published.forget()
        db.after_commit(versions.published.forget)

    @classmethod
    def retire_flow(cls, flow: AnyFlow) -> None:
        """Take a stored flow off the board; `publish` brings it back."""
        unused.retire_flow(cls._stored(flow).slug)

    @classmethod
    def publish(cls, flow: AnyFlow) -> FlowVersion:
        """Validate the whole draft and make it a version; the same draft again gives the same version."""
        stored = cls._stored(flow)
        compiled = stored.current_spec()
        FlowDefinition.objects.using(conf.DATABASE).filter(pk=stored.row.pk, retired_at__isnull=False).update(
            retired_at=None
        )
        _, version_id = versions.version_of(compiled)
        return FlowVersion.objects.using(conf.DATABASE).get(pk=version_id)

    @classmethod
    def import_flow(cls, text: str | bytes, format: str | None = None) -> StoredFlow:
        """Store the flow that a document says, or replace the draft of the one that has its name.

        format: "yaml" or "json"; None finds it out.
        Raises `DefinitionError` with everything that is wrong, each problem with its line; nothing is stored then.
        """
        return cls.import_document(documents.parse(text, format))

    @classmethod
    def import_document(cls, document: documents.Document) -> StoredFlow:
        """Store the flow of a document that was parsed before; as `import_flow`."""
        with db.atomic():
            rows = FlowDefinition.objects.using(conf.DATABASE).select_for_update(no_key=True)
            row = rows.filter(slug=document.slug).first() if names.is_name(document.slug) else None
            draft = checked(document, row).draft
            if row is None:
                row = cls._new_row(draft)
            else:
                row.title, row.draft = draft.options.title, drafts.to_stored(draft)
                row.save(update_fields=["title", "draft", "updated_at"])
        return StoredFlow(row)

    @staticmethod
    def _new_row(draft: FlowDraft, steps: Sequence[Mapping[str, Any]] = ()) -> FlowDefinition:
        """Store a flow that is not there yet, and `steps` besides its own; raises `DefinitionError` where it is."""
        if (place := registry.place_of(draft.slug)) is not None:
            problem = _name_taken(draft.slug, f"a flow of this name is declared in {place}")
            raise DefinitionError([problem], flow=draft.slug)
        source, stored = FlowDefinition.Source.STORED, drafts.to_stored(draft)
        stored["steps"] += steps
        try:
            with db.atomic():
                return FlowDefinition.objects.using(conf.DATABASE).create(
                    id=content_id(draft.slug),
                    slug=draft.slug,
                    title=draft.options.title,
                    source=source,
                    draft=stored,
                )
        except IntegrityError as error:
            raise DefinitionError([_name_taken(draft.slug, "a flow of this name exists already")]) from error

    @classmethod
    def _stored(cls, flow: AnyFlow) -> StoredFlow:
        if isinstance(flow, StoredFlow):
            return flow
        if not isinstance(flow, str):
            raise InvalidArgument(f"a stored flow is a StoredFlow or its slug, not {shown(flow)}")
        return cls.get_flow(flow)

    @classmethod
    def _add(cls, flow: AnyFlow, new: Sequence[NewStep]) -> StoredFlow:
        stored = cls._stored(flow)
        with db.atomic():
            rows = FlowDefinition.objects.using(conf.DATABASE).select_for_update(no_key=True)
            row = rows.filter(pk=stored.row.pk).first()
            if row is None:
                raise stored._gone()  # noqa: SLF001  of this module
            before = (row.draft or {}).get("steps", [])
            added, problems = stored_steps.stored(new, (step["name"] for step in before))
            if problems:
                raise DefinitionError(problems, flow=row.slug)
            row.draft = {**(row.draft or {}), "steps": [*before, *added]}
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
    stored = FlowBuilder._stored(flow)  # noqa: SLF001  of this module
    if workers and timeout is not None:
        raise NotSupported("timeout= is of a run that is executed here; a run of workers ends by its max_duration.")
    stored._read_again()  # noqa: SLF001  of this module
    functions = arguments.by_name(step_functions, "step_functions")
    unknown = sorted(set(functions) - {step["name"] for step in stored.steps})
    if unknown:
        raise DefinitionError(
            [
                Problem("unknown_step", (), f"step_functions names {name!r}, which is no step", place="")
                for name in unknown
            ],
            flow=stored.slug,
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


@dataclass(frozen=True)
class Checked:
    """A document that can be stored: its draft, and what it compiles to."""

    draft: FlowDraft
    spec: spec.FlowSpec


def checked(document: documents.Document, row: FlowDefinition | None) -> Checked:
    """Return a document's draft if it can be stored.

    row: the flow that has its name, if there is one.
    Raises `DefinitionError` with all problems, also with those that the overrides of the row have with it.
    """
    compiled = document.compile(row.overrides if row is not None else None)
    is_in_code = row is not None and row.source == FlowDefinition.Source.CODE
    if is_in_code or any(flow.slug == compiled.slug for flow in registry.flows()):
        place = registry.place_of(compiled.slug) or "code"
        problem = _name_taken(
            compiled.slug, f"a flow of this name is declared in {place}; give the document another slug"
        )
        raise DefinitionError(document.located([problem]), flow=compiled.slug)
    return Checked(document.draft, compiled)


def _name_taken(slug: str, message: str) -> Problem:
    return Problem("name_taken", ("slug",), message, place=f"flow {slug!r}")


def changes(row: FlowDefinition | None, after: spec.FlowSpec) -> list[Difference]:
    """Return what changes when a flow becomes `after`; everything where there is none that works."""
    try:
        before = None if row is None else compile_draft(row)
    except DefinitionError:
        before = None
    return differences(before, after)


def draft_of(row: FlowDefinition) -> FlowDraft:
    """Return what a row holds of a stored flow."""
    return drafts.from_stored(row.slug, row.title, row.draft or {})


def compile_draft(
    row: FlowDefinition, handler_names: Mapping[str, str] | None = None, handlers: Mapping[str, Handler] | None = None
) -> spec.FlowSpec:
    """Compile a stored draft, with the overrides of its row; raises `DefinitionError` with all problems."""
    return draft_of(row).compile(overrides=row.overrides, handler_names=handler_names, handlers=handlers)
