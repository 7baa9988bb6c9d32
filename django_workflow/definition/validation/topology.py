"""What is wrong with a graph whose steps are right, and what is hardly meant."""

from __future__ import annotations

from django_workflow.definition import graph, names
from django_workflow.definition.problems import Problem
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.validation import joins


def graph_problems(flow: FlowSpec) -> list[Problem]:
    """Return what is wrong with the graph of a definition whose steps are right."""
    problems = []
    if not flow.entry:
        message = "no step to begin with, for each one follows another; name it with entry="
        problems.append(Problem("no_entry", ("entry",), message))
    for name, step in flow.steps.items():
        count = len(flow.predecessors[name])
        if isinstance(step.join, int) and step.join > count:
            message = f"join={step.join}, but only {count} steps lead to it"
            problems.append(Problem("join_too_large", ("steps", name, "join"), message))
    if flow.max_duration is not None:
        problems += endless_delays(flow, flow.max_duration)
    return problems


def endless_delays(flow: FlowSpec, longest: float) -> list[Problem]:
    """Return which delays are as long as a run may last, in seconds: what they delay never begins."""
    delays = [(("steps", name, "delay"), "delay", step.delay) for name, step in flow.steps.items()]
    delays += [
        (("steps", item.source, "delay"), f"delay of {', '.join(map(repr, item.to))}", item.delay)
        for item in flow.transitions
    ]
    return [
        Problem(
            "never_begins",
            path,
            f"{what} is {delay:g} s, but a run lasts {longest:g} s at most: it would never begin",
        )
        for path, what, delay in delays
        if isinstance(delay, int | float) and delay >= longest
    ]


def advice(flow: FlowSpec) -> list[Problem]:
    """Return all that is worth a warning: `warnings`, and joins that are incomplete in some case."""
    return [*warnings(flow), *(item.problem for item in joins.incomplete(flow))]


def warnings(flow: FlowSpec) -> list[Problem]:
    """Return what is legal but hardly meant: loops that never end, loops without a pause, steps nothing reaches."""
    problems = []
    for name in flow.steps:
        for item in flow.outbound[name]:
            always = name in item.to and item.when is None
            if always and item.delay is None and not _may_leave(flow, {name}):
                message = "it leads to itself without a condition and without a delay"
                problems.append(Problem("endless_loop", ("steps", name), message))
    order = {name: number for number, name in enumerate(flow.steps)}
    members: dict[int, set[str]] = {}
    for name, number in flow.cycles.items():
        members.setdefault(number, set()).add(name)
    for cycle in members.values():
        if not _may_leave(flow, cycle):
            listed = sorted(cycle, key=order.__getitem__)
            place = f"step{'s' if len(listed) > 1 else ''} {', '.join(map(repr, listed))}"
            message = "a loop without a condition on any way; only its limits end it"
            problems.append(Problem("endless_loop", ("steps", listed[0]), message, place=place))
    reached = graph.reachable(flow.successors, flow.entry)
    problems += [
        Problem("unreachable", ("steps", name), "nothing leads to it") for name in flow.steps if name not in reached
    ]
    return problems


def _may_leave(flow: FlowSpec, cycle: set[str]) -> bool:
    """Say whether a loop can end by itself: some transition within it depends on something."""
    within = {*cycle, names.RETRY}
    inner = [item for name in cycle for item in flow.outbound[name] if not within.isdisjoint(item.to)]
    leads_on = {item.source for item in inner if item.when is None and not item.is_otherwise and "succeeded" in item.on}
    return not cycle <= leads_on
