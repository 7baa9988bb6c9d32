"""Connections that are cut before a worker hears what it has claimed: what never began is handed back uncounted."""

from __future__ import annotations

import itertools
import threading

import psycopg
import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_workflow import Retry
from django_workflow.db import wire
from django_workflow.engine import advance, claim, open_claims, outcome
from django_workflow.engine.claim import OpenClaim
from django_workflow.engine.settle import settle
from django_workflow.models import Attempt, Task
from tests.workers import database_url

#: Much less than a lease: whoever waits for one waits longer.
SOON = 15.0
ONCE = Retry(max_attempts=1)


#: A statement that the server ends with an error of the moment: the transaction is aborted by it.
REFUSED = "DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{}'; END $$"


class Cutter:
    """Ends a thread's database session right after one of its statements or commits, whose answer it never hears.

    code: with one, a statement is refused with this SQLSTATE instead, before it is executed.
    """

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.left = 0
        self.wanted: list[str] = []
        self.seen = self.was = self.code = ""

    def cut_after_statement(self, number: int) -> None:
        """Cut after so many more statements."""
        self.left, self.was = number, ""

    def cut_after(self, *texts: str, seen: str = "") -> None:
        """Cut after the next statement that contains the first text, then after one with the second.

        seen: a text that comes before.
        """
        self.seen, self.wanted = seen, list(texts)

    def sees(self, what: str, connection: psycopg.Connection) -> None:
        """Count what the server is about to do."""
        if self.code and threading.current_thread() is self.thread and self._is_next(what):
            self.was = what
            connection.execute(REFUSED.format(self.code))

    def saw(self, what: str, connection: psycopg.Connection) -> None:
        """Count what the server has done; the error is the one that psycopg raises on a closed connection."""
        if self.code:
            return
        if threading.current_thread() is not self.thread or not self._is_next(what):
            return
        self.was = what
        with psycopg.connect(database_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        connection.execute("SELECT 1")

    def _is_next(self, what: str) -> bool:
        if self.seen:
            self.seen = "" if self.seen in what else self.seen
        elif self.wanted and self.wanted[0] in what:
            del self.wanted[0]
            return True
        self.left -= 1
        return self.left == 0


@pytest.fixture
def cutter(monkeypatch):
    made = Cutter()
    execute, commit = wire.Session.execute, BaseDatabaseWrapper._commit

    def executing(self, connection, sql, params):
        made.sees(sql, connection)
        result = execute(self, connection, sql, params)
        made.saw(sql, connection)
        return result

    def committing(self):
        commit(self)
        with self.wrap_database_errors:
            made.saw("COMMIT", self.connection)

    monkeypatch.setattr(wire.Session, "execute", executing)
    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committing)
    return made


@pytest.fixture
def cut_worker(work, cutter, make_flow):
    """A worker whose dispatcher is cut."""
    worker = work(concurrency=4)
    warm = make_flow()
    warm.step(name="only")(lambda: None)
    assert warm.start().wait(20).is_success
    cutter.thread = worker.thread
    return worker


@pytest.fixture
def story(make_flow):
    """A chain with a map in it, that may not fail even once, and what its handlers did."""
    flow, began = make_flow(retry=ONCE), []

    @flow.step
    def first(input, ctx):
        began.append((ctx.run_id, "first", 0))
        return [1, 2, 3]

    @flow.map(over="first")
    def each(item, ctx, index):
        began.append((ctx.run_id, "each", index))
        return item

    @flow.step
    def last(each, first, ctx):
        began.append((ctx.run_id, "last", 0))
        return [*each, *first]

    return flow, began


def assert_all_began_once(handle, began):
    mine = sorted(item[1:] for item in began if item[0] == handle.id)
    assert mine == [("each", 0), ("each", 1), ("each", 2), ("first", 0), ("last", 0)]
    assert not Attempt.objects.filter(run_id=handle.id).exclude(outcome="released").exists()


@pytest.mark.parametrize("code", ["", "57014", "55P03", "40P01"], ids=["cut", "cancelled", "locked", "deadlock"])
@pytest.mark.slow
def test_whatever_statement_of_the_dispatcher_ends_badly_nothing_is_lost_counted_or_repeated(
    story, cut_worker, cutter, code
):
    flow, began = story
    cutter.code, seen = code, []
    # nobody knows which messages were hidden by a read whose answer is lost: they come back after the lease
    for number in itertools.count(1 if code else 2):
        cutter.cut_after_statement(number)
        handle = flow.start([])
        assert handle.wait(SOON)["last"] == [1, 2, 3, 1, 2, 3], f"it was {cutter.was}"
        assert_all_began_once(handle, began)
        if not cutter.was or number > 60:
            break
        seen.append(cutter.was)
    assert any(what == claim.TAKE for what in seen)
    assert code or "COMMIT" in seen


@pytest.mark.parametrize(
    ("statements", "seen"),
    [
        ([claim.TAKE], ""),
        ([claim.TAKE, open_claims.READ_CARRIERS, open_claims.READ_CARRIERS], ""),
        (["COMMIT"], advance.INSERT_TAKEN_TASKS),
        ([claim.TAKE, "COMMIT"], ""),
    ],
    ids=["a claim", "a claim and twice the look for it", "the commit of a hand-off", "a claim and its return"],
)
@pytest.mark.slow
def test_what_a_lost_claim_took_is_claimed_again_at_once(story, cut_worker, cutter, statements, seen):
    flow, began = story
    cutter.cut_after(*statements, seen=seen)
    handle = flow.start([])
    assert handle.wait(SOON).is_success
    assert_all_began_once(handle, began)
    assert Attempt.objects.filter(run_id=handle.id, outcome="released").exists()


@pytest.fixture
def taken(flow, db):
    """A claimed task, and the claim whose answer was lost."""
    flow.step(name="only", retry=ONCE)(lambda: None)
    flow.start()
    opened: list[OpenClaim] = []
    (task,) = claim.claim("default", 10, slots=10, lease=30.0, opened=opened)
    assert [(item.lease_id, item.task_ids) for item in opened] == [(task.lease_id, [task.id])]
    return task, opened[0]


def test_what_carries_a_lease_is_found_by_it(taken):
    task, opened = taken
    (found,) = open_claims.carriers(opened)
    assert (found.fence, found.message_id, found.queue) == (task.fence, task.message_id, "default")
    assert open_claims.carriers(OpenClaim(opened.lease_id + 1, [task.id])) == []


def test_what_an_earlier_attempt_lost_is_left_to_its_lease(taken):
    task, _ = taken
    # its lease is over, and the claim that met it was cut before it could tell of the loss
    Task.objects.filter(pk=task.id).update(lease_id=task.lease_id + 1, attempt=2)
    assert open_claims.carriers(OpenClaim(task.lease_id + 1, [task.id])) == []


def test_what_was_handed_back_before_is_found_by_its_next_lease(taken):
    task, _ = taken
    settle([outcome.released(task, "a test")])
    opened: list[OpenClaim] = []
    (again,) = claim.claim("default", 10, slots=10, lease=30.0, opened=opened)
    assert [found.fence for found in open_claims.carriers(opened[0])] == [again.fence]
