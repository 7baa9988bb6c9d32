"""Log records of a worker carry stable keys, and no payload."""

from __future__ import annotations

import logging

from django_workflow import Retry

KEYS = {"run_id", "flow", "step", "queue", "task", "attempt", "outcome", "duration_ms"}


def test_record_of_a_failed_attempt_has_the_stable_keys_and_no_payload(flow, drain, caplog):
    caplog.set_level(logging.WARNING, "django_workflow.worker")

    @flow.step(retry=Retry(max_attempts=1))
    def fails(input):
        raise ValueError("it is wrong")

    handle = flow.start({"card": "4711"})
    drain()
    (record,) = [record for record in caplog.records if hasattr(record, "outcome")]
    assert vars(record).keys() >= KEYS
    assert (record.run_id, record.flow, record.step) == (str(handle.id), flow.slug, "fails")
    assert (record.queue, record.attempt, record.outcome) == ("default", 1, "failed")
    assert 0 <= record.duration_ms < 10_000
    assert "4711" not in str(vars(record))
