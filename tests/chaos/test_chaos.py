"""Workers and the server die again and again: everything settles, and every effect is there."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.chaos.harness import Site, site
from tests.waiting import eventually

pytestmark = pytest.mark.chaos

RUNS = 1_200
WORKERS = 4
KILLS = 12
ARGUMENTS = ("--lease", "2", "--prefetch", "20")
#: Effects of one run: first, second, three items, beside, join, book.
EFFECTS = 8
SECONDS = 150.0

COUNT_EFFECTS = "SELECT count(DISTINCT (run_id, step, index)) FROM race_effect"
BY_STEP = "SELECT step, count(*), count(DISTINCT (run_id, index)) FROM race_effect GROUP BY 1"
LOSSES = "SELECT outcome, is_counted, count(*) FROM django_workflow_attempt GROUP BY 1, 2 ORDER BY 1, 2"
FAILURES = """
    SELECT error->>'step', error->>'class', left(error->>'message', 300), count(*) FROM django_workflow_run
    WHERE status <> 'succeeded' GROUP BY 1, 2, 3
"""
HAS_BEGUN = "SELECT 1 FROM django_workflow_worker WHERE pid = %s"
WRONG_OUTPUTS = """
    SELECT count(*) FROM django_workflow_task t JOIN django_workflow_steprun s ON s.id = t.step_run_id
    JOIN django_workflow_run r ON r.id = t.run_id
    WHERE s.step = 'book' AND t.output IS DISTINCT FROM jsonb_build_array(
        (r.input #>> '{}')::int * 10, (r.input #>> '{}')::int * 10 + 1, (r.input #>> '{}')::int * 10 + 2, r.input)
"""


@pytest.fixture
def place():
    """A site of one's own."""
    with site() as made:
        yield made


def test_killed_workers_and_a_killed_server_lose_nothing(place: Site, capsys):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    dice = random.Random(seed)
    place.start("chaos", RUNS)
    began = time.monotonic()
    crew = Crew(place)
    total = RUNS * EFFECTS
    # disasters strike as the work goes on, not by the clock, and the last ones before its end
    moments = sorted(dice.uniform(0.02, 0.9) for _ in range(KILLS))
    restart_at = dice.randrange(3, KILLS - 3)
    for number, moment in enumerate(moments):
        crew.work_until(lambda at=moment * total: done(place) >= at, f"the work goes on ({seed=})")
        crew.kill(dice.randrange(WORKERS))
        if number == restart_at:
            place.cluster.restart("immediate")
    crew.work_until(lambda: place.unsettled() == 0, f"every run settles ({seed=})")
    seconds = time.monotonic() - began
    eventually(lambda: place.live_rows() == (0, 0, 0, 0), f"nothing is left open ({seed=})")
    by_step = {step: (effects, distinct) for step, effects, distinct in place.rows(BY_STEP)}
    with capsys.disabled():
        again = sum(effects - distinct for effects, distinct in by_step.values())
        attempts = ", ".join(
            f"{count} {outcome}{'' if counted else ' (uncounted)'}" for outcome, counted, count in place.rows(LOSSES)
        )
        print(  # noqa: T201
            f"\nchaos: seed {seed}, {RUNS} runs, {KILLS} kills and a restart in {seconds:.0f} s;"
            f" {again} of {total} effects happened again; attempts: {attempts}"
        )
    assert place.rows(FAILURES) == []
    assert place.statuses() == {"succeeded": RUNS}
    assert {step: distinct for step, (_, distinct) in by_step.items()} == {
        "first": RUNS, "second": RUNS, "each": 3 * RUNS, "beside": RUNS, "join": RUNS, "book": RUNS,
    }  # fmt: skip
    assert by_step["book"] == (RUNS, RUNS), "an atomic step had its effect more than once"
    assert place.rows(WRONG_OUTPUTS)[0][0] == 0
    assert crew.broke_down == 0, "a worker ended by itself"


class Crew:
    """Workers under somebody who starts another one for each that ends, as a supervisor does."""

    def __init__(self, place: Site) -> None:
        self.place = place
        self.broke_down = 0
        self._workers = [place.worker(*ARGUMENTS) for _ in range(WORKERS)]

    def kill(self, number: int) -> None:
        """Kill a worker and start another one."""
        self._workers[number].kill()
        self._workers[number] = self.place.worker(*ARGUMENTS)

    def work_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let them work until `condition` holds."""
        eventually(lambda: self._replace_the_dead() or condition(), what, seconds=SECONDS)

    def _replace_the_dead(self) -> None:
        for number, worker in enumerate(self._workers):
            if not worker.is_alive():
                # one that finds no server when it starts says so and ends; one that has begun to work never ends
                self.broke_down += bool(self.place.rows(HAS_BEGUN, [worker.pid]))
                self._workers[number] = self.place.worker(*ARGUMENTS)


def done(place: Site) -> int:
    return int(place.rows(COUNT_EFFECTS)[0][0])


NEIGHBOURS = 60
ATTEMPTS_OF_KILLER = """
    SELECT a.outcome, a.is_counted FROM django_workflow_attempt a
    JOIN django_workflow_run r ON r.id = a.run_id JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
    WHERE f.slug = 'killer' ORDER BY a.id
"""
BY_FLOW = """
    SELECT f.slug, r.status, count(*) FROM django_workflow_run r
    JOIN django_workflow_flowdefinition f ON f.id = r.flow_id GROUP BY 1, 2
"""


def test_a_handler_that_always_kills_its_worker_fails_and_its_neighbours_succeed(place: Site, capsys):
    place.start("quick", NEIGHBOURS // 2)
    place.start("killer", 1)
    place.start("quick", NEIGHBOURS // 2)
    workers = [place.worker(*ARGUMENTS, "--concurrency", "4")]
    deaths = 0

    def all_settled_with_a_worker_restarted() -> bool:
        nonlocal deaths
        if not workers[-1].is_alive():
            deaths += 1
            workers.append(place.worker(*ARGUMENTS, "--concurrency", "4"))
        return place.unsettled() == 0

    eventually(all_settled_with_a_worker_restarted, "every run settles", seconds=60)
    assert {(slug, status): count for slug, status, count in place.rows(BY_FLOW)} == {
        ("killer", "failed"): 1,
        ("quick", "succeeded"): NEIGHBOURS,
    }
    attempts = Counter(place.rows(ATTEMPTS_OF_KILLER))
    assert attempts["lost", True] == 3, "max_attempts is 3"
    assert attempts["lost", False] <= 1
    assert sum(attempts.values()) == deaths == place.effects.total("kill")
    eventually(lambda: place.live_rows() == (0, 0, 0, 0), "nothing is left open")
    with capsys.disabled():
        print(f"\nkiller: {deaths} workers died, attempts {dict(attempts)}")  # noqa: T201
