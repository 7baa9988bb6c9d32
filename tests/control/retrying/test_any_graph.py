"""A retry of any graph executes what its rehearsal told and comes to the same output."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_workflow import Flow, testing
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.models import Task
from tests.control.retrying.stories import ONCE, Story


@st.composite
def graphs(draw):
    """Draw a DAG: for each step whether it is a map, what it depends on, and whether it fails."""
    size = draw(st.integers(1, 8))
    steps = []
    for place in range(size):
        sources = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        items = draw(st.sampled_from([None, None, 0, 1, 3]))
        failing = draw(st.sets(st.integers(0, (items or 1) - 1 if items != 0 else 0), max_size=2))
        steps.append((sorted(sources), items, failing if draw(st.booleans()) else set()))
    return steps


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_a_retry_executes_what_did_not_succeed_and_what_follows_and_comes_to_the_same(db, graph):
    with transaction.atomic():
        check(graph)
        transaction.set_rollback(True)


check_numbers = iter(range(10**6))


def check(graph):
    story = Story()
    flow = Flow(f"random_{next(check_numbers)}", retry=ONCE)
    for place, (sources, items, _) in enumerate(graph):
        names = [f"s{source}" for source in sources]
        declare(flow, story, f"s{place}", names, items)
    expected = flow.execute().output
    assert sum(story.told().values()) == sum(1 if items is None else items for _, items, _ in graph)
    story.broken = {(f"s{place}", index) for place, (_, _, failing) in enumerate(graph) for index in failing}
    old = flow.start()
    testing.run_until_idle()
    done = {
        (step, index)
        for step, index in Task.objects.of_run(old.id).filter(status="succeeded").values_list("step_run__step", "index")
    }
    story.broken = set()
    story.told()
    if old.status == "succeeded":
        return
    rehearsal = rehearse(old.id, RetryRequest())
    assert rehearsal.refusal is None
    new = old.retry()
    testing.run_until_idle()
    result = new.result()
    assert result.output == expected
    check_rehearsal(rehearsal, new)
    again = rerun(graph, old)
    wanted = set()
    for place, (_, items, _) in enumerate(graph):
        name = f"s{place}"
        for index in range(1 if items is None else items):
            if name in again["anew"] or (name in again["part"] and (name, index) not in done):
                wanted.add((name, index))
    assert story.told() == dict.fromkeys(wanted, 1)


def check_rehearsal(rehearsal, new):
    """What was told before came true: of each step, how many tasks were carried over and how many executed."""
    tasks = Task.objects.of_run(new.id)
    carried = Counter(tasks.filter(origin="carried").values_list("step_run__step", flat=True))
    executed = Counter(tasks.filter(origin="").values_list("step_run__step", flat=True))
    for fate in rehearsal.steps:
        assert carried[fate.step] == fate.carried, fate
        assert fate.executed in (None, executed[fate.step]), fate
        assert (fate.fate == "carried") == (executed[fate.step] == 0) or fate.executed is None, fate


def declare(flow, story, name, sources, items):
    if items is None:
        flow.step(name=name, depends_on=sources)(lambda ctx: story.did((name, 0), [name, *map(ctx.output, sources)]))
    else:
        flow.map(name=name, count=items, depends_on=sources)(
            lambda index, ctx: story.did((name, index), [name, index, *map(ctx.output, sources)])
        )


def rerun(graph, old):
    """Say which steps run anew, and which in part, by the rule itself: step by step, from the entry on."""
    statuses = testing.statuses_of(old)
    anew, part = set(), set()
    for place, (sources, items, _) in enumerate(graph):
        name = f"s{place}"
        if any(f"s{source}" in anew | part for source in sources):
            anew.add(name)
        elif statuses.get(name) != "succeeded":
            (part if items else anew).add(name)
    return {"anew": anew, "part": part}
