"""The passes of a step as the panel shows them: a page of all, what led to one and what it led to, its variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from django_workflow.read.run.course import Neighbour, Pass, read_neighbours, read_passes, read_variables
from django_workflow.read.run.facts import Facts
from django_workflow.read.run.steps import StepFacts
from django_workflow.web.address import Address
from django_workflow.web.run.payloads import Value, limit_for, value_of_text

#: Passes on a page, and step runs that one of them is told to have led to.
TURNS: Final = 10
MOST_NEIGHBOURS: Final = 20


@dataclass(slots=True)
class Turns:
    """What the panel tells of the passes of a step, and of the chosen one."""

    #: A page of them, newest first, with their addresses.
    listed: list[tuple[Pass, str]] = field(default_factory=list)
    newer: str = ""
    older: str = ""
    #: The address that follows the step.
    newest: str = ""
    #: What led to the chosen one, and what it led to, with their addresses.
    led_by: list[tuple[Neighbour, str]] = field(default_factory=list)
    leads: list[tuple[Neighbour, str]] = field(default_factory=list)
    variables: Value | None = None


def read_turns(facts: Facts, step: StepFacts, address: Address, *, has_payload: bool) -> Turns | None:
    """Read the passes of a chosen step; None where each step runs once and publishes nothing."""
    spec = facts.spec
    if step.id is None or (spec.is_plain and not spec.uses_variables):
        return None
    turns = Turns()
    if step.passes > 1:
        _list(facts, step, address, turns)
    led_by, leads = read_neighbours(facts.run.pk, step, spec, MOST_NEIGHBOURS)
    turns.led_by = [(item, _href(facts, item, address)) for item in led_by]
    turns.leads = [(item, _href(facts, item, address)) for item in leads]
    if step.variables_id is not None:
        turns.variables = variables("Variables", step.variables_id, address, has_payload=has_payload)
    return turns


def _list(facts: Facts, step: StepFacts, address: Address, turns: Turns) -> None:
    offset = min((address.turns - 1) * TURNS, 2**31 - 1)
    found = read_passes(facts.run.pk, [step], TURNS + 1, offset, has_waiting=True)
    turns.listed = [(item, address.of_pass(step.step, item.id)) for item in found[:TURNS]]
    turns.newer = address.to("#passes", step=step.step, turns=address.turns - 1) if address.turns > 1 else ""
    turns.older = address.to("#passes", step=step.step, turns=address.turns + 1) if len(found) > TURNS else ""
    is_followed = address.activation is None and address.task is None
    turns.newest = "" if is_followed else address.of_step(step.step)


def _href(facts: Facts, item: Neighbour, address: Address) -> str:
    is_known = item.id is not None and item.step in facts.steps
    return address.of_pass(item.step, item.id) if is_known and item.id is not None else ""


def variables(label: str, key: int, address: Address, *, has_payload: bool) -> Value:
    """Read variables, as far as they are shown; without the permission they stay where they are."""
    if not has_payload:
        return Value(label, is_masked=True)
    text, size = read_variables(key, limit_for(address, "variables"))
    return value_of_text(label, text, size, "variables", address)
