"""What follows when steps end: `decide` in runs that are played without a database."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow.definition.compile import compile_flow
from django_workflow.definition.elements import Condition, StepSpec, TransitionSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written.steps import StepDraft
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import Arrived, Generation, RunFacts, RunState, StepEnd
from django_workflow.statuses import FAILED, RUNNING, SKIPPED, SUCCEEDED
from tests.engine.interpreter import CASCADES, FAILS, SKIPS, Noted, Play


def draft(name, *depends_on, **options):
    return StepDraft(name, f"test.{name}", depends_on=depends_on, options=options)


def mapped(name, *depends_on, **options):
    over = options.get("over", "input").split(".")[0]
    sources = [*depends_on, *([over] if over != "input" else [])]
    return StepDraft(name, f"test.{name}", "map", depends_on=tuple(dict.fromkeys(sources)), options=options)


def flow(*drafts):
    return compile_flow("test", list(drafts))


def play(*drafts, input=None, **results):
    return Play(flow(*drafts), results, input).run()


@pytest.fixture
def condition():
    """Registers a function as condition; returns what `when=` takes."""

    def register(function):
        registry.add_callable("tested", function)
        return Condition(callable="tested")

    return register


# --- order


def test_steps_that_depend_on_nothing_start_together():
    decision = decide(flow(draft("a"), draft("b"), draft("c", "a")), RunFacts(), is_start=True)
    assert [item.step.name for item in decision.activations] == ["a", "b"]
    assert decision.open_steps == 2


def test_a_chain_runs_one_after_the_other():
    done = play(draft("a"), draft("b", "a"), draft("c", "b"))
    assert ([item.step.name for item in done.made], done.status, done.open_steps) == (["a", "b", "c"], SUCCEEDED, 0)


def test_a_step_with_one_dependency_leaves_no_arrival():
    assert play(draft("a"), draft("b", "a")).state.generations == {}


def test_a_join_waits_for_the_last_of_its_dependencies():
    spec = flow(draft("a"), draft("b"), draft("c", "a", "b"))
    state = Noted(spec)
    first = decide(spec, RunFacts(state=state, open_steps=2), [StepEnd("a", SUCCEEDED, id=1)])
    assert ([item.step for item in first.waiting], first.activations) == (["c"], [])
    assert (first.status, first.open_steps) == (None, 1)
    state.generations["c", 0, 1] = Generation({"a": Arrived()}, step_run=77)
    last = decide(spec, RunFacts(state=state, open_steps=1), [StepEnd("b", SUCCEEDED, id=2)])
    (activation,) = last.activations
    assert (activation.step.name, activation.status) == ("c", RUNNING)
    assert (activation.id, activation.is_woken, activation.source) == (77, True, 2)
    assert last.waiting == []


def test_a_join_whose_dependencies_end_at_once_never_waits():
    spec = flow(draft("a"), draft("b"), draft("c", "a", "b"))
    decision = decide(spec, RunFacts(open_steps=2), [StepEnd("a", SUCCEEDED), StepEnd("b", SUCCEEDED)])
    assert (decision.waiting, [item.step.name for item in decision.activations]) == ([], ["c"])
    assert len(decision.arrivals) == 2


def test_200_branches_fan_out_and_in():
    branches = [draft(f"b{number}", "start") for number in range(200)]
    join = draft("end", *(item.name for item in branches))
    done = Play(flow(draft("start"), *branches, join), chance=random.Random(1)).run()
    assert (done.status, len(done.made), len(done.state.generations["end", 0, 1].arrived)) == (SUCCEEDED, 202, 200)


# --- maps


class Gave(RunState):
    """A run of which only outputs are known."""

    def __init__(self, outputs):
        super().__init__()
        self.known = outputs

    def outputs(self, scope):
        return self.known


def items_of(over, *, input=None, outputs=None):
    source = over.split(".")[0]
    before = [] if source == "input" else [draft(source)]
    spec = flow(*before, mapped("m", over=over))
    facts = RunFacts(input=input, state=Gave(outputs or {}), open_steps=len(before))
    ends = [StepEnd(source, SUCCEEDED)] if before else []
    decision = decide(spec, facts, ends, is_start=not before)
    return decision, decision.activations[0]


@pytest.mark.parametrize(
    ("over", "value"),
    [("input", [1, 2]), ("input.orders", {"orders": [1, 2]}), ("input.a.b", {"a": {"b": [1, 2]}})],
)
def test_a_map_takes_its_items_from_the_input(over, value):
    assert items_of(over, input=value)[1].items == [1, 2]


@pytest.mark.parametrize(("over", "value"), [("s", [None, 0]), ("s.items", {"items": [None, 0]})])
def test_a_map_takes_its_items_from_a_steps_output(over, value):
    activation = items_of(over, outputs={"s": value})[1]
    assert (activation.items, activation.task_count) == ([None, 0], 2)


def test_a_map_over_a_map_takes_its_outputs():
    done = play(mapped("first", over="input"), mapped("second", over="first"), input=["a", "b"], first="x")
    assert done.of("second").items == ["x", "x"]


def test_a_map_by_count_has_tasks_but_no_items():
    activation = play(mapped("m", count=3)).of("m")
    assert (activation.items, activation.task_count) == (None, 3)


@pytest.mark.parametrize("empty", [{"over": "input"}, {"count": 0}])
def test_an_empty_map_succeeds_at_once_without_a_task(empty):
    done = play(mapped("m", **empty), draft("after", "m"), input=[])
    assert (done.of("m").status, done.of("m").task_count) == (SUCCEEDED, 0)
    assert done.steps["after"] == SUCCEEDED


def test_the_output_of_an_empty_map_is_seen_in_the_same_decision():
    done = play(mapped("m", over="input"), draft("after", "m", when="outputs.m == []"), input=[])
    assert (done.steps["after"], done.rounds) == (SUCCEEDED, 2)


def test_1000_empty_maps_in_a_chain_end_in_one_decision():
    chain = [mapped("m0", over="input"), *(mapped(f"m{n}", over=f"m{n - 1}") for n in range(1, 1_000))]
    done = play(*chain, input=[])
    assert (done.status, done.rounds, len(done.made)) == (SUCCEEDED, 1, 1_000)


@pytest.mark.parametrize(
    ("value", "found"), [(None, "NoneType"), ({"a": 1}, "dict"), ("ab", "str"), (7, "int"), (True, "bool")]
)
def test_what_is_no_list_fails_the_run_and_names_both_steps_and_the_type(value, found):
    decision, activation = items_of("s", outputs={"s": value})
    assert (activation.status, decision.status) == (FAILED, FAILED)
    assert decision.error == {
        "step": "m",
        "class": "TypeViolation",
        "message": f"step 'm' maps over 's', which needs a list from 's'; {found} found",
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"other": []}, "step 'm' maps over 's.a.b', but 's' gave no 's.a' (dict found)"),
        ({"a": [1]}, "step 'm' maps over 's.a.b', but 's' gave no 's.a.b' (list found)"),
        ({"a": {"b": "x"}}, "step 'm' maps over 's.a.b', which needs a list from 's'; str found"),
    ],
)
def test_a_path_that_leads_nowhere_names_where_it_ends(value, message):
    assert items_of("s.a.b", outputs={"s": value})[0].error["message"] == message


def test_a_skipped_source_maps_to_nothing():
    done = play(draft("s"), mapped("m", over="s.items"), draft("after", "m"), s=SKIPS)
    assert done.steps == {"s": SKIPPED, "m": SUCCEEDED, "after": SUCCEEDED}


def test_a_map_beyond_the_limit_of_tasks_fails_the_run_and_makes_none():
    done = Play(flow(mapped("m", count=8), mapped("n", count=3)), max_tasks=10).run()
    assert done.status == FAILED
    assert done.error == {
        "step": "n",
        "class": "LimitExceeded",
        "message": "MAX_TASKS is 10; step 'n' would bring the run to 11 tasks",
    }
    assert (done.steps, done.task_count) == ({"n": FAILED}, 0)


def test_tasks_of_all_maps_count_towards_the_limit():
    done = Play(flow(mapped("m", count=8), mapped("n", "m", count=2)), max_tasks=10).run()
    assert (done.status, done.task_count) == (SUCCEEDED, 10)


# --- failure


def test_a_failure_ends_the_run_and_says_where():
    error = {"step": "a", "class": "ValueError", "message": "no"}
    decision = decide(flow(draft("a"), draft("b", "a")), RunFacts(open_steps=1), [StepEnd("a", FAILED, error=error)])
    assert (decision.status, decision.error, decision.activations) == (FAILED, error, [])


@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_nothing_starts_when_one_of_several_ends_is_a_failure(order):
    spec = flow(draft("good"), draft("bad"), draft("after", "good"), mapped("many", "good", count=5))
    ends = [StepEnd(name, FAILED if name == "bad" else SUCCEEDED) for name in order]
    decision = decide(spec, RunFacts(open_steps=2), ends)
    assert (decision.status, decision.activations, decision.open_steps, decision.task_count) == (FAILED, [], 0, 0)


def test_what_still_runs_when_the_run_fails_stays_counted_for_whoever_closes_it():
    decision = decide(flow(draft("a"), draft("b")), RunFacts(open_steps=2), [StepEnd("a", FAILED)])
    assert (decision.status, decision.open_steps) == (FAILED, 1)


def test_no_entry_starts_after_one_that_fails_at_once():
    done = play(draft("a", when="input.x"), draft("b"))
    assert (done.status, done.steps) == (FAILED, {"a": FAILED})


def test_no_sibling_starts_after_one_that_fails_at_once():
    done = play(draft("a"), draft("b", "a", when="input.x"), draft("c", "a"), draft("d", "a", "c"))
    assert (done.status, done.steps) == (FAILED, {"a": SUCCEEDED, "b": FAILED})
    assert done.state.waiting == {}


def test_a_failure_with_a_matching_transition_is_handled():
    steps = {name: StepSpec(name, f"test.{name}") for name in ("a", "plan_b", "after")}
    transitions = (TransitionSpec("a", ("after",)), TransitionSpec("a", ("plan_b",), ("failed",)))
    done = Play(FlowSpec("test", steps, transitions, ("a",)), {"a": FAILS}).run()
    assert (done.status, done.steps) == (SUCCEEDED, {"a": FAILED, "plan_b": SUCCEEDED})


# --- skips and conditions


def test_dependents_of_a_skipped_step_still_run():
    done = play(draft("a"), draft("b", "a"), draft("c", "b"), a=SKIPS)
    assert done.steps == {"a": SKIPPED, "b": SUCCEEDED, "c": SUCCEEDED}


def test_a_cascading_skip_skips_everything_behind_it():
    done = play(draft("a"), draft("b", "a"), mapped("c", over="b"), draft("d", "c"), draft("other"), a=CASCADES)
    assert done.steps == {"a": SKIPPED, "b": SKIPPED, "c": SKIPPED, "d": SKIPPED, "other": SUCCEEDED}
    assert set(done.reasons.items()) == {(name, "dependency_skipped") for name in "bcd"}


def test_one_cascading_skip_among_its_dependencies_skips_a_join():
    done = play(draft("a"), draft("b"), draft("c", "a", "b"), draft("d", "c"), a=CASCADES)
    assert (done.steps["c"], done.steps["d"]) == (SKIPPED, SKIPPED)


def test_a_cascade_is_remembered_by_the_join_it_reached_first():
    spec = flow(draft("a"), draft("b"), draft("c", "a", "b"))
    state = Noted(spec)
    state.generations["c", 0, 1] = Generation({"a": Arrived(is_cascade=True)}, step_run=5)
    (activation,) = decide(spec, RunFacts(state=state, open_steps=1), [StepEnd("b", SUCCEEDED)]).activations
    assert (activation.status, activation.id) == (SKIPPED, 5)


def test_a_condition_that_holds_lets_the_step_run():
    done = play(draft("a"), draft("b", "a", when="outputs.a.total > input"), input=3, a={"total": 4})
    assert done.steps["b"] == SUCCEEDED


@pytest.mark.parametrize(("on_unmet", "after"), [("skip", SUCCEEDED), ("skip_cascade", SKIPPED)])
def test_a_condition_that_does_not_hold_skips_the_step(on_unmet, after):
    done = play(draft("a", when="input > 3", on_unmet=on_unmet), draft("b", "a"), input=3)
    assert (done.status, done.steps) == (SUCCEEDED, {"a": SKIPPED, "b": after})
    assert done.reasons["a"] == "condition_unmet"


def test_a_condition_that_does_not_hold_may_fail_the_run():
    done = play(draft("a", when="input > 3", on_unmet="fail"), draft("b", "a"), input=3)
    assert (done.status, done.steps) == (FAILED, {"a": FAILED})
    assert done.error == {"step": "a", "class": "ConditionUnmet", "message": "the condition input > 3 is not met"}


def test_a_condition_is_not_asked_after_a_cascade():
    done = play(draft("a"), draft("b", "a", when="outputs.a.nope == 1"), a=CASCADES)
    assert (done.status, done.reasons) == (SUCCEEDED, {"b": "dependency_skipped"})


def test_a_run_whose_leaves_are_all_skipped_succeeds():
    assert play(draft("a", when="1 == 2")).status == SUCCEEDED


@pytest.mark.parametrize("step", ["a", "unrelated"])
def test_a_condition_sees_none_for_a_step_that_gave_nothing(step):
    done = play(
        draft("unrelated"), draft("a"), draft("b", "a", when=f"outputs.{step} is None"), a=SKIPS, unrelated=None
    )
    assert done.steps["b"] == SUCCEEDED


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("input.total > 3", "no key 'total'; there are: x"),
        ("outputs[input.x].total > 3", "no key 'y'; there are: a"),
        ("input.x > 3", "'>' not supported between instances of 'str' and 'int'"),
        ("vars[input.x] == 1", "no key 'y'; there are: none"),
    ],
)
def test_an_error_in_a_condition_fails_the_run_and_names_step_and_expression(when, reason):
    done = play(draft("a", when=when), input={"x": "y"})
    assert (done.status, done.steps) == (FAILED, {"a": FAILED})
    assert done.error == {
        "step": "a",
        "class": "ExpressionError",
        "message": f"condition of step 'a': Expression {when!r} failed: {reason}",
    }


def test_a_function_as_condition_gets_what_its_parameters_name(condition):
    when = condition(lambda outputs, input, vars, unused=3: (outputs["a"], input, dict(vars), unused) == (1, 2, {}, 3))
    assert play(draft("a"), draft("b", "a", when=when), input=2, a=1).steps["b"] == SUCCEEDED


def test_a_function_that_raises_fails_the_run_and_is_named(condition):
    done = play(draft("a", when=condition(lambda input: input["x"])), input={})
    message = "condition of step 'a': tested() raised KeyError: 'x'"
    assert done.error == {"step": "a", "class": "ExpressionError", "message": message}


def test_an_error_whose_words_postgresql_refuses_is_stored_without_them(condition):
    def when():
        raise ValueError("\x00 and \ud800")

    assert play(draft("a", when=condition(when))).error["message"].endswith("raised ValueError: \ufffd and ?")


def test_a_function_cannot_change_what_others_see(condition):
    def when(input, outputs):
        input.append(1)
        outputs["a"].append(1)
        return True

    done = play(draft("a"), draft("b", "a", when=condition(when)), mapped("m", "b", over="input"), input=[0], a=[0])
    assert (done.input, done.outputs["a"], done.of("m").items) == ([0], [0], [0])


def test_a_condition_this_process_has_no_code_for_fails_the_run_by_name():
    step = StepSpec("a", "test.a", when=Condition(callable="gone"))
    done = Play(FlowSpec("test", {"a": step}, (), ("a",))).run()
    assert (done.error["class"], done.error["step"]) == ("UnregisteredHandler", "a")


@pytest.mark.parametrize("when", ["outputs.a == 1", None])
def test_outputs_that_cannot_be_read_are_no_fault_of_the_condition(when, condition):
    class Unreadable(dict):
        def __missing__(self, name):
            raise ConnectionError("the server went away")

        get = __getitem__ = __missing__

    def ask(outputs):
        return outputs["a"] == 1

    spec = flow(draft("a"), draft("b", "a", when=when or condition(ask)))
    with pytest.raises(ConnectionError):
        decide(spec, RunFacts(state=Gave(Unreadable(a=1)), open_steps=1), [StepEnd("a", SUCCEEDED)])


# --- whatever the graph

ENDINGS = st.sampled_from([None, None, None, SKIPS, CASCADES])


@st.composite
def graphs(draw, endings=ENDINGS):
    """A random graph without cycles, and how its steps end."""
    drafts, results = [], {}
    for number in range(draw(st.integers(1, 12))):
        known = [item.name for item in drafts]
        sources = draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
        options = draw(
            st.sampled_from(
                [{}, {}, {"when": "1 == 2"}, {"when": "1 == 2", "on_unmet": "skip_cascade"}, {"count": 0}, {"count": 2}]
            )
        )
        kind = "map" if "count" in options else "single"
        name = f"s{number}"
        drafts.append(StepDraft(name, f"test.{name}", kind, depends_on=tuple(sources), options=options))
        ending = draw(endings)
        if ending is not None:
            results[name] = ending
    # any order of declaration is a legal one
    return flow(*draw(st.permutations(drafts))), results


def expected(spec, results):
    """What becomes of each step, told from the graph alone."""
    told = {}

    def tell(name):
        if name not in told:
            step, before = spec.steps[name], [tell(source) for source in spec.predecessors[name]]
            if any(is_cascade for _, is_cascade in before):
                told[name] = (SKIPPED, True)
            elif step.when is not None:
                told[name] = (SKIPPED, step.on_unmet == "skip_cascade")
            elif step.count == 0 or name not in results:
                told[name] = (SUCCEEDED, False)
            else:
                told[name] = (results[name].status, results[name].is_cascade)
        return told[name]

    return {name: tell(name)[0] for name in spec.steps}


@given(graphs(), st.integers())
@settings(max_examples=80, deadline=None)
def test_every_graph_settles_and_each_step_comes_to_what_its_dependencies_say(graph, seed):
    spec, results = graph
    done = Play(spec, results, chance=random.Random(seed)).run()
    assert done.status == SUCCEEDED
    assert done.steps == expected(spec, results)
    assert done.open_steps == 0


@given(graphs(), st.integers(), st.integers())
@settings(max_examples=50, deadline=None)
def test_the_order_in_which_steps_end_does_not_change_the_outcome(graph, one, other):
    spec, results = graph
    plays = [Play(spec, results, chance=random.Random(seed)).run() for seed in (one, other)]
    assert plays[0].steps == plays[1].steps
    assert plays[0].outputs == plays[1].outputs
    assert plays[0].reasons == plays[1].reasons


@given(graphs(st.sampled_from([None, FAILS, SKIPS, CASCADES])), st.integers())
@settings(max_examples=80, deadline=None)
def test_a_graph_with_failures_settles_too_and_starts_nothing_afterwards(graph, seed):
    spec, results = graph
    done = Play(spec, results, chance=random.Random(seed)).run()
    failed = {name for name, status in done.steps.items() if status == FAILED}
    assert done.status == (FAILED if failed else SUCCEEDED)
    assert failed == set() or done.error["step"] in failed
