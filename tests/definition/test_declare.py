"""What a declaration compiles to."""

from datetime import timedelta

import pytest

from django_workflow import Retry, To, When
from django_workflow.definition.compile import compile_flow
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.registry import registry
from django_workflow.definition.written.steps import StepDraft


@pytest.fixture
def flow():
    return FlowDeclaration("orders")


def test_a_handler_stays_a_plain_function(flow):
    @flow.step
    def reserve(input):
        return input * 2

    assert reserve(21) == 42


def test_a_step_is_named_after_its_function_or_as_it_is_told(flow):
    @flow.step
    def reserve(): ...

    @flow.step(name="pay")
    def charge(): ...

    assert list(flow.spec.steps) == ["reserve", "pay"]


def test_a_parameter_that_names_a_step_is_a_dependency(flow):
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge")(lambda reserve, ctx: None)
    assert flow.spec.steps["charge"].depends_on == ("reserve",)


def test_a_dependency_without_data_is_named_in_words(flow):
    flow.step(name="reserve")(lambda: None)
    flow.step(name="charge", depends_on="reserve")(lambda: None)
    assert flow.spec.steps["charge"].depends_on == ("reserve",)


def test_the_source_of_a_map_is_a_dependency(flow):
    flow.step(name="reserve")(lambda: None)
    flow.map(name="pack", over="reserve.items")(lambda item: None)
    assert flow.spec.steps["pack"].depends_on == ("reserve",)


def test_a_map_over_the_input_depends_on_nothing(flow):
    flow.map(name="pack", over="input.items")(lambda item: None)
    assert flow.spec.entry == ("pack",)


def test_steps_may_be_declared_in_any_order(flow):
    flow.step(name="ship")(lambda pack: None)
    flow.step(name="pack")(lambda: None)
    assert flow.spec.entry == ("pack",)


def test_a_step_declared_later_is_seen(flow):
    flow.step(name="reserve")(lambda: None)
    before = flow.spec
    flow.step(name="charge")(lambda reserve: None)
    assert (list(before.steps), list(flow.spec.steps)) == (["reserve"], ["reserve", "charge"])


def test_entry_steps_are_those_that_depend_on_nothing_and_leaves_lead_nowhere(flow):
    flow.step(name="a")(lambda: None)
    flow.step(name="b")(lambda: None)
    flow.step(name="c")(lambda a, b: None)
    assert (flow.spec.entry, flow.spec.leaves) == (("a", "b"), ("c",))


def test_a_dependency_leads_on_after_success_and_after_a_skip(flow):
    flow.step(name="a")(lambda: None)
    flow.step(name="b")(lambda a: None)
    assert [(item.source, item.to, item.on) for item in flow.spec.transitions] == [
        ("a", ("b",), ("succeeded", "skipped"))
    ]


def test_a_step_takes_each_option_it_leaves_out_from_its_flow():
    flow = FlowDeclaration("orders", timeout=timedelta(seconds=30), queue="slow", executor="process")
    flow.step(name="a", queue="quick")(lambda: None)
    step = flow.spec.steps["a"]
    assert (step.timeout, step.queue, step.executor) == (30.0, "quick", "process")


def test_an_option_that_is_none_counts_as_left_out():
    flow = FlowDeclaration("orders", timeout=timedelta(seconds=30))
    flow.step(name="a", timeout=None)(lambda: None)
    assert flow.spec.steps["a"].timeout == 30.0


def test_each_field_of_the_retry_policy_is_inherited_by_itself():
    flow = FlowDeclaration("orders", retry=Retry(max_attempts=5, base=timedelta(seconds=2), jitter=False))
    flow.step(name="a", retry=Retry(max_attempts=1))(lambda: None)
    assert flow.spec.steps["a"].retry == {"max_attempts": 1, "base": 2.0, "jitter": False}


