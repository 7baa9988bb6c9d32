"""What the races say to be their guards is there to be removed: code that moved takes its guard along."""

from __future__ import annotations

import pytest

from tests.races.guards import GUARDS


@pytest.mark.parametrize("name", GUARDS)
def test_guard_of_a_race_can_be_removed(name, monkeypatch):
    removed = []

    def put(place, name, value):
        removed.append(name)
        monkeypatch.setattr(place, name, value)

    GUARDS[name].remove(put)
    assert removed
