"""Checks of graphs: cycles, strongly connected components, what is reachable; also of large ones."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.graph import components, find_cycles, reachable

graphs = st.integers(1, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            f"s{number}": st.lists(st.sampled_from([f"s{other}" for other in range(size)]), max_size=4)
            for number in range(size)
        }
    )
)


def behind(successors, step):
    """Every step that one way or more lead to, found step by step."""
    found = set()
    while grown := {to for name in (step, *found) for to in successors[name]} - found:
        found |= grown
    return found


@given(graphs)
def test_steps_that_reach_each_other_share_a_component_and_no_others(successors):
    numbers = components(successors)
    assert set(numbers) == set(successors)
    for one in successors:
        for other in successors:
            is_mutual = one == other or (other in behind(successors, one) and one in behind(successors, other))
            assert (numbers[one] == numbers[other]) == is_mutual


@given(graphs, st.data())
def test_what_is_reachable_is_what_any_number_of_ways_leads_to(successors, data):
    begin = data.draw(st.lists(st.sampled_from(sorted(successors)), unique=True))
    assert reachable(successors, begin) == set(begin).union(*(behind(successors, step) for step in begin))


@given(graphs)
def test_cycles_are_found_where_there_are_any_each_with_its_path(sources):
    cycles = list(find_cycles(sources))
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        # the path follows the ways on: each step is one that the next one waits for
        assert all(one in sources[other] for one, other in pairwise(cycle))
    on_cycle = [step for step in sources if any(step in behind(sources, to) for to in sources[step] if to != step)]
    assert bool(cycles) == bool(on_cycle)
    listed = [step for cycle in cycles for step in cycle[1:]]
    assert len(listed) == len(set(listed)), "no two cycles share a step"


def test_a_step_that_leads_nowhere_known_is_reachable_itself():
    assert reachable({"a": ["b"]}, ["a", "c"]) == {"a", "b", "c"}


LARGE = 5_000


def chain(*, is_closed):
    names = [f"s{number}" for number in range(LARGE)]
    successors = {name: [following] for name, following in pairwise(names)}
    return successors | {names[-1]: [names[0]] if is_closed else []}


def test_a_long_chain_and_a_long_cycle_need_no_recursion():
    assert len(set(components(chain(is_closed=False)).values())) == LARGE
    assert len(set(components(chain(is_closed=True)).values())) == 1
    assert len(reachable(chain(is_closed=True), ["s0"])) == LARGE
    assert [len(cycle) for cycle in find_cycles(chain(is_closed=True))] == [LARGE + 1]