def test_an_override_replaces_single_options_and_single_fields_of_the_retry_policy():
    drafts = [StepDraft("a", "handler", options={"retry": Retry(max_attempts=5, factor=3.0), "queue": "slow"})]
    step = compile_flow("orders", drafts, overrides={"a": {"timeout": 9, "retry": {"factor": 2.0}}}).steps["a"]
    assert (step.timeout, step.queue, step.retry) == (9.0, "slow", {"max_attempts": 5, "factor": 2.0})


def test_an_override_leaves_the_declaration_as_it_was():
    drafts = [StepDraft("a", "handler", options={"timeout": timedelta(seconds=1)})]
    compile_flow("orders", drafts, overrides={"a": {"timeout": 9}})
    assert compile_flow("orders", drafts).steps["a"].timeout == 1.0


def test_a_condition_given_as_function_is_registered_under_its_steps_name(flow):
    def is_big(input):
        return input > 3

    flow.step(name="a", when=is_big)(lambda: None)
    assert flow.spec.steps["a"].when.callable == "orders.a.when"
    assert registry.callable("orders.a.when") is is_big


def test_a_strategy_given_as_function_is_registered_under_its_steps_name():
    def strategy(failures):
        return timedelta(seconds=failures)

    flow = FlowDeclaration("orders", retry=Retry(strategy=strategy))
    flow.step(name="a")(lambda: None)
    assert flow.spec.steps["a"].callables == ("orders.a.strategy",)
    assert registry.callable("orders.a.strategy") is strategy


def test_settling_a_step_needs_its_own_callables_and_its_successors(flow):
    flow.step(name="a", when=lambda: True)(lambda: None)
    flow.step(name="b", when=lambda: True)(lambda a: None)
    flow.step(name="c", when=lambda: True)(lambda b: None)
    assert flow.spec.path_callables["c"] == ("orders.c.when",)


def needs(flow, step):
    """The steps whose conditions settling a step may need."""
    return [name.split(".")[1] for name in flow.spec.path_callables[step]]


def test_settling_a_step_needs_what_is_decided_behind_a_step_that_may_be_skipped_at_once(flow):
    flow.step(name="a")(lambda: None)
    flow.step(name="b", when="input == 1")(lambda a: None)
    flow.step(name="c", when=lambda: True)(lambda b: None)
    flow.step(name="d", when=lambda: True)(lambda c: None)
    assert needs(flow, "a") == ["c", "d"]


def test_settling_a_step_needs_what_is_decided_behind_a_map_that_may_be_empty(flow):
    flow.step(name="a")(lambda: None)
    flow.map(name="b", over="a")(lambda item: None)
    flow.step(name="c", when=lambda: True)(lambda b: None)
    assert needs(flow, "a") == ["c"]


def test_settling_a_step_needs_what_is_decided_behind_steps_that_are_skipped_with_it(flow):
    flow.step(name="a", on_exhausted="skip_cascade")(lambda: None)
    flow.step(name="b")(lambda a: None)
    flow.step(name="c", next=[When(lambda: True, to="d", on="skipped")])(lambda b: None)
    flow.step(name="d")(lambda: None)
    assert (needs(flow, "a"), needs(flow, "d")) == (["c"], [])


def test_settling_a_step_needs_nothing_of_what_waits_for_another_one(flow):
    flow.step(name="a")(lambda: None)
    flow.step(name="b", when="input == 1", next=[When(lambda: True, to="c")])(lambda a: None)
    flow.step(name="c", when=lambda: True)(lambda: None)
    assert (needs(flow, "a"), needs(flow, "b")) == ([], ["b", "c"])


def test_what_settles_at_once_may_lead_in_a_circle():
    flow = FlowDeclaration("orders", entry=["a"])
    flow.step(name="a", when="input == 1", next=[To("b", on="always")])(lambda: None)
    flow.step(name="b", when="input == 2", next=[When(lambda: True, to="a", on="skipped")])(lambda: None)
    assert needs(flow, "a") == needs(flow, "b") == ["b"]
