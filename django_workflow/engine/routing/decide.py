"""The decision in the middle of every verb: given what ended, what starts, waits, is skipped, or ends.

Pure: no Django, no database. `decide` looks at the steps that ended, their successors and the run,
never at the whole graph, and works through chains of skips and empty maps in a loop, so a chain of
1,000 of them is no recursion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_workflow.definition.expressions.language import Language, assign
from django_workflow.definition.names import CONTINUE, FAIL, RETRY
from django_workflow.definition.schemas import schema
from django_workflow.definition.spec import DEPENDENCY_OUTCOMES, MAP, MATCH_FIRST, NATIVE, FlowSpec, StepSpec
from django_workflow.definition.spec import TransitionSpec as Transition
from django_workflow.engine.routing.evaluation import Names, Sight, evaluated, seconds
from django_workflow.engine.routing.expansion import condition_holds, expand, max_parallel
from django_workflow.engine.routing.facts import (
    FINAL,
    FOLLOW,
    LEAVE,
    NO_VARIABLES,
    OUTERMOST,
    REDO,
    Activation,
    Again,
    Arrived,
    Decision,
    Error,
    Generation,
    NewArrival,
    RunFacts,
    StepEnd,
    Unfired,
    Waiting,
    error_of,
)
from django_workflow.engine.routing.variables import Branches, check_size, size_of
from django_workflow.exceptions import ExpressionError, TypeViolation, UnregisteredHandler
from django_workflow.statuses import CANCELLED, FAILED, RUNNING, SKIPPED, SUCCEEDED

CONDITION_UNMET = "condition_unmet"
DEPENDENCY_SKIPPED = "dependency_skipped"
#: What is wrong with the definition or with what it meets, and never an outcome that a transition could catch.
MISTAKES = (ExpressionError, TypeViolation, UnregisteredHandler)


def decide(
    spec: FlowSpec,
    facts: RunFacts,
    ends: Sequence[StepEnd] = (),
    *,
    arrivals: Sequence[NewArrival] = (),
    again: Sequence[Again] = (),
    is_start: bool = False,
) -> Decision:
    """Return what follows from the steps in `ends`, or from the start of the run.

    spec: the run's pinned definition.
    facts: what is known of the run, read under its lock.
    ends: step runs that have just become terminal.
    arrivals: delayed ones that are due. again: activations that an earlier run left open.
    With `is_start`, `ends` are what an earlier run came to; they know the variables with which this one begins.
    """
    return _Routing(spec, facts, ends, arrivals).route(again, is_start=is_start)


def output_of_cut_off(spec: FlowSpec, facts: RunFacts, branches: Sequence[int]) -> dict[str, Any] | None:
    """Return what a run declares as output that somebody ended, as far as it can be evaluated.

    branches: the variables of those that were going on; they end here.
    """
    return _Routing(spec, facts, (), ()).cut_branches(branches)


class _Routing:
    """One decision being made."""

    def __init__(
        self, spec: FlowSpec, facts: RunFacts, ends: Sequence[StepEnd], arrivals: Sequence[NewArrival]
    ) -> None:
        self.spec = spec
        self.facts = facts
        self.state = facts.state
        self.ends = ends
        self.pending = deque(ends)
        self.due = arrivals
        self.generations: dict[tuple[str, int, int], Generation] = {}
        self.arrivals_of: dict[tuple[str, int, str], int] = {}
        self.iterations: dict[tuple[str, int], int] = {}
        self.decision = Decision(
            open_steps=facts.open_steps - len(ends) - len(arrivals),
            task_count=facts.task_count,
            final_variables=facts.variables,
            failing=facts.failing,
        )
        self.branches = Branches(facts.state, self.decision.variables, facts.max_output)
        self.sight = Sight(spec, facts, self.branches)
        # why what the branches that ended know cannot be kept, where it cannot
        self.excess: Error | None = None

    def route(self, again: Sequence[Again], *, is_start: bool) -> Decision:
        if is_start:
            variables = self.begin()
            self.pending = deque(replace(end, variables=variables) for end in self.pending)
        for item in again:  # no row tells of them yet, and what is followed may lead to the same steps
            place = (item.step, item.scope)
            self.iterations[place] = max(self.last_iteration(*place), item.iteration)
        for item in again:
            if self.decision.status is None:
                self.activate(
                    self.spec.steps[item.step], own=item.id, scope=item.scope, iteration=item.iteration,
                    source=item.source, variables=item.variables,
                )  # fmt: skip
        for arrival in self.due:
            if self.decision.failing is not None:
                self.decision.arrivals.append(replace(arrival, delay=None))
                continue
            self.arrive(arrival.step, self.end_of(arrival), arrival.variables, is_cascade=arrival.is_cascade)
        while self.pending and self.decision.status is None:
            self.follow(self.pending.popleft())
        if self.excess is not None and self.decision.failing is None:
            self.fail_run(self.excess)
        if self.decision.status is None and self.decision.open_steps == 0:
            self.finish()
        return self.decision

    def begin(self) -> int | None:
        """Activate the entry steps; return the variables with which they begin."""
        try:
            variables = self.first_variables()
        except MISTAKES as error:
            self.fail_run(error_of("", type(error).__name__, error.message))
            return None
        for name in self.spec.entry:
            if self.decision.status is None:
                self.activate(self.spec.steps[name], variables=variables)
        return variables

    def first_variables(self) -> int | None:
        if not (self.spec.vars or self.spec.language != NATIVE):
            return None
        names = self.sight.names(OUTERMOST, None)
        values = evaluated("variables of the flow", names, lambda: self.language.variables(self.spec, names))
        return self.branches.keep(values, NO_VARIABLES, place="variables of the flow") if values else None

    # what follows a step

    def follow(self, end: StepEnd) -> None:
        """Fire the transitions that an ended step's outcome and their conditions let through."""
        if end.ends_run:
            self.end_branch(end.variables)
            self.fail_run(end.error or error_of(end.step, "StepFailed", "the step failed"), end)
            return
        dependents = self.spec.dependents.get(end.step)
        if dependents and end.status != FAILED:
            # most steps lead on by dependencies alone: nothing to decide, publish or wait for
            for target in dependents:
                if self.decision.status is None:
                    self.arrive(target, end, end.variables, is_cascade=end.is_cascade)
            return
        if not self.spec.outbound[end.step] and end.status != FAILED:
            self.end_branch(end.variables)
            return
        try:
            fired = self.fired(end)
            ways = [(item, *self.prepared(item, end)) for item in fired]
        except MISTAKES as error:
            self.fail_run(error_of(end.step, type(error).__name__, error.message), end)
            return
        commands = {name for item in fired for name in item.to}
        if end.status == FAILED and (not fired or (CONTINUE in commands and self.spec.language == NATIVE)):
            self.end_branches(end, ways)
            self.fail_run(end.error or error_of(end.step, "StepFailed", "the step failed"), end)
        elif FAIL in commands and self.spec.language == NATIVE:
            self.end_branches(end, ways)
            self.fail_run(end.error or error_of(end.step, "FailCommand", f"step {end.step!r} leads to fail"), end)
        else:
            self.lead_on(end, ways)
            if FAIL in commands or (commands == {CONTINUE} and end.status == FAILED):
                self.fail_later(
                    end.error or error_of(end.step, "FailCommand", f"task {end.step!r} leads to fail"),
                    end, FINAL if any(item.steps for item in fired) else REDO,
                )  # fmt: skip

    def fired(self, end: StepEnd) -> list[Transition]:
        """Return the transitions that fire, in listed order: dependencies always, of `next` those that hold."""
        ways = [item for item in self.spec.outbound[end.step] if end.status in item.on]
        chosen = {id(item) for item in ways if item.on == DEPENDENCY_OUTCOMES}
        following = [item for item in ways if id(item) not in chosen]
        is_first = self.spec.steps[end.step].match == MATCH_FIRST
        names = self.sight.names_after(end) if following else None
        has_fired = False
        for item in following:
            if item.is_otherwise or (is_first and has_fired):
                continue
            if item.when is None or self.holds(item, end, names):
                chosen.add(id(item))
                has_fired = True
        others = [item for item in following if item.is_otherwise] if not has_fired else []
        chosen.update(id(item) for item in (others[:1] if is_first else others))
        return [item for item in ways if id(item) in chosen]

    def holds(self, item: Transition, end: StepEnd, names: Any) -> bool:
        condition = item.when
        assert condition is not None
        place = f"condition of {self.place_of(item)}"
        return evaluated(place, names, lambda: self.language.holds(condition, names))

    def prepared(self, item: Transition, end: StepEnd) -> tuple[int | None, float]:
        """Return the variables behind a transition, and its delay in seconds."""
        if not item.publish and not isinstance(item.delay, str):
            return end.variables, item.delay or 0.0
        names = self.sight.names_after(end)
        variables = end.variables
        if item.publish:
            known = self.branches.variables(end.variables)
            place = f"publish of {self.place_of(item)}"
            values = evaluated(place, names, lambda: assign(item.publish, known.values, self.language, names))
            variables = self.branches.keep(values, known, {entry.name for entry in item.publish}, place)
            names = self.sight.names_after(end, variables)
        delay = seconds(item.delay, f"delay of {self.place_of(item)}", names, self.language)
        return variables, delay

    def lead_on(self, end: StepEnd, ways: Sequence[tuple[Transition, int | None, float]]) -> None:
        """Reach the targets of what fired; a way that reaches none ends its branch."""
        if not ways:
            self.end_branch(end.variables)
        reached: set[str] = set()
        for item, variables, delay in ways:
            is_cascade = end.is_cascade and item.on == DEPENDENCY_OUTCOMES
            targets = item.steps
            for target in targets:
                if self.decision.status is not None or target in reached:
                    continue
                if self.spec.steps[target].join is not None:
                    # several ways of one step run into one join are one arrival, which knows what each publishes
                    reached.add(target)
                    same = [way for way in ways if target in way[0].to]
                    try:
                        place = f"variables for step {target!r}"
                        variables_there = self.branches.joined([known for _, known, _ in same], place)
                    except ExpressionError as error:
                        self.fail_run(error_of(end.step, type(error).__name__, error.message))
                        return
                    first = min(pause for _, _, pause in same)
                    self.arrive(target, end, variables_there, is_cascade=is_cascade, delay=first)
                else:
                    self.arrive(target, end, variables, is_cascade=is_cascade, delay=delay)
            if RETRY in item.to and self.decision.status is None:
                if self.decision.failing is not None:
                    self.cut_off(end, variables)
                else:
                    step = self.spec.steps[end.step]
                    self.activate(step, scope=end.scope, source=end.id, variables=variables, delay=delay)
            elif not targets:
                self.end_branch(variables)

    def arrive(
        self, target: str, end: StepEnd, variables: int | None, *, is_cascade: bool = False, delay: float = 0.0
    ) -> None:
        """Reach a step: it starts, or, a join, it counts; the last arrival it waits for starts it."""
        if self.decision.failing is not None:
            self.cut_off(end, variables)
            return
        if target not in self.spec.joins:
            scope, own = self.scope_for(target, end)
            self.activate(
                self.spec.steps[target], own=own, scope=scope, source=end.id, variables=variables,
                is_cascade=is_cascade, delay=delay,
            )  # fmt: skip
        elif delay > 0:
            self.decision.open_steps += 1
            self.decision.arrivals.append(
                NewArrival(
                    target, end.step, is_cascade, end.scope, None, source_run=end.id, variables=variables, delay=delay
                )
            )
        else:
            self.count_in(target, end, variables, is_cascade=is_cascade)

    def end_of(self, arrival: NewArrival) -> StepEnd:
        """Return the end of the step whose delayed arrival is due, as far as an arrival needs it."""
        return StepEnd(arrival.source, SUCCEEDED, id=arrival.source_run or 0, scope=arrival.scope)

    def scope_for(self, target: str, end: StepEnd) -> tuple[int, int | None]:
        """Return the scope of an activation, and its id where it opens one: a split's first stays where it is."""
        is_split = target in self.spec.splits and not self.spec.is_back(end.step, target)
        if is_split and self.last_iteration(target, end.scope):
            own = self.state.new_step_run()
            self.iterations[target, own] = 0
            self.sight.open(own, end.scope)
            return own, own
        return end.scope, None

    def count_in(self, target: str, end: StepEnd, variables: int | None, *, is_cascade: bool) -> None:
        """Count an arrival at a join; the last one of a generation activates it, later ones change nothing."""
        number = self.next_generation(target, end)
        key = (target, end.scope, number)
        if key not in self.generations:
            self.generations[key] = self.state.generation(target, end.scope, number)
        generation = self.generations[key]
        is_woken = generation.step_run is not None and generation.step_run not in {
            item.id for item in self.decision.waiting
        }
        if generation.step_run is None:
            generation.step_run = self.state.new_step_run()
            generation.iteration = self.next_iteration(target, end.scope)
            self.decision.waiting.append(Waiting(generation.step_run, target, end.scope, generation.iteration))
        generation.arrived[end.step] = Arrived(is_cascade, variables)
        self.decision.arrivals.append(
            NewArrival(target, end.step, is_cascade, end.scope, number, generation.step_run, end.id, variables)
        )
        if generation.is_fired:
            self.end_branch(variables)
        elif len(generation.arrived) == self.spec.join_size(target):
            try:
                place, arrived = f"variables for step {target!r}", generation.arrived.values()
                joined = self.branches.joined([item.variables for item in arrived], place)
            except ExpressionError as error:
                self.fail_run(error_of(target, type(error).__name__, error.message))
                return
            generation.is_fired = True
            self.decision.waiting = [item for item in self.decision.waiting if item.id != generation.step_run]
            self.activate(
                self.spec.steps[target], own=generation.step_run, iteration=generation.iteration, is_woken=is_woken,
                scope=end.scope, source=end.id, variables=joined,
                is_cascade=any(item.is_cascade for item in arrived),
            )  # fmt: skip

    # starting a step

    def activate(
        self,
        step: StepSpec,
        *,
        scope: int = OUTERMOST,
        source: int | None = None,
        variables: int | None = None,
        is_cascade: bool = False,
        delay: float = 0.0,
        own: int | None = None,
        iteration: int | None = None,
        is_woken: bool = False,
    ) -> None:
        """Start a step, or settle it at once: skipped, an empty map, or failed before it began."""
        if iteration is None:
            iteration = self.next_iteration(step.name, scope)
        activation = Activation(
            step, id=self.state.new_step_run() if own is None else own, is_woken=is_woken, scope=scope,
            iteration=iteration, source=source or None, variables=variables, delay=delay,
        )  # fmt: skip
        if iteration > self.facts.max_iterations:
            limit = f"MAX_ITERATIONS is {self.facts.max_iterations:,}"
            message = f"{limit}; step {step.name!r} would begin for the {iteration:,}th time"
            self.fail_run(error_of(step.name, "LimitExceeded", message))
            return
        if not self.spec.is_bounded and self.decision.task_count >= self.facts.max_tasks:
            self.fail_run(self.too_many_tasks(step, self.decision.task_count + 1))
            return
        if is_cascade:
            self.settle_at_once(activation, SKIPPED, DEPENDENCY_SKIPPED, is_cascade=True)
            return
        try:
            if not condition_holds(self.sight, step, scope, variables):
                self.unmet(activation)
                return
            items, count = expand(self.sight, step, scope, variables)
            activation.max_parallel = max_parallel(self.sight, step, scope, variables)
            if step.delay is not None:
                names = self.sight.names(scope, variables)
                activation.delay += seconds(step.delay, f"delay of step {step.name!r}", names, self.language)
        except MISTAKES as error:
            failure = error_of(step.name, type(error).__name__, error.message)
            self.settle_at_once(activation, FAILED, error=failure)
            # an error of the definition is never handled by a transition: it is not an outcome of the step
            self.fail_run(failure)
            return
        if step.kind == MAP and count == 0:
            self.settle_at_once(activation, SUCCEEDED)
            return
        if not self.fits(activation, count):
            return
        self.decision.open_steps += 1
        activation.items, activation.task_count = items, count
        self.decision.activations.append(activation)

    def fits(self, activation: Activation, count: int) -> bool:
        """Count tasks where they may become many; beyond the limit the run fails and nothing is made."""
        step = activation.step
        if step.kind != MAP and self.spec.is_bounded:
            return True
        total = self.decision.task_count + count
        if total > self.facts.max_tasks:
            failure = self.too_many_tasks(step, total)
            self.settle_at_once(activation, FAILED, error=failure)
            self.fail_run(failure)
            return False
        self.decision.task_count = total
        return True

    def too_many_tasks(self, step: StepSpec, total: int) -> Error:
        limit = f"MAX_TASKS is {self.facts.max_tasks:,}"
        message = f"{limit}; step {step.name!r} would bring the run to {total:,} tasks"
        return error_of(step.name, "LimitExceeded", message)

    def unmet(self, activation: Activation) -> None:
        """A false condition: skip, skip what follows too, or fail."""
        step = activation.step
        if step.on_unmet == "fail":
            failure = error_of(step.name, "ConditionUnmet", f"the condition {step.when} is not met")
            self.settle_at_once(activation, FAILED, CONDITION_UNMET, error=failure)
        else:
            self.settle_at_once(activation, SKIPPED, CONDITION_UNMET, is_cascade=step.on_unmet == "skip_cascade")

    def settle_at_once(
        self,
        activation: Activation,
        status: str,
        reason: str = "",
        *,
        is_cascade: bool = False,
        error: Error | None = None,
    ) -> None:
        if not self.spec.is_bounded:
            # where steps multiply, one that is skipped counts as a task: it may lead on to any number of others
            self.decision.task_count += 1
        activation.status, activation.reason, activation.error = status, reason, error
        self.sight.settle(activation)
        self.decision.activations.append(activation)
        self.pending.append(
            StepEnd(
                activation.step.name, status, is_cascade, error, activation.id, activation.scope,
                activation.iteration, activation.variables,
            )
        )  # fmt: skip

    # how the run ends

    def finish(self) -> None:
        """Nothing runs or is on its way: the run has come to its end, unless a join waits in vain."""
        decision = self.decision
        decision.status = SUCCEEDED
        if decision.failing is not None:
            decision.status, decision.error = FAILED, decision.failing
        elif not self.spec.is_plain:
            partly = self.unfired()
            first = next((item for item in partly if item.generation == 1), None)
            decision.leftovers = [item for item in partly if item is not first]
            if first is not None:
                decision.status, decision.error = FAILED, self.missing(first)
            for item in partly:
                self.end_arrived(item)
            if self.excess is not None and decision.status == SUCCEEDED:
                decision.status, decision.error = FAILED, self.excess
        self.give_output()

    def cut_branches(self, branches: Sequence[int]) -> dict[str, Any] | None:
        """End branches where they are, and evaluate the output."""
        for variables in branches:
            self.end_branch(variables)
        self.decision.status = CANCELLED
        self.give_output()
        return self.decision.output

    def unfired(self) -> list[Unfired]:
        """Return the joins that somebody has reached and that still wait."""
        before = {(item.step, item.scope, item.generation): item for item in self.state.unfired()}
        for (step, scope, number), seen in self.generations.items():
            before[step, scope, number] = Unfired(step, scope, number, tuple(seen.arrived))
        fired = {key for key, seen in self.generations.items() if seen.is_fired}
        return [item for key, item in before.items() if key not in fired]

    def missing(self, join: Unfired) -> Error:
        expected = [name for name in self.spec.predecessors[join.step] if name not in join.sources]
        arrived = ", ".join(repr(name) for name in join.sources)
        absent = ", ".join(repr(name) for name in expected)
        size = self.spec.join_size(join.step)
        message = f"join {join.step!r} waits for {size} steps, and nothing is left to reach it; there: {arrived}"
        return error_of(join.step, "JoinIncomplete", f"{message}; missing: {absent}")

    def give_output(self) -> None:
        """Evaluate the declared output; of a run that failed, as far as it can be."""
        if not self.spec.output:
            return
        decision = self.decision
        names = self.sight.names(OUTERMOST, decision.final_variables)
        try:
            output = evaluated("output of the flow", names, lambda: self.language.outputs(self.spec, names))
            if problem := schema.not_json(output):
                raise ExpressionError(f"output of the flow: it is {problem}")
            check_size(output, "output of the flow", self.facts.max_output)
            decision.output = output
        except MISTAKES as error:
            if decision.status == SUCCEEDED:
                decision.status = FAILED
                decision.error = error_of("", type(error).__name__, error.message)
            if names.failure is None and not isinstance(error, UnregisteredHandler):
                decision.output = self.partial_output(names)

    def partial_output(self, names: Names) -> dict[str, Any] | None:
        """Return what can be evaluated of the declared output; None where nothing can, or it is too large."""
        output = self.language.outputs(self.spec, names, is_partial=True)
        if names.failure is not None:
            raise names.failure
        found = {name: value for name, value in output.items() if schema.is_json({name: value})}
        return found if found and size_of(found) <= self.facts.max_output else None

    def fail_run(self, error: Error, culprit: StepEnd | None = None) -> None:
        """Fail fast: what has not started yet will not start. culprit: the end that a retry executes anew."""
        decision = self.decision
        if decision.status is not None:
            return
        decision.status, decision.error = FAILED, error
        running = [item for item in decision.activations if item.status == RUNNING]
        decision.activations = [item for item in decision.activations if item.status != RUNNING]
        decision.open_steps -= len(running) + sum(
            item.delay is not None and item.generation is None for item in decision.arrivals
        )
        decision.task_count = self.facts.task_count
        decision.waiting.clear()
        decision.arrivals = [replace(arrival, delay=None) for arrival in self.due]
        self.leave_to_retry(culprit)
        self.give_output()

    def fail_later(self, error: Error, culprit: StepEnd, on_retry: str) -> None:
        """Nothing new starts from here on; what runs goes on, then the run fails."""
        if self.decision.status is None:
            self.decision.on_retry[culprit.id] = on_retry
        if self.decision.failing is None:
            self.decision.failing = error

    # what a retry of a run that fails does: a plain graph tells by itself what has not been

    def leave_to_retry(self, culprit: StepEnd | None) -> None:
        """This decision came to nothing: a retry makes it again for all its ends but what ended the run."""
        if self.spec.is_plain:
            return
        marks = self.decision.on_retry
        marks.update((item.id, LEAVE) for item in self.decision.activations)
        for end in self.ends:
            marks[end.id] = REDO if end is culprit or self.is_unhandled(end) else FOLLOW

    def is_unhandled(self, end: StepEnd) -> bool:
        return end.status == FAILED and not any(FAILED in item.on for item in self.spec.outbound[end.step])

    def cut_off(self, end: StepEnd, variables: int | None) -> None:
        """The run fails once nothing runs any more: an end leads no further, unless in a retry."""
        self.end_branch(variables)
        self.decision.on_retry.setdefault(end.id, FOLLOW)

    # variables

    def end_branches(self, end: StepEnd, ways: Sequence[tuple[Transition, int | None, float]]) -> None:
        for variables in dict.fromkeys([end.variables, *(variables for _, variables, _ in ways)]):
            self.end_branch(variables)

    def end_branch(self, variables: int | None) -> None:
        """A branch ends here: what it knows is the run's from now on; where that is too much the run fails."""
        if not self.spec.output:
            return
        try:
            known = [self.decision.final_variables, variables]
            self.decision.final_variables = self.branches.joined(known, "variables of the branches that ended")
        except ExpressionError as error:
            # a run that fails anyway keeps its own reason: this one counts once all else is done
            self.excess = self.excess or error_of("", type(error).__name__, error.message)

    def end_arrived(self, join: Unfired) -> None:
        """The branches that wait at a join in vain end there."""
        if self.spec.output:
            key = (join.step, join.scope, join.generation)
            seen = self.generations.get(key) or self.state.generation(*key)
            for arrival in seen.arrived.values():
                self.end_branch(arrival.variables)

    # ordinals

    def last_iteration(self, step: str, scope: int) -> int:
        key = (step, scope)
        if key not in self.iterations:
            self.iterations[key] = self.state.last_iteration(step, scope)
        return self.iterations[key]

    def next_iteration(self, step: str, scope: int) -> int:
        """Count an activation of a step in its scope; most steps have one and need no look at the run."""
        if step not in self.spec.repeating and step not in self.spec.splits:
            return 1
        last = self.last_iteration(step, scope)
        self.iterations[step, scope] = last + 1
        return last + 1

    def next_generation(self, target: str, end: StepEnd) -> int:
        """Count an arrival of a source at a join in its scope."""
        if end.step not in self.spec.repeating and end.step not in self.spec.splits:
            return 1
        key = (target, end.scope, end.step)
        if key not in self.arrivals_of:
            self.arrivals_of[key] = self.state.last_generation(*key)
        self.arrivals_of[key] += 1
        return self.arrivals_of[key]

    @property
    def language(self) -> Language:
        return self.sight.language

    def place_of(self, item: Transition) -> str:
        place = self.spec.outbound[item.source].index(item) + 1
        return f"transition {place} of step {item.source!r}"
