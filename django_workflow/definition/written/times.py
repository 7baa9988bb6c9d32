"""Times that an author gives in code: a `timedelta`, never a number, for that is read as seconds or as milliseconds.

Where there is only JSON, in documents, stored drafts and overrides, a number is seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django_workflow.definition.problems import Path, Problem
from django_workflow.definition.retry import Retry
from django_workflow.definition.written.transitions import Transition, transitions_of

OPTIONS = ("timeout", "delay", "max_duration")
OF_RETRY = ("base", "cap")


def given_as_numbers(options: Mapping[str, Any], path: Path = ()) -> Iterator[Problem]:
    """Yield what is wrong with times among the options of a flow, of a step and of its transitions.

    path: leads to the step.
    """
    yield from _numbers(options, OPTIONS, path)
    retry = options.get("retry")
    yield from _numbers(vars(retry) if isinstance(retry, Retry) else retry, OF_RETRY, (*path, "retry"), "retry: ")
    try:
        found = transitions_of(options.get("next"))
    except TypeError:
        return  # validation tells of it
    for place, item in enumerate(found):
        if isinstance(item, Transition):
            yield from _numbers(vars(item), ("delay",), (*path, "next", place))


def _numbers(values: Any, names: tuple[str, ...], path: Path, where: str = "") -> Iterator[Problem]:
    if isinstance(values, Mapping):
        for name in names:
            value = values.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield Problem("bad_value", (*path, name), f"{where}{name} must be a timedelta, not {value!r}")
