"""What `next=`, `join=` and `entry=` compile to."""

from datetime import timedelta
from itertools import pairwise

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.elements import Assignment, Condition, TransitionSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec

SUCCEEDED, ALWAYS = ("succeeded",), ("succeeded", "failed", "skipped")


@pytest.fixture
def flow():
    return FlowDeclaration("orders")


def declare(flow, *names, **following):
    """Declare plain steps; keywords say where each leads."""
    for name in names:
        flow.step(name=name)(lambda: None)
    for name, ways in following.items():
        flow.step(name=name, next=ways)(lambda: None)
    return flow


def flow_of(*names, entry=None, **following):
    return declare(FlowDeclaration("orders", entry=entry), *names, **following).spec


# --- ways


@pytest.mark.parametrize("next", ["b", ["b"], [To("b")], To("b"), ("b",), [To(["b"])]])
def test_a_name_alone_is_a_way_on_success(next):
    assert flow_of("b", a=next).transitions == (TransitionSpec("a", ("b",), SUCCEEDED),)


def test_several_targets_are_one_way_and_several_ways_are_several():
    spec = flow_of("b", "c", a=[To(["b", "c"]), "b"])
    assert [item.to for item in spec.transitions] == [("b", "c"), ("b",)]
    assert [(edge.source, edge.to) for edge in spec.edges] == [("a", "b"), ("a", "c"), ("a", "b")]


@pytest.mark.parametrize(
    ("on", "outcomes"),
    [("succeeded", SUCCEEDED), ("failed", ("failed",)), ("skipped", ("skipped",)), ("always", ALWAYS)],
)
def test_an_outcome_is_named_or_all_are(on, outcomes):
    assert flow_of("b", a=[To("b", on=on)]).transitions[0].on == outcomes


def test_a_condition_is_an_expression_or_a_function_registered_under_its_place(flow):
    def is_ready(result):
        return result["ready"]

    spec = declare(flow, "b", a=["b", When("result.ready", "b"), When(is_ready, "b")]).spec
    assert [item.when for item in spec.transitions] == [
        None,
        Condition(expression="result.ready"),
        Condition(callable="orders.a.next.2"),
    ]
    assert registry.callable("orders.a.next.2") is is_ready
    assert spec.path_callables["a"] == ("orders.a.next.2",)


def test_otherwise_is_marked_and_has_no_condition():
    assert flow_of("b", a=[Otherwise("b", on="failed")]).transitions[0] == TransitionSpec(
        "a", ("b",), ("failed",), is_otherwise=True
    )


def test_what_is_published_keeps_its_order_and_what_is_merged_comes_after():
    spec = flow_of("b", a=[To("b", publish={"z": "1", "a": 2, "m": [3]}, merge={"b": "vars.z"})])
    assert spec.transitions[0].publish == (
        Assignment("z", "1"),
        Assignment("a", 2),
        Assignment("m", [3]),
        Assignment("b", "vars.z", is_merge=True),
    )
    assert FlowSpec.from_dict(spec.to_dict()).transitions == spec.transitions


@pytest.mark.parametrize(
    ("delay", "compiled"), [(timedelta(minutes=1), 60.0), ("2 ** iteration", "2 ** iteration"), (None, None)]
)
def test_a_delay_is_seconds_or_an_expression(delay, compiled):
    assert flow_of("b", a=[To("b", delay=delay)]).transitions[0].delay == compiled


def test_a_step_has_a_delay_as_well(flow):
    flow.step(name="a", delay=timedelta(seconds=2))(lambda: None)
    assert flow.spec.steps["a"].delay == 2.0


def test_commands_are_targets_but_no_steps():
    spec = flow_of("b", a=[To(["b", "noop"]), To("retry", on="failed"), To("fail"), To("continue")])
    assert [item.steps for item in spec.transitions] == [("b",), (), (), ()]
    assert spec.successors == {"b": (), "a": ("b",)}


