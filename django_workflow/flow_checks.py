"""System checks of the flows declared in code: what is wrong with each, with the line and what was meant.

`manage.py check` fails where one is wrong. Every other command only warns: `migrate`, a worker and a site's own
commands serve the other flows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  Django calls it so
from django.core.management.base import BaseCommand
from django.core.management.commands import check
from django.db import connections
from django.utils.module_loading import import_string

from django_workflow import db
from django_workflow.conf import SETTING, conf
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.expressions import references
from django_workflow.definition.problems import problems_of
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.validation import joins
from django_workflow.definition.validation.topology import endless_delays, warnings
from django_workflow.engine.stored import versions
from django_workflow.spelling import guess_or_list
from django_workflow.worker.runners import executors

FLOWS = "django_workflow_flowdefinition"
NO_RESOURCES = "Name an executor of EXECUTORS that knows them, such as a DaskExecutor, or take resources= away."
MISSPELT_EXECUTOR = "Mend the name, or add the executor to EXECUTORS."
MAKEABLE = "Give a function or a class that makes an executor, or its path, such as 'shop.engines.gpu'."
UNSOUND = "This flow cannot be started until it is mended. migrate publishes the others, and workers execute them."
INCOMPLETE_JOIN = (
    "If this step undoes something, let it wait for nothing: take those steps out of its parameters and depends_on, "
    "and read their outputs by ctx.output(). If only one of those steps leads to it in each run, give it join=1. "
    "See 'Undo what was done' in the how-to guides."
)
POSSIBLY_INCOMPLETE = (
    "If the run is to fail on that way, let the last step of that way lead to the command 'fail': then this warning is "
    "gone. If it is to go on there, give this step join=1 where only one of those steps leads to it in each run, or "
    "let it wait for fewer of them and read the outputs of the others by ctx.output(). "
    "See 'Undo what was done' in the how-to guides."
)
FIRST_AND_READS = (
    "Let that step, or one after it, lead to this one: as a parameter or in depends_on, or, if this step undoes "
    "something, by next=[To(..., on='failed')] of the step that fails. See 'Undo what was done' in the how-to guides."
)


@register()
def check_flows(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report declared flows that cannot be published, and warn of those that hardly do what was meant."""
    wrong = [
        _error("E022", f"Flow {flow.slug!r}: {problem}", UNSOUND, flow.place_of(problem.step))
        for flow, error in registry.invalid()
        for problem in problems_of(error)
    ]
    return [*wrong, *(item for spec in registry.specs() for item in _warnings(spec))]


