"""Identifiers made in Python."""

from __future__ import annotations

import time
import uuid

from django_workflow.ids import uuid7


def test_ids_ascend_also_within_a_millisecond():
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_id_tells_its_version_and_the_millisecond_it_was_made_in():
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 10
