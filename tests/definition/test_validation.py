"""A definition is refused with all of its problems at once, each with its place."""

from datetime import timedelta
from itertools import pairwise

import pytest

from django_workflow import Retry
from django_workflow.definition.declare import FlowDeclaration, StepDraft, compile_flow
from django_workflow.definition.expressions import FUNCTIONS
from django_workflow.definition.names import QUEUE_RULE, RESERVED
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import CALLABLE_PREFIX, Condition
from django_workflow.exceptions import DefinitionError


@pytest.fixture
def flow():
    return FlowDeclaration("orders")


def problems_of(flow):
    with pytest.raises(DefinitionError) as caught:
        _ = flow.spec
    return caught.value.problems


def declare(flow, *names, **dependencies):
    """Declare plain steps; keywords say what each depends on."""
    for name in names:
        flow.step(name=name)(lambda: None)
    for name, sources in dependencies.items():
        flow.step(name=name, depends_on=sources)(lambda: None)
    return flow


# --- all at once


def test_all_problems_are_told_at_once_with_their_places():
    flow = FlowDeclaration("Orders", max_tasks=0)
    flow.step(name="reserve", timeout=timedelta(0), retries=3)(lambda input: None)
    flow.map(name="pack")(lambda item, box: None)
    assert problems_of(flow) == [
        "flow 'Orders': a slug is 1 to 128 lower-case letters, digits and underscores, not starting with a digit",
        "flow: max_tasks must be between 1 and 1,000,000, not 0",
        "step 'reserve': unknown option 'retries'",
        "step 'reserve': timeout must be positive, not 0 s",
        "step 'pack': parameter 'box' is no step; parameters are input, ctx, item, index or a step's name",
        "step 'pack': a map needs over= or count=",
    ]


def test_the_error_counts_and_lists_them(flow):
    flow.step(name="a", queue="Big Queue", on_unmet="stop")(lambda: None)
    with pytest.raises(DefinitionError, match=r"(?s)Flow 'orders' has 2 problems:\n  - step 'a': .*\n  - step 'a': "):
        _ = flow.spec


def test_a_flow_without_steps_is_refused(flow):
    assert problems_of(flow) == ["flow: it has no steps"]


# --- names


@pytest.mark.parametrize("name", ["Pack", "2pack", "pack it", "x" * 129])
def test_an_illegal_step_name_is_refused(flow, name):
    assert any(problem.startswith(f"step {name!r}: a name is") for problem in problems_of(declare(flow, name)))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_step_name_is_refused(flow, name):
    assert f"step {name!r}: this name is reserved" in problems_of(declare(flow, name))


def test_a_step_declared_twice_is_refused(flow):
    assert problems_of(declare(flow, "a", "a")) == ["step 'a': declared 2 times"]


# --- the graph


def test_an_unknown_dependency_is_refused(flow):
    assert problems_of(declare(flow, a=["b"])) == ["step 'a': it depends on 'b', which is no step"]


def test_a_dependency_named_twice_is_refused(flow):
    assert problems_of(declare(flow, "a", b=["a", "a"])) == ["step 'b': it depends on 'a' 2 times"]


def test_a_dependency_may_be_named_in_words_and_by_a_parameter(flow):
    declare(flow, "a").step(name="b", depends_on=["a"])(lambda a: None)
    assert flow.spec.steps["b"].depends_on == ("a",)


def test_a_step_that_depends_on_itself_is_refused(flow):
    assert problems_of(declare(flow, a="a")) == ["step 'a': it depends on itself"]


def test_a_parameter_that_is_no_step_is_refused(flow):
    flow.step(name="a")(lambda inptu: None)
    assert problems_of(flow) == [
        "step 'a': parameter 'inptu' is no step; parameters are input, ctx, item, index or a step's name"
    ]


def test_every_cycle_is_refused_with_its_path(flow):
    declare(flow, "start", a="b", b="a", c=["start", "e"], d="c", e="d")
    assert sorted(problems_of(flow)) == [
        "steps a → b → a: a cycle of dependencies never starts",
        "steps c → d → e → c: a cycle of dependencies never starts",
    ]


def test_a_long_chain_is_no_cycle(flow):
    names = [f"s{number}" for number in range(1_000)]
    declare(flow, names[0], **{name: before for before, name in pairwise(names)})
    assert flow.spec.entry == ("s0",)


def test_dependencies_that_are_no_list_are_refused(flow):
    flow.step(name="a", depends_on=3)(lambda: None)
    assert problems_of(flow) == ["step 'a': depends_on is a list of steps, not 3"]


# --- maps


MAP_PROBLEMS = {
    "two sources": ({"over": "input", "count": 3}, "a map has one source, not both over= and count="),
    "no source": ({}, "a map needs over= or count="),
    "no path": ({"over": "input..items"}, "over= is a path such as 'step.key' or 'input', not 'input..items'"),
    "list as source": ({"over": ["a"]}, "over= is a path such as 'step.key' or 'input', not ['a']"),
    "negative count": ({"count": -1}, "count= must be a whole number from 0, not -1"),
    "boolean count": ({"count": True}, "count= must be a whole number from 0, not True"),
    "no parallelism": ({"count": 1, "max_parallel": 0}, "max_parallel must be at least 1, not 0"),
    "negative tolerance": (
        {"count": 1, "tolerate": -1},
        "tolerate must be a number of items or a share below 1, not -1",
    ),
    "share above all": (
        {"count": 1, "tolerate": 1.5},
        "tolerate must be a number of items or a share below 1, not 1.5",
    ),
}


