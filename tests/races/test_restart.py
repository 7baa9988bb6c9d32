"""PostgreSQL goes away under load, and comes back."""

from __future__ import annotations

import pytest

from tests.chaos.harness import site
from tests.waiting import eventually

RUNS = 200


@pytest.mark.slow
@pytest.mark.guard("worker_recovers")
def test_after_a_restart_of_postgres_under_load_workers_reconnect_and_nothing_is_lost(broken_guard):
    with site() as place:
        place.start("chaos", RUNS)
        workers = [place.worker("--lease", "2", "--prefetch", "20") for _ in range(2)]
        eventually(lambda: place.effects.total("book") > RUNS / 10, "they are at work")
        place.cluster.restart("immediate")
        assert place.unsettled() > 0
        eventually(lambda: place.unsettled() == 0, "all runs settle", seconds=15 if broken_guard else 30)
        assert [worker.is_alive() for worker in workers] == [True, True]
        assert place.statuses() == {"succeeded": RUNS}
        assert len(place.effects.of("each")) == 3 * RUNS
        assert set(place.effects.of("book").values()) == {1}
        eventually(lambda: place.live_rows() == (0, 0, 0, 0), "nothing is left open")
