"""Loops, joins and splits on many worker processes, some of which are killed: each pass comes once, none is missed."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from django.db import connections

from django_workflow import RunHandle, db, testing
from tests.chaos.harness import LIVE_ROWS, UNSETTLED
from tests.chaos.site.workflows import GATE, PASSES, rounds, splits
from tests.races.effects import CREATE_EFFECTS, DROP_EFFECTS
from tests.races.sessions import sessions
from tests.races.workers import ProcessWorker, Workers, database_url
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True, available_apps=["django_workflow"])]

RUNS = 15
#: How often each step runs in a run.
IN_ROUNDS = dict.fromkeys(
    ("begin", "left", "longer", "right", "meet", "one", "two", "three", "quorum"), PASSES
) | {"done": 1}  # fmt: skip
IN_SPLITS = {
    **dict.fromkeys(("begin", "b", "c"), 1),
    **dict.fromkeys(("twice", "d", "e", "meet", "f", "g"), 2),
    **dict.fromkeys(("often", "h", "i", "gather"), 4),
}
#: Steps whose effect is part of the transaction that settles them.
ATOMIC = {"meet", "quorum", "gather"}
LEASE = ("--lease", "2")

STEP_RUNS = "SELECT step, count(*) FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[]) GROUP BY 1"
EFFECTS = "SELECT step, count(*) FROM race_effect WHERE run_id = ANY(%s::uuid[]) GROUP BY 1"
ALL_EFFECTS = "SELECT count(*) FROM race_effect"
PASSES_OF_ATOMIC = """
    SELECT run_id, step, array_agg(index ORDER BY index) FROM race_effect
    WHERE run_id = ANY(%s::uuid[]) AND step IN ('meet', 'quorum') GROUP BY 1, 2
"""
# a generation of a join in a scope: who arrived, and for which activations these arrivals count
GENERATIONS = """
    SELECT a.step, count(DISTINCT a.step_run_id), count(*), count(DISTINCT a.source), min(s.status)
    FROM django_workflow_arrival a JOIN django_workflow_steprun s ON s.id = a.step_run_id
    WHERE a.run_id = ANY(%s::uuid[]) GROUP BY a.run_id, a.step, a.scope, a.generation
"""
PARALLEL_PASSES = """
    SELECT count(*) FROM (SELECT 1 FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[])
                          GROUP BY run_id, step, scope, iteration HAVING count(*) > 1) again