@pytest.mark.parametrize(("options", "problem"), MAP_PROBLEMS.values(), ids=MAP_PROBLEMS)
def test_a_map_is_refused(flow, options, problem):
    flow.map(name="pack", **options)(lambda index: None)
    assert problems_of(flow) == [f"step 'pack': {problem}"]


def test_a_map_over_an_unknown_step_is_refused(flow):
    flow.map(name="pack", over="reserve.items")(lambda item: None)
    assert problems_of(flow) == ["step 'pack': it depends on 'reserve', which is no step"]


def test_a_map_that_counts_has_no_item(flow):
    flow.map(name="pack", count=3)(lambda item: None)
    assert problems_of(flow) == ["step 'pack': parameter 'item' needs over=; with count= there is an index only"]


@pytest.mark.parametrize("name", ["item", "index"])
def test_item_and_index_exist_in_maps_only(flow, name):
    namespace = {}
    exec(f"def handler({name}): ...", namespace)
    flow.step(name="a")(namespace["handler"])
    assert problems_of(flow) == [f"step 'a': parameter {name!r} exists in map steps only"]


def test_an_option_of_maps_is_refused_elsewhere_with_a_hint(flow):
    flow.step(name="a", max_parallel=3)(lambda: None)
    assert problems_of(flow) == ["step 'a': unknown option 'max_parallel' (only map steps have it)"]


@pytest.mark.parametrize("tolerate", [0, 3, 0.2, 0.0])
def test_a_number_of_items_or_a_share_is_tolerated(flow, tolerate):
    flow.map(name="pack", count=3, tolerate=tolerate)(lambda index: None)
    assert flow.spec.steps["pack"].tolerate == tolerate


# --- options


OPTION_PROBLEMS = {
    "unknown": ({"foo": None}, "unknown option 'foo'"),
    "zero timeout": ({"timeout": timedelta(0)}, "timeout must be positive, not 0 s"),
    "negative timeout": ({"timeout": timedelta(seconds=-3)}, "timeout must be positive, not -3 s"),
    "timeout in words": ({"timeout": "5s"}, "timeout must be a timedelta, not '5s'"),
    "endless timeout": ({"timeout": float("inf")}, "timeout must be a timedelta, not inf"),
    "on_unmet": ({"on_unmet": "stop"}, "on_unmet must be one of skip, skip_cascade, fail, not 'stop'"),
    "on_exhausted": ({"on_exhausted": None}, "on_exhausted must be one of fail, skip, skip_cascade, not None"),
    "queue": (
        {"queue": "Q" * 41},
        f"queue '{'Q' * 41}': a queue's name is {QUEUE_RULE}",
    ),
    "executor": ({"executor": 3}, "executor must be a name, not 3"),
    "atomic": ({"atomic": "yes"}, "atomic must be True or False, not 'yes'"),
    "title": ({"title": 7}, "title must be text, not 7"),
    "no retry": ({"retry": 3}, "retry must be a Retry, not 3"),
    "no attempt": ({"retry": Retry(max_attempts=0)}, "retry: max_attempts must be at least 1, not 0"),
    "boolean attempts": ({"retry": Retry(max_attempts=True)}, "retry: max_attempts must be at least 1, not True"),
    "base": ({"retry": Retry(base=timedelta(0))}, "retry: base must be positive, not 0 s"),
    "base in words": ({"retry": Retry(base="2s")}, "retry: base must be a timedelta, not '2s'"),
    "cap": ({"retry": Retry(cap=timedelta(days=-1))}, "retry: cap must be positive, not -86400 s"),
    "factor": ({"retry": Retry(factor=0)}, "retry: factor must be a positive number, not 0"),
    "factor nan": ({"retry": Retry(factor=float("nan"))}, "retry: factor must be a positive number, not nan"),
    "jitter": ({"retry": Retry(jitter="full")}, "retry: jitter must be True or False, not 'full'"),
    "retry_on": ({"retry": Retry(retry_on=(int,))}, f"retry: retry_on must be exception classes, not {[int]}"),
    "strategy": (
        {"retry": Retry(strategy="fibonacci")},
        "retry: strategy must be one of exponential, linear, constant or a function, not 'fibonacci'",
    ),
    "unknown strategy": (
        {"retry": {"strategy": f"{CALLABLE_PREFIX}mine"}},
        "retry: no strategy 'mine' is registered",
    ),
    "unknown option of retry": ({"retry": {"max_attemps": 3}}, "retry: unknown option 'max_attemps'"),
}


