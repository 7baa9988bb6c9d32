"""What a decision asks of a run, read from its rows; what many decisions ask is read for all of them at once."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import Arrived, Generation, RunState, StepEnd, Unfired, Variables
from django_workflow.engine.stored.outputs import (
    RunOutputs,
    Scopes,
    outer_scopes,
    read_failures,
    read_result,
    read_statuses,
)

STEP_RUN_TABLE = "django_workflow_steprun"
VARIABLES_TABLE = "django_workflow_variables"
#: Join, scope and source: who arrives where.
Way = tuple[str, int, str]


class NextIds:
    """Ids of variables to be, drawn when the first is asked for, for all runs of a transaction at once.

    Not from a block: what is drawn once the runs' locks are held is above all that the runs have, whoever drew that.
    So they are of one transaction, and never kept for the next. expected: how many will be asked for.
    """

    def __init__(self, expected: int = 1) -> None:
        self._expected = max(1, expected)
        self._drawn: deque[int] = deque()

    def next(self) -> int:
        """Return an id above those returned before."""
        if not self._drawn:
            self._drawn.extend(db.draw_next(VARIABLES_TABLE, self._expected))
        return self._drawn.popleft()


class StoredState(RunState):
    """A run's state in the database; under the run's lock nobody adds to it.

    texts: outputs in hand, by step run, as JSON text. ids: shared by the runs of one transaction.
    """

    def __init__(
        self,
        run_id: UUID,
        spec: FlowSpec,
        ends: Sequence[StepEnd] = (),
        texts: Mapping[int, str] | None = None,
        ids: NextIds | None = None,
    ) -> None:
        super().__init__()
        self.run_id = run_id
        self._spec = spec
        self._texts = texts or {}
        self._ends = [end for end in ends if end.id in self._texts]
        self._ids_to_be = ids or NextIds()
        self._outputs: dict[int, RunOutputs] = {}
        self._variables: dict[int, Variables] = {}
        self._iterations: dict[tuple[str, int], int] = {}
        self._ordinals: dict[Way, int] = {}
        self._generations: dict[tuple[str, int, int], Generation] = {}

    def outputs(self, scope: int) -> Mapping[str, Any]:
        """Return the outputs as seen from a scope."""
        if scope not in self._outputs:
            known = {end.step: self._texts[end.id] for end in self._ends if end.scope == scope and self._is_latest(end)}
            self._outputs[scope] = RunOutputs(self.run_id, self._spec, known, self._scopes(scope))
        return self._outputs[scope]

    def _is_latest(self, end: StepEnd) -> bool:
        """Say whether a step has surely not begun once more in its scope; a later pass may have settled before."""
        return end.step not in self._spec.repeating or self._iterations.get((end.step, end.scope)) == end.iteration

    def result(self, end: StepEnd) -> Any:
        """Return what a step run gave: in hand, else read."""
        if end.id in self._texts:
            return payload.loads(self._texts[end.id])
        return read_result(end.id, self._spec.steps[end.step])

    def failures(self, end: StepEnd) -> Sequence[Mapping[str, Any]]:
        """Read which items of a map failed, and why."""
        return read_failures((self.run_id, end.step, True, self._scopes(end.scope), end.id))

    def statuses(self, scope: int) -> Mapping[str, str]:
        """Return the steps' latest statuses."""
        return read_statuses(self.run_id, self._spec, self._scopes(scope))

    def _scopes(self, scope: int) -> Scopes:
        return outer_scopes([scope])[scope]

    def variables(self, key: int) -> Variables:
        """Read variables, each once."""
        if key not in self._variables:
            self._variables |= read_variables([key])
        return self._variables[key]

    def last_iteration(self, step: str, scope: int) -> int:
        """Return the count, read before or now."""
        if (step, scope) not in self._iterations:
            prefetch([(self, [(step, scope)], [])])
        return self._iterations[step, scope]

    def last_generation(self, step: str, scope: int, source: str) -> int:
        """Return the count, read before or now."""
        way = (step, scope, source)
        if way not in self._ordinals:
            prefetch([(self, [], [way])])
        return self._ordinals[way]

    def generation(self, step: str, scope: int, number: int) -> Generation:
        """Return the generation, read before or now."""
        key = (step, scope, number)
        if key not in self._generations:
            self._generations[key] = _read_generation(self.run_id, key)
        return self._generations[key]

    def unfired(self) -> Sequence[Unfired]:
        """Read the joins that wait, where there are any in the flow."""
        if not self._spec.has_joins:
            return ()
        found = db.rows(READ_UNFIRED, [self.run_id])
        return [Unfired(step, scope, number, tuple(sources)) for step, scope, number, sources in found]

    def new_step_run(self) -> int:
        """Draw an id."""
        return db.draw_ids(STEP_RUN_TABLE, 1)[0]

    def new_variables(self) -> int:
        """Draw an id above all others of the run."""
        return self._ids_to_be.next()

    def remember(self, way: Way, last: int, seen: Generation) -> None:
        """Keep what was read of a join: how often a source has arrived, and the generation it arrives in next."""
        self._ordinals[way] = last
        self._generations.setdefault((way[0], way[1], last + 1), seen)

    def keep(self, known: Variables) -> None:
        """Keep variables that were read."""
        assert known.id is not None
        self._variables[known.id] = known

    def variables_asked(self, ends: Sequence[StepEnd], final: int | None) -> set[int]:
        """Return the ids of the variables that the decision about these ends will ask for; `prefetch` comes first.

        final: those of the branches that have ended.
        """
        spec = self._spec
        asked: set[int | None] = {end.variables for end in ends if end.step in spec.asking}
        meeting: dict[tuple[str, int, int], list[int | None]] = defaultdict(list)
        for end in ends:
            ways = spec.outbound[end.step]
            if spec.output and not (ways and all(way.steps for way in ways)):
                asked |= {final, end.variables}
            for target in spec.successors[end.step]:
                if target in spec.joins:
                    last = self._ordinals.get(_way(spec, end, target), 0)
                    meeting[target, end.scope, last + 1].append(end.variables)
        for key, arriving in meeting.items():
            seen = self._generations.get(key, Generation())
            arrived = {*arriving, *(item.variables for item in seen.arrived.values())} - {None}
            # read where they will be merged, not at each arrival that goes before
            if len(arriving) + len(seen.arrived) >= (spec.join_size(key[0]) or 1) and len(arrived) > 1:
                asked |= arrived
        return {key for key in asked if key is not None}

    def count(self, step: str, scope: int, last: int) -> None:
        """Keep how often a step was activated in a scope."""
        self._iterations[step, scope] = last