def test_ways_come_before_dependents_whatever_the_order_of_declaration(flow):
    flow.step(name="c", depends_on=["a"])(lambda: None)
    declare(flow, "b", a=[When("result.ready", "b")])
    assert [(item.to, item.is_dependency) for item in flow.spec.outbound["a"]] == [(("b",), False), (("c",), True)]


# --- parameters


def test_a_parameter_that_names_a_step_which_leads_here_is_no_dependency(flow):
    declare(flow, a=["b"])
    flow.step(name="b")(lambda a: None)
    step = flow.spec.steps["b"]
    assert (step.depends_on, step.join, step.sources) == ((), None, ("a",))
    assert flow.spec.transitions == (TransitionSpec("a", ("b",), SUCCEEDED),)


def test_a_parameter_may_name_a_step_behind_it_in_a_loop():
    flow = FlowDeclaration("orders", entry=["plan"])
    flow.step(name="plan", next=["measure"])(lambda measure=None: None)
    flow.step(name="measure", next=[When("iteration < 3", "plan")])(lambda plan: None)
    assert {name: step.depends_on for name, step in flow.spec.steps.items()} == {"plan": (), "measure": ()}


def test_a_parameter_that_nothing_leads_from_stays_a_dependency_beside_ways(flow):
    declare(flow, "x", a=["b"])
    flow.step(name="b")(lambda a, x: None)
    step = flow.spec.steps["b"]
    assert (step.depends_on, step.join, flow.spec.join_size("b")) == (("x",), "all", 2)


def test_arguments_are_no_dependencies(flow):
    flow.step(name="a", arguments={"price": "input.price", "fixed": [1]})(lambda price, fixed: None)
    step = flow.spec.steps["a"]
    assert (step.depends_on, step.sources, dict(step.arguments)) == ((), (), {"price": "input.price", "fixed": [1]})


def test_no_arguments_are_none_at_all(flow):
    declare(flow, "a").step(name="b", arguments=None)(lambda a: None)
    assert (flow.spec.steps["b"].sources, flow.spec.to_dict()["steps"][1].get("arguments")) == (("a",), None)


def test_a_map_over_a_variable_depends_on_nothing():
    flow = FlowDeclaration("orders", vars={"rows": []})
    flow.map(name="a", over="vars.rows")(lambda item: None)
    assert (flow.spec.entry, flow.spec.steps["a"].over_path) == (("a",), ("vars", "rows"))


# --- entry


def test_a_flow_begins_with_the_steps_that_nothing_leads_to():
    assert flow_of("c", "d", a=["c"], b=["c"]).entry == ("d", "a", "b")


def test_a_way_from_a_step_to_itself_does_not_count():
    assert flow_of(a=[When("iteration < 3", "a")]).entry == ("a",)


def test_entry_steps_may_be_named():
    assert flow_of(a=["b"], b=["a"], entry=["b"]).entry == ("b",)


# --- joins


def test_a_step_with_dependencies_waits_for_all_others_for_each(flow):
    declare(flow, "b", a=["b"])
    flow.step(name="c", depends_on=["b"])(lambda: None)
    assert {name: step.join for name, step in flow.spec.steps.items()} == {"b": None, "a": None, "c": "all"}


def test_a_join_may_be_smaller_than_its_predecessors_or_be_given_up(flow):
    declare(flow, a=["j", "k"], b=["j", "k"], c=["j"])
    flow.step(name="j", join=2)(lambda: None)
    flow.step(name="k", depends_on=["c"], join=None)(lambda: None)
    assert [flow.spec.join_size(name) for name in "ajk"] == [None, 2, None]
    assert (flow.spec.joins, flow.spec.splits) == ({"j"}, {"k"})


def test_a_join_of_a_single_predecessor_counts_nothing(flow):
    declare(flow, "a")
    flow.step(name="b")(lambda a: None)
    assert (flow.spec.join_size("b"), flow.spec.is_join("b")) == (1, False)


def test_two_ways_from_one_step_are_one_predecessor(flow):
    declare(flow, a=["j", When("result == 1", "j")], b=["j"])
    flow.step(name="j", join="all")(lambda: None)
    assert (flow.spec.predecessors["j"], flow.spec.join_size("j")) == (("a", "b"), 2)


