"""Where a step leads by `next=`, and how it is reached."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, get_args

from django_workflow.definition import elements, names
from django_workflow.definition.problems import Report
from django_workflow.definition.validation.amounts import is_whole
from django_workflow.definition.validation.readable import TRANSITION_NAMES, Readable
from django_workflow.definition.written.options import Match
from django_workflow.definition.written.steps import StepDraft
from django_workflow.definition.written.transitions import (
    OUTCOMES,
    Otherwise,
    Transition,
    When,
    targets,
    transitions_of,
)
from django_workflow.spelling import guess

MATCHES: tuple[str, ...] = get_args(Match)


def check_transitions(step: StepDraft, known: set[str], readable: Readable, report: Report) -> None:
    """Check where a step leads by `next=`, and how it is reached."""
    if step.options.get("match", elements.MATCH_ALL) not in MATCHES:
        report("bad_value", ("match",), f"match must be one of {', '.join(MATCHES)}, not {step.options['match']!r}")
    join = step.options.get("join")
    if join is not None and join != elements.JOIN_ALL and not (is_whole(join) and join >= 1):
        message = f"join must be 'all' or a number of predecessors from 1, not {join!r}"
        report("bad_value", ("join",), message)
    try:
        transitions = transitions_of(step.options.get("next"))
    except TypeError:
        message = f"next must be a list of When, To, Otherwise or steps, not {step.options['next']!r}"
        report("bad_value", ("next",), message)
        return
    for place, item in enumerate(transitions):
        _check_transition(item, known, readable, report.within("next", place))


def _check_transition(item: Any, known: set[str], readable: Readable, report: Report) -> None:
    if not isinstance(item, Transition):
        report("bad_value", (), f"it must be a When, a To, an Otherwise or a step, not {item!r}")
        return
    is_named = isinstance(item.to, str | list | tuple) and all(isinstance(name, str) for name in targets(item))
    if not is_named or not item.to:
        report("bad_value", ("to",), f"to must be a step, a command or a list of them, not {item.to!r}")
        return
    key = "otherwise" if isinstance(item, Otherwise) else "to"
    for target, times in Counter(targets(item)).items():
        if times > 1:
            report("duplicate", (key,), f"it leads to {target!r} {times} times")
        if target not in known and target not in names.COMMANDS:
            message = f"it leads to {target!r}, which is no step and none of {', '.join(sorted(names.COMMANDS))}"
            report("unknown_step", (key,), f"{message}{guess(target, chain(known, names.COMMANDS))}")
    if not isinstance(item.on, str) or item.on not in OUTCOMES:
        report("bad_value", ("on",), f"on must be one of {', '.join(OUTCOMES)}, not {item.on!r}")
    if isinstance(item, When):
        when: Any = item.when
        readable.check_condition(when, TRANSITION_NAMES, report)
        if when is None:
            report("missing", ("when",), "a When needs a condition; a way without one is a To")
    readable.check_assignments("publish", item.publish, TRANSITION_NAMES, report)
    readable.check_assignments("merge", item.merge, TRANSITION_NAMES, report)
    readable.check_delay(item.delay, TRANSITION_NAMES, report)
