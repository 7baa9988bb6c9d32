"""Whatever the graph and the order in which steps end: runs settle, joins count right, DAGs are a special case."""

import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow import Otherwise, To, When
from django_workflow.definition.compile import compile_flow
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.statuses import SUCCEEDED
from tests.engine.interpreter import CASCADES, FAILS, SKIPS, Play

OUTCOMES = ("succeeded", "failed", "skipped", "always")
CONDITIONS = ("iteration < 2", "iteration < 4", "iteration % 2 == 0", "status == 'failed'", "vars.count < 5", "false")
ENDS = (None, None, None, None, FAILS, SKIPS, CASCADES)
MAX_TASKS, MAX_ITERATIONS = 60, 5


@st.composite
def ways(draw, names, place):
    """What the step at a place says in `next=`: most ways lead on to later steps, some anywhere."""
    found = []
    later = names[place + 1 :]
    if later and draw(st.integers(0, 3)):
        found.append(To(draw(st.lists(st.sampled_from(later), min_size=1, max_size=3, unique=True)), on="always"))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        targets = st.sampled_from([*names, *names, *names, "noop", "noop", "continue", "retry", "fail"])
        to = draw(st.lists(targets, min_size=1, max_size=2, unique=True))
        options = {
            "on": draw(st.sampled_from(OUTCOMES)),
            "publish": draw(st.sampled_from([None, {"count": "vars.count + 1"}, {"last": "iteration"}])),
            "delay": draw(st.sampled_from([None, None, None, "0.001"])),
        }
        kind = draw(st.sampled_from(["to", "when", "when", "when", "otherwise"]))
        if kind == "when":
            found.append(When(draw(st.sampled_from(CONDITIONS)), to, **options))
        else:
            found.append((To if kind == "to" else Otherwise)(to, **options))
    return found


