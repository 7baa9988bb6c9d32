"""From the text of an Orquesta document to a `FlowSpec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django_workflow.contrib.orquesta.checks import check
from django_workflow.contrib.orquesta.document import Document, Task, Transition
from django_workflow.contrib.orquesta.expressions import texts
from django_workflow.contrib.orquesta.inline import Pairs
from django_workflow.contrib.orquesta.reading import Source, read_document
from django_workflow.definition import names
from django_workflow.definition.elements import (
    LONGEST_TIME,
    MAP,
    SINGLE,
    Assignment,
    Condition,
    StepSpec,
    TransitionSpec,
)
from django_workflow.definition.names import RETRY
from django_workflow.definition.problems import Problem
from django_workflow.definition.retry import NUMBERS
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written.transitions import OUTCOMES
from django_workflow.exceptions import DefinitionError

LANGUAGE: Final = "orquesta"
#: The action of a task that has none, and one that every document may name.
NOOP: Final = "core.noop"
#: The handler of tasks whose action is an expression.
ANY_ACTION: Final = "any action"
#: How often the command `retry` repeats a task.
RETRIES: Final = 3
MAX_TITLE: Final = 200
#: The longest delay between attempts, which only an expression could exceed: a year.
MAX_DELAY: Final = LONGEST_TIME.total_seconds()


def compile_text(text: str, slug: str, knows_action: Callable[[str], bool]) -> FlowSpec:
    """Return the compiled form of a document; raises `DefinitionError` with all problems and their lines.

    slug: the flow's name. knows_action: whether there is a function for the name of an action.
    """
    source = Source(text)
    if not names.is_name(slug):
        message = f"a slug is {names.NAME_RULE}, not {slug!r}"
        source.problems.append(Problem("bad_name", ("slug",), message, line=1, column=1))
    document = read_document(source)
    if document is not None:
        check(document, knows_action, source.report)
    if source.problems or document is None:
        raise DefinitionError(source.sorted_problems(), flow=str(slug))
    return compile_document(document, slug)


def compile_document(document: Document, slug: str) -> FlowSpec:
    """Return the compiled form of a document that has no problems; what no run comes to is left out."""
    document = document.reachable()
    predecessors = document.predecessors()
    return FlowSpec(
        slug=slug,
        steps={name: _step(slug, task, predecessors[name]) for name, task in document.tasks.items()},
        transitions=tuple(
            spec for task in document.tasks.values() for item in task.next for spec in _transitions(task.name, item)
        ),
        entry=document.entry(),
        title=" ".join(document.description.split())[:MAX_TITLE],
        vars=_assignments(document.vars),
        output=_assignments(document.output),
        language=LANGUAGE,
        inputs=_assignments(document.inputs),
    )


def handler_name(slug: str, action: str | None) -> str:
    """Return the name under which the function of an action is registered."""
    action = NOOP if action is None else action
    return f"{slug}.{ANY_ACTION if texts.is_expression(action) else action}"


def _step(slug: str, task: Task, predecessors: tuple[str, ...]) -> StepSpec:
    arguments: dict[str, Any] = {"inputs": task.input}
    if task.action is not None and texts.is_expression(task.action):
        arguments["action"] = task.action
    retry, retry_when = _retry(task)
    join: Any = task.join  # all or a number
    items = task.items
    of_items: dict[str, Any] = (
        {}
        if items is None
        else {
            "kind": MAP,
            "over": items.expression,
            "item_names": items.names,
            "max_parallel": max(1, items.concurrency) if isinstance(items.concurrency, int) else items.concurrency,
        }
    )
    return StepSpec(
        name=task.name,
        handler=handler_name(slug, task.action),
        params=(*arguments, "ctx"),
        join=join if predecessors else None,
        arguments=arguments,
        delay=task.delay or None,
        retry=retry,
        retry_when=retry_when,
        **{"kind": SINGLE, **of_items},
    )


def _transitions(source: str, item: Transition) -> list[TransitionSpec]:
    # repeating is the step's own matter, see `_retry`
    to = tuple(target for target in item.do if target != RETRY)
    when = Condition(expression=item.when) if item.when is not None else None
    return [TransitionSpec(source, to, OUTCOMES["always"], when, _assignments(item.publish))] if to else []


def _retry(task: Task) -> tuple[dict[str, Any], str | None]:
    """Return the retry policy of a task, and the condition: without one only failures are repeated."""
    for transition in task.next:
        if RETRY in transition.do:
            return _policy(RETRIES, 0), transition.when or "<% completed() %>"
    if task.retry is None:
        return {"max_attempts": 1}, None
    policy = _policy(task.retry.count, task.retry.delay or 0)
    # numbers that are expressions are evaluated together with the condition
    is_computed = any(isinstance(policy[name], str) for name in NUMBERS)
    return policy, task.retry.when or ("<% failed() %>" if is_computed else None)


def _policy(count: int | str, delay: int | str) -> dict[str, Any]:
    attempts = count + 1 if isinstance(count, int) else count
    cap = MAX_DELAY if isinstance(delay, str) else float(delay)
    return {"max_attempts": attempts, "strategy": "constant", "base": delay, "cap": cap, "jitter": False}


def _assignments(pairs: Pairs) -> tuple[Assignment, ...]:
    return tuple(Assignment(name, value) for name, value in pairs)