@pytest.mark.parametrize(("options", "problem"), OPTION_PROBLEMS.values(), ids=OPTION_PROBLEMS)
def test_an_option_is_refused(flow, options, problem):
    flow.step(name="a", **options)(lambda: None)
    assert problems_of(flow) == [f"step 'a': {problem}"]


FLOW_PROBLEMS = {
    "zero duration": ({"max_duration": timedelta(0)}, "max_duration must be positive, not 0 s"),
    "duration in seconds": ({"max_duration": 60}, "max_duration must be a timedelta, not 60"),
    "duration above its ceiling": (
        {"max_duration": timedelta(days=366)},
        "max_duration must be at most 365 days, not 366 days, 0:00:00",
    ),
    "tasks above their ceiling": (
        {"max_tasks": 1_000_001},
        "max_tasks must be between 1 and 1,000,000, not 1000001",
    ),
    "default of its steps": ({"timeout": timedelta(0)}, "timeout must be positive, not 0 s"),
    "retry of its steps": ({"retry": Retry(max_attempts=0)}, "retry: max_attempts must be at least 1, not 0"),
}


@pytest.mark.parametrize(("options", "problem"), FLOW_PROBLEMS.values(), ids=FLOW_PROBLEMS)
def test_an_option_of_the_flow_is_refused_once_whatever_the_number_of_steps(options, problem):
    flow = declare(FlowDeclaration("orders", **options), "a", "b", "c")
    assert problems_of(flow) == [f"flow: {problem}"]


# --- handlers and functions


def test_a_positional_parameter_is_refused(flow):
    def handler(input, /): ...

    flow.step(name="a")(handler)
    assert problems_of(flow) == ["step 'a': parameter 'input' is positional only; handlers are called by name"]


def test_an_atomic_coroutine_is_refused(flow):
    async def handler(): ...

    flow.step(name="a", atomic=True)(handler)
    assert problems_of(flow) == ["step 'a': atomic needs a plain function, not a coroutine"]


CONDITION_PROBLEMS = {
    "bare word": ("ready", "condition 'ready' is a bare word; compare it with something, or use a registered callable"),
    "a bare word of the language": (
        "input",
        "condition 'input' is a bare word; compare it with something, or use a registered callable",
    ),
    "unknown name": (
        "reserve.total > 1",
        "expression 'reserve.total > 1': there is no 'reserve', only input, outputs, vars",
    ),
    "unknown function": (
        "exec('1')",
        f"Expression \"exec('1')\" is not valid: exec is no function; there are {', '.join(FUNCTIONS)}",
    ),
    "no syntax": ("input >", "Expression 'input >' is not valid: invalid syntax"),
    "empty": ("", "Expression '' is not valid: invalid syntax"),
}


@pytest.mark.parametrize(("when", "problem"), CONDITION_PROBLEMS.values(), ids=CONDITION_PROBLEMS)
def test_a_condition_is_refused(flow, when, problem):
    flow.step(name="a", when=when)(lambda: None)
    assert problems_of(flow) == [f"step 'a': when: {problem}"]


def test_a_condition_that_is_neither_text_nor_function_is_refused(flow):
    flow.step(name="a", when=True)(lambda: None)
    assert problems_of(flow) == ["step 'a': when must be an expression or a function, not True"]


def test_a_condition_that_asks_for_more_than_there_is_is_refused(flow):
    flow.step(name="a", when=lambda input, reserve: True)(lambda: None)
    assert problems_of(flow) == ["step 'a': when: parameter 'reserve' is not one of input, outputs, vars"]


def test_a_coroutine_as_condition_is_refused_because_it_would_always_be_true(flow):
    async def when(): ...

    flow.step(name="a", when=when)(lambda: None)
    assert problems_of(flow) == [
        "step 'a': when: a coroutine cannot be asked in the middle of a decision; use a plain function"
    ]


def test_a_named_condition_must_be_registered():
    step = StepDraft("a", "handler", options={"when": Condition(callable="is_big")})
    with pytest.raises(DefinitionError, match="step 'a': when: no condition 'is_big' is registered"):
        compile_flow("orders", [step])
    registry.add_callable("is_big", lambda input: True)
    assert compile_flow("orders", [step]).steps["a"].callables == ("is_big",)


# --- overrides


def override(overrides):
    with pytest.raises(DefinitionError) as caught:
        compile_flow("orders", [StepDraft("a", "handler")], overrides=overrides)
    return caught.value.problems


def test_an_override_of_no_step_is_refused():
    assert override({"b": {}}) == ["override of step 'b': there is no such step"]


@pytest.mark.parametrize("options", [3, None, ["timeout"]])
def test_an_override_that_is_no_mapping_is_refused(options):
    assert override({"a": options}) == [f"override of step 'a': it must be options by name, not {options!r}"]


def test_overrides_that_are_no_mapping_are_refused():
    assert override(["a"]) == ["overrides are options by step, not ['a']"]


def test_an_override_is_judged_like_an_option():
    assert override({"a": {"timeout": 0, "depends_on": []}}) == [
        "step 'a': unknown option 'depends_on'",
        "step 'a': timeout must be positive, not 0 s",
    ]