@st.composite
def transition_graphs(draw):
    """A flow of any shape as drafts and options, and how its steps end, pass by pass."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 7)))]
    following = {name: draw(ways(names, place)) for place, name in enumerate(names)}
    before = {
        name: {source for source, found in following.items() if any(name in way.to for way in found)} for name in names
    }
    drafts, results = [], {}
    for place, name in enumerate(names):
        others = [source for source in names[:place] if source not in before[name]]
        depends_on = draw(st.lists(st.sampled_from(others), unique=True, max_size=2)) if others else []
        if draw(st.integers(0, 3)):
            depends_on = []
        size = len(before[name] | set(depends_on))
        options = {"next": following[name], "match": draw(st.sampled_from(["all", "all", "first"]))}
        if size and not depends_on:
            options["join"] = draw(st.sampled_from([None, None, "all", draw(st.integers(1, size))]))
        options |= draw(st.sampled_from([{}, {}, {}, {"when": "vars.count % 2 == 0"}, {"delay": "0.001"}]))
        kind = draw(st.sampled_from(["single", "single", "single", "map"]))
        if kind == "map":
            options["count"] = draw(st.integers(0, 3))
        drafts.append(StepDraft(name, f"test.{name}", kind, depends_on=tuple(depends_on), options=options))
        ends = draw(st.lists(st.sampled_from(ENDS), max_size=3))
        if any(ends):
            results[name] = lambda item, ends=ends: ends[item.iteration % len(ends)] or item.iteration
    entry = draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
    entry = list(dict.fromkeys([names[0], *entry]))
    return drafts, {"vars": {"count": 0}, "output": {"count": "vars.count"}, "entry": entry}, results


@given(transition_graphs(), st.integers())
@settings(max_examples=120, deadline=None)
def test_every_graph_settles_within_its_limits_in_any_order(graph, seed):
    # what must hold at each step on the way is asserted by `Play`: a join fires once in a generation, and with all it
    # counts, a pass of a step is one, variables never change, what is open runs
    drafts, options, results = graph
    spec = compile_flow("test", drafts, options=FlowOptions(**options))
    done = Play(spec, results, chance=random.Random(seed), max_tasks=MAX_TASKS, max_iterations=MAX_ITERATIONS).run()
    assert sum(max(1, item.task_count) for item in done.made) <= MAX_TASKS + 1
    assert max(item.iteration for item in done.made) <= MAX_ITERATIONS
    assert set(done.fired.values()) <= {1}
    if done.status == SUCCEEDED:
        assert_no_join_was_missed(done)
        assert set(done.output) == {"count"}
    else:
        assert done.error["step"] in spec.steps
        assert done.error["message"]


def assert_no_join_was_missed(done):
    """Every generation that has all it counts has fired; the others wait, and none of them is a first one."""
    left = [(item.step, item.scope, item.generation) for item in done.leftovers]
    for (name, scope, number), seen in done.state.generations.items():
        is_whole = len(seen.arrived) >= done.spec.join_size(name)
        assert seen.is_fired == is_whole
        assert is_whole or number > 1
        assert is_whole or (name, scope, number) in left


@st.composite
def dags(draw, endings=(None, None, SKIPS)):
    """A graph of dependencies as a list of names and what each depends on, and how its steps end."""
    edges = {}
    for number in range(draw(st.integers(1, 10))):
        known = list(edges)
        edges[f"s{number}"] = draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
    ends = {name: draw(st.sampled_from(endings)) for name in edges}
    order = draw(st.permutations(list(edges)))
    return {name: edges[name] for name in order}, {name: end for name, end in ends.items() if end is not None}


def by_dependencies(edges):
    return compile_flow("test", [StepDraft(name, name, depends_on=tuple(before)) for name, before in edges.items()])


def by_transitions(edges):
    """Return the same graph with `next=` and joins of all."""
    drafts = []
    for name, before in edges.items():
        after = [other for other, sources in edges.items() if name in sources]
        following = [To(after), To(after, on="skipped")] if after else []
        drafts.append(StepDraft(name, name, options={"next": following, "join": "all" if before else None}))
    return compile_flow("test", drafts)


def told(done):
    """What somebody who looks from outside is told of a run."""
    return done.status, done.steps, done.outputs, done.times, sum(done.fired.values())


@given(dags(), st.integers(), st.integers())
@settings(max_examples=50, deadline=None)
def test_a_graph_of_dependencies_and_its_transitions_come_to_the_same(graph, one, other):
    edges, results = graph
    plain = Play(by_dependencies(edges), results, chance=random.Random(one)).run()
    assert told(plain) == told(Play(by_transitions(edges), results, chance=random.Random(other)).run())
    assert plain.status == SUCCEEDED


@given(dags((None, None, None, FAILS, SKIPS)), st.integers())
@settings(max_examples=50, deadline=None)
def test_failures_end_a_graph_of_dependencies_and_its_transitions_alike(graph, seed):
    edges, results = graph
    plain, moved = (
        Play(make(edges), results, chance=random.Random(seed)).run() for make in (by_dependencies, by_transitions)
    )
    assert told(plain) == told(moved)
    assert plain.error == moved.error


@st.composite
def loops(draw):
    """A diamond of any width in a loop, with branches of any length: the steps, and how many passes it makes."""
    branches = {f"b{number}": draw(st.integers(1, 3)) for number in range(draw(st.integers(1, 4)))}
    passes = draw(st.integers(1, 6))
    drafts = [StepDraft("begin", "begin", options={"next": list(branches)})]
    for name, length in branches.items():
        chain = [name, *(f"{name}_{place}" for place in range(1, length)), "meet"]
        drafts += [StepDraft(this, this, options={"next": after}) for this, after in itertools.pairwise(chain)]
    again = [When(f"iteration < {passes}", to="begin", publish={"seen": "iteration"}), Otherwise("end")]
    drafts += [StepDraft("meet", "meet", options={"next": again, "join": "all"}), StepDraft("end", "end")]
    return compile_flow("test", drafts, options=FlowOptions(entry=["begin"])), passes


@given(loops(), st.integers())
@settings(max_examples=40, deadline=None)
def test_a_join_in_a_loop_fires_once_in_each_pass_in_any_order(loop, seed):
    spec, passes = loop
    done = Play(spec, chance=random.Random(seed)).run()
    assert (done.status, done.leftovers) == (SUCCEEDED, [])
    assert done.times == Counter({name: 1 if name == "end" else passes for name in spec.steps})
    assert len(done.fired) == (passes if "meet" in spec.joins else 0)


@given(st.integers(1, 4), st.integers(1, 3), st.integers())
@settings(max_examples=50, deadline=None)
def test_below_splits_each_join_fires_once_in_each_scope_in_any_order(width, depth, seed):
    drafts = []
    for level in range(depth):
        sides = [f"x{level}_{number}" for number in range(width)]
        inner = [f"y{level}_{number}" for number in range(2)]
        drafts.append(StepDraft(f"s{level}", "s", options={"next": inner}))
        drafts += [StepDraft(name, name, options={"next": f"meet{level}"}) for name in inner]
        drafts.append(StepDraft(f"meet{level}", "meet", options={"next": sides, "join": "all"}))
        drafts += [StepDraft(name, name, options={"next": f"s{level + 1}"}) for name in sides]
    drafts.append(StepDraft(f"s{depth}", "s"))
    done = Play(compile_flow("test", drafts), chance=random.Random(seed)).run()
    assert (done.status, done.leftovers) == (SUCCEEDED, [])
    for level in range(depth):
        assert done.times[f"s{level}"] == done.times[f"meet{level}"] == width**level
        scopes = [scope for name, scope, _ in done.fired if name == f"meet{level}"]
        assert len(set(scopes)) == len(scopes) == width**level
