"""Where nodes and edges of a flow's picture go."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow.web.drawing.layers import back_edges, layers_of
from django_workflow.web.drawing.layout import layout
from django_workflow.web.drawing.ordering import crossings, order_layers

WIDTH, HEIGHT = 204.0, 60.0


def draw(names, edges):
    return layout(tuple((name, WIDTH, HEIGHT) for name in names), tuple(edges))


def overlap(one, other):
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@st.composite
def graphs(draw_):
    count = draw_(st.integers(1, 14))
    names = [f"n{number}" for number in range(count)]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return names, draw_(st.lists(pairs, max_size=30, unique=True))


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_no_two_nodes_overlap_and_all_lie_within_the_picture(graph):
    names, edges = graph
    picture = draw(names, edges)
    assert list(picture.boxes) == names
    for one, other in itertools.combinations(picture.boxes.values(), 2):
        assert not overlap(one, other)
    for box in picture.boxes.values():
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= picture.width
        assert box.y + box.height <= picture.height


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_every_forward_edge_leads_to_a_deeper_layer_and_the_others_are_flagged(graph):
    names, edges = graph
    picture = draw(names, edges)
    assert [(line.source, line.to) for line in picture.lines] == edges
    for line in picture.lines:
        source, to = picture.boxes[line.source], picture.boxes[line.to]
        if line.is_back:
            assert to.layer <= source.layer
        else:
            assert to.layer > source.layer
            assert to.x > source.x + source.width


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_the_ways_of_edges_stay_within_the_picture(graph):
    picture = draw(*graph)
    for line in picture.lines:
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", line.path)]
        assert min(numbers) >= 0
        assert max(numbers) <= max(picture.width, picture.height)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_same_graph_is_always_drawn_the_same(graph):
    first = draw(*graph)
    layout.cache_clear()
    assert draw(*graph) == first


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 5))
def test_without_back_edges_there_is_no_cycle(graph, entries):
    names, edges = graph
    forward = [edge for edge in edges if edge not in back_edges(names, edges, names[:entries])]
    layers = layers_of(names, forward)
    assert all(layers[to] > layers[source] for source, to in forward)


def test_a_loop_leads_back_to_where_the_flow_begins():
    edges = [("probe", "decide"), ("decide", "probe"), ("decide", "report")]
    picture = draw(["probe", "decide", "report"], edges)
    assert [line.is_back for line in picture.lines] == [False, True, False]
    assert back_edges(["probe", "decide", "report"], edges) == {("decide", "probe")}


def test_a_loop_leads_back_to_all_entries_on_its_way():
    edges = [("stock", "compare"), ("demand", "compare"), ("compare", "stock"), ("compare", "demand")]
    names = ["stock", "demand", "compare"]
    assert back_edges(names, edges, ["stock", "demand"]) == {("compare", "stock"), ("compare", "demand")}
    assert back_edges(names, [*edges[:2], ("stock", "demand")], ["stock", "demand"]) == set(), "no way leads back"


def test_a_step_that_leads_to_itself_is_drawn_around():
    picture = draw(["again"], [("again", "again")])
    assert picture.lines[0].is_back
    assert picture.height > picture.boxes["again"].y + HEIGHT


def test_a_back_edge_passes_below_all_nodes_of_its_part():
    names = ["a", "b", "c", "d"]
    picture = draw(names, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "a")])
    back = next(line for line in picture.lines if line.is_back)
    assert back.label[1] > max(box.y + box.height for box in picture.boxes.values())


def test_parts_that_no_edge_connects_lie_below_each_other_and_lone_nodes_in_rows():
    names = ["a", "b", "c", "d", *(f"lone{number}" for number in range(7))]
    picture = draw(names, [("a", "b"), ("c", "d")])
    assert picture.boxes["c"].y >= picture.boxes["a"].y + HEIGHT
    assert picture.boxes["lone1"].x > picture.boxes["lone0"].x
    assert picture.boxes["lone5"].y > picture.boxes["lone0"].y


def test_a_chain_is_straight():
    names = [f"s{number}" for number in range(6)]
    picture = draw(names, list(itertools.pairwise(names)))
    assert len({box.y for box in picture.boxes.values()}) == 1


def test_crossings_are_undone_where_that_is_possible():
    above = {"x": ["b"], "y": ["a"]}
    below = {"a": ["y"], "b": ["x"]}
    assert crossings([["a", "b"], ["x", "y"]], below) == 1
    assert crossings(order_layers([["a", "b"], ["x", "y"]], above, below), below) == 0


def test_nothing_is_a_picture_too():
    assert draw([], []).boxes == {}


def grown(count):
    names = [f"s{number}" for number in range(count)]
    edges = {
        (names[max(0, number - 1 - (number * step) % max(2, count // 10))], names[number])
        for number in range(1, count)
        for step in (1, 7)
    }
    return names, sorted(edges)


@pytest.mark.parametrize(("count", "limit"), [(12, 0.01), (200, 0.2)])
def test_layout_is_quick(count, limit):
    # the limits are ten and several times what it takes, as the machine is shared
    names, edges = grown(count)
    took = []
    for _ in range(5):
        layout.cache_clear()
        begin = time.perf_counter()
        draw(names, edges)
        took.append(time.perf_counter() - begin)
    assert min(took) < limit


def test_a_long_chain_is_no_recursion():
    names = [f"s{number}" for number in range(3000)]
    assert draw(names, [*itertools.pairwise(names), (names[-1], names[0])]).lines[-1].is_back
