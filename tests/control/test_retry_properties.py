"""Random graphs that fail somewhere: whatever ended together with the failure, a retry comes to what never failed."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from django_workflow import Flow, To, When, testing
from django_workflow.engine.due import arrivals
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.models import StepRun
from django_workflow.statuses import RUN_TERMINAL

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
NUMBERS = itertools.count()
BROKEN = ErrorRecord.of(ValueError("broken"))
CONDITIONS = (None, None, None, "iteration < 2", "iteration < 4", "iteration % 2 == 0")


@st.composite
def graphs(draw):
    """A flow that leads on by conditions, and back: where ways meet it waits for all, so that no order matters."""
    flow = Flow(f"mended_{next(NUMBERS)}", max_iterations=8, max_tasks=80)
    names = [f"s{number}" for number in range(draw(st.integers(2, 7)))]
    ways = {name: [] for name in names}
    reached = Counter()
    for place, name in enumerate(names[:-1]):
        for to in draw(st.lists(st.sampled_from(names[place + 1 :]), min_size=1, max_size=3, unique=True)):
            delay = draw(st.sampled_from([None, None, None, timedelta(seconds=1)]))
            when = draw(st.sampled_from(CONDITIONS))
            if when:
                ways[name].append(When(when, to, delay=delay))
            else:
                ways[name] += [To(to, delay=delay), To(to, on="skipped", delay=delay)]
            reached[to] += 1
    for place, name in enumerate(names):
        back = [to for to in names[: place + 1] if reached[to] < 2]
        if back and not draw(st.integers(0, 2)):
            ways[name].append(When("iteration < 3", draw(st.sampled_from(back))))
    for name in names:
        join = "all" if reached[name] > 1 else None
        when = draw(st.sampled_from([None, None, None, "false"]))
        flow.step(name=name, join=join, next=ways[name], when=when)(lambda: 1)
    flow.options = replace(flow.options, entry=["s0"])
    return flow


def play(handle, seed, breaks=None):
    """Bring a run to its end by piles of outcomes in random order; one activation fails, if it is given."""
    dice = random.Random(seed)
    hand = []
    for _ in range(300):
        arrivals.arrive_due()
        hand += claim.claim("default", 100, slots=100, lease=60.0)
        if handle.refresh().status in RUN_TERMINAL:
            return
        dice.shuffle(hand)
        count = dice.randint(1, len(hand)) if hand else 0
        pile, hand = hand[:count], hand[count:]
        broken, good = partial(outcome.failed, error=BROKEN, is_retryable=False), partial(outcome.succeeded, output="1")
        if not pile:
            testing.advance(timedelta(seconds=2))
        settle([(broken if (task.step.name, task.iteration) == breaks else good)(task) for task in pile])
    raise AssertionError(f"run {handle.id} does not end: {testing.statuses_of(handle)}")


def activations(handle):
    """Count what has been, and how it ended."""
    found = StepRun.objects.filter(run_id=handle.id).exclude(status="cancelled")
    return Counter(found.values_list("step", "iteration", "status"))


@given(graph=graphs(), seed=st.integers(0, 99), data=st.data())
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
def test_a_retry_comes_to_what_a_run_without_the_failure_comes_to(graph, seed, data):
    whole = graph.start()
    play(whole, seed)
    executed = StepRun.objects.filter(run_id=whole.id, task_count__gt=0).values_list("step", "iteration")
    assume(whole.status == "succeeded" and executed and not graph.spec.splits)
    mended = graph.start()
    play(mended, seed + 1, breaks=data.draw(st.sampled_from(sorted(executed))))
    if mended.status == "failed":
        mended = mended.retry()
        play(mended, seed + 2)
    event(f"{len(executed)} activations")
    assert mended.status == "succeeded"
    assert activations(mended) == activations(whole)
