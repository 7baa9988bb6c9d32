"""A definition is refused with all of its problems at once, each with its place."""

import copy
import pickle
from datetime import timedelta
from itertools import pairwise

import pytest

from django_workflow import Otherwise, Retry, To, When
from django_workflow.definition.compile import compile_flow
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.elements import CALLABLE_PREFIX, Condition
from django_workflow.definition.expressions.functions import FUNCTIONS
from django_workflow.definition.names import NAME_RULE, QUEUE_RULE, RESERVED
from django_workflow.definition.registry import registry
from django_workflow.definition.validation.topology import warnings
from django_workflow.definition.written.steps import StepDraft
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
        "step 'reserve': unknown option 'retries'; did you mean 'retry'?",
        "step 'reserve': timeout must be positive, not 0 s",
        "step 'pack': parameter 'box' is no step; parameters are input, ctx, item, index or a step's name",
        "step 'pack': a map needs over= or count=",
    ]


def test_a_problem_has_its_code_and_the_keys_that_lead_to_its_part():
    flow = FlowDeclaration("Orders", retry=Retry(max_attempts=0))
    flow.step(name="reserve", retries=3, next=["pack", When("result.x", "nowhere")])(lambda input: None)
    flow.map(name="pack", max_parallel=0)(lambda item, box: None)
    assert [(problem.code, problem.path, problem.step) for problem in problems_of(flow)] == [
        ("bad_name", ("slug",), None),
        ("bad_value", ("retry", "max_attempts"), None),
        ("unknown_step", ("steps", "reserve", "next", 1, "to"), "reserve"),
        ("unknown_option", ("steps", "reserve", "retries"), "reserve"),
        ("bad_parameter", ("steps", "pack", "handler"), "pack"),
        ("missing", ("steps", "pack", "map", "over"), "pack"),
        ("bad_value", ("steps", "pack", "map", "max_parallel"), "pack"),
    ]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_problem_keeps_its_fields_in_another_process(flow, copied):
    flow.step(name="a", queue="Big Queue")(lambda: None)
    (problem,) = problems_of(flow)
    assert (copied(problem), copied(problem).as_data()) == (problem, problem.as_data())


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
    assert problems_of(flow) == ["step 'a': parameter 'inptu' is no step; did you mean 'input'?"]


def test_every_cycle_is_refused_with_its_path(flow):
    declare(flow, "start", a="b", b="a", c=["start", "e"], d="c", e="d")
    assert sorted(problems_of(flow)) == [
        "steps a → b → a: a cycle of dependencies never starts; a loop is made with next=",
        "steps c → d → e → c: a cycle of dependencies never starts; a loop is made with next=",
    ]


def test_a_long_chain_is_no_cycle(flow):
    names = [f"s{number}" for number in range(1_000)]
    declare(flow, names[0], **{name: before for before, name in pairwise(names)})
    assert flow.spec.entry == ("s0",)


@pytest.mark.parametrize("sources", [3, [["b"]], [None]])
def test_dependencies_that_are_no_list_are_refused(flow, sources):
    flow.step(name="a", depends_on=sources)(lambda: None)
    assert problems_of(flow) == [f"step 'a': depends_on is a list of steps, not {sources!r}"]


def test_steps_may_be_named_by_whatever_gives_them_once():
    flow = FlowDeclaration("orders", entry=(name for name in ["a"]))
    declare(flow, "a", b=(name for name in ["a"]))
    assert (flow.spec.entry, flow.compile().entry, flow.spec.steps["b"].depends_on) == (("a",), ("a",), ("a",))


# --- transitions


