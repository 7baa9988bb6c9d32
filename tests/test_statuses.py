"""The one status vocabulary and its legal moves."""

import pytest

from django_workflow import statuses

MACHINES = {
    "run": (statuses.RUN_STATUSES, statuses.RUN_MOVES, statuses.RUN_TERMINAL),
    "step run": (statuses.STEP_RUN_STATUSES, statuses.STEP_RUN_MOVES, statuses.STEP_TERMINAL),
    "task": (statuses.TASK_STATUSES, statuses.TASK_MOVES, statuses.TASK_TERMINAL),
}
machines = pytest.mark.parametrize(("vocabulary", "moves", "terminal"), MACHINES.values(), ids=MACHINES)


@machines
def test_every_status_either_moves_on_or_is_terminal(vocabulary, moves, terminal):
    assert set(vocabulary) == set(moves) | terminal
    assert set(moves).isdisjoint(terminal)


@machines
def test_moves_lead_to_statuses_of_the_same_vocabulary_and_never_nowhere(vocabulary, moves, terminal):
    for source, targets in moves.items():
        assert targets <= set(vocabulary)
        assert source not in targets


@machines
def test_every_status_can_still_come_to_an_end(vocabulary, moves, terminal):
    assert all(targets & terminal for targets in moves.values())


def test_a_run_that_has_not_begun_cannot_fail():
    assert statuses.RUN_MOVES["scheduled"] == {"running", "paused", "cancelled"}


@pytest.mark.parametrize("status", ["queued", "held"])
def test_a_task_succeeds_only_after_it_ran_or_was_suspended(status):
    assert "succeeded" not in statuses.TASK_MOVES[status]


def test_a_task_is_suspended_only_while_it_runs():
    assert [source for source, targets in statuses.TASK_MOVES.items() if "suspended" in targets] == ["running"]


def test_choices_are_in_plain_words():
    assert statuses.choices(("timed_out",)) == [("timed_out", "timed out")]