class FreshState(RunState):
    """The state of a run that begins: nothing of it is stored, only ids are drawn."""

    def new_step_run(self) -> int:
        """Draw an id."""
        return db.draw_ids(STEP_RUN_TABLE, 1)[0]

    def new_variables(self) -> int:
        """Draw an id of a block."""
        # the first ones of a run: whatever is drawn later is above them
        return db.draw_ids(VARIABLES_TABLE, 1)[0]


def wanted(spec: FlowSpec, ends: Iterable[StepEnd]) -> tuple[list[tuple[str, int]], list[Way]]:
    """Return what decisions about these ends will ask first: activations to be counted, and arrivals at joins."""
    counted: dict[tuple[str, int], None] = {}
    ways: dict[Way, None] = {}
    for end in ends:
        for target in spec.successors[end.step]:
            if target in spec.joins:
                ways[_way(spec, end, target)] = None
            if target in spec.repeating or target in spec.splits:
                counted[target, end.scope] = None
        if end.step in spec.cycles:
            counted[end.step, end.scope] = None
    return list(counted), list(ways)


def _way(spec: FlowSpec, end: StepEnd, join: str) -> Way:
    """Return the way of an end to a join: all arrivals of sources that arrive once are of the first generation."""
    repeats = end.step in spec.repeating or end.step in spec.splits
    return join, end.scope, end.step if repeats else ""


def expected_variables(spec: FlowSpec, ends: Sequence[StepEnd]) -> int:
    """Return how many variables the decision about these ends makes, at most, unless more settles at once."""
    if not spec.uses_variables:
        return 0
    ways = [way for end in ends for way in spec.outbound[end.step]]
    published = sum(bool(way.publish) for way in ways)
    joined = sum(name in spec.joins for way in ways for name in way.steps)
    return published + joined + (len(ends) if spec.output else 0)