TO_NOWHERE = "it leads to 'nowhere', which is no step and none of continue, fail, noop, retry"
OFFERED = "error, input, iteration, outputs, result, status, vars"
WAY_PROBLEMS = {
    "unknown step": (To("nowhere"), TO_NOWHERE),
    "name of an unknown step": ("nowhere", TO_NOWHERE),
    "step named twice": (To(["b", "b"]), "it leads to 'b' 2 times"),
    "no target": (To([]), "to must be a step, a command or a list of them, not []"),
    "target of another kind": (To(3), "to must be a step, a command or a list of them, not 3"),
    "no way": (3, "it must be a When, a To, an Otherwise or a step, not 3"),
    "target that is no name": (To(["b", ["c"]]), "to must be a step, a command or a list of them, not ['b', ['c']]"),
    "outcome of another kind": (To("b", on=[]), "on must be one of succeeded, failed, skipped, always, not []"),
    "published NUL": (To("b", publish={"x": ["\0"]}), "publish 'x': ['\\x00'] is no JSON value"),
    "endless delay": (To("b", delay=10**400), f"delay must be a timedelta, not {10**400}"),
    "outcome": (To("b", on="done"), "on must be one of succeeded, failed, skipped, always, not 'done'"),
    "no condition": (When(None, "b"), "a When needs a condition; a way without one is a To"),
    "bare word": (
        When("ready", "b"),
        "when: condition 'ready' is a bare word; compare it with something, or use a registered callable",
    ),
    "unknown name": (
        When("item.n > 1", "b"),
        f"when: expression 'item.n > 1': there is no 'item', only {OFFERED}",
    ),
    "parameter of a function": (
        When(lambda item: True, "b"),
        f"when: parameter 'item' is not one of {OFFERED}",
    ),
    "published text": (
        To("b", publish={"x": "resul"}),
        f"publish 'x': expression 'resul': there is no 'resul', only {OFFERED}; did you mean 'result'?",
    ),
    "published name": (To("b", publish={"X": "result"}), f"publish 'X': a name is {NAME_RULE}"),
    "published object": (To("b", publish={"x": {1}}), "publish 'x': {1} is no JSON value"),
    "published list": (To("b", publish=["result"]), "publish must be values by name, not ['result']"),
    "merged text": (To("b", merge={"x": "1 +"}), "merge 'x': Expression '1 +' is not valid: invalid syntax"),
    "no delay": (To("b", delay=timedelta(0)), "delay must be positive, not 0 s"),
    "delay of another kind": (To("b", delay=[1]), "delay must be a timedelta, not [1]"),
    "delay in words": (
        Otherwise("b", delay="a_minute"),
        f"delay: expression 'a_minute': there is no 'a_minute', only {OFFERED}",
    ),
}


@pytest.mark.parametrize(("way", "problem"), WAY_PROBLEMS.values(), ids=WAY_PROBLEMS)
def test_a_transition_is_refused_with_its_place(flow, way, problem):
    declare(flow, "b").step(name="a", next=["b", way])(lambda: None)
    assert problems_of(flow) == [f"step 'a': next, transition 2: {problem}"]


@pytest.mark.parametrize("following", [3, object])
def test_a_next_that_is_no_list_is_refused(flow, following):
    flow.step(name="a", next=following)(lambda: None)
    assert problems_of(flow) == [f"step 'a': next must be a list of When, To, Otherwise or steps, not {following!r}"]


@pytest.mark.parametrize("join", [0, -1, True, 1.5, "some"])
def test_a_join_that_is_no_number_of_predecessors_is_refused(flow, join):
    declare(flow, "a").step(name="b", depends_on=["a"], join=join)(lambda: None)
    assert problems_of(flow) == [f"step 'b': join must be 'all' or a number of predecessors from 1, not {join!r}"]


def test_a_join_larger_than_its_predecessors_is_refused(flow):
    flow.step(name="a", next=["c", When("result == 1", "c")])(lambda: None)
    flow.step(name="b", next="c")(lambda: None)
    flow.step(name="c", join=3)(lambda: None)
    assert problems_of(flow) == ["step 'c': join=3, but only 2 steps lead to it"]


def test_a_match_that_there_is_not_is_refused(flow):
    flow.step(name="a", match="any")(lambda: None)
    assert problems_of(flow) == ["step 'a': match must be one of all, first, not 'any'"]


def test_a_way_back_over_dependencies_is_a_loop():
    flow = FlowDeclaration("orders", entry=["a"])
    flow.step(name="a")(lambda: None)
    flow.step(name="b", next=[When("iteration < 3", "a")])(lambda a: None)
    assert set(flow.spec.cycles) == {"a", "b"}


def test_steps_that_all_follow_others_need_an_entry(flow):
    flow.step(name="a", next="b")(lambda: None)
    flow.step(name="b", next="a")(lambda: None)
    assert problems_of(flow) == ["flow: no step to begin with, for each one follows another; name it with entry="]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("a", "entry must be a list of steps, not 'a'"),
        ([], "entry must be a list of steps, not []"),
        (7, "entry must be a list of steps, not 7"),
        ([["a"]], "entry must be a list of steps, not [['a']]"),
        (["x"], "entry names 'x', which is no step"),
        (["a", "a"], "entry names 'a' 2 times"),
    ],
)
def test_an_entry_is_refused(entry, problem):
    assert problems_of(declare(FlowDeclaration("orders", entry=entry), "a")) == [f"flow: {problem}"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"vars": ["x"]}, "vars must be values by name, not ['x']"),
        ({"vars": {"x": "outputs.a"}}, "vars 'x': expression 'outputs.a': there is no 'outputs', only input, vars"),
        (
            {"output": {"x": "result"}},
            "output 'x': expression 'result': there is no 'result', only input, outputs, vars",
        ),
        ({"max_iterations": 0}, "max_iterations must be between 1 and 100,000, not 0"),
        ({"max_iterations": 100_001}, "max_iterations must be between 1 and 100,000, not 100001"),
    ],
)
def test_a_value_of_the_flow_is_refused(options, problem):
    assert problems_of(declare(FlowDeclaration("orders", **options), "a")) == [f"flow: {problem}"]


