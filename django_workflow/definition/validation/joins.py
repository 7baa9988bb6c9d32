"""Joins that are incomplete in some case: some predecessors come, others cannot, and the run fails.

A case supposes something of one step: that it fails, is skipped, or that one of its conditions holds. Of all others it
supposes that they succeed. What surely fires then, and what may fire, says which joins are surely reached in part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django_workflow.definition.elements import DEPENDENCY_OUTCOMES, MATCH_FIRST, TransitionSpec
from django_workflow.definition.names import CONTINUE, FAIL
from django_workflow.definition.problems import Problem
from django_workflow.definition.spec import FlowSpec

#: Most looks at an edge. Where all cases take more, only the one in which every step succeeds is looked at.
MOST_WORK: Final = 1_000_000
#: Characters of a condition that a sentence shows.
SHOWN: Final = 60
ALL_SUCCEED: Final = "when every step succeeds"


@dataclass(frozen=True)
class Incomplete:
    """A join that is reached in part.

    is_certain: in each case in which the steps before it succeed, not in one of several only.
    """

    step: str
    text: str
    is_certain: bool = False

    @property
    def problem(self) -> Problem:
        """What is wrong with it."""
        return Problem("incomplete_join", ("steps", self.step), f"{self.text}, so the run fails")

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True)
class _Case:
    """What fires after a step in some case: surely, and at most."""

    words: str
    surely: Sequence[TransitionSpec]
    maybe: Sequence[TransitionSpec]


@dataclass(frozen=True)
class _Part:
    """A join, the predecessors that surely come, and those that cannot."""

    step: str
    there: Sequence[str]
    missing: Sequence[str]


def incomplete(flow: FlowSpec) -> list[Incomplete]:
    """Return the joins of a flow that are incomplete in some case, each once; first those that are so in every case."""
    if not flow.dialect.is_analysed or flow.is_plain or not flow.joins:
        return []
    successes = {name: _cases(flow, name, "succeeded") for name in flow.steps}
    usual = {name: _any_of(cases) for name, cases in successes.items()}
    certain = {part.step: Incomplete(part.step, _message(part, ALL_SUCCEED), True) for part in _parts(flow, usual)}
    possible: dict[str, Incomplete] = {}
    others = {name: _other_outcomes(flow, name) for name in flow.steps}
    ways_count = sum(len(successes[name]) + len(others[name]) for name in flow.steps)
    # a step that repeats may end in one case now and in another one later
    for name in flow.steps if ways_count * len(flow.edges) <= MOST_WORK else ():
        if name in flow.repeating:
            continue
        choices = successes[name] if len(successes[name]) > 1 else []
        found = [_parts(flow, {**usual, name: case}, name) for case in choices]
        for step in _in_all(found):
            certain.setdefault(step, Incomplete(step, _never_together(flow, step, name), True))
        found += [_parts(flow, {**usual, name: case}, name) for case in others[name]]
        for case, parts in zip([*choices, *others[name]], found, strict=True):
            for part in parts:
                possible.setdefault(part.step, Incomplete(part.step, _message(part, case.words)))
    return [*certain.values(), *(item for step, item in possible.items() if step not in certain)]


def _in_all(parts_by_case: Sequence[Sequence[_Part]]) -> list[str]:
    steps = [{part.step for part in parts} for parts in parts_by_case]
    return (
        [part.step for part in parts_by_case[0] if all(part.step in names for names in steps)] if parts_by_case else []
    )


def _other_outcomes(flow: FlowSpec, name: str) -> list[_Case]:
    """Return the cases in which a step does not succeed, and yet the run goes on."""
    step = flow.steps[name]
    may_skip = (step.when is not None and step.on_unmet == "skip") or step.on_exhausted == "skip"
    cases = _cases(flow, name, "skipped") if may_skip else []
    if step.on_exhausted == "fail":
        failed = _cases(flow, name, "failed")
        # without a transition for it the failure ends the run, and so does `continue`
        cases += [case for case in failed if case.surely and not any(CONTINUE in item.to for item in case.surely)]
    return cases


def _cases(flow: FlowSpec, name: str, outcome: str) -> list[_Case]:
    """Return what may fire together after a step, one entry for each of its conditions and one for none of them."""
    leaving = [item for item in flow.outbound[name] if outcome in item.on]
    always = [item for item in leaving if item.on == DEPENDENCY_OUTCOMES]
    following = [item for item in leaving if item.on != DEPENDENCY_OUTCOMES]
    plain = [item for item in following if item.when is None and not item.is_otherwise]
    asking = [item for item in following if item.when is not None]
    otherwise = [item for item in following if item.is_otherwise]
    words = {"succeeded": f"where {name!r} succeeds", "failed": f"where {name!r} fails"}.get(
        outcome, f"where {name!r} is skipped"
    )
    if flow.steps[name].match == MATCH_FIRST:
        before = following.index(plain[0]) if plain else len(following)
        asking = [item for item in following[:before] if item.when is not None]
        cases = [_Case(_holding(words, item), [*always, item], [*always, item]) for item in asking]
        plain, otherwise = plain[:1], otherwise[:1]
    else:
        most = [*always, *plain, *asking]
        cases = [_Case(_holding(words, item), [*always, *plain, item], most) for item in asking]
    last = [*always, *(plain or otherwise)]
    return [*cases, _Case(f"{words} and none of its conditions holds" if cases else words, last, last)]


def _holding(words: str, item: TransitionSpec) -> str:
    condition = str(item.when)
    return f"{words} and {condition if len(condition) <= SHOWN else condition[:SHOWN] + '…'} holds"


def _any_of(cases: Sequence[_Case]) -> _Case:
    """Return what fires in whichever of several cases."""
    certain = set.intersection(*({id(item) for item in case.surely} for case in cases))
    surely = [item for item in cases[0].surely if id(item) in certain]
    # several cases may have one list of what may fire
    lists = {id(case.maybe): case.maybe for case in cases}.values()
    maybe = list({id(item): item for items in lists for item in items}.values())
    return _Case("", surely, maybe)


def _parts(flow: FlowSpec, cases: Mapping[str, _Case], supposed: str | None = None) -> list[_Part]:
    """Return the joins that are surely reached in part.

    cases: what fires after each step. supposed: a step that is reached, if it may be.
    """
    most = _arrivals(flow, {name: case.maybe for name, case in cases.items()}, flow.entry)
    begin = flow.entry if supposed is None else (*flow.entry, supposed)
    if supposed is not None and supposed not in most.reached:
        return []
    least = _arrivals(flow, {name: case.surely for name, case in cases.items()}, begin)
    if any(FAIL in item.to for name in least.reached for item in cases[name].surely):
        return []  # it fails as its author says
    parts = []
    joins = flow.joins.difference(flow.entry)
    for name in (step for step in flow.steps if step in joins):
        size, sources = flow.join_size(name), flow.predecessors[name]
        if least.at[name] and size is not None and len(most.at[name]) < size:
            there = [source for source in sources if source in least.at[name]]
            parts.append(_Part(name, there, [source for source in sources if source not in most.at[name]]))
    return _without_consequences(flow, parts)


def _without_consequences(flow: FlowSpec, parts: list[_Part]) -> list[_Part]:
    """Leave out joins that are incomplete because one before them is."""
    if len(parts) < 2:
        return parts
    incomplete = {flow.components[part.step] for part in parts}
    behind: set[int] = set()
    # what a component leads to comes before it, so backwards each is known to be behind one before it is looked at
    for step, number in reversed(list(flow.components.items())):
        if number in incomplete or number in behind:
            behind.update(found for to in flow.successors[step] if (found := flow.components[to]) != number)
    return [part for part in parts if flow.components[part.step] not in behind]


@dataclass(frozen=True)
class _Reached:
    """The steps that begin, and which predecessors arrive at each."""

    reached: set[str]
    at: Mapping[str, set[str]]


def _arrivals(flow: FlowSpec, fired: Mapping[str, Iterable[TransitionSpec]], begin: Sequence[str]) -> _Reached:
    at: dict[str, set[str]] = defaultdict(set)
    reached, pending = set(begin), list(dict.fromkeys(begin))
    while pending:
        source = pending.pop()
        for target in _steps(fired[source]):
            at[target].add(source)
            size = flow.join_size(target)
            if target not in reached and (size is None or len(at[target]) >= size):
                reached.add(target)
                pending.append(target)
    return _Reached(reached, at)


def _steps(fired: Iterable[TransitionSpec]) -> Iterator[str]:
    for item in fired:
        yield from item.steps


def _message(part: _Part, case: str) -> str:
    does = "do" if len(part.missing) > 1 else "does"
    waited = _listed((*part.there, *part.missing))
    return f"it waits for {waited}, but {case}, {_listed(part.missing)} {does} not lead to it"


def _never_together(flow: FlowSpec, step: str, name: str) -> str:
    return f"it waits for {_listed(flow.predecessors[step])}, which never all come, whichever way {name!r} takes"


def _listed(steps: Sequence[str]) -> str:
    quoted = [repr(step) for step in steps]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]
