"""A restored database has the transaction ids of the cluster that it was dumped in."""

from __future__ import annotations

import pytest

from django_workflow import WorkflowError, db, follow, listen, recent_messages, send_with_notify
from django_workflow.events import renumbering
from django_workflow.ids import uuid7
from django_workflow.models import Event, Message, Renumbering
from django_workflow.read import doctor
from django_workflow.worker.loops.keeper import Keeper
from tests.events.test_stored import tell

#: How far the old cluster was ahead of the new one.
AHEAD = 10**9
MOVE = """
    SELECT set_config('django_workflow.repair', 'on', true);
    UPDATE django_workflow_event SET xid = xid + {ahead}; UPDATE django_workflow_message SET xid = xid + {ahead}
"""


def restore(ahead=AHEAD):
    """Let all that is stored have been written in a cluster that was so many transactions ahead."""
    with db.atomic():
        db.run_script(MOVE.format(ahead=ahead))


def of_old(cursor, ahead=AHEAD):
    xid, row = cursor
    return xid + ahead, row


def texts(received):
    return [item.message for item in received]


def types(events):
    return [event.type for event in events]


@pytest.fixture
def run_id():
    """A run with three events that the old cluster wrote, each in its own transaction."""
    made = uuid7()
    for name in ("mine.one", "mine.two", "mine.three"):
        tell(made, name)
    return made


def test_messages_go_on_behind_a_cursor_of_the_old_cluster():
    for text in ("one", "two", "three"):
        send_with_notify("news", text)
    cursors = [item.cursor for item in recent_messages("news")]
    restore()
    renumbering.repair()
    send_with_notify("news", "new")
    for cursor, rest in zip(cursors, (["two", "three", "new"], ["three", "new"], ["new"]), strict=True):
        with listen("news", after=of_old(cursor), timeout=0) as listener:
            assert texts(listener) == rest
    with listen("news", after=(0, 0), timeout=0) as listener:
        assert texts(listener) == ["one", "two", "three", "new"]
    assert texts(recent_messages("news")) == ["one", "two", "three", "new"]


def test_events_go_on_behind_a_cursor_of_the_old_cluster(run_id):
    cursors = [event.cursor for event in Event.objects.order_by("id")]
    restore()
    renumbering.repair()
    tell(run_id, "mine.new")
    for chosen in (None, run_id):
        with follow(chosen, after=of_old(cursors[1]), timeout=0) as events:
            assert types(events) == ["mine.three", "mine.new"]
        with follow(chosen, after=(0, 0), timeout=0) as events:
            assert types(events) == ["mine.one", "mine.two", "mine.three", "mine.new"]


def test_a_cursor_that_was_given_after_the_repair_stays_as_it_is(run_id):
    restore()
    renumbering.repair()
    tell(run_id, "mine.new")
    with follow(after=(0, 0), timeout=0) as events:
        found = list(events)
    for place, event in enumerate(found):
        with follow(after=event.cursor, timeout=0) as events:
            assert types(events) == types(found[place + 1 :])


def test_without_a_repair_nothing_is_heard_and_doctor_says_so(run_id):
    send_with_notify("news", "old")
    restore()
    with listen("news", after=(0, 0), timeout=0) as listener:
        send_with_notify("news", "new")
        assert texts(listener) == ["new"]
    told = [finding for finding in doctor.examine() if "another cluster" in finding.text]
    assert [finding.text[:25] for finding in told] == ["3 events and 1 messages h"]
    assert renumbering.repair() == 2
    assert not [finding for finding in doctor.examine() if "another cluster" in finding.text]
    assert renumbering.repair() == 0, "it is done once"


def test_the_keeper_repairs_when_it_begins_to_lead(run_id):
    restore()
    Keeper().round()
    db.close()
    assert renumbering.foreign() == []
    with follow(after=(0, 0), timeout=0) as events:
        assert types(events) == ["mine.one", "mine.two", "mine.three"]


def test_whoever_comes_with_an_old_cursor_before_the_repair_has_it_done(run_id):
    (_, second, _) = (event.cursor for event in Event.objects.order_by("id"))
    restore()
    with follow(after=of_old(second), timeout=0) as events:
        assert types(events) == ["mine.three"]
    assert renumbering.foreign() == []


def test_rows_with_low_ids_of_the_old_cluster_keep_their_place(run_id):
    """The clusters overlap: the first rows have transaction ids that the new cluster has given as well."""
    old = list(Event.objects.order_by("id"))
    with db.atomic():
        db.run_script("SELECT set_config('django_workflow.repair', 'on', true)")
        Event.objects.filter(pk=old[2].pk).update(xid=old[2].xid + AHEAD)
    renumbering.repair()
    tell(run_id, "mine.new")
    with follow(after=old[0].cursor, timeout=0) as events:
        assert types(events) == ["mine.two", "mine.three", "mine.new"]


def test_a_second_restore_is_told_from_the_first():
    cursors = []
    for number in range(3):
        send_with_notify("news", number)
        (latest,) = (item for item in recent_messages("news") if item.message == number)
        restored = of_old(latest.cursor)
        with db.atomic():
            db.rows("UPDATE django_workflow_message SET xid = xid + %s::bigint WHERE xid > 0 RETURNING id", [AHEAD])
        renumbering.repair()
        cursors.append(restored)
    send_with_notify("news", "new")
    assert Renumbering.objects.filter(table_name=renumbering.MESSAGES).count() == 3
    for number, cursor in enumerate(cursors):
        with listen("news", after=cursor, timeout=0) as listener:
            assert texts(listener) == [*range(number + 1, 3), "new"]


def test_what_the_old_cluster_wrote_after_the_dump_hides_nothing_new(run_id):
    last = Event.objects.order_by("-id")[0]
    restore()
    renumbering.repair()
    tell(run_id, "mine.new")
    # events that were read there and are not in the dump
    with follow(after=(last.xid + 2 * AHEAD, last.pk + 50), timeout=0) as events:
        assert types(events) == ["mine.new"]


def test_a_cursor_of_the_future_is_refused_with_a_way_out(run_id):
    """As after a restore to an earlier time: nobody knows what it stood behind."""
    with pytest.raises(WorkflowError, match=r"of another database cluster.*\(0, 0\)"):
        follow(after=(AHEAD * 5, 3), timeout=0)


def test_rows_of_this_cluster_are_never_shifted(run_id, session):
    other = session()
    other.begin()
    other.do(send_with_notify, "news", "open")
    send_with_notify("news", "sent")
    assert renumbering.repair() == 0
    other.commit()
    assert renumbering.repair() == 0
    assert min(Message.objects.values_list("xid", flat=True)) > 0


def test_rows_of_an_open_transaction_are_never_shifted_and_their_cursors_stay_good(run_id):
    with db.atomic():
        tell(run_id, "mine.open")
        latest = Event.objects.order_by("-id")[0]
        assert renumbering.repair() == 0
        assert not [finding for finding in doctor.examine() if "another cluster" in finding.text]
        with follow(after=latest.cursor, timeout=0) as events:
            assert list(events) == []
    assert Event.objects.get(pk=latest.pk).xid == latest.xid


def test_two_repairs_at_once_shift_once(run_id, session):
    restore()
    one, two = session(), session()
    one.begin()
    one.do(renumbering.repair)
    second = two.start_and_block(renumbering.repair)
    one.commit()
    assert second.result(30) == 0
    assert Renumbering.objects.count() == 1