def test_arguments_see_items_in_maps_only(flow):
    flow.step(name="a", arguments={"x": "item"})(lambda x: None)
    flow.map(name="b", over="input", arguments={"x": "item", "y": "index"})(lambda x, y: None)
    assert problems_of(flow) == [
        "step 'a': arguments 'x': expression 'item': there is no 'item', only input, iteration, outputs, vars"
    ]


def test_all_problems_of_a_graph_are_told_at_once_with_their_places():
    flow = FlowDeclaration("orders", entry=["x"], vars={"n": "m"}, max_iterations=0)
    flow.step(name="a", join=0, match="any", next=["nowhere", To("b", on="done", publish={"X": "1 +"})])(lambda: None)
    flow.step(name="b", delay="soon", next=[When("ready", "retry"), 3])(lambda: None)
    places = [problem.split(": ")[:-1] for problem in problems_of(flow)]
    assert [": ".join(place[:2]) for place in places] == [
        "flow",
        "flow: vars 'n'",
        "step 'a'",
        "step 'a'",
        "step 'a': next, transition 1",
        "step 'a': next, transition 2",
        "step 'a': next, transition 2",
        "step 'a': next, transition 2",
        "step 'b': next, transition 1",
        "step 'b': next, transition 2",
        "step 'b': delay",
        "flow",
    ]


# --- warnings


def warnings_of(entry=None, **following):
    flow = FlowDeclaration("orders", entry=entry)
    for name, ways in following.items():
        flow.step(name=name, next=ways)(lambda: None)
    return warnings(flow.spec)


def test_a_loop_without_a_condition_is_worth_a_warning():
    assert warnings_of(["a"], a="b", b="c", c="a") == [
        "steps 'a', 'b', 'c': a loop without a condition on any way; only its limits end it"
    ]


@pytest.mark.parametrize(
    "ways",
    [
        [When("iteration < 3", "a")],
        [Otherwise("a"), When("result == 1", "noop")],
        [To("a", on="failed")],
        [To("a", on="skipped")],
    ],
)
def test_a_loop_that_can_end_is_not(ways):
    assert warnings_of(["a"], a="b", b=ways) == []


def test_a_step_that_leads_to_itself_at_once_is_worth_a_warning():
    assert warnings_of(a=["a"]) == [
        "step 'a': it leads to itself without a condition and without a delay",
        "step 'a': a loop without a condition on any way; only its limits end it",
    ]
    assert warnings_of(a=[To("a", delay=timedelta(seconds=1))]) == [
        "step 'a': a loop without a condition on any way; only its limits end it"
    ]


def test_the_command_retry_is_a_loop_as_well():
    assert warnings_of(a=["retry"]) == ["step 'a': a loop without a condition on any way; only its limits end it"]
    assert warnings_of(a=[To("retry", on="failed")]) == []


def test_a_step_that_nothing_leads_to_is_worth_a_warning():
    assert warnings_of(["b"], a="b", b=[], c="d", d="c") == [
        "steps 'c', 'd': a loop without a condition on any way; only its limits end it",
        "step 'a': nothing leads to it",
        "step 'c': nothing leads to it",
        "step 'd': nothing leads to it",
    ]


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
    "executor of no text": ({"executor": "a\0b"}, "executor must be a name, not 'a\\x00b'"),
    "resources": ({"resources": ["GPU"]}, "resources are numbers by name, not ['GPU']"),
    "no resource": ({"resources": {"GPU": 0}}, "resources: 'GPU' must be a positive number, not 0"),
    "resource without a name": (
        {"resources": {"": 1}},
        "resources: a name is text of at most 100 characters, not ''",
    ),
    "atomic elsewhere": (
        {"atomic": True, "executor": "dask"},
        "atomic runs in a thread of the worker, not on executor 'dask'; take one of the two away",
    ),
    "atomic with resources": (
        {"atomic": True, "resources": {"GPU": 1}},
        "atomic runs in a thread of the worker, which has no resources to ask for; take one of the two away",
    ),
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
    "endless delay": (
        {"delay": timedelta(days=99_999_999)},
        "delay must be at most 365 days, not 99999999 days, 0:00:00",
    ),
    "delay above its ceiling": (
        {"delay": timedelta(days=366)},
        "delay must be at most 365 days, not 366 days, 0:00:00",
    ),
    "timeout above its ceiling": (
        {"timeout": timedelta(days=366)},
        "timeout must be at most 365 days, not 366 days, 0:00:00",
    ),
    "retry above its ceiling": (
        {"retry": Retry(cap=timedelta(days=366))},
        "retry: cap must be at most 365 days, not 3.16224e+07 s",
    ),
    "unknown strategy": (
        {"retry": {"strategy": f"{CALLABLE_PREFIX}mine"}},
        "retry: no strategy 'mine' is registered",
    ),
    "unknown option of retry": (
        {"retry": {"max_attemps": 3}},
        "retry: unknown option 'max_attemps'; did you mean 'max_attempts'?",
    ),
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
