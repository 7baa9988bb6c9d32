"""Flows of plain steps, and what came of a run of them that was played without a database."""

from django_workflow.definition.compile import compile_flow
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from tests.engine.interpreter import Play


def step(name, *next, **options):
    return StepDraft(name, f"test.{name}", options={"next": next, **options})


def each(name, *next, **options):
    return StepDraft(name, f"test.{name}", "map", options={"next": next, **options})


def after(name, *depends_on, **options):
    return StepDraft(name, f"test.{name}", depends_on=depends_on, options=options)


def flow(*steps, **options):
    return compile_flow("test", list(steps), options=FlowOptions(**options))


def play(*steps, input=None, limits=None, entry=None, vars=None, output=None, **results):
    return Play(flow(*steps, entry=entry, vars=vars, output=output), results, input, **(limits or {})).run()


def passes(done, name):
    """Scope and iteration of each activation of a step; scopes by the order in which they were opened."""
    opened = {0: 0}
    for item in done.made:
        opened.setdefault(item.scope, len(opened))
    return [(opened[item.scope], item.iteration) for item in done.made if item.step.name == name]


def known_to(done, name):
    """The variables of each activation of a step."""
    found = [item.variables for item in done.made if item.step.name == name]
    return [dict(done.state.variables(key).values) if key else {} for key in found]


DIAMOND = [step("a", "b", "c"), step("b", "s"), step("c", "s")]
