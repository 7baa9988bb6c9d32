from tests.perf.contenders import OURS, PROCRASTINATE
from tests.perf.measures import Measure, Peer, Row, table
from tests.perf.stats import at_least, at_most, bootstrap, reaches


def never_played(stage, contender):
    raise AssertionError


def row_of(ours, theirs, bound):
    peer = Peer(PROCRASTINATE, never_played, bound)
    measure = Measure("drain", "title", "/s", never_played, peers=(peer,), ours=OURS)
    return Row(measure, ours, peer, theirs)


def test_interval_holds_its_median_and_is_the_same_each_time():
    values = [1.0, 5.0, 2.0, 4.0, 3.0]
    interval = bootstrap(values)
    assert interval == bootstrap(values)
    assert interval.low <= interval.median == 3.0 <= interval.high


def test_bounds_judge_the_median_unless_the_interval_may_touch_them():
    figure = bootstrap([0.85, 0.86, 0.87, 0.95, 0.96])
    assert not at_least(0.9).holds(figure)
    assert at_most(0.9).holds(figure)
    assert reaches(0.9).holds(figure)


def test_ratio_is_taken_round_by_round_so_that_drift_cancels():
    assert row_of([400.0, 100.0, 800.0], [100.0, 25.0, 200.0], at_least(4)).figure == bootstrap([4.0, 4.0, 4.0])


def test_a_round_the_peer_lost_is_left_out():
    row = row_of([400.0, 400.0], [100.0, float("nan")], at_least(4))
    assert row.figure == bootstrap([4.0])
    assert row.verdict == "pass"


def test_a_peer_that_lost_every_round_is_a_miss_and_not_a_pass():
    row = row_of([400.0], [float("nan")], at_least(4))
    assert row.verdict == "MISS"
    assert "lost" in table([row])
