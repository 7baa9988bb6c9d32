"""The guards of the races, by name: where each stands, and how a test removes it.

`pytest tests/races --break-guards` runs every race without each of its guards and expects it to fail.
Worker processes remove the guard that BREAK_GUARD names (tests/chaos/site/apps.py).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Sets an attribute for the length of a test: `monkeypatch.setattr`, or `setattr` in a process of its own.
Put = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Guard:
    """Something without which a race goes wrong.

    what: the guard and where it stands. how: what is done to remove it. remove: does it.
    """

    what: str
    how: str
    remove: Callable[[Put], None]


GUARDS: dict[str, Guard] = {}


def guard(what: str, how: str) -> Callable[[Callable[[Put], None]], Callable[[Put], None]]:
    """Register the decorated function as the removal of a guard that has its name."""

    def register(function: Callable[[Put], None]) -> Callable[[Put], None]:
        GUARDS[function.__name__] = Guard(what, how, function)
        return function

    return register


def without(text: str, part: str, instead: str = "") -> str:
    """Return SQL without a part that must be there."""
    assert part in text, f"the statement no longer says {part!r}; this guard has moved"
    return text.replace(part, instead)


# claiming


@guard("queue.READ hides what it returns", "a plain SELECT of the visible messages")
def reading_hides(put: Put) -> None:
    from django_workflow import queue

    plain = """
        SELECT msg_id, (message->>'task')::bigint FROM pgmq.{table}, (SELECT %s AS name, %s::bigint AS after) AS q,
               (SELECT %s, %s::int AS most, %s) AS p
        WHERE msg_id > after AND vt <= clock_timestamp() ORDER BY msg_id LIMIT 16
    """
    put(queue, "READ", plain)


@guard("claim: queue.read and TAKE are two statements, so that TAKE's snapshot is the younger one", "TAKE reads itself")
def read_before_take(put: Put) -> None:
    from django_workflow import queue
    from django_workflow.engine.tasks import claim

    merged, count = re.subn(
        r"WITH locked(.*?)unnest\((.*?)\) AS w\(message_id, task_id, begins\)",
        r"WITH unused AS (SELECT \2), locked\1"
        r"(SELECT msg_id AS message_id, (message->>'task')::bigint AS task_id, true AS begins"
        r" FROM pgmq.read('wfq_default', 30, 10)) AS w",
        claim.TAKE,
        flags=re.DOTALL,
    )
    assert count == 1, "TAKE has changed"
    put(claim, "TAKE", merged)
    put(queue, "read", lambda *_, **__: [(0, 0)])


@guard("claim.TAKE: SKIP LOCKED", "dropped")
def take_skips_locked(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    put(claim, "TAKE", without(claim.TAKE, " SKIP LOCKED"))


@guard("claim.READ_UNTAKEN reads without a lock: a locked row is not an absent one", "FOR NO KEY UPDATE SKIP LOCKED")
def dropping_reads_unlocked(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    put(claim, "READ_UNTAKEN", claim.READ_UNTAKEN + " FOR NO KEY UPDATE SKIP LOCKED")


@guard("claim.TAKE: the task's message_id is the message's", "dropped")
def one_valid_message(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    put(claim, "TAKE", without(claim.TAKE, " AND t.message_id = w.message_id"))


@guard("claim.TAKE takes running tasks whose message reappeared", "queued ones only")
def running_tasks_are_taken(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    put(claim, "TAKE", without(claim.TAKE, "t.status = 'running' OR ", ""))


@guard("claim.TAKE keeps the begin mark of a lost attempt, and marks only what finds a free slot", "all are marked")
def begin_marks_tell(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    merged, count = re.subn(r"begun_at = CASE.*?END\n", "begun_at = clock_timestamp()\n", claim.TAKE, flags=re.DOTALL)
    assert count == 1, "TAKE has changed"
    put(claim, "TAKE", merged)


@guard("outcome.lost counts an attempt that had begun", "never counted")
def losses_are_counted(put: Put) -> None:
    from django_workflow.engine.tasks import outcome

    lost = outcome.lost

    def uncounted(task: Any, lease: float) -> Any:
        result = lost(task, lease)
        result.is_counted = False
        return result

    put(outcome, "lost", uncounted)


@guard(
    "leases.BEGIN_IF_LEASED skips rows that others hold: only the holder of a run's lock waits for tasks", "it waits"
)
def begin_skips_locked(put: Put) -> None:
    from django_workflow.engine.tasks import leases

    put(leases, "BEGIN_IF_LEASED", without(leases.BEGIN_IF_LEASED, " SKIP LOCKED"))


# the fence


@guard("task_ends.END_IF_LEASED: lease_id", "dropped from the WHERE")
def end_is_fenced(put: Put) -> None:
    from django_workflow.engine.settling import task_ends

    put(task_ends, "END_IF_LEASED", without(task_ends.END_IF_LEASED, " AND t.lease_id = e.lease_id"))


@guard("claim: lease ids are random, for numbers repeat after a crash", "the lease id is a number that repeats")
def leases_are_random(put: Put) -> None:
    from django_workflow.engine.tasks import claim

    put(claim, "new_lease_id", lambda: 1)


@guard("task_ends.END_IF_LEASED, tasks.REQUEUE_IF_LEASED: status = 'running'", "dropped from both")
def ended_is_ended(put: Put) -> None:
    from django_workflow.engine.settling import task_ends
    from django_workflow.engine.writing import tasks

    put(task_ends, "END_IF_LEASED", without(task_ends.END_IF_LEASED, " AND t.status = 'running'"))
    put(tasks, "REQUEUE_IF_LEASED", without(tasks.REQUEUE_IF_LEASED, " AND t.status = 'running'"))


@guard("task_ends.end_tasks tells what it applied by task and lease", "by task alone")
def fence_is_per_lease(put: Put) -> None:
    from django_workflow.engine.settling import task_ends

    end_tasks = task_ends.end_tasks

    def by_task(endings: Any) -> Any:
        tasks = {task_id for task_id, _ in end_tasks(endings)}
        return {item.outcome.task.fence for item in endings if item.outcome.task.id in tasks}

    put(task_ends, "end_tasks", by_task)


@guard("task_ends.first_of_each: of two outcomes of one attempt the first counts", "both go on")
def first_outcome_counts(put: Put) -> None:
    from django_workflow.engine.settling import task_ends

    put(task_ends, "first_of_each", lambda endings: (list(endings), []))


@guard("attempts.INSERT_ATTEMPTS: NOT EXISTS", "dropped")
def one_row_per_attempt(put: Put) -> None:
    from django_workflow.engine.settling import attempts

    put(attempts, "INSERT_ATTEMPTS", without(attempts.INSERT_ATTEMPTS, "NOT EXISTS", "true OR EXISTS"))


@guard("leases.BEGIN_IF_LEASED: lease_id", "dropped from the WHERE")
def begin_is_fenced(put: Put) -> None:
    from django_workflow.engine.tasks import leases

    put(leases, "BEGIN_IF_LEASED", without(leases.BEGIN_IF_LEASED, " AND t.lease_id = h.lease_id"))


@guard("external.BEGIN_ONCE_IF_LEASED: begun_lease_id", "dropped from the WHERE")
def an_attempt_begins_once(put: Put) -> None:
    from django_workflow.engine.tasks import external

    once = " AND begun_lease_id IS DISTINCT FROM lease_id"
    put(external, "BEGIN_ONCE_IF_LEASED", without(external.BEGIN_ONCE_IF_LEASED, once))


@guard("external.WITHDRAW_IF_LEASED takes the begin", "it changes nothing")
def what_was_withdrawn_never_begins(put: Put) -> None:
    from django_workflow.engine.tasks import external

    plain = without(external.WITHDRAW_IF_LEASED, "begun_lease_id = leased.lease_id", "queue = t.queue")
    put(external, "WITHDRAW_IF_LEASED", plain)


# locks of runs


@guard("locking.LOCK_RUNS: FOR NO KEY UPDATE, in a statement before anything is read", "a read without a lock")
def run_is_locked_first(put: Put) -> None:
    from django_workflow.engine.settling import settle
    from django_workflow.engine.stored import locking

    put(locking, "LOCK_RUNS", without(locking.LOCK_RUNS, "FOR NO KEY UPDATE", "OFFSET 0"))
    lock_runs = settle.lock_runs
    # SKIP LOCKED belongs to the lock
    put(settle, "lock_runs", lambda run_ids, wait_ms=None: lock_runs(run_ids, wait_ms=wait_ms or 1_000))


@guard("statements.atomic begins READ COMMITTED, whatever is the database's default", "it begins as the database says")
def own_transactions_are_read_committed(put: Put) -> None:
    from contextlib import nullcontext

    from django_workflow.db import statements
    from django_workflow.engine.stored import locking

    put(statements, "read_committed", nullcontext)
    put(locking, "READ_COMMITTED", "repeatable read")


@guard("settle: counters are read after the run's lock, in a younger snapshot", "before it")
def counters_are_read_under_the_lock(put: Put) -> None:
    from django_workflow import db
    from django_workflow.engine.settling import settle, step_ends

    lock_runs, early = settle.lock_runs, threading.local()

    def read_then_lock(run_ids: Any, wait_ms: int | None = None) -> Any:
        sql = "SELECT id FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[])"
        ids = [row[0] for row in db.rows(sql, [list(run_ids)])]
        early.counts = {row[0]: step_ends._Count(*row) for row in db.rows(step_ends.READ_STEP_RUNS, [ids])}
        return lock_runs(run_ids, wait_ms=wait_ms)

    put(settle, "lock_runs", read_then_lock)
    put(step_ends, "_read_counts", lambda over: early.counts)


@guard("settle.lock_runs: SKIP LOCKED where nobody waits", "it waits for every run")
def settle_skips_locked_runs(put: Put) -> None:
    from django_workflow.engine.settling import settle

    lock_runs = settle.lock_runs
    put(settle, "lock_runs", lambda run_ids, wait_ms=None: lock_runs(run_ids, wait_ms=wait_ms or 60_000))


@guard("settle._settle_apart splits a pile that is refused", "the error is raised")
def piles_are_split(put: Put) -> None:
    from django_workflow.engine.settling import settle

    def refuse(outcomes: Any, wait_ms: Any, error: Exception) -> None:
        raise error

    put(settle, "_settle_apart", refuse)


@guard("runs.INSERT_RUNS: ON CONFLICT DO NOTHING", "dropped")
def second_start_finds_the_first(put: Put) -> None:
    from django_workflow.engine.writing import runs

    put(runs, "INSERT_RUNS", without(runs.INSERT_RUNS, "ON CONFLICT DO NOTHING"))


@guard("runs.INSERT_RUNS: ORDER BY the idempotency key", "dropped")
def keys_are_inserted_in_order(put: Put) -> None:
    from django_workflow.engine.writing import runs

    put(runs, "INSERT_RUNS", without(runs.INSERT_RUNS, "ORDER BY n.key, n.place"))


@guard("db.drawing: spare ids belong to the session that drew them", "to the thread")
def drawn_ids_end_with_their_session(put: Put) -> None:
    from django_workflow.db import drawing

    put(drawing, "_session", lambda: None)


@guard("state._generation: a join that waits no more has fired, whoever ended it", "it is taken for open")
def ended_joins_have_fired(put: Put) -> None:
    from django_workflow.engine.stored import state

    read = state._generation

    def read_as_open(arrivals: Any) -> Any:
        seen = read(arrivals)
        seen.is_fired = False
        return seen

    put(state, "_generation", read_as_open)


# heartbeats


@guard("heartbeats extend leases", "no heartbeat is made")
def heartbeats_extend(put: Put) -> None:
    from django_workflow.worker.loops.heartbeats import Heartbeats

    put(Heartbeats, "beat", lambda self: 3_600.0)


@guard("leases._judge_unlocked: a skipped row is read without a lock", "what is skipped counts as lost")
def skipped_is_not_lost(put: Put) -> None:
    from django_workflow.engine.tasks import leases

    def judge(rest: Any, pulse: Any) -> None:
        pulse.ended |= {task.id: "lost" for task in rest}

    put(leases, "_judge_unlocked", judge)


@guard("leases.LOCK_LEASED: lease_id", "dropped from the JOIN")
def heartbeat_is_fenced(put: Put) -> None:
    from django_workflow.engine.tasks import leases

    put(leases, "LOCK_LEASED", without(leases.LOCK_LEASED, " AND t.lease_id = h.lease_id"))


@guard("leases.heartbeat extends the message that the row names", "none: the claimed one is gone")
def heartbeat_follows_the_row(put: Put) -> None:
    from django_workflow.engine.tasks import leases

    put(leases, "LOCK_LEASED", without(leases.LOCK_LEASED, "t.message_id", "NULL::bigint"))


# the keeper


@guard("lost_messages.reconcile looks again under the lock (LOOK_AGAIN)", "it believes what it saw before")
def keeper_looks_again(put: Put) -> None:
    from django_workflow.engine.due import lost_messages

    missing = lost_messages._without_message
    believed: list[int] = []

    def believe(name: str, tasks: Any) -> list[int]:
        if not believed:
            believed.extend(missing(name, tasks))
        return believed

    put(lost_messages, "_without_message", believe)


@guard("lost_messages.reconcile hides a running task's new message for a lease", "it is visible at once")
def running_tasks_stay_hidden(put: Put) -> None:
    from django_workflow.engine.due import lost_messages

    send_for = lost_messages.send_for
    put(lost_messages, "send_for", lambda tasks: send_for([(task_id, name, 0.0) for task_id, name, _ in tasks]))


@guard("lost_messages.reconcile sends anew for tasks whose message is gone", "it does not")
def keeper_sends_again(put: Put) -> None:
    from django_workflow.engine.due import lost_messages

    put(lost_messages, "send_for", lambda tasks: set())


@guard("startable.execute holds a local run's lease before the run can be seen", "only afterwards")
def local_lease_comes_first(put: Put) -> None:
    from contextlib import nullcontext

    from django_workflow import startable

    put(startable, "local_lease", lambda run_id: nullcontext())


@guard("lost_messages.LOCK_SUSPECTS: SKIP LOCKED", "dropped")
def keeper_skips_locked(put: Put) -> None:
    from django_workflow.engine.due import lost_messages

    put(lost_messages, "LOCK_SUSPECTS", without(lost_messages.LOCK_SUSPECTS, " SKIP LOCKED"))


@guard("delayed_tasks.LOCK_DUE_TASKS: FOR NO KEY UPDATE SKIP LOCKED", "a read without a lock")
def due_tasks_are_locked(put: Put) -> None:
    from django_workflow.engine.due import delayed_tasks

    put(delayed_tasks, "LOCK_DUE_TASKS", without(delayed_tasks.LOCK_DUE_TASKS, "FOR NO KEY UPDATE OF t SKIP LOCKED"))


@guard("pause.LOCK_PAUSED_FLOWS: FOR SHARE SKIP LOCKED", "a read without a lock")
def paused_flows_are_locked(put: Put) -> None:
    from django_workflow.engine.verbs import pause

    put(pause, "LOCK_PAUSED_FLOWS", without(pause.LOCK_PAUSED_FLOWS, "FOR SHARE SKIP LOCKED"))


@guard("leadership.TAKE_TERM: only the holder renews a term", "whoever asks gets it")
def one_keeper(put: Put) -> None:
    from django_workflow.engine.due import leadership

    condition = "WHERE leader.holder = EXCLUDED.holder OR leader.until < clock_timestamp()"
    put(leadership, "TAKE_TERM", without(leadership.TAKE_TERM, condition))


@guard("leadership.TAKE_TERM: a term ends", "it is kept for ever")
def keeper_has_a_term(put: Put) -> None:
    from django_workflow.engine.due import leadership

    put(leadership, "TAKE_TERM", without(leadership.TAKE_TERM, "OR leader.until < clock_timestamp()"))


# the worker


@guard("dispatcher._recover: errors of the database end a round, not the worker", "they end the worker")
def worker_recovers(put: Put) -> None:
    from django_workflow.worker.dispatching.dispatcher import Dispatcher

    def give_up(self: Any, error: Exception) -> None:
        raise error

    put(Dispatcher, "_recover", give_up)


@guard("dispatcher._release_unbegun: a stopping worker hands back what has not begun", "it keeps it")
def stopping_releases(put: Put) -> None:
    from django_workflow.worker.dispatching.dispatcher import Dispatcher

    put(Dispatcher, "_release_unbegun", lambda self, older_than, reason: None)


@guard("process: SIGTERM lets running handlers finish", "the process ends at once")
def sigterm_is_graceful(put: Put) -> None:
    from contextlib import nullcontext

    from django_workflow.worker.process import WorkerProcess

    put(WorkerProcess, "stopped_by_signals", lambda self, **_: nullcontext())


@guard("missing_code.judge puts a task aside whose code this process does not have", "the task fails")
def unknown_code_is_put_aside(put: Put) -> None:
    from django_workflow.engine.tasks import outcome
    from django_workflow.worker.jobs import missing_code

    error = outcome.ErrorRecord("UnregisteredHandler", "no such handler")
    put(missing_code, "judge", lambda task: outcome.failed(task, error, is_retryable=False))


@guard("unsettled.end: who was waited for in vain goes to the end of the pile", "it stays the first")
def stuck_runs_take_turns(put: Put) -> None:
    from django_workflow.worker.dispatching.unsettled import UnsettledOutcomes

    end = UnsettledOutcomes.end

    def same_again(self: Any, batch: Any) -> None:
        others = list(self._outcomes)
        end(self, batch)
        if batch.wait_ms is not None:
            self._outcomes.sort(key=others.__contains__)

    put(UnsettledOutcomes, "end", same_again)


@guard("queue_reader.claim forgets hints before the claim, not after it", "after it")
def hint_outlives_the_claim(put: Put) -> None:
    from django_workflow.worker.dispatching.queue_reader import QueueReader

    claim = QueueReader.claim

    def forget(self: Any, *args: Any, **kwargs: Any) -> Any:
        tasks = claim(self, *args, **kwargs)
        self.may_hold_more = self._has_passed = False
        return tasks

    put(QueueReader, "claim", forget)


@guard("in_flight.let_go_of stops an older attempt of a task in this process", "it goes on unnoticed")
def older_attempts_are_let_go(put: Put) -> None:
    from django_workflow.worker.dispatching.in_flight import InFlight

    put(InFlight, "let_go_of", lambda self, task_id: None)


@guard("connections.close_ended before each handler", "the handler finds out")
def ended_connections_are_replaced(put: Put) -> None:
    from django_workflow.worker.jobs import connections

    put(connections, "close_ended", lambda: None)


@guard("dispatcher.run recovers from errors of its end as from those of a round", "only of a round")
def stopping_survives_the_database(put: Put) -> None:
    from django_workflow.worker.dispatching.dispatcher import Dispatcher

    is_over, recover = Dispatcher._is_over, Dispatcher._recover

    def marked(self: Any) -> bool:
        self.is_at_its_end = True
        result: bool = is_over(self)
        self.is_at_its_end = False
        return result

    def recover_in_rounds(self: Any, error: Exception) -> None:
        if self.is_at_its_end:
            raise error
        recover(self, error)

    put(Dispatcher, "_is_over", marked)
    put(Dispatcher, "_recover", recover_in_rounds)


@guard("invoke.call_atomic rolls back where settle made a failure of its success", "it commits")
def refused_writes_go_too(put: Put) -> None:
    from django_workflow.worker.jobs import invoke

    settle = invoke.settle

    def hide_the_failure(outcomes: Any, **options: Any) -> Any:
        settled = settle(outcomes, **options)
        settled.done = list(outcomes)
        return settled

    put(invoke, "settle", hide_the_failure)


@guard("dispatcher._leave_to_lease forgets what cannot be settled", "it is tried again for ever")
def unsettled_is_left_to_its_lease(put: Put) -> None:
    from django_workflow.worker.dispatching.dispatcher import Dispatcher

    def keep(self: Any, item: Any) -> None:
        self._unsettled.add(item)

    put(Dispatcher, "_leave_to_lease", keep)


@guard("settle._end_its_run fails the run in which not even a failure can be settled", "the error is raised")
def what_cannot_be_settled_ends_its_run(put: Put) -> None:
    from django_workflow.engine.settling import settle

    def refuse(outcome: Any, wait_ms: Any, error: Exception) -> None:
        raise error

    put(settle, "_end_its_run", refuse)


@guard("settle._settle_apart goes on with the other half where one outcome is refused for good", "it raises")
def others_go_on_beside_what_is_refused(put: Put) -> None:
    from django_workflow.engine.settling import settle

    def first_half_first(outcomes: Any, wait_ms: Any, error: Exception) -> Any:
        if len(outcomes) == 1:
            if not outcomes[0].is_retryable and outcomes[0].output is None:
                raise error
            return settle.settle([outcomes[0].as_failure(error)], wait_ms=wait_ms)
        result = settle.Settled()
        for half in (outcomes[: len(outcomes) // 2], outcomes[len(outcomes) // 2 :]):
            result.add(settle.settle(half, wait_ms=wait_ms))
        return result

    put(settle, "_settle_apart", first_half_first)


@guard("scheduled_runs.begin_due leaves runs alone whose conditions this process does not have", "it begins all")
def unknown_conditions_wait(put: Put) -> None:
    from django_workflow.engine.stored import versions

    put(versions, "can_decide", lambda version_id: True)


@guard("process.stopped_by_signals: a handler only puts into a SimpleQueue", "it sets the event itself")
def signals_take_no_lock(put: Put) -> None:
    import signal
    from contextlib import nullcontext

    from django_workflow.worker.process import WorkerProcess

    def handle_at_once(self: Any, **_: Any) -> Any:
        signal.signal(signal.SIGTERM, lambda number, frame: self.stop())
        return nullcontext()

    put(WorkerProcess, "stopped_by_signals", handle_at_once)


@guard("supervisor._take_signals: whoever rests starts no more after a stop", "rests are not cleared")
def stopped_supervisors_start_nobody(put: Put) -> None:
    from django_workflow.worker.supervisor import Supervisor

    class Lasting(dict[int, float]):
        def clear(self) -> None:
            pass

    init = Supervisor.__init__

    def make(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._resting = Lasting()

    put(Supervisor, "__init__", make)


@guard("lost_claims.look finds by its lease what a claim took whose answer was lost", "it is left to its lease")
def lost_claims_are_looked_for(put: Put) -> None:
    from django_workflow.worker.dispatching.lost_claims import LostClaims

    put(LostClaims, "look", lambda self: [])


@guard("claim.claimed leaves out tasks of versions that this release cannot read", "the claim raises")
def unreadable_versions_are_left_out(put: Put) -> None:
    from django_workflow.engine.stored import versions

    put(versions, "readable_spec", versions.spec_of)


# following


@guard("messages.READ_MESSAGES: the cursor is (xid, id), read below the oldest open transaction", "the id alone")
def cursor_is_not_the_id_alone(put: Put) -> None:
    from django_workflow.events import messages

    by_id = without(messages.READ_MESSAGES, "(m.xid, m.id) > (%s::bigint, %s::bigint)", "(0, m.id) > (%s * 0, %s)")
    by_id = without(by_id, "m.xid < horizon.xid AS is_ripe", "true AS is_ripe")
    put(messages, "READ_MESSAGES", by_id.replace("ORDER BY m.xid, m.id", "ORDER BY m.id"))


@guard("messages.READ_MESSAGES reads below the oldest open transaction", "it reads all")
def open_transactions_keep_messages_back(put: Put) -> None:
    from django_workflow.events import messages

    put(messages, "READ_MESSAGES", without(messages.READ_MESSAGES, "m.xid < horizon.xid AS is_ripe", "true AS is_ripe"))


@guard("following._look looks again soon at what is kept back", "at its next slow look")
def kept_back_is_looked_at_soon(put: Put) -> None:
    from django_workflow.events import following

    put(following, "NAPS", (60.0, 60.0))


@guard("following._connect reads after it has connected again", "at the next slow look")
def reconnecting_reads(put: Put) -> None:
    from django_workflow.events.following import Following

    connect = Following._connect

    def connect_and_wait(self: Any) -> None:
        look_at = self._look_at
        connect(self)
        self._look_at = look_at

    put(Following, "_connect", connect_and_wait)


@guard("stored.READ_EVENTS reads below the oldest open transaction", "it reads all")
def open_transactions_keep_events_back(put: Put) -> None:
    from django_workflow.events import stored

    put(stored, "READ_EVENTS", without(stored.READ_EVENTS, "e.xid < horizon.xid AS is_ripe", "true AS is_ripe"))


@guard("event_log.INSERT_EVENTS: the transaction id is never lower than that of the event before", "it is its own")
def events_of_a_run_climb(put: Put) -> None:
    from django_workflow.engine.writing import event_log

    put(event_log, "INSERT_EVENTS", without(event_log.INSERT_EVENTS, ", last.xid)", ", 0)"))
