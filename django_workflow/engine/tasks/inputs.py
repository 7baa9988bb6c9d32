"""What a handler receives: the run's input, variables and outputs of steps, read for claimed tasks."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from django_workflow import db
from django_workflow.definition.elements import MAP
from django_workflow.definition.names import CONTEXT_NAMES
from django_workflow.definition.registry import registry
from django_workflow.engine.stored.outputs import Scopes, StepOutput, Wanted, outer_scopes, read_inputs, read_outputs
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.statuses import SUCCEEDED


def equip_taken(tasks: Sequence[ClaimedTask], known: Callable[[ClaimedTask, str], str | None]) -> None:
    """Read what the handlers of taken tasks receive.

    known: gives the output in hand, as JSON, that a task takes of a step, or None.
    """
    fill_inputs([task for task in tasks if takes_input(task, params_of(task))])
    fill_variables(tasks)
    for task in tasks:
        found = ((name, known(task, name)) for name in sources_of(task, params_of(task)))
        task.dependencies = {name: StepOutput(SUCCEEDED, text) for name, text in found if text is not None}
    fill_dependencies(tasks)


def params_of(task: ClaimedTask) -> tuple[str, ...]:
    """Return the parameters of the handler as this process has it; the version knows those of its own time."""
    handler = registry.handler(task.step.handler)
    return task.step.params if handler is None else handler.params


def takes_input(task: ClaimedTask, params: Container[str]) -> bool:
    """Say whether a handler with these parameters, or its step's expressions, needs the run's input."""
    return "input" in params or bool(task.step.arguments) or task.step.retry_when is not None


def sources_of(task: ClaimedTask, params: tuple[str, ...]) -> tuple[str, ...]:
    """Return the steps of the run's version whose outputs a handler with these parameters takes by name."""
    step = task.step
    if params == step.params:
        return step.sources
    others = CONTEXT_NAMES.union(step.arguments)
    return tuple(name for name in params if name not in others and name in task.spec.steps)


def is_equipped(task: ClaimedTask, params: tuple[str, ...]) -> bool:
    """Say whether a task came with all that a handler with these parameters takes."""
    if not task.is_input_read and takes_input(task, params):
        return False
    wanted = sources_of(task, params)
    return wanted == task.sources or set(wanted) <= set(task.sources)


def equip(task: ClaimedTask, params: tuple[str, ...]) -> None:
    """Read what a handler takes and the claim did not bring: where it runs the code may be another release's."""
    if takes_input(task, params) and not task.is_input_read:
        fill_inputs([task])
    fill_dependencies([task], lambda _: params)


def fill_inputs(tasks: Sequence[ClaimedTask]) -> None:
    """Read the inputs of the tasks' runs."""
    inputs = read_inputs(task.run_id for task in tasks)
    for task in tasks:
        task.input, task.is_input_read = inputs[task.run_id], True


READ_VALUES = "SELECT id, values FROM django_workflow_variables WHERE id = ANY(%s::bigint[])"


def fill_variables(tasks: Sequence[ClaimedTask]) -> None:
    """Read the variables of tasks, once for all that have the same."""
    wanted = {task.variables_id for task in tasks if task.variables_id is not None}
    if wanted:
        values: dict[int | None, str] = dict(db.rows(READ_VALUES, [list(wanted)]))
        for task in tasks:
            task.variables = values.get(task.variables_id)


def fill_dependencies(
    tasks: Sequence[ClaimedTask], params: Callable[[ClaimedTask], tuple[str, ...]] = params_of
) -> None:
    """Read the outputs that handlers take by name, once for all tasks that take the same."""
    asking = []
    for task in tasks:
        task.sources = sources_of(task, params(task))
        asking += [(task, name) for name in task.sources if name not in task.dependencies]
    if not asking:
        return
    scopes = outer_scopes({task.scope for task, _ in asking})
    wanted = [wanted_by(task, name, scopes[task.scope]) for task, name in asking]
    found = read_outputs(wanted)
    for (task, name), key in zip(asking, wanted, strict=True):
        output = found.get(key)
        if output is not None:
            task.dependencies = {**task.dependencies, name: output}


def wanted_by(task: ClaimedTask, step: str, scopes: Scopes) -> Wanted:
    """Return what is to be read for a task of a step; where that has one activation, it is the same for all tasks."""
    source = task.source_id if step in task.spec.repeating or step in task.spec.splits else None
    return task.run_id, step, task.spec.steps[step].kind == MAP, scopes, source
