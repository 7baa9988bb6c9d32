"""Must hold whatever happens: all that was committed arrives once and in order, and nothing else."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict

import pytest
from django.db import connections, transaction

from django_workflow import Flow, db, follow, listen, send_with_notify
from django_workflow.models import Event, Message
from tests.events.conftest import cut
from tests.events.test_stored import tell
from tests.waiting import eventually

SENDERS = 4
CUTS = 5
SIZES = [pytest.param(1_200, id="1200"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]


class Senders:
    """Sessions that write in transactions which overlap, some of them rolled back."""

    def __init__(self, work, count):
        self.errors = []
        self._threads = [threading.Thread(target=self._run, args=(work, number, count)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, work, number, count):
        try:
            work(number, random.Random(number))
        except BaseException as error:
            self.errors.append(error)
        finally:
            connections.close_all()

    def have_ended(self):
        return not any(thread.is_alive() for thread in self._threads)

    def join(self):
        for thread in self._threads:
            thread.join(120)
        assert self.have_ended()
        assert self.errors == []


class Overlap:
    """Lets a transaction stay open while others commit: until so many have, or nobody else is at work."""

    def __init__(self, parties):
        self._condition = threading.Condition()
        self._commits = 0
        self._at_work = parties
        self._waiting = 0

    def stay_open(self, commits):
        with self._condition:
            until = self._commits + commits
            self._waiting += 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._commits >= until or self._waiting >= self._at_work, 10)
            self._waiting -= 1

    def committed(self):
        with self._condition:
            self._commits += 1
            self._condition.notify_all()

    def leave(self):
        with self._condition:
            self._at_work -= 1
            self._condition.notify_all()


def cut_now_and_then(collector, total):
    """Let the server end the listener's connection as what arrives goes on, the last time before its end."""
    for number in range(1, CUTS + 1):
        wanted = total * number // (CUTS + 1)
        eventually(lambda at=wanted: len(collector.found) >= at or collector.has_ended(), "it arrives", seconds=120)
        assert not collector.has_ended()
        cut(collector.following)


@pytest.mark.parametrize("total", SIZES)
def test_messages_all_arrive_once_and_in_the_order_of_their_sender(total, collect):
    overlap = Overlap(SENDERS)
    each = total // SENDERS

    def work(sender, dice):
        sent = 0
        while sent < each:
            count = min(dice.randint(1, 20), each - sent)
            is_rolled_back = dice.random() < 0.2
            with transaction.atomic():
                for place in range(count):
                    is_last = place == count - 1
                    send_with_notify("news", {"sender": sender, "number": sent + place, "lost": is_rolled_back})
                    if not is_last and dice.random() < 0.05:
                        overlap.stay_open(dice.randint(1, 5))
                transaction.set_rollback(is_rolled_back)
            overlap.committed()
            sent += 0 if is_rolled_back else count
        overlap.leave()

    collector = collect(listen("news"))
    senders = Senders(work, SENDERS)
    cut_now_and_then(collector, total)
    senders.join()
    eventually(lambda: len(collector.found) >= total, "all have arrived")
    found = collector.end()
    # it was a race: by their ids alone they came out of order
    assert [item.id for item in found] != sorted(item.id for item in found)
    assert [item.cursor for item in found] == sorted({item.cursor for item in found})
    assert {item.id for item in found} == set(Message.objects.values_list("id", flat=True))
    numbers = defaultdict(list)
    for item in found:
        assert not item.message["lost"]
        numbers[item.message["sender"]].append(item.message["number"])
    assert numbers == {sender: list(range(each)) for sender in range(SENDERS)}


@pytest.mark.parametrize("total", SIZES)
def test_events_all_arrive_once_and_in_the_order_of_their_run(total, collect, flow: Flow):
    flow.step(name="root")(lambda: 1)
    runs = [handle.id for handle in flow.start_many(range(6))]
    overlap = Overlap(SENDERS)
    told_before = Event.objects.count()
    written = Counter()

    def work(sender, dice):
        left = total // SENDERS
        while left:
            kind = "lost" if dice.random() < 0.2 else "kept"
            count = min(dice.randint(1, 10), left)
            with transaction.atomic():
                # as an atomic step: it has its id long before it takes the run's lock
                db.rows("SELECT pg_current_xact_id()")
                if dice.random() < 0.2:
                    overlap.stay_open(dice.randint(1, 5))
                tell(dice.choice(runs), *[kind] * count)
                transaction.set_rollback(kind == "lost")
            overlap.committed()
            left -= count if kind == "kept" else 0
            written[sender] += count if kind == "kept" else 0
        overlap.leave()

    collector = collect(follow())
    senders = Senders(work, SENDERS)
    cut_now_and_then(collector, total)
    senders.join()
    assert sum(written.values()) == total
    eventually(lambda: len(collector.found) >= total, "all have arrived")
    found = collector.end()
    assert {event.type for event in found} == {"kept"}
    assert {event.id for event in found} == set(Event.objects.order_by("id").values_list("id", flat=True)[told_before:])
    numbers = defaultdict(list)
    for event in found:
        numbers[event.run_id].append(event.number)
    assert numbers == {run_id: list(range(3, 3 + len(numbers[run_id]))) for run_id in runs}
    assert len(found) == total
