"""Messages: durable ones arrive once and in order, whoever commits when; others reach whoever listens now."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from django_workflow import (
    PayloadError,
    WorkflowError,
    db,
    listen,
    notify_only,
    recent_messages,
    send_with_notify,
    unlisten,
)
from django_workflow.events.messages import MESSAGE_CHANNEL
from django_workflow.models import Message
from tests.waiting import eventually


def texts(received):
    return [item.message for item in received]


def test_a_message_reaches_every_listener_and_is_consumed_by_none():
    with listen("news", timeout=0) as one, listen("news", timeout=0) as two:
        number = send_with_notify("news", {"title": "Hello"})
        (first,), (second,) = list(one), list(two)
    assert first == second
    assert (first.id, first.channel, first.message, first.is_stored) == (number, "news", {"title": "Hello"}, True)
    assert first.sent_at == Message.objects.get(pk=number).created_at
    assert texts(recent_messages("news")) == [{"title": "Hello"}]


def test_listening_begins_with_the_call_and_not_with_the_first_step():
    send_with_notify("news", "before")
    with listen("news", timeout=0) as listener:
        send_with_notify("news", "after")
        assert texts(listener) == ["after"]


def test_messages_of_other_channels_are_not_heard():
    with listen("news", timeout=0) as listener:
        send_with_notify("sport", 1)
        notify_only("sport", 1)
        send_with_notify("news_", 1)
        assert list(listener) == []


def test_what_is_rolled_back_is_not_sent():
    with listen("news", timeout=0) as listener, db.listen([MESSAGE_CHANNEL, "wfm_news"]) as told:
        with transaction.atomic():
            send_with_notify("news", "never")
            notify_only("news", "never")
            transaction.set_rollback(True)
        with transaction.atomic():
            send_with_notify("news", "sent")
            assert list(listener) == []
        assert texts(listener) == ["sent"]
        assert [channel for channel, _ in told.notifications(1)] == [MESSAGE_CHANNEL]


def test_a_notification_that_is_no_json_is_left_out_and_ends_no_iteration(caplog):
    with listen("news") as listener:
        db.notify([("wfm_news", odd) for odd in ("not JSON", "", "{", "[" * 7_000)])
        notify_only("news", "unstored")
        assert next(listener).message == "unstored"
        db.notify([(MESSAGE_CHANNEL, odd) for odd in ("", "news", "news -1", "news news", " ")])
        send_with_notify("news", "stored")
        assert next(listener).message == "stored"
    assert caplog.text.count("is left out: it is not JSON") == 4


def test_a_notification_wakes_the_listener_and_names_channel_and_id(collect):
    collector = collect(listen("news"))
    with db.listen([MESSAGE_CHANNEL]) as told:
        number = send_with_notify("news", "wake up")
        assert told.wait_for(f"news {number}", 5)
    eventually(lambda: texts(collector.found) == ["wake up"], seconds=2)


def test_a_message_with_a_lower_id_that_commits_later_still_arrives(session):
    slow, quick = session(), session()
    with listen("news", timeout=0) as listener:
        slow.begin()
        low = slow.do(send_with_notify, "news", "slow")
        high = quick.do(send_with_notify, "news", "quick")
        assert low < high
        # it cannot know yet that nothing comes before it
        assert list(listener) == []
        slow.commit()
        assert texts(listener) == ["slow", "quick"]
        assert list(listener) == []


def test_what_an_older_transaction_keeps_back_arrives_when_it_ends_though_nobody_tells(session, collect):
    other = session()
    collector = collect(listen("news"))
    other.begin()
    other.do(db.rows, "SELECT pg_current_xact_id()")
    send_with_notify("news", "kept back")
    other.rollback()
    eventually(lambda: texts(collector.found) == ["kept back"], seconds=2)


def test_what_was_committed_before_listening_is_not_delivered_though_it_is_kept_back(session):
    other = session()
    other.begin()
    other.do(db.rows, "SELECT pg_current_xact_id()")
    send_with_notify("news", "before")
    with listen("news", timeout=0) as listener:
        other.do(send_with_notify, "news", "open")
        send_with_notify("news", "after")
        other.commit()
        assert texts(listener) == ["open", "after"]


def test_messages_of_one_sender_keep_their_order(session):
    with listen("news", timeout=0) as listener:
        for sender in (session(), session()):
            sender.begin()
            sender.do(lambda: [send_with_notify("news", number) for number in range(3)])
            sender.commit()
            sender.do(send_with_notify, "news", 3)
        assert texts(listener) == [0, 1, 2, 3] * 2


def test_a_cursor_goes_on_behind_its_message():
    for number in range(4):
        send_with_notify("news", number)
    with listen("news", after=(0, 0), timeout=0) as listener:
        assert next(listener).message == 0
        second = next(listener)
        assert listener.cursor == second.cursor
    kept = list(second.cursor)  # as JSON gives it back
    with listen("news", after=kept, timeout=0) as listener:
        assert texts(listener) == [2, 3]


def test_a_cursor_that_is_none_is_refused():
    for wrong in (7, "x", (1, 2, 3), ("a", "b")):
        with pytest.raises(WorkflowError, match="A cursor is a pair"):
            listen("news", after=wrong)


def test_a_message_may_be_larger_than_a_notification():
    large = "ä" * 500_000
    with listen("news", timeout=0) as listener:
        send_with_notify("news", large)
        assert texts(listener) == [large]


def test_many_large_messages_are_read_a_few_at_a_time(monkeypatch):
    large = [{"number": number, "text": "x" * 3_000} for number in range(40)]
    from django_workflow.events import following, messages

    sql = messages.READ_MESSAGES.replace(str(following.BATCH_BYTES), "1000")
    monkeypatch.setattr(messages, "READ_MESSAGES", sql)
    monkeypatch.setattr(following, "BATCH_BYTES", 1000)
    with transaction.atomic():
        for message in large:
            send_with_notify("news", message)
    with listen("news", after=(0, 0), timeout=0) as listener:
        assert next(listener).message == large[0]
        assert len(listener._ready) < 39
        assert texts(listener) == large[1:]


def test_null_can_be_sent():
    with listen("news") as listener:
        send_with_notify("news", None)
        notify_only("news", None)
        assert [next(listener).message, next(listener).message] == [None, None]


def test_what_is_no_json_or_too_large_is_refused(settings):
    settings.DJANGO_WORKFLOW = {"MAX_INPUT_BYTES": 10}
    with pytest.raises(PayloadError, match=r"'news' is not JSON at \.x: set is not a JSON type"):
        send_with_notify("news", {"x": {1}})
    with pytest.raises(PayloadError, match="12 bytes of JSON; 10 are allowed"):
        send_with_notify("news", "x" * 10)
    with pytest.raises(PayloadError, match="travels in a notification, has 8,002 bytes of JSON; 7,999 are allowed"):
        notify_only("news", "x" * 8_000)
    assert not Message.objects.exists()


@pytest.mark.parametrize("name", ["", "News", "1st", "a-b", "x" * 41, "a b", None, 'a"'])
def test_a_name_that_cannot_be_a_channels_is_refused_everywhere(name):
    for use in (listen, unlisten, recent_messages, lambda name: send_with_notify(name, 1), lambda n: notify_only(n, 1)):
        with pytest.raises(WorkflowError, match="cannot name a channel: a name has 1 to 40 lower-case letters"):
            use(name)


def test_notify_only_reaches_who_listens_now_and_is_not_stored():
    notify_only("news", "nobody hears")
    with listen("news") as listener:
        with transaction.atomic():
            for _ in range(2):
                notify_only("news", {"progress": 0.5})
        received = [next(listener), next(listener)]
        assert [(item.id, item.message, item.sent_at, item.is_stored) for item in received] == [
            (None, {"progress": 0.5}, None, False)
        ] * 2
        assert received[0].cursor == listener.cursor
    assert recent_messages("news") == []


def test_the_longest_that_notify_only_takes_arrives():
    with listen("n" * 40) as listener:
        notify_only("n" * 40, "x" * 7_997)
        assert next(listener).message == "x" * 7_997


def test_recent_messages_are_the_latest_and_the_oldest_of_them_comes_first():
    for number in range(5):
        send_with_notify("news", number)
    send_with_notify("sport", "other")
    recent = recent_messages("news", limit=3)
    assert texts(recent) == [2, 3, 4]
    assert all(item.is_stored for item in recent)
    with listen("news", after=recent[0].cursor, timeout=0) as listener:
        assert texts(listener) == [3, 4]


def test_recent_messages_see_the_callers_own_and_their_cursor_misses_nothing(session):
    slow = session()
    slow.begin()
    slow.do(send_with_notify, "news", "slow")
    send_with_notify("news", "quick")
    with transaction.atomic():
        send_with_notify("news", "mine")
        assert texts(recent_messages("news")) == ["quick", "mine"]
    cursor = recent_messages("news")[-1].cursor
    slow.commit()
    with listen("news", after=cursor, timeout=0) as listener:
        assert texts(listener) == ["slow", "quick", "mine"]


def test_unlisten_ends_the_iterations_on_a_channel_and_no_others(collect):
    news, again, sport = (collect(listen(name)) for name in ("news", "news", "sport"))
    unlisten("news")
    eventually(lambda: news.has_ended() and again.has_ended(), seconds=2)
    send_with_notify("sport", "goal")
    eventually(lambda: texts(sport.found) == ["goal"], seconds=2)
    unlisten("nothing_listens_here")


def test_a_timeout_may_be_a_timedelta():
    with listen("news", timeout=timedelta(milliseconds=1)) as listener:
        assert list(listener) == []
        send_with_notify("news", "later")
        assert texts(listener) == ["later"]
