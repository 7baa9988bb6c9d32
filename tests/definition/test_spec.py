"""A compiled definition is data that goes to JSON and back unchanged."""

import json
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow import Otherwise, Retry, To, When
from django_workflow.definition.compile import compile_flow
from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.names import COMMANDS
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import OUTCOMES

#: What PostgreSQL takes as text.
TITLES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).map(lambda name: f"{name}_")
options = st.fixed_dictionaries(
    {},
    optional={
        "when": st.sampled_from(["input.total > 3", "outputs == 1", "'ä' in input"]),
        "on_unmet": st.sampled_from(["skip", "skip_cascade", "fail"]),
        "on_exhausted": st.sampled_from(["fail", "skip"]),
        "timeout": st.timedeltas(timedelta(seconds=1), timedelta(days=1)),
        "queue": st.sampled_from(["slow", "quick"]),
        "atomic": st.booleans(),
        "title": TITLES,
        "retry": st.builds(
            Retry,
            max_attempts=st.none() | st.integers(1, 9),
            retry_on=st.none() | st.just((ValueError, KeyError)),
            jitter=st.none() | st.booleans(),
        ),
    },
)


@st.composite
def specs(draw):
    drafts = []
    for name in draw(st.lists(names, min_size=1, max_size=6, unique=True)):
        known = [draft.name for draft in drafts]
        sources = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        kind, more = draw(st.sampled_from([("single", {}), ("map", {"count": 0}), ("map", {"over": "input.a"})]))
        drafts.append(StepDraft(name, f"h.{name}", kind, ("input",), tuple(sources), draw(options) | more))
    return compile_flow(
        "orders",
        drafts,
        options=FlowOptions(
            title=draw(TITLES),
            max_tasks=draw(st.none() | st.integers(1, 9)),
            input_schema=draw(st.sampled_from([None, {}, {"type": "object", "required": ("a",)}])),
        ),
    )


def shuffled(data, random):
    """The same data with the keys of every object in another order."""
    if isinstance(data, dict):
        items = [(key, shuffled(value, random)) for key, value in data.items()]
        random.shuffle(items)
        return dict(items)
    return [shuffled(item, random) for item in data] if isinstance(data, list) else data


assigned = st.dictionaries(
    names, st.sampled_from(["input", "vars", "{'a': 1}", 0, None, [1], {"b": {"c": 2}}]), max_size=3
)
delays = st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=1)) | st.just("1 + 1")


@st.composite
def ways(draw, steps):
    """A way to some of the steps, or to a command."""
    common = {
        "to": draw(st.lists(st.sampled_from([*steps, *sorted(COMMANDS)]), min_size=1, max_size=3, unique=True)),
        "on": draw(st.sampled_from(sorted(OUTCOMES))),
        "publish": draw(st.none() | assigned),
        "merge": draw(st.none() | assigned),
        "delay": draw(delays),
    }
    kind = draw(st.sampled_from(["to", "when", "otherwise"]))
    if kind == "when":
        return When(draw(st.sampled_from(["result == 1", "iteration < 3"])), **common)
    return To(**common) if kind == "to" else Otherwise(**common)


@st.composite
def graphs(draw):
    """Any graph of transitions, joins and variables."""
    steps = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    drafts = [
        StepDraft(
            name,
            f"h.{name}",
            options={
                "next": draw(st.lists(ways(steps), max_size=3)),
                "match": draw(st.sampled_from(["all", "first"])),
                "join": draw(st.sampled_from([None, None, "all"])),
                "delay": draw(delays.filter(lambda delay: delay is None or not isinstance(delay, str))),
                "arguments": draw(st.none() | assigned.filter(lambda values: "vars" not in values.values())),
            },
        )
        for name in steps
    ]
    own = {"vars": draw(st.none() | assigned), "output": draw(st.none() | assigned)}
    return compile_flow("orders", drafts, options=FlowOptions(entry=steps[:1], max_iterations=9, **own))


