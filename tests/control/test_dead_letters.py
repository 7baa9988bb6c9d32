"""Dead letters: what failed for good, until its run is retried or somebody dismisses it."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from django_workflow import (
    DeadLetter,
    NotSupported,
    Retry,
    adead_letters,
    dead_letters,
    dismiss_dead_letters,
    retry_dead_letters,
    testing,
)
from django_workflow.models import Dismissal, Run, Task
from django_workflow.read import dead_letters as module


@pytest.fixture
def broken(make_flow):
    """Declare a flow that fails, and start it."""

    def start(name="broken", message="number 7", **options):
        flow = make_flow(name)

        @flow.step(retry=Retry(max_attempts=1), **options)
        def charge():
            raise ConnectionError(message)

        run = flow.start()
        testing.run_until_idle()
        return run

    return start


@pytest.fixture
def no_runs(db):
    """No letters but this test's own."""
    assert dead_letters() == []


def test_a_failed_task_of_a_failed_run_is_a_dead_letter(broken, no_runs):
    run = broken()
    task = Task.objects.get(run_id=run.id)
    (letter,) = dead_letters()
    assert letter == DeadLetter(
        task_id=task.pk, run_id=run.id, flow=run.run.flow.slug, step="charge", index=0, error_class="ConnectionError",
        message="number 7", fingerprint=letter.fingerprint, failed_at=task.ended_at, attempts=1,
    )  # fmt: skip
    assert len(letter.fingerprint) == 16


def test_letters_come_newest_first_by_flow_queue_and_page(broken, no_runs):
    first, second, third = broken("one"), broken("two", queue="slow"), broken("three")
    assert [letter.run_id for letter in dead_letters()] == [third.id, second.id, first.id]
    assert [letter.run_id for letter in dead_letters(flow=first.run.flow.slug)] == [first.id]
    assert [letter.run_id for letter in dead_letters(queue="slow")] == [second.id]
    assert dead_letters(flow=first.run.flow.slug, queue="slow") == []
    assert [letter.run_id for letter in dead_letters(limit=1, offset=1)] == [second.id]


def test_equal_errors_have_one_fingerprint(broken, no_runs):
    broken(message="order 1 is gone")
    broken(message="order 22 is gone")
    assert len({letter.fingerprint for letter in dead_letters()}) == 1


def test_what_was_tolerated_or_ended_otherwise_is_no_dead_letter(flow, no_runs):
    flow.defaults["retry"] = Retry(max_attempts=1)
    flow.map(count=2, name="each", tolerate=2)(lambda index: 1 / 0)
    flow.step(name="optional", on_exhausted="skip")(lambda: 1 / 0)
    flow.step(name="bad")(lambda each, optional: 1 / 0)
    run = flow.start()
    testing.run_until_idle()
    assert run.status == "failed"
    assert [letter.step for letter in dead_letters()] == ["bad"]
    cancelled = flow.start()
    cancelled.cancel()
    assert len(dead_letters()) == 1


def test_retrying_letters_retries_their_runs_once_each(flow, no_runs):
    works = []

    @flow.map(over="input", retry=Retry(max_attempts=1), tolerate=1)
    def each(item):
        if not works:
            raise RuntimeError
        return item

    runs = flow.start_many([[1, 2], [3, 4]])
    testing.run_until_idle()
    letters = dead_letters()
    assert len(letters) == 4
    works.append(True)
    retries = retry_dead_letters([letter.task_id for letter in letters], by="ann", reason="repaired")
    assert [retry.run.retry_of_id for retry in retries] == sorted(run.id for run in runs)
    assert {retry.run.started_by for retry in retries} == {"ann"}
    assert retry_dead_letters([letters[0].task_id]) == [retries[1]]
    testing.run_until_idle()
    assert [retry.result()["each"] for retry in retries] == [[1, 2], [3, 4]]
    assert dead_letters() == []
    assert retry_dead_letters([letter.task_id for letter in letters]) == retries
    assert Run.objects.count() == 4