"""
AT_THE_GATE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


@pytest.fixture
def crew(transactional_db) -> Iterator[Workers]:
    """Worker processes on a database without runs."""
    testing.clean_queues()
    db.execute(CREATE_EFFECTS)
    workers = Workers(database_url(connections["default"].settings_dict))
    yield workers
    workers.end()
    testing.clean_queues()
    db.execute(DROP_EFFECTS)


def work_until(condition: Callable[[], bool], what: str) -> None:
    eventually(condition, what, seconds=200)


def start(count: int) -> tuple[list[RunHandle], list[RunHandle]]:
    return rounds.start_many([None] * count), splits.start_many([None] * count)


def all_settled() -> bool:
    return db.rows(UNSETTLED)[0][0] == 0


def assert_each_pass_came_once(handles: list[RunHandle], expected: dict[str, int], *, is_exact: bool) -> None:
    """Rows and effects say the same; without a killed worker each effect is there once, else that of atomic steps."""
    ids = [handle.id for handle in handles]
    wanted = {step: times * len(ids) for step, times in expected.items()}
    assert {handle.status for handle in handles} == {"succeeded"}
    assert dict(db.rows(STEP_RUNS, [ids])) == wanted
    assert db.rows(PARALLEL_PASSES, [ids])[0][0] == 0
    effects = dict(db.rows(EFFECTS, [ids]))
    once = {step: times for step, times in wanted.items() if is_exact or step in ATOMIC}
    assert {step: effects[step] for step in once} == once
    assert all(effects[step] >= times for step, times in wanted.items())
    sizes = {"meet": 2, "quorum": 3, "gather": 2}
    generations = Counter(db.rows(GENERATIONS, [ids]))
    assert generations == Counter(
        {(step, 1, size, size, "succeeded"): wanted[step] for step, size in sizes.items() if step in wanted}
    )


def assert_all_ended_well(one: list[RunHandle], other: list[RunHandle], *, is_exact: bool) -> None:
    assert_each_pass_came_once(one, IN_ROUNDS, is_exact=is_exact)
    assert_each_pass_came_once(other, IN_SPLITS, is_exact=is_exact)
    found = db.rows(PASSES_OF_ATOMIC, [[handle.id for handle in one]])
    assert {tuple(passes) for *_, passes in found} == {tuple(range(1, PASSES + 1))}
    assert {handle.result().output["rounds"] for handle in one} == {PASSES - 1}
    eventually(lambda: tuple(db.rows(LIVE_ROWS)[0]) == (0, 0, 0, 0), "nothing is left open")


def test_on_eight_workers_no_join_fires_twice_and_none_is_missed(crew: Workers):
    for _ in range(8):
        crew.process()
    handles = start(RUNS)
    work_until(all_settled, "every run settles")
    assert_all_ended_well(*handles, is_exact=True)


def test_killed_workers_lose_no_pass_and_count_none_twice(crew: Workers, capsys):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    dice = random.Random(seed)
    team = [crew.process(*LEASE) for _ in range(4)]
    handles = start(RUNS)
    total = RUNS * (sum(IN_ROUNDS.values()) + sum(IN_SPLITS.values()))
    for moment in sorted(dice.uniform(0.02, 0.95) for _ in range(8)):
        work_until(lambda at=moment * total: db.rows(ALL_EFFECTS)[0][0] >= at or all_settled(), f"it goes on ({seed=})")
        number = dice.randrange(len(team))
        team[number].kill()
        team[number] = crew.process(*LEASE)
    work_until(all_settled, f"every run settles ({seed=})")
    with capsys.disabled():
        again = db.rows(ALL_EFFECTS)[0][0] - total
        print(f"\nloops: seed {seed}, 8 kills, {total} tasks, {again} effects happened again")  # noqa: T201
    assert_all_ended_well(*handles, is_exact=False)


@pytest.mark.parametrize(
    ("flow", "place"),
    [
        (rounds, "longer:5"),  # in the middle of a loop, and of a join that one branch has reached
        (rounds, "meet:5"),  # in a join
        (rounds, "three:5"),  # behind a join that has fired without it, while the loop goes on
        (rounds, "quorum:5"),
        (splits, "twice:1"),  # in both scopes of a split
        (splits, "h:1"),  # below two splits, where each join is reached by one branch
        (splits, "gather:1"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.slug,
)
def test_a_worker_that_is_killed_at_one_place_leaves_a_run_that_ends_well(crew: Workers, flow, place):
    step = place.split(":")[0]
    expected = IN_ROUNDS if flow is rounds else IN_SPLITS
    waiting = 1 if flow is rounds else expected[step]
    with sessions() as session:
        gate = session()
        gate.do(db.rows, "SELECT pg_advisory_lock(%s)", [GATE])
        victim: ProcessWorker = crew.process("--lease", "1", "--concurrency", "8")
        run = flow.start(place)
        eventually(lambda: db.rows(AT_THE_GATE, [GATE])[0][0] >= waiting, "its handlers wait")
        victim.kill()
        gate.do(db.rows, "SELECT pg_advisory_unlock(%s)", [GATE])
    crew.process("--lease", "1")
    work_until(all_settled, "the run settles")
    assert_each_pass_came_once([run], expected, is_exact=False)
    assert dict(db.rows(EFFECTS, [[run.id]]))[step] >= expected[step] + (0 if step in ATOMIC else waiting)
