"""Followers race with those who write: transactions end in another order than they drew their ids."""

from __future__ import annotations

import pytest

from django_workflow import db, follow, listen, send_with_notify
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.writing import event_log
from django_workflow.events.following import Read
from django_workflow.events.messages import MESSAGE_CHANNEL
from tests.races import sessions
from tests.waiting import eventually

MY_XID = "SELECT pg_current_xact_id()::text::bigint"


def texts(received):
    return [item.message for item in received]


def tell(run_id, *kinds):
    """Write events of a run as the verbs do, under its lock."""
    lock_runs([run_id], wait_ms=5_000)
    log = event_log.EventLog()
    for kind in kinds:
        log.run(run_id, kind)
    log.write()


@pytest.mark.guard("cursor_is_not_the_id_alone", "open_transactions_keep_messages_back")
def test_a_message_with_a_lower_id_that_commits_later_arrives(session):
    slow = session()
    with listen("news", timeout=0) as listener:
        slow.begin()
        low = slow.do(send_with_notify, "news", "slow")
        assert low < send_with_notify("news", "quick")
        found = texts(listener)
        slow.commit()
        assert found + texts(listener) == ["slow", "quick"]


@pytest.mark.guard("cursor_is_not_the_id_alone")
def test_a_message_with_a_lower_id_of_a_later_transaction_arrives(session):
    late, early = session(), session()
    with listen("news", timeout=0) as listener:
        early.begin()
        early.do(db.rows, MY_XID)
        late.begin()
        low = late.do(send_with_notify, "news", "late")
        high = early.do(send_with_notify, "news", "early")
        assert low < high
        early.commit()
        found = texts(listener)
        late.commit()
        assert found + texts(listener) == ["early", "late"]


@pytest.mark.guard("kept_back_is_looked_at_soon")
def test_what_an_older_transaction_kept_back_arrives_when_it_ends(session):
    other = session()
    waiting = session()
    with listen("news") as listener, db.listen([MESSAGE_CHANNEL]) as told:
        look, looked = listener._look, []
        listener._look = lambda: looked.append(look()) or looked[-1]
        found = waiting.start(next, listener)
        other.begin()
        other.do(db.rows, MY_XID)
        number = send_with_notify("news", "kept back")
        assert told.wait_for(f"news {number}", sessions.SECONDS)
        eventually(lambda: Read.KEPT_BACK in looked, "it has looked")
        other.rollback()  # nobody tells of it
        assert found.result(sessions.SECONDS).message == "kept back"


@pytest.mark.guard("reconnecting_reads")
def test_what_was_sent_while_nobody_listened_arrives_after_reconnecting(session):
    waiting = session()
    with listen("news") as listener:
        found = waiting.start(next, listener)
        eventually(lambda: listener._look_at > 0, "it waits")
        listener._retry = 0.5  # seconds: until then it has been told
        pid = listener._listener._wrapper.connection.info.backend_pid
        # in one transaction: it is told of when the listener has gone
        with db.atomic():
            send_with_notify("news", "meanwhile")
            db.rows("SELECT pg_terminate_backend(%s::int, 5000)", [pid])
        assert found.result(sessions.SECONDS).message == "meanwhile"


@pytest.mark.guard("events_of_a_run_climb")
def test_an_event_of_an_early_transaction_does_not_overtake_those_before_it(session, flow):
    flow.step(name="root")(lambda: 1)
    run_id = flow.start().id
    early, late, other = session(), session(), session()
    with follow(timeout=0) as events:
        early.begin()
        early.do(db.rows, MY_XID)
        other.begin()
        other.do(db.rows, MY_XID)
        late.begin()
        late.do(tell, run_id, "third", "fourth")
        late.commit()
        early.do(tell, run_id, "fifth")
        early.commit()
        found = list(events)
        other.commit()
        found += list(events)
    assert [(event.number, event.type) for event in found] == [(3, "third"), (4, "fourth"), (5, "fifth")]


@pytest.mark.guard("open_transactions_keep_events_back")
def test_an_event_that_commits_late_arrives(session, flow):
    flow.step(name="root")(lambda: 1)
    one, other = (handle.id for handle in flow.start_many([1, 2]))
    slow = session()
    with follow(timeout=0) as events:
        slow.begin()
        slow.do(tell, one, "slow")
        with db.atomic():
            tell(other, "quick")
        found = list(events)
        slow.commit()
        found += list(events)
    assert sorted(event.type for event in found) == ["quick", "slow"]
