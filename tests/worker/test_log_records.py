"""Log records of a worker carry stable keys, and no payload."""

from __future__ import annotations

import logging

from django_workflow import Retry, pause_queue, resume_queue
from django_workflow.engine.stored import versions

KEYS = {"run_id", "flow", "step", "queue", "task", "attempt", "outcome", "duration_ms", "error_class", "fingerprint"}


def test_record_of_a_failed_attempt_has_the_stable_keys_and_no_payload_but_in_its_exception(flow, drain, caplog):
    caplog.set_level(logging.WARNING, "django_workflow.worker")

    @flow.step(retry=Retry(max_attempts=1))
    def fails(input):
        raise ValueError(f"it is wrong: {input}\nWARNING nobody said this")

    handle = flow.start({"card": "4711"})
    drain()
    (record,) = [record for record in caplog.records if hasattr(record, "outcome")]
    assert vars(record).keys() >= KEYS
    assert (record.run_id, record.flow, record.step) == (str(handle.id), flow.slug, "fails")
    assert (record.queue, record.attempt, record.outcome) == ("default", 1, "failed")
    assert 0 <= record.duration_ms < 10_000
    kind, error, _ = vars(record).pop("exc_info")
    vars(record).pop("exc_text")
    assert (kind, str(error).count("4711")) == (ValueError, 1)
    assert "4711" not in str(vars(record))
    assert record.message.splitlines() == [record.message], "nobody forges a line by what an error says"
    assert record.message.endswith(": ValueError")


def test_record_of_a_paused_queue_is_one_line(db, caplog):
    caplog.set_level(logging.INFO, "django_workflow")
    versions.ensure_queues(["default"])
    pause_queue("default", reason="why\n2026-01-01 INFO forged \x1b[2K", by="some\rbody")
    resume_queue("default", reason="\u2028new line")
    told = [record.message for record in caplog.records if "queue default" in record.message]
    assert told == [
        "queue default paused by some\\rbody: why\\n2026-01-01 INFO forged \\x1b[2K",
        "queue default resumed by somebody: \\u2028new line",
    ]


def test_record_of_a_refused_outcome_tells_nothing_of_its_data(flow, drain, caplog):
    @flow.step
    def only(input):
        return "4711"

    flow.step(name="then", depends_on=["only"], when="input.nothing.at.all == '0815'")(lambda: None)
    handle = flow.start({"card": "4711"})
    drain()
    assert handle.status == "failed"
    everything = "\n".join(f"{vars(record)} {record.exc_text}" for record in caplog.records)
    assert "4711" not in everything
