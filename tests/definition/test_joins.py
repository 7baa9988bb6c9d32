"""Joins that some way leaves incomplete are found before any run."""

from __future__ import annotations

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.validation import joins


def flow_of(entry=None, **steps):
    """Declare steps: each by its options, or by what it depends on."""
    flow = FlowDeclaration("orders", entry=entry)
    for name, given in steps.items():
        options = given if isinstance(given, dict) else {"depends_on": given}
        flow.step(name=name, **options)(lambda: None)
    return flow.spec


def told(entry=None, **steps):
    return [(str(item), item.is_certain) for item in joins.incomplete(flow_of(entry, **steps))]


def test_a_compensation_that_waits_fails_every_order_that_succeeds():
    assert told(reserve=[], charge={"depends_on": ["reserve"], "next": [To("restock", on="failed")]},
                restock=["reserve"]) == [
        (
            ("step 'restock': it waits for 'reserve' and 'charge', but when every step succeeds, "
            "'charge' does not lead to it, so the run fails"),
            True,
        )
    ]  # fmt: skip


def test_a_compensation_that_waits_for_nothing_is_right():
    assert told(reserve=[], charge={"depends_on": ["reserve"], "next": [To("restock", on="failed")]}, restock=[]) == []


EITHER = [When("result == 1", "a"), Otherwise("b")]


@pytest.mark.parametrize(
    "ways", [EITHER, [When("result == 1", "a"), When("result == 2", "b")]], ids=["otherwise", "first"]
)
def test_ways_that_exclude_each_other_never_complete_a_join(ways):
    match = "all" if ways is EITHER else "first"
    assert told(x={"next": ways, "match": match}, a={}, b={}, meet=["a", "b"]) == (
        [
            (
                (
                    "step 'meet': it waits for 'a' and 'b', which never all come, "
                    "whichever way 'x' takes, so the run fails"
                ),
                True,
            )
        ]
        if ways is EITHER
        else [
            (
                (
                    "step 'meet': it waits for 'a' and 'b', but where 'x' succeeds and result == 1 holds, "
                    "'b' does not lead to it, so the run fails"
                ),
                False,
            )
        ]
    )


def test_ways_that_exclude_each_other_meet_where_one_is_enough():
    assert told(x={"next": EITHER}, a={}, b={}, meet={"depends_on": ["a", "b"], "join": 1}) == []
    assert told(x={"next": EITHER}, a={"next": "meet"}, b={"next": "meet"}, meet={}) == []


def test_ways_that_may_all_be_taken_are_certain_of_nothing():
    ways = [To("a"), When("result == 2", "b")]
    assert told(x={"next": ways}, a={}, b={}, meet=["a", "b"]) == [
        (
            (
                "step 'meet': it waits for 'a' and 'b', but where 'x' succeeds and none of its conditions holds, "
                "'b' does not lead to it, so the run fails"
            ),
            False,
        )
    ]


def test_a_failure_that_is_handled_leaves_a_join_incomplete():
    assert told(pack=[], charge={"next": [To("tell", on="failed")]}, tell={}, ship=["pack", "charge"]) == [
        (
            (
                "step 'ship': it waits for 'pack' and 'charge', but where 'charge' fails, "
                "'charge' does not lead to it, so the run fails"
            ),
            False,
        )
    ]


@pytest.mark.parametrize(
    "way", [To("noop", on="failed"), To(["tell", "fail"], on="failed"), To("continue", on="failed")]
)
def test_a_failure_that_fails_the_run_by_itself_is_no_way_of_a_join(way):
    found = told(pack=[], charge={"next": [way]}, tell={}, ship=["pack", "charge"])
    assert bool(found) == (way.to == "noop")


def test_a_skip_leads_on_by_a_dependency_and_not_by_a_way_on_success():
    maybe = {"when": "input.gift"}
    assert told(pack=[], gift=maybe, ship=["pack", "gift"]) == []
    assert told(pack={"next": "ship"}, gift={**maybe, "next": "ship"}, ship={"join": "all"}) == [
        (
            (
                "step 'ship': it waits for 'pack' and 'gift', but where 'gift' is skipped, "
                "'gift' does not lead to it, so the run fails"
            ),
            False,
        )
    ]
    assert told(pack={"next": "ship"}, gift={"on_exhausted": "skip", "next": "ship"}, ship={"join": "all"}) != []


def test_a_join_behind_an_incomplete_one_is_not_told_as_well():
    found = told(x={"next": EITHER}, a={}, b={}, meet=["a", "b"], other=[], last=["meet", "other"])
    assert [text.split(":")[0] for text, _ in found] == ["step 'meet'"]


def test_a_join_that_nothing_surely_reaches_is_left_alone():
    assert told(a={"next": [When("false", "meet")]}, b={"next": [When("false", "meet")]}, meet={"join": "all"}) == []


def test_a_branch_that_is_rarely_taken_is_looked_at_as_well():
    found = told(
        begin={"next": [When("input.x", "x")]}, x={"next": EITHER}, a={}, b={}, meet=["a", "b"]
    )  # fmt: skip
    assert [is_certain for _, is_certain in found] == [True]


def test_a_loop_takes_another_way_in_another_pass():
    loop = {"next": [When("result.ready", "meet"), Otherwise("probe")]}
    assert told(["probe", "other"], probe=loop, other={"next": "meet"}, meet={"join": "all"}) == []


def test_a_join_of_some_is_complete_without_the_others():
    some = {"depends_on": ["a", "b", "c"], "join": 2}
    assert told(x={"next": EITHER}, a={}, b={}, c=[], meet=some) == []


def test_plain_graphs_have_nothing_to_look_for():
    assert told(a=[], b=["a"], c=["a"], d=["b", "c"]) == []


def test_many_ways_are_looked_at_within_bounds(monkeypatch):
    steps = {}
    for number in range(400):
        steps[f"x{number}"] = {"next": [When("result == 1", f"a{number}"), Otherwise(f"b{number}")]}
        steps[f"a{number}"], steps[f"b{number}"] = {}, {}
        steps[f"m{number}"] = [f"a{number}", f"b{number}"]
    flow = flow_of(**steps)
    looked = []
    monkeypatch.setattr(joins, "_parts", lambda *args: looked.append(args) or [])
    joins.incomplete(flow)
    assert len(looked) * len(flow.edges) < 2 * joins.MOST_WORK
