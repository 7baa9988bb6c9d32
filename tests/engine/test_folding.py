"""Folding: one of a kind is told at once, the others are counted."""

from __future__ import annotations

import time
from math import inf

import pytest

from django_workflow.engine.reporting import folding as module
from django_workflow.engine.reporting.folding import Folding


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folding(clock):
    folding = Folding(every=60.0, clock=clock)
    folding.start()
    return folding


def test_a_thousand_alike_are_one_and_a_count(folding, clock):
    told = []
    admitted = [folding.admit("kind", told.append) for _ in range(1000)]
    assert admitted.count(True) == 1
    assert told == []
    clock.now += 60
    folding.tell_due()
    assert told == [999]


def test_a_storm_that_goes_on_is_counted_in_each_interval(folding, clock):
    told = []
    for _ in range(3):
        for _ in range(10):
            folding.admit("kind", told.append)
        clock.now += 60
        folding.tell_due()
    assert told == [9, 10, 10]


def test_what_comes_after_a_quiet_time_is_told_at_once(folding, clock):
    told = []
    assert folding.admit("kind", told.append)
    clock.now += 60
    assert folding.admit("kind", told.append)
    assert told == []


def test_kinds_are_folded_apart(folding):
    told = []
    assert folding.admit("one", told.append)
    assert folding.admit("another", told.append)


def test_what_was_counted_is_told_at_the_end(folding):
    told = []
    for _ in range(3):
        folding.admit("kind", told.append)
    folding.stop()
    assert told == [2]


def test_nothing_is_folded_where_nobody_would_tell_the_count():
    folding = Folding()
    told = []
    assert all(folding.admit("kind", told.append) for _ in range(3))
    assert folding.due_at == inf


def test_it_is_due_with_the_first_interval_that_ends(folding, clock):
    assert folding.due_at == inf
    folding.admit("kind", print)
    assert folding.due_at == clock.now + 60
    clock.now += 60
    folding.tell_due()
    assert folding.due_at == inf


def test_each_time_another_kind_costs_no_more_than_the_first(folding):
    began = time.process_time()
    assert all(folding.admit(number, print) for number in range(20_000))
    assert time.process_time() - began < 2  # 20 s where each looks at all that are there


def test_what_is_counted_of_the_oldest_kind_is_told_before_it_makes_room(folding, clock, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    told = []
    for kind in ("oldest", "oldest", "second"):
        folding.admit(kind, told.append)
        clock.now += 1
    assert folding.admit("third", told.append)
    assert told == [1]
    assert len(folding._folds) == 2
    assert folding.due_at == clock.now - 1 + 60
    assert not folding.admit("second", told.append)
    assert folding.admit("oldest", told.append)


def test_a_kind_that_goes_on_is_due_after_those_that_came_meanwhile(folding, clock):
    told = []
    for _ in range(2):
        folding.admit("on", told.append)
    clock.now += 30
    folding.admit("meanwhile", told.append)
    clock.now += 30
    folding.tell_due()
    assert told == [1]
    assert folding.due_at == clock.now + 30
    clock.now += 30
    assert folding.admit("meanwhile", told.append)
    assert not folding.admit("on", told.append)
