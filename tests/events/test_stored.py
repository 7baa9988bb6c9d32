"""The engine's events, followed: each once, those of a run in order."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_workflow import RunHandle, db, follow, testing
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.writing import event_log
from django_workflow.models import Event, Run
from tests.events.conftest import cut
from tests.waiting import eventually

STORY = ["run.started", "step.started", "step.completed", "run.completed"]


@pytest.fixture
def simple(flow):
    flow.step(name="root")(lambda: 1)
    return flow


def types(events):
    return [event.type for event in events]


def tell(run_id, *kinds):
    """Write events of a run as the verbs do, under its lock."""
    lock_runs([run_id], wait_ms=5_000)
    log = event_log.EventLog()
    for kind in kinds:
        log.run(run_id, kind)
    log.write()
    db.notify_after_commit([(db.RUN_CHANNEL, str(run_id))])


def test_events_of_all_runs_are_followed_from_now_on(simple):
    simple.execute()
    with follow(timeout=0) as events:
        run_id = simple.execute().run_id
        found = list(events)
    assert types(found) == STORY
    assert {event.run_id for event in found} == {run_id}
    assert found == list(Event.objects.filter(run_id=run_id).order_by("number"))
    assert found[0].data is None
    assert Event.objects.get(pk=found[0].pk).created_at == found[0].created_at


def test_one_run_can_be_followed_by_handle_row_or_id(simple):
    handle = RunHandle(simple.execute(by="ann").run_id)
    simple.execute()
    for run in (handle, handle.run, handle.id, str(handle.id)):
        with follow(run, after=(0, 0), timeout=0) as events:
            found = list(events)
        assert types(found) == STORY
        assert found[0].data == {"by": "ann"}
        assert [event.number for event in found] == [1, 2, 3, 4]


def test_one_run_is_followed_from_now_on_unless_a_cursor_is_given(simple):
    run_id = simple.start().id
    with follow(run_id, timeout=0) as events:
        testing.run_until_idle()
        assert types(events) == STORY[2:]
    first, second = Event.objects.filter(run_id=run_id).order_by("number")[:2]
    with follow(run_id, after=first.cursor, timeout=0) as events:
        assert types(events) == STORY[1:]
    with follow(after=second.cursor, timeout=0) as events:
        assert types(events) == STORY[2:]


def test_a_run_that_does_not_exist_yet_can_be_followed(simple):
    from uuid import uuid4

    run_id = uuid4()
    with follow(run_id, timeout=0) as events:
        assert list(events) == []
        simple.start(run_id=run_id)
        assert types(events) == STORY[:2]


def test_types_choose_what_is_delivered_and_the_cursor_passes_the_others(simple):
    with follow(types=["run.*", "step.completed"], timeout=0) as events:
        simple.execute()
        assert types(events) == ["run.started", "step.completed", "run.completed"]
    with follow(types="run.failed", timeout=0) as events:
        simple.execute()
        assert list(events) == []
        assert events.cursor == Event.objects.order_by("xid", "id").last().cursor


def test_what_was_committed_before_following_is_not_delivered_though_it_is_kept_back(simple, session):
    other = session()
    other.begin()
    other.do(db.rows, "SELECT pg_current_xact_id()")
    simple.execute()
    with follow(timeout=0) as events:
        later = simple.execute().run_id
        other.commit()
        assert {event.run_id for event in events} == {later}


def test_events_of_all_runs_wait_for_older_transactions_and_those_of_one_run_do_not(simple, session):
    other = session()
    other.begin()
    other.do(db.rows, "SELECT pg_current_xact_id()")
    with follow(timeout=0) as events:
        run_id = simple.execute().run_id
        assert list(events) == []
        with follow(run_id, after=(0, 0), timeout=0) as own:
            assert types(own) == STORY
        other.commit()
        assert types(events) == STORY


def test_an_event_of_an_early_transaction_waits_for_those_before_it(simple, session):
    """Its transaction got its id first and the run's lock last: what it tells has the lower id, and comes later."""
    early, late, open_one = session(), session(), session()
    run_id = simple.start().id
    with follow(timeout=0) as events:
        early.begin()
        early_xid = early.do(db.rows, "SELECT pg_current_xact_id()::text::bigint")[0][0]
        open_one.begin()
        open_xid = open_one.do(db.rows, "SELECT pg_current_xact_id()::text::bigint")[0][0]
        late.begin()
        late.do(tell, run_id, "third", "fourth")
        late.commit()
        early.do(tell, run_id, "fifth")
        early.commit()
        assert early_xid < open_xid
        # of the fifth's own transaction nothing older is open, but the third's and fourth's it has to wait for
        assert list(events) == []
        open_one.commit()
        found = list(events)
    assert types(found) == ["third", "fourth", "fifth"]
    assert [event.number for event in found] == [3, 4, 5]
    for place, event in enumerate(found):
        with follow(after=event.cursor, timeout=0) as rest:
            assert types(rest) == ["third", "fourth", "fifth"][place + 1 :]


def test_a_follower_wakes_when_a_run_starts_or_goes_on(simple, collect):
    collector = collect(follow())
    handle = simple.start()
    eventually(lambda: types(collector.found) == STORY[:2], seconds=2)
    handle.cancel()
    eventually(lambda: types(collector.found) == [*STORY[:2], "run.cancelled"], seconds=2)


def test_a_follower_whose_connection_breaks_goes_on_where_it_was(simple):
    with follow(timeout=1) as events:
        simple.start()
        assert next(events).type == "run.started"
        cut(events)
        simple.start()
        assert types(events) == ["step.started", "run.started", "step.started"]


def test_what_is_rolled_back_was_never_told(simple):
    with follow(timeout=0) as events:
        with transaction.atomic():
            simple.start()
            transaction.set_rollback(True)
        assert list(events) == []
    assert not Run.objects.exists()


def test_a_long_story_is_read_in_batches(simple):
    run_id = simple.start().id
    with transaction.atomic():
        tell(run_id, *(f"mine.{number}" for number in range(1_200)))
    for run in (None, run_id):
        with follow(run, types=["mine.*"], after=(0, 0), timeout=0) as events:
            assert types(events) == [f"mine.{number}" for number in range(1_200)]