@pytest.mark.slow
@given(graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph_comes_back_from_json_as_it_was(spec):
    back = FlowSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec
    assert back.to_dict() == spec.to_dict()
    assert (back.fingerprint, back.to_mermaid()) == (spec.fingerprint, spec.to_mermaid())
    # `==` of mappings does not look at their order
    assert [item.name for way in back.transitions for item in way.publish] == [
        item.name for way in spec.transitions for item in way.publish
    ]
    assert [item.name for item in (*back.vars, *back.output)] == [item.name for item in (*spec.vars, *spec.output)]


@pytest.mark.slow
@given(graphs())
@settings(max_examples=60, deadline=None)
def test_splits_are_those_of_their_definition(spec):
    def leads(source, target):
        reached, pending = set(), list(spec.successors[source])
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending += spec.successors[name]
        return target in reached

    outside = {
        name: {edge.source for edge in spec.edges if edge.to == name and not leads(name, edge.source)} - {name}
        for name in spec.steps
    }
    for name in spec.entry:
        outside[name].add("the begin of the run")
    assert spec.splits == {name for name, step in spec.steps.items() if step.join is None and len(outside[name]) > 1}


@given(specs())
@settings(max_examples=30, deadline=None)
def test_a_definition_comes_back_from_json_as_it_was(spec):
    back = FlowSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec
    assert back.to_dict() == spec.to_dict()
    assert back.to_mermaid() == spec.to_mermaid()


@given(specs(), st.integers())
@settings(max_examples=30, deadline=None)
def test_the_fingerprint_ignores_the_order_of_keys(spec, seed):
    data = shuffled(json.loads(json.dumps(spec.to_dict())), random.Random(seed))
    assert FlowSpec.from_dict(data).fingerprint == spec.fingerprint


def two_steps(**options):
    flow = FlowDeclaration("orders")
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge", **options)(lambda reserve: None)
    return flow.spec


def test_the_same_declaration_has_the_same_fingerprint():
    assert two_steps(retry=Retry(max_attempts=2)).fingerprint == two_steps(retry=Retry(max_attempts=2)).fingerprint


def test_any_changed_option_changes_the_fingerprint():
    changes = [{}, {"timeout": timedelta(seconds=1)}, {"queue": "slow"}, {"when": "input == 1"}]
    changes += [{"retry": Retry(max_attempts=n)} for n in (1, 2)]
    assert len({two_steps(**options).fingerprint for options in changes}) == len(changes)


def test_a_definition_is_stored_without_what_is_left_out():
    assert two_steps().to_dict() == {
        "slug": "orders",
        "entry": ["reserve"],
        "steps": [
            {"name": "reserve", "handler": "orders.reserve", "params": ["input"]},
            {
                "name": "charge",
                "handler": "orders.charge",
                "params": ["reserve"],
                "depends_on": ["reserve"],
                "join": "all",
            },
        ],
        "transitions": [{"source": "reserve", "to": ["charge"], "on": ["succeeded", "skipped"]}],
    }


def test_values_that_are_empty_but_mean_something_are_kept():
    flow = FlowDeclaration("orders")
    flow.map(name="pack", count=0, tolerate=0)(lambda index: None)
    step = FlowSpec.from_dict(flow.to_dict()).steps["pack"]
    assert (step.count, step.tolerate) == (0, 0)


def test_the_graph_as_mermaid():
    flow = FlowDeclaration("orders")
    flow.step(name="reserve")(lambda: None)
    flow.map(name="pack", over="reserve.items", title='Pack "it"')(lambda item: None)
    assert flow.to_mermaid().splitlines() == [
        "flowchart TD",
        '    reserve["reserve"]',
        '    pack[["Pack #quot;it#quot; × n"]]',
        "    reserve --> pack",
    ]


def test_a_step_named_like_a_word_of_mermaid_gets_an_id_of_its_own():
    flow = FlowDeclaration("orders")
    flow.step(name="end")(lambda: None)
    flow.step(name="after")(lambda end: None)
    assert flow.to_mermaid().splitlines()[1:] == ['    End["end"]', '    after["after"]', "    End --> after"]
