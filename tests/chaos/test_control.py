"""Operators against completions: verbs at random moments, while four worker processes go on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from django.db import connections

from django_workflow import (
    AlreadySettled,
    NotSupported,
    RunHandle,
    cancel,
    db,
    pause,
    resume,
    retry,
    skip_step,
    testing,
)
from tests.chaos.harness import LIVE_ROWS, UNSETTLED
from tests.chaos.site.workflows import chaos
from tests.races.effects import CREATE_EFFECTS, DROP_EFFECTS
from tests.races.workers import Workers, database_url
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True, available_apps=["django_workflow"])]

ROUNDS = 200
#: Runs that are started together; the verbs reach the first of them at their begin and the last ones at their end.
TOGETHER = 20
WORKERS = 4
#: Effects of one whole run: first, second, three items, beside, join, book.
STEPS = {"first": 1, "second": 1, "each": 3, "beside": 1, "join": 1, "book": 1}
EFFECTS = """
    SELECT step, count(DISTINCT (run_id, index)), count(*) FROM race_effect WHERE run_id = ANY(%s::uuid[]) GROUP BY 1
"""
GAPS = """
    SELECT run_id FROM django_workflow_event GROUP BY run_id
    HAVING min(number) <> 1 OR max(number) <> count(*) OR count(DISTINCT number) <> count(*)
"""
AT_WORK = """
    SELECT count(*) FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
    WHERE r.status = 'paused' AND t.status IN ('queued', 'running')
"""
BEGUN_LATE = """
    SELECT count(*) FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
    WHERE r.status = 'paused' AND t.begun_at > r.paused_at + interval '1 second'
"""


@pytest.fixture
def dice(request) -> random.Random:
    """Chance that can be had again: CHAOS_SEED."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    request.node.add_report_section("setup", "seed", f"CHAOS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def _crew(transactional_db) -> Iterator[None]:
    """Four worker processes on a database without runs."""
    testing.clean_queues()
    db.execute(CREATE_EFFECTS)
    chaos.current_spec()
    workers = Workers(database_url(connections["default"].settings_dict))
    for _ in range(WORKERS):
        workers.process("--prefetch", "20")
    eventually(
        lambda: db.rows("SELECT count(*) FROM django_workflow_worker")[0][0] == WORKERS, "four workers", seconds=30
    )
    yield
    workers.end()
    testing.clean_queues()
    db.execute(DROP_EFFECTS)


def at_random_moments(dice: random.Random, verb: Callable[[RunHandle], object]) -> list[RunHandle]:
    """Start runs and let `verb` reach each of them at some moment; what comes too late is refused, and no more."""
    every: list[RunHandle] = []
    for _ in range(ROUNDS // TOGETHER):
        handles = chaos.start_many(range(TOGETHER))
        every += handles
        for handle in dice.sample(handles, len(handles)):
            with suppress(AlreadySettled):
                verb(handle)
    return every


def all_settle() -> None:
    """Everything settles, nothing is left open, and no run's events have a gap."""
    eventually(lambda: db.rows(UNSETTLED)[0][0] == 0, "every run settles", seconds=90)
    eventually(lambda: tuple(db.rows(LIVE_ROWS)[0]) == (0, 0, 0, 0), "nothing is left open")
    assert db.rows(GAPS) == []


def effects(handles: list[RunHandle]) -> dict[str, tuple[int, int]]:
    """Return by step how many effects there are, each counted once, and in all."""
    found = db.rows(EFFECTS, [[handle.id for handle in handles]])
    return {step: (distinct, total) for step, distinct, total in found}


def each_once(handles: list[RunHandle]) -> dict[str, tuple[int, int]]:
    """Return the effects of runs in which nothing ran twice."""
    return {step: (count * len(handles), count * len(handles)) for step, count in STEPS.items()}


def statuses(handles: list[RunHandle]) -> set[str]:
    """Return how runs have ended."""
    return {handle.status for handle in handles}


def test_cancels_leave_every_run_settled(dice):
    handles = at_random_moments(dice, lambda handle: cancel(handle, reason="chaos"))
    all_settle()
    assert statuses(handles) == {"cancelled", "succeeded"} or statuses(handles) == {"cancelled"}
    whole = [handle for handle in handles if handle.status == "succeeded"]
    booked = {run_id for (run_id,) in db.rows("SELECT run_id FROM race_effect WHERE step = 'book'")}
    assert booked == {handle.id for handle in whole}, (
        "what an atomic step wrote is there if and only if its run ended well"
    )


def test_nothing_begins_later_than_a_second_after_a_pause_and_everything_goes_on_after_it(dice):
    handles = at_random_moments(dice, pause)
    paused = [handle for handle in handles if handle.status == "paused"]
    assert paused, "every pause came too late"
    eventually(lambda: db.rows(AT_WORK)[0][0] == 0, "what ran has ended, the rest is held")
    assert db.rows(BEGUN_LATE)[0][0] == 0
    for handle in paused:
        with suppress(AlreadySettled):  # its last task ended while it was paused
            resume(handle)
    all_settle()
    assert statuses(handles) == {"succeeded"}
    assert effects(handles) == each_once(handles)


def test_pauses_and_resumes_lose_nothing_and_do_nothing_twice(dice):
    def pause_and_resume(handle: RunHandle) -> None:
        pause(handle)
        resume(handle)

    handles = at_random_moments(dice, pause_and_resume)
    all_settle()
    assert statuses(handles) == {"succeeded"}
    assert effects(handles) == each_once(handles)


def test_retries_of_what_was_cancelled_a_moment_ago_do_the_rest(dice):
    retries: list[tuple[RunHandle, RunHandle]] = []

    def cancel_and_retry(handle: RunHandle) -> None:
        cancel(handle)
        retries.append((handle, retry(handle)))

    handles = at_random_moments(dice, cancel_and_retry)
    assert retries, "every cancel came too late"
    all_settle()
    again = [second for _, second in retries]
    untouched = [handle for handle in handles if handle.status == "succeeded"]
    assert statuses(again) == {"succeeded"}
    assert len(untouched) + len(retries) == ROUNDS
    for first, second in retries:
        number = first.run.input
        assert second.result()["book"] == [number * 10, number * 10 + 1, number * 10 + 2, number]
    assert effects([*untouched, *again])["book"] == (ROUNDS, ROUNDS)


def test_skipped_steps_end_their_runs_well(dice):
    def skip(handle: RunHandle) -> None:
        with suppress(NotSupported):  # the step has not been reached yet
            skip_step(handle, dice.choice(["beside", "second"]))

    handles = at_random_moments(dice, skip)
    all_settle()
    assert statuses(handles) == {"succeeded"}
    assert effects(handles)["book"] == (ROUNDS, ROUNDS)
