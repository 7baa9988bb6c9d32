"""Where the tasks of a large map stand is counted now and then, for all who look, and pages look again."""

from __future__ import annotations

import pytest

from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.read.run import task_counts as module
from django_workflow.read.run.task_counts import Tally, tallies
from django_workflow.worker.local import perform


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1_000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    yield Clock
    tallies._counts = {}


@pytest.fixture
def handle(make_flow, db):
    flow = make_flow("many")
    flow.map(name="each", over="input")(lambda item: item)
    return flow.start(list(range(20)))


@pytest.fixture
def page(client_of, operator, handle):
    """Load the page of the run; return its answer."""
    client = client_of(operator)
    return lambda: client.get(f"/workflow/runs/{handle.id}/?step=each")


def running(answer):
    return answer.context["facts"].steps["each"].tally.running


def test_what_took_long_to_count_is_counted_again_after_many_times_as_long(clock):
    counted = {"each": Tally(running=3)}
    tallies.keep("a", counted, 2_000, 0.1)
    assert tallies.of("a") == counted
    assert tallies.of("b") is None
    clock.now += 3.9
    assert tallies.seconds_left("a") == pytest.approx(0.1)
    clock.now += 0.2
    assert tallies.of("a") is None
    assert tallies.seconds_left("a") == 0


def test_a_count_is_never_kept_for_long_and_a_quick_one_never(clock):
    tallies.keep("slow", {}, 2_000, 100.0)
    assert tallies.seconds_left("slow") == module.LONGEST
    tallies.keep("quick", {}, 2_000, 0.001)
    assert tallies.of("quick") is None


def test_what_is_no_longer_good_is_forgotten(clock):
    tallies.keep("old", {}, 2_000, 1.0)
    clock.now += 60
    tallies.keep("new", {}, 2_000, 1.0)
    assert set(tallies._counts) == {"new"}


@pytest.fixture
def counts_slowly(clock, monkeypatch):
    """As if each count took a fifth of a second."""
    keep = tallies.keep
    monkeypatch.setattr(tallies, "keep", lambda run_id, found, tasks, seconds: keep(run_id, found, tasks, 0.2))


@pytest.fixture
def is_large(monkeypatch):
    """As if twenty items were many."""
    monkeypatch.setattr(module, "FEW", 10)


@pytest.mark.usefixtures("counts_slowly")
def test_pages_of_small_runs_are_always_right_however_busy_the_server_is(page):
    assert running(page()) == 0
    claim.claim("default", 10, slots=10, lease=60.0)
    answer = page()
    assert running(answer) == 10
    assert "Retry-After" not in answer


@pytest.mark.usefixtures("counts_slowly", "is_large")
def test_pages_of_large_runs_share_a_count_and_are_told_when_to_look_again(page, handle, clock):
    first = page()
    assert running(first) == 0
    assert "Retry-After" not in first, "nothing newer is known"
    claim.claim("default", 10, slots=10, lease=60.0)
    again = page()
    assert running(again) == 0
    assert again["Retry-After"] == "8"
    clock.now += 8.1
    last = page()
    assert running(last) == 10
    assert "Retry-After" not in last
    handle.cancel()
    assert running(page()) == 0, "an activation that has ended has none"


@pytest.mark.usefixtures("counts_slowly", "is_large")
def test_progress_is_right_at_once_also_where_a_count_is_shared(page):
    page()
    settle([perform(task) for task in claim.claim("default", 10, slots=10, lease=60.0)])
    facts = page().context["facts"]
    assert facts.steps["each"].tally.queued == 20
    assert facts.steps["each"].done == 10
    assert facts.totals == (20, 10, 0)
