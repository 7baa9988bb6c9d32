"""What may be wrong with the executors of the site's own, for `workflow_doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django_workflow.conf import conf
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.read.doctor import ERROR, OK, WARNING, Finding
from django_workflow.worker.runners import executors
from django_workflow.worker.runners.futures import TaskExecutor


def examine() -> list[Finding]:
    """Make each executor as a worker does, ask what it knows to be wrong, and leave it again."""
    return [finding for name in conf.EXECUTORS for finding in _examine(name)]


def _examine(name: str) -> Iterator[Finding]:
    try:
        executor = executors.made(name)
    except Exception as error:
        yield Finding(ERROR, f"executor {name!r} cannot be made: {error}", f"mend EXECUTORS[{name!r}]")
        return
    try:
        if isinstance(executor, TaskExecutor):
            steps = _steps_of(name)
            resources = {f"{slug}.{step.name}": step.resources for slug, step in steps if step.resources}
            yield from _findings(name, executor, resources, sorted({step.handler for _, step in steps}))
        else:
            yield Finding(OK, f"executor {name!r} is a {type(executor).__name__}")
    finally:
        executor.shutdown(wait=False)


def _findings(
    name: str, executor: TaskExecutor, resources: Mapping[str, Mapping[str, float]], handlers: list[str]
) -> Iterator[Finding]:
    if executor.fence == "none":
        text = f"executor {name!r} has no fence: an attempt may be executed more than once"
        yield Finding(WARNING, text, "let its processes reach the database, and take fence= away")
    levels = {"ok": OK, "warning": WARNING, "error": ERROR}
    for level, text, remedy in executor.examine(resources, handlers):
        yield Finding(levels[level], f"executor {name!r}: {text}", remedy)


def _steps_of(executor: str) -> list[tuple[str, StepSpec]]:
    return [(spec.slug, step) for spec in registry.specs() for step in spec.steps.values() if step.executor == executor]