@register()
def check_joins(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report joins that some way leaves incomplete: an error where no way on which all succeeds completes them."""
    found: list[CheckMessage] = []
    for spec in registry.specs():
        for item in joins.incomplete(spec):
            text, place = f"Flow {spec.slug!r}: {item}", _place(spec.slug, item.step)
            if item.is_certain:
                found.append(_error("E023", text, INCOMPLETE_JOIN, place))
            else:
                found.append(Warning(f"{text}.", hint=POSSIBLY_INCOMPLETE, obj=place, id="django_workflow.W003"))
    return found


@register()
def check_first_steps(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of steps that begin each run and read what another step gives: a way that leads to them was forgotten."""
    found: list[CheckMessage] = []
    for spec, step in _steps():
        # one that waits first may well look at what came meanwhile
        if not spec.dialect.is_analysed or spec.predecessors[step.name] or step.delay or step.name not in spec.entry:
            continue
        others = sorted(_outputs_of_others(step))
        if others:
            told = (
                f"step {step.name!r}: nothing leads to it, so it runs when each run begins, but it reads the output of "
                f"{others[0]!r}, which is not there then"
            )
            place = _place(spec.slug, step.name)
            text = f"Flow {spec.slug!r}: {told}."
            found.append(Warning(text, hint=FIRST_AND_READS, obj=place, id="django_workflow.W004"))
    return found


def _outputs_of_others(step: StepSpec) -> set[str]:
    """Return the other steps whose outputs a step's own arguments and condition read by name."""
    texts = [value for value in step.arguments.values() if isinstance(value, str)]
    texts += [step.when.expression] if step.when is not None and step.when.expression is not None else []
    return set().union(*(references.outputs_read(text) for text in texts)) - {step.name}


@register(Tags.database)
def check_names(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report flows in code whose names flows in the database have: a run would be of the one or of the other."""
    if conf.DATABASE not in (databases or ()) or connections[conf.DATABASE].vendor != "postgresql":
        return []
    if not db.rows("SELECT to_regclass(%s) IS NOT NULL", [FLOWS])[0][0]:
        return []
    taken = versions.taken_by_stored_flows(flow.slug for flow in registry.flows())
    return [_error("E020", problem, UNSOUND, registry.place_of(slug)) for slug, problem in taken.items()]


@register()
def check_executors(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report steps whose executor no worker has, and executors that no worker could make."""
    given: Any = conf.EXECUTORS
    if not isinstance(given, Mapping):
        return [_error("E013", f"{SETTING}['EXECUTORS'] must be executors by name, not {given!r}", None, None)]
    return [*_steps_without_executor(), *_executors_that_cannot_be_made()]


def _executors_that_cannot_be_made() -> Iterator[CheckMessage]:
    if _is_another_command():
        return  # an engine may take seconds to be imported; workers tell as well
    for name, factory in conf.EXECUTORS.items():
        problem = ""
        try:
            made = import_string(factory) if isinstance(factory, str) else factory
            if not callable(made):
                problem = f"is no function or class but {made!r}"
        except Exception as error:
            problem = f"cannot be imported: {error}"
        if problem:
            yield _error("E013", f"{SETTING}['EXECUTORS'][{name!r}] {problem}", MAKEABLE, None)


def _steps_without_executor() -> list[CheckMessage]:
    known = executors.known()
    asking: dict[tuple[str, str], list[str]] = {}
    for spec, step in _steps():
        if step.executor is not None and step.executor not in known:
            asking.setdefault((spec.slug, step.executor), []).append(step.name)
    return [
        _error(
            "E024",
            f"Flow {slug!r}, {_listed(names)}: there is no executor {executor!r}{guess_or_list(executor, known)}",
            MISSPELT_EXECUTOR,
            _place(slug, names[0]),
        )
        for (slug, executor), names in asking.items()
    ]


@register()
def check_resources(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report steps that ask for resources of an executor that knows none."""
    return [
        _error(
            "E021",
            f"Flow {spec.slug!r}, step {step.name!r}: executor {step.executor!r} knows no resources",
            NO_RESOURCES,
            _place(spec.slug, step.name),
        )
        for spec, step in _steps()
        if step.resources and (step.executor in executors.RUNNERS if step.executor else not conf.EXECUTORS)
    ]


def _steps() -> Iterator[tuple[FlowSpec, StepSpec]]:
    """Yield the steps of the flows that are valid."""
    for spec in registry.specs():
        yield from ((spec, step) for step in spec.steps.values())


def _place(slug: str, step: str | None) -> Any:
    """Return the module and line of a step of a flow."""
    return registry.flow(slug).place_of(step)


def _listed(names: list[str]) -> str:
    return f"step{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _warnings(spec: FlowSpec) -> Iterator[CheckMessage]:
    found = warnings(spec)
    if spec.max_duration is None:
        found += endless_delays(spec, conf.MAX_DURATION.total_seconds())
    for problem in found:
        yield Warning(f"Flow {spec.slug!r}: {problem}.", obj=_place(spec.slug, problem.step), id="django_workflow.W001")


def _error(number: str, text: str, hint: str | None, place: Any) -> CheckMessage:
    """Return an error where `manage.py check` asks, else a warning: one flow keeps no other command from its work."""
    kind = Warning if _is_another_command() else Error
    text = text if text.endswith("?") else f"{text}."
    return kind(text, hint=hint, obj=place, id=f"django_workflow.{number}")


def _is_another_command() -> bool:
    """Say whether a command other than `check` asks, as each of them does before it begins."""
    frame: Any = sys._getframe(1)  # noqa: SLF001  Django does not tell checks who asks
    while frame is not None:
        command = frame.f_locals.get("self")
        if isinstance(command, BaseCommand):
            return not isinstance(command, check.Command)
        frame = frame.f_back
    return False