# --- what the graph is


def test_steps_of_one_cycle_share_a_number():
    spec = flow_of(begin="a", a="b", b=["a", "c"], c=["c", "d"], d=[])
    assert set(spec.cycles) == {"a", "b", "c"}
    assert spec.cycles["a"] == spec.cycles["b"] != spec.cycles["c"]
    assert spec.has_loops


def test_the_command_retry_makes_a_cycle_of_one():
    spec = flow_of("b", a=[To("retry", on="failed"), "b"])
    assert (set(spec.cycles), spec.repeating) == ({"a"}, {"a", "b"})


def test_what_lies_behind_a_cycle_repeats_what_lies_before_does_not():
    assert flow_of(a="b", b=[When("iteration < 3", "b"), "c"], c="d", d=[]).repeating == {"b", "c", "d"}


def test_two_ways_to_one_step_may_activate_it_twice():
    assert flow_of("c", a=["b", When("result == 1", "b")], b="c").repeating == {"b", "c"}


def test_a_split_has_predecessors_outside_its_own_cycle():
    loop = flow_of(begin="a", a="b", b=["a"])
    assert loop.splits == set()
    assert flow_of(one="a", two="a", a="b", b=["a"]).splits == {"a"}
    assert flow_of("d", one="a", two="b", a="c", b="c", c="d").splits == {"c"}


def test_dependencies_alone_are_plain_and_anything_else_is_not(flow):
    declare(flow, "a")
    flow.step(name="b")(lambda a: None)
    flow.step(name="c")(lambda a, b: None)
    assert (flow.spec.is_plain, flow.spec.is_bounded) == (True, True)
    ways = flow_of("b", a=["b"])
    assert (ways.is_plain, ways.is_bounded) == (False, True)
    loop = flow_of(a=[When("iteration < 3", "a")])
    assert (loop.is_plain, loop.is_bounded) == (False, False)


def test_a_leaf_may_lead_to_itself_and_to_commands():
    assert flow_of(a=[To("b"), To("noop", on="failed")], b=[When("iteration < 3", "b"), Otherwise("noop")]).leaves == (
        "b",
    )


def test_a_flow_on_a_circle_has_no_leaf():
    assert flow_of(a="b", b=[When("iteration < 3", "a")], entry=["a"]).leaves == ()


def test_variables_are_used_where_any_are_set():
    assert not flow_of("b", a="b").uses_variables
    assert flow_of("b", a=[To("b", publish={"x": 1})]).uses_variables
    flow = declare(FlowDeclaration("orders", vars={"x": 1}), "a")
    assert flow.spec.uses_variables


# --- large ones


def test_a_chain_of_a_thousand_ways_and_a_cycle_of_a_thousand_steps():
    names = [f"s{number}" for number in range(1_000)]
    following = dict(pairwise(names))
    chain = flow_of(names[-1], **following)
    assert (chain.entry, chain.leaves, chain.cycles) == (("s0",), ("s999",), {})
    cycle = flow_of(**following, **{names[-1]: names[0]}, entry=["s0"])
    assert (set(cycle.cycles), cycle.splits, len(cycle.repeating)) == (set(names), set(), 1_000)
    assert FlowSpec.from_dict(cycle.to_dict()) == cycle


# --- pictures


def test_the_graph_as_mermaid_says_outcomes_and_conditions():
    spec = flow_of(
        "b", a=["b", When('result == "x"', "b"), To("b", on="failed"), To("b", on="always"), Otherwise("a"), To("noop")]
    )
    assert spec.to_mermaid().splitlines()[3:] == [
        "    a --> b",
        '    a -->|"result == #quot;x#quot;"| b',
        '    a -->|"failed"| b',
        '    a -->|"always"| b',
        '    a -->|"otherwise"| a',
    ]


def test_a_condition_in_code_is_shown_by_its_name_and_beside_the_outcome(flow):
    spec = declare(flow, "b", a=[When(lambda error: True, "b", on="failed")]).spec
    assert spec.to_mermaid().splitlines()[-1] == '    a -->|"failed: orders.a.next.0()"| b'