def test_a_letter_goes_as_soon_as_its_run_is_retried_and_a_retry_that_fails_is_one_again(broken, no_runs):
    run = broken()
    new = run.retry()
    assert dead_letters() == []
    testing.run_until_idle()
    assert [letter.run_id for letter in dead_letters()] == [new.id]


def test_what_is_no_dead_letter_is_not_retried(broken, no_runs):
    run, dismissed = broken(), broken()
    (task,) = Task.objects.of_run(run.id)
    (gone,) = Task.objects.of_run(dismissed.id)
    dismiss_dead_letters([gone.pk], "known", "ann")
    with pytest.raises(NotSupported, match=rf"No dead letters: {gone.pk}, {10**9}\.") as caught:
        retry_dead_letters([task.pk, gone.pk, 10**9])
    assert caught.value.task_ids == [gone.pk, 10**9]
    assert Run.objects.filter(retry_of__isnull=False).count() == 0


def test_a_dismissed_letter_is_gone_and_says_why(broken, no_runs):
    one, other = broken(), broken()
    (task,) = Task.objects.of_run(one.id)
    assert dismiss_dead_letters([task.pk], "paid by hand", by="ann") == 1
    assert dismiss_dead_letters([task.pk], "something else", by="ben") == 0
    assert [letter.run_id for letter in dead_letters()] == [other.id]
    dismissal = Dismissal.objects.get()
    assert (dismissal.task_id, dismissal.run_id, dismissal.reason, dismissal.by) == (
        *(task.pk, one.id, "paid by hand", "ann"),
    )
    assert one.status == "failed"


def test_only_dead_letters_are_dismissed_and_only_with_a_reason(broken, flow, no_runs):
    flow.step(name="only")(lambda: 1)
    run = flow.start()
    testing.run_until_idle()
    (task,) = Task.objects.of_run(run.id)
    assert dismiss_dead_letters([task.pk, 10**9], "why") == 0
    broken()
    with pytest.raises(ValueError, match="a dismissal needs a reason"):
        dismiss_dead_letters([dead_letters()[0].task_id], " ")


def test_letters_can_be_read_asynchronously(broken, no_runs):
    run = broken()
    assert [letter.run_id for letter in async_to_sync(adead_letters)()] == [run.id]


#: As many finished runs as make a scan dearer than an index.
FILL = """
    INSERT INTO django_workflow_run (id, flow_id, version_id, title, status, labels, started_at, ended_at)
    SELECT md5(n::text)::uuid, {flow}, 1, 'filling', CASE WHEN n % 400 = 0 THEN 'failed' ELSE 'succeeded' END,
           '{{}}', clock_timestamp(), clock_timestamp()
    FROM generate_series(1, 20000) n;
    INSERT INTO django_workflow_steprun (run_id, step, status, ended_at)
    SELECT id, 'filling', status, clock_timestamp() FROM django_workflow_run WHERE title = 'filling';
    INSERT INTO django_workflow_task (run_id, step_run_id, status, queue, ended_at)
    SELECT run_id, id, status, 'default', clock_timestamp() FROM django_workflow_steprun WHERE step = 'filling';
    INSERT INTO django_workflow_attempt (run_id, task_id, number, ended_at, outcome)
    SELECT t.run_id, t.id, 1, clock_timestamp(), 'failed' FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id AND s.step = 'filling';
    ANALYZE django_workflow_run, django_workflow_steprun, django_workflow_task, django_workflow_attempt
"""


def test_letters_are_found_by_the_index_of_failed_runs(broken, transactional_db):
    run = broken()
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(flow=run.run.flow_id))
    text = module._rows(None, None)[:100].explain(format="json")
    assert "dw_run_not_succeeded" in text
    assert not [node for node in nodes(json.loads(text)[0]["Plan"]) if is_scan(node)]
    assert len(dead_letters()) == 51


def nodes(node):
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def is_scan(node):
    hot = {f"django_workflow_{name}" for name in ("run", "steprun", "task", "attempt")}
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in hot