JOINS = db.Columns("w", place="int", run_id="uuid", step="text", scope="bigint", source="text", repeats="bool")
# a source that repeats is looked for among its earlier arrivals; its next one opens or joins a generation
READ_JOINS = f"""
    SELECT w.place, g.last, a.source, a.is_cascade, a.variables_id, a.step_run_id, s.status, s.iteration
    FROM {JOINS}
    CROSS JOIN LATERAL (
        SELECT CASE WHEN NOT w.repeats THEN 0 ELSE coalesce(
            (SELECT generation FROM django_workflow_arrival x
             WHERE x.run_id = w.run_id AND x.step = w.step AND x.scope = w.scope AND x.source = w.source
               AND x.generation IS NOT NULL
             ORDER BY generation DESC LIMIT 1), 0) END AS last
    ) g
    LEFT JOIN django_workflow_arrival a
        ON a.run_id = w.run_id AND a.step = w.step AND a.scope = w.scope AND a.generation = g.last + 1
    LEFT JOIN django_workflow_steprun s ON s.id = a.step_run_id
"""
ITERATIONS = db.Columns("w", place="int", run_id="uuid", step="text", scope="bigint")
READ_ITERATIONS = f"""
    SELECT w.place, coalesce((SELECT iteration FROM django_workflow_steprun s
                              WHERE s.run_id = w.run_id AND s.step = w.step AND s.scope = w.scope
                              ORDER BY iteration DESC LIMIT 1), 0)
    FROM {ITERATIONS}
"""
READ_GENERATION = """
    SELECT a.source, a.is_cascade, a.variables_id, a.step_run_id, s.status, s.iteration
    FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.step_run_id
    WHERE a.run_id = %s AND a.step = %s AND a.scope = %s AND a.generation = %s
"""
READ_UNFIRED = """
    SELECT s.step, s.scope, a.generation, array_agg(a.source ORDER BY a.id)
    FROM django_workflow_steprun s JOIN django_workflow_arrival a
      ON a.run_id = s.run_id AND a.step = s.step AND a.scope = s.scope AND a.step_run_id = s.id
    WHERE s.run_id = %s AND s.status = 'waiting'
    GROUP BY s.id, s.step, s.scope, a.generation ORDER BY s.id
"""
READ_VARIABLES = "SELECT id, values, stamps FROM django_workflow_variables WHERE id = ANY(%s::bigint[])"


def prefetch(asked: Iterable[tuple[StoredState, Sequence[tuple[str, int]], Sequence[Way]]]) -> None:
    """Read for several runs at once what their decisions will ask: one statement for each kind of question."""
    asked = list(asked)
    counted = [(state, *pair) for state, pairs, _ in asked for pair in pairs]
    ways = [(state, way) for state, _, found in asked for way in found]
    if counted:
        rows = [
            ITERATIONS.row(place=place, run_id=state.run_id, step=step, scope=scope)
            for place, (state, step, scope) in enumerate(counted)
        ]
        for place, last in db.rows(READ_ITERATIONS, ITERATIONS.params(rows)):
            state, step, scope = counted[place]
            state.count(step, scope, last)
    if ways:
        rows = [
            JOINS.row(place=place, run_id=state.run_id, step=join, scope=scope, source=source, repeats=bool(source))
            for place, (state, (join, scope, source)) in enumerate(ways)
        ]
        seen: dict[int, tuple[int, list[Any]]] = {}
        for place, last, *arrival in db.rows(READ_JOINS, JOINS.params(rows)):
            seen.setdefault(place, (last, []))[1].append(arrival)
        for place, (last, arrivals) in seen.items():
            state, way = ways[place]
            state.remember(way, last, _generation(arrivals))


def prefetch_variables(asked: Iterable[tuple[StoredState, Sequence[StepEnd], int | None]]) -> None:
    """Read with one statement the variables that the decisions about several runs will ask for.

    asked: of each run its state, its ends, and the variables of the branches that have ended.
    """
    wanted_of = [(state, state.variables_asked(ends, final)) for state, ends, final in asked]
    keys = {key for _, wanted_keys in wanted_of for key in wanted_keys}
    found = read_variables(keys) if keys else {}
    for state, wanted_keys in wanted_of:
        for key in wanted_keys & found.keys():
            state.keep(found[key])


def _read_generation(run_id: UUID, key: tuple[str, int, int]) -> Generation:
    return _generation(db.rows(READ_GENERATION, [run_id, *key]))


def _generation(arrivals: Iterable[Sequence[Any]]) -> Generation:
    """Return a generation from its rows: source, cascade, variables, and the activation with status and iteration."""
    seen = Generation()
    for source, is_cascade, variables, step_run, status, iteration in arrivals:
        if source is None:
            continue
        seen.arrived[source] = Arrived(is_cascade, variables)
        seen.step_run, seen.iteration = step_run, iteration or 1
        seen.is_fired = status != "waiting"
    return seen


def read_variables(keys: Iterable[int]) -> dict[int, Variables]:
    """Read variables by their ids."""
    found = db.rows(READ_VARIABLES, [list(keys)])
    return {key: Variables(key, payload.loads(values), payload.loads(stamps)) for key, values, stamps in found}
