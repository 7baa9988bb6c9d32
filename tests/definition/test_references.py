"""Expressions that read steps, variables or statuses that there are not are refused, and what was meant is told."""

from __future__ import annotations

import pytest

from django_workflow import To, When
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.validation.steps import MOST_GUESSED
from django_workflow.exceptions import DefinitionError

OTHER = "; did you mean 'reserve'?"
READS = {
    "dot": "outputs.resreve.total > 1",
    "key": "outputs['resreve'] == 1",
    "get": "get(outputs, 'resreve', 0) > 1",
    "in": "'resreve' in outputs",
    "deep": "any(line.n > outputs.resreve for line in input.lines)",
}


def problems_of(flow):
    with pytest.raises(DefinitionError) as caught:
        _ = flow.spec
    return caught.value.problems


def declare(flow=None, **options):
    flow = flow or FlowDeclaration("orders")
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge", depends_on=["reserve"], **options)(lambda: None)
    return flow


@pytest.mark.parametrize("expression", READS.values(), ids=READS)
def test_a_step_that_there_is_not(expression):
    assert problems_of(declare(when=expression)) == [
        f"step 'charge': when: expression {expression!r}: there is no step 'resreve'{OTHER}"
    ]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"delay": "outputs.resreve"}, "delay"),
        ({"arguments": {"x": "outputs.resreve"}}, "arguments 'x'"),
        ({"next": [When("outputs.resreve", "noop")]}, "next, transition 1: when"),
        ({"next": [To("noop", publish={"x": "outputs.resreve"})]}, "next, transition 1: publish 'x'"),
        ({"next": [To("noop", merge={"x": "outputs.resreve"})]}, "next, transition 1: merge 'x'"),
        ({"next": [To("noop", delay="outputs.resreve")]}, "next, transition 1: delay"),
    ],
)
def test_wherever_there_are_expressions(options, place):
    told = f"step 'charge': {place}: expression 'outputs.resreve': there is no step 'resreve'{OTHER}"
    assert problems_of(declare(**options)) == [told]


def test_in_the_output_of_a_flow():
    flow = declare(FlowDeclaration("orders", output={"total": "outputs.resreve"}))
    told = f"flow: output 'total': expression 'outputs.resreve': there is no step 'resreve'{OTHER}"
    assert problems_of(flow) == [told]


def test_a_variable_that_nothing_sets():
    ways = [To("noop", publish={"paid": True}, merge={"lines": {}})]
    flow = FlowDeclaration("orders", vars={"total": 0})
    assert declare(flow, next=ways, when="vars.total + vars.paid > 0 and vars.lines").spec
    flow = declare(FlowDeclaration("orders", vars={"total": 0}), when="vars.totl > 0")
    assert problems_of(flow) == [
        "step 'charge': when: expression 'vars.totl > 0': nothing sets the variable 'totl'; did you mean 'total'?"
    ]
    assert problems_of(declare(when="vars.total > 0")) == [
        "step 'charge': when: expression 'vars.total > 0': nothing sets the variable 'total'"
    ]


def test_a_variable_that_is_set_later():
    flow = declare(FlowDeclaration("orders", vars={"double": "vars.total * 2", "total": 1}))
    assert problems_of(flow) == [
        "flow: vars 'double': expression 'vars.total * 2': nothing sets the variable 'total'"
    ]  # fmt: skip
    assert declare(FlowDeclaration("orders", vars={"total": 1, "double": "vars.total * 2"})).spec


def test_a_map_over_a_variable_that_nothing_sets():
    flow = FlowDeclaration("orders", vars={"lines": []})
    flow.map(name="pack", over="vars.linse")(lambda item: None)
    assert problems_of(flow) == [
        "step 'pack': over='vars.linse': nothing sets the variable 'linse'; did you mean 'lines'?"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "expression", ["status == 'suceeded'", "'suceeded' == status", "status in ['failed', 'suceeded']"]
)
def test_a_status_that_there_is_not(expression):
    assert problems_of(declare(next=[When(expression, "noop", on="always")])) == [
        (
            f"step 'charge': next, transition 1: when: expression {expression!r}: "
            "status is never 'suceeded'; did you mean 'succeeded'?"
        )
    ]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("reserve.total > 1", "there is no 'reserve', only input, outputs, vars; did you mean 'outputs.reserve'?"),
        ("resreve.total > 1", "there is no 'resreve', only input, outputs, vars; did you mean 'outputs.reserve'?"),
        ("output.reserve > 1", "there is no 'output', only input, outputs, vars; did you mean 'outputs'?"),
        ("item > 1", "there is no 'item', only input, outputs, vars"),
    ],
)
def test_a_name_that_there_is_not(expression, told):
    assert problems_of(declare(when=expression)) == [f"step 'charge': when: expression {expression!r}: {told}"]


def test_a_function_that_there_is_not():
    (told,) = problems_of(declare(when="lenght(input) > 1"))
    assert told.endswith("lenght is no function; did you mean 'len'?")


@pytest.mark.parametrize(
    "expression",
    [
        "any(outputs.anything for outputs in input.rows)",  # a name of the loop's own
        "input.outputs.anything == 1",
        "outputs[input.step] == 1",
        "get(input, 'resreve') == 1",
        "get(outputs, input.step) == 1",
        "len(outputs) > 1",
    ],
)
def test_what_is_not_read_by_name_is_left_alone(expression):
    assert declare(when=expression).spec


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"depends_on": ["resreve"]}, "it depends on 'resreve', which is no step; did you mean 'reserve'?"),
        ({"next": "resreve"}, ("it leads to 'resreve', which is no step and none of continue, fail, noop, retry"
                              "; did you mean 'reserve'?")),
        ({"next": "contineu"}, ("it leads to 'contineu', which is no step and none of continue, fail, noop, retry"
                               "; did you mean 'continue'?")),
        ({"timeuot": 5}, "unknown option 'timeuot'; did you mean 'timeout'?"),
        ({"retry": {"max_attempt": 5}}, "retry: unknown option 'max_attempt'; did you mean 'max_attempts'?"),
    ],
)  # fmt: skip
def test_names_that_a_step_gives(options, told):
    flow = FlowDeclaration("orders")
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge", **options)(lambda: None)
    assert [
        problem.removeprefix("step 'charge': ").removeprefix("next, transition 1: ") for problem in problems_of(flow)
    ] == [told]


def test_of_thousands_of_mistakes_the_first_ones_are_told_what_was_meant():
    flow = FlowDeclaration("orders")
    flow.step(name="reserve", next=[f"resreve_{number}" for number in range(2_000)])(lambda: None)
    guessed = ["did you mean" in problem for problem in problems_of(flow)]
    assert (guessed[0], guessed[-1], sum(guessed)) == (True, False, MOST_GUESSED)


@pytest.mark.parametrize(
    ("parameter", "meant"),
    [("resreve", "reserve"), ("inptu", "input"), ("itme", "item"), ("contxt", "ctx"), ("box", None)],
)
def test_a_parameter_that_is_no_step(parameter, meant):
    flow = FlowDeclaration("orders")
    flow.step(name="reserve")(lambda input: None)
    namespace = {}
    exec(f"def charge({parameter}): pass", namespace)
    flow.step(namespace["charge"])
    rule = f"did you mean {meant!r}?" if meant else "parameters are input, ctx, item, index or a step's name"
    assert problems_of(flow) == [f"step 'charge': parameter {parameter!r} is no step; {rule}"]
