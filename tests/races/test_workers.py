"""Whole workers: killed, stopped, cut off from the database, slow, old and new, many at one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connections

from django_workflow import Retry, db, queue
from django_workflow.engine.tasks import claim
from django_workflow.engine.writing import tasks as writing
from django_workflow.models import Attempt, Run, Task
from django_workflow.worker.jobs.context import Cancelled
from django_workflow.worker.loops.heartbeats import Heartbeats
from tests.chaos.site.workflows import GATE, deploy, gated, quick, record
from tests.races import sessions as sessions_module
from tests.races.verbs import assert_nothing_is_left_open, expire_leases, is_settled, lock_run, messages, task_of
from tests.races.workers import ROOT, SITE
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LOCK_GATE = "SELECT pg_advisory_lock(%s)"
OPEN_GATE = "SELECT pg_advisory_unlock(%s)"
AT_THE_GATE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
SECONDS_SINCE = (
    "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM django_workflow_task WHERE id = %s"
)


def soon(condition, what=""):
    """Wait for what must happen; not as long where a guard is removed."""
    return eventually(condition, what, seconds=sessions_module.SECONDS * 2)


@pytest.fixture
def gate(session):
    """A closed gate, at which the handlers of `gated` wait; calling it opens it."""
    keeper = session()
    keeper.do(db.rows, LOCK_GATE, [GATE])
    return lambda: keeper.do(db.rows, OPEN_GATE, [GATE])


def at_the_gate():
    return db.rows(AT_THE_GATE, [GATE])[0][0]


@pytest.mark.guard("running_tasks_are_taken")
def test_tasks_of_a_killed_worker_run_again_after_the_lease(workers, gate, effects):
    victim = workers.process("--lease", "1")
    run = gated.start()
    soon(lambda: at_the_gate() == 1, "a handler runs")
    victim.kill()
    gate()
    workers.thread(lease=timedelta(seconds=1))
    soon(lambda: is_settled(run), "the run settles")
    assert run.status == "succeeded"
    assert run.result().output["enter"] != victim.pid
    assert effects.total("enter") == 2
    (attempt,) = Attempt.objects.all()
    assert (attempt.outcome, attempt.is_counted, attempt.number) == ("lost", True, 1)
    assert_nothing_is_left_open()


@pytest.mark.guard("stopping_releases", "sigterm_is_graceful")
def test_at_sigterm_what_runs_finishes_and_the_rest_is_handed_back(workers, gate):
    worker = workers.process("--concurrency", "1", "--prefetch", "10")
    known = quick.start()
    soon(lambda: is_settled(known), "it knows handlers to be quick")
    runs = gated.start_many(range(5))
    soon(lambda: at_the_gate() == 1 and Task.objects.filter(status="running").count() == 5, "one runs, four wait")
    worker.terminate()
    soon(lambda: Attempt.objects.filter(outcome="released").count() == 4, "what has not begun is released")
    assert worker.is_alive()
    gate()
    assert worker.exit_code() == 0
    assert sorted(run.status for run in runs) == ["running"] * 4 + ["succeeded"]
    assert set(Task.objects.filter(status="queued").values_list("failure_count", flat=True)) == {0}
    workers.thread()
    soon(lambda: all(is_settled(run) for run in runs), "another worker goes on at once")
    assert_nothing_is_left_open()


@pytest.mark.guard("heartbeats_extend")
def test_a_task_longer_than_its_lease_runs_once(workers, flow):
    begun, may_end = threading.Semaphore(0), threading.Event()

    @flow.step
    def long():
        begun.release()
        may_end.wait(20)
        return 1

    for _ in range(2):
        workers.thread(lease=timedelta(seconds=1))
    run = flow.start()
    assert begun.acquire(timeout=10)
    task = task_of(run)
    second = threading.Event()
    threading.Thread(target=lambda: begun.acquire(timeout=4) and second.set(), daemon=True).start()
    try:
        soon(lambda: db.rows(SECONDS_SINCE, [task.id])[0][0] > 2.5, "two leases and a half have passed")
    finally:
        may_end.set()
    soon(lambda: is_settled(run), "the run settles")
    assert not second.is_set(), "it ran a second time beside the first"
    assert task_of(run).attempt == 1
    assert not Attempt.objects.exists()


@pytest.mark.guard("settle_skips_locked_runs")
def test_while_a_request_holds_a_run_its_worker_goes_on_with_others(workers, session, flow):
    @flow.step
    def only():
        return 1

    held, *others = flow.start_many(range(20))
    request = session()
    request.begin()
    request.do(lock_run, held.id)
    workers.thread()
    soon(lambda: all(is_settled(run) for run in others), "the others settle")
    more = flow.start_many(range(20))
    soon(lambda: all(is_settled(run) for run in more), "later ones settle, too")
    assert held.status == "running"
    request.commit()
    soon(lambda: is_settled(held), "the held run settles")
    assert held.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("stuck_runs_take_turns")
def test_of_two_runs_that_are_held_the_first_does_not_keep_the_second_waiting(workers, session, flow):
    @flow.step
    def only():
        return 1

    first, second = flow.start_many(range(2))
    requests = {run.id: session() for run in (first, second)}
    for run in (first, second):
        requests[run.id].begin()
        requests[run.id].do(lock_run, run.id)
    worker = workers.thread().dispatcher
    tried = []
    soon(lambda: len(worker._unsettled) == 2, "both outcomes wait")
    soon(lambda: tried.append(waited_for(worker)) or {first.id, second.id} <= set(tried), "both are waited for")
    for request in requests.values():
        request.commit()
    soon(lambda: is_settled(first) and is_settled(second))


def waited_for(worker):
    """Return the run that a worker would wait for next."""
    return worker._unsettled._outcomes[0].task.run_id if worker._unsettled else None


@pytest.mark.guard("reading_hides")
def test_eight_workers_on_one_run_of_1000_tasks_have_each_effect_once(workers, flow):
    done = []

    @flow.map(over="input")
    def each(item):
        done.append(item)  # atomic
        return item

    @flow.step
    def total(each):
        return sum(each)

    for _ in range(8):
        workers.thread(concurrency=4, prefetch=20)
    run = flow.start(list(range(1_000)))
    eventually(lambda: is_settled(run), "the run settles")
    assert run.result().output == {"total": 499_500}
    assert Counter(done).most_common(1)[0][1] == 1
    assert len(done) == 1_000
    assert set(Task.objects.values_list("attempt", flat=True)) == {1}
    assert_nothing_is_left_open()


@pytest.mark.guard("unknown_code_is_put_aside")
def test_in_a_rolling_deploy_old_workers_leave_new_steps_to_new_ones(workers, effects, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(seconds=0.05)}  # of the new worker
    workers.process(GENERATION="old")
    runs = deploy.start_many(range(10))
    soon(
        lambda: Attempt.objects.filter(outcome="released").exists() or any(is_settled(run) for run in runs),
        "the old worker meets what it does not know",
    )
    workers.thread()
    soon(lambda: all(is_settled(run) for run in runs), "all runs settle")
    assert {run.status for run in runs} == {"succeeded"}
    assert set(effects.of("added").values()) == {1}
    assert not Attempt.objects.exclude(outcome="released").exists()
    assert set(Task.objects.values_list("failure_count", flat=True)) == {0}
    assert_nothing_is_left_open()


@pytest.mark.guard("hint_outlives_the_claim")
def test_a_notification_that_comes_during_a_claim_is_not_lost(workers, session, flow, settings, monkeypatch):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(hours=1)}

    @flow.step
    def only():
        return 1

    dispatcher = workers.thread(concurrency=4, prefetch=0).dispatcher
    first = flow.start()
    soon(lambda: is_settled(first))
    starter, heard, late = session(), threading.Event(), []
    hear, claim_now = dispatcher.hear, claim.claim

    def hear_and_tell(name):
        hear(name)
        heard.set()

    def claim_and_be_overtaken(*args, **kwargs):
        tasks = claim_now(*args, **kwargs)
        if tasks and not late:
            # what is sent now this claim has not seen
            heard.clear()
            late.append(starter.do(flow.start))
            assert heard.wait(10)
        return tasks

    monkeypatch.setattr(dispatcher, "hear", hear_and_tell)
    monkeypatch.setattr(claim, "claim", claim_and_be_overtaken)
    second = flow.start()
    soon(lambda: late and is_settled(second) and is_settled(late[0]), "nobody waits for the next poll")


@pytest.mark.guard("end_is_fenced")
def test_a_timed_out_handler_that_returns_while_the_next_attempt_runs_changes_nothing(workers, flow):
    may_return = [threading.Event() for _ in range(3)]
    entered = threading.Semaphore(0)

    @flow.step(
        timeout=timedelta(seconds=0.3), retry=Retry(max_attempts=5, base=timedelta(milliseconds=1), jitter=False)
    )
    def slow(ctx):
        entered.release()
        # one long wait in C: no exception can interrupt it
        may_return[ctx.attempt - 1].wait(20)
        return ctx.attempt

    workers.thread(concurrency=4)
    run = flow.start()
    try:
        for _ in range(2):
            assert entered.acquire(timeout=10)
        soon(lambda: Attempt.objects.filter(outcome="timed_out").count() == 1, "the first attempt times out")
        may_return[0].set()
        soon(lambda: Attempt.objects.exclude(late_outcome="").count() == 1, "its late result is recorded")
        assert run.status == "running"
        may_return[1].set()
        may_return[2].set()
        soon(lambda: is_settled(run), "the run settles")
    finally:
        for event in may_return:
            event.set()
    assert run.status == "succeeded"
    assert run.result().output["slow"] > 1
    assert messages() == 0


@pytest.mark.guard("older_attempts_are_let_go")
def test_a_worker_that_claims_its_own_task_anew_stops_its_older_attempt(workers, flow, monkeypatch, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(seconds=0.1)}
    entered, was_told = threading.Semaphore(0), threading.Event()

    @flow.step
    def slow(ctx):
        entered.release()
        if ctx.attempt == 1:
            try:
                while not gave_up.wait(0.01):
                    pass
            except Cancelled:
                was_told.set()
                raise
        return ctx.attempt

    gave_up = threading.Event()
    monkeypatch.setattr(Heartbeats, "beat", lambda self: 3_600.0)  # as if the machine had slept
    workers.thread(concurrency=4)
    run = flow.start()
    assert entered.acquire(timeout=10)
    expire_leases()
    try:
        soon(lambda: is_settled(run), "the new attempt succeeds")
        soon(was_told.is_set, "the old one is told to stop")
    finally:
        gave_up.set()
    assert run.result().output == {"slow": 2}
    assert_nothing_is_left_open()


END_ALL_SESSIONS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


@pytest.mark.guard("ended_connections_are_replaced", "worker_recovers")
def test_when_the_server_ends_every_session_no_attempt_fails(workers, flow, effects, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", None)  # handlers keep theirs
    gone = threading.Barrier(4)

    @flow.step(retry=Retry(max_attempts=1))
    def write(input, ctx):
        record(ctx)
        if input == "all threads":
            gone.wait(10)

    workers.thread(concurrency=4, prefetch=0)
    runs = flow.start_many(["all threads"] * 4)
    soon(lambda: all(is_settled(run) for run in runs), "each of four threads has a connection")
    db.rows(END_ALL_SESSIONS)
    runs += flow.start_many(["again"] * 12)
    soon(lambda: all(is_settled(run) for run in runs), "the worker goes on")
    assert {run.status for run in runs} == {"succeeded"}
    assert effects.total("write") == 16
    assert not Attempt.objects.exists()
    assert_nothing_is_left_open()


@pytest.mark.guard("stopping_survives_the_database")
def test_a_draining_worker_outlives_the_end_of_its_sessions(workers, flow, monkeypatch):
    @flow.step
    def only():
        return 1

    depth, ended = queue.depth, []

    def end_sessions_first(name):
        if not ended:
            ended.append(True)
            db.rows("SELECT pg_terminate_backend(pg_backend_pid())")
        return depth(name)

    flow.start()
    monkeypatch.setattr(queue, "depth", end_sessions_first)
    worker = workers.thread(drain=True)
    soon(lambda: not worker.is_alive(), "it drains and ends")
    assert worker.error is None
    assert Run.objects.get().status == "succeeded"


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'data_exception'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON django_workflow_task FOR EACH ROW WHEN (%s) EXECUTE FUNCTION refuse()
"""
ALLOW = "DROP FUNCTION IF EXISTS refuse() CASCADE"


@pytest.fixture
def refuse(workers):
    """Let the database refuse certain updates of tasks."""
    yield lambda when: db.run_script(REFUSE % when)
    workers.end()
    db.run_script(ALLOW)


@pytest.mark.guard("lost_claims_are_looked_for")
@pytest.mark.parametrize("place", [("", claim.TAKE), (writing.INSERT_TAKEN_TASKS, "COMMIT")], ids=["claim", "hand-off"])
def test_what_a_claim_took_whose_answer_is_lost_is_handed_back_uncounted(workers, flow, effects, cutter, place):
    once = Retry(max_attempts=1)
    flow.step(name="first", retry=once)(record)
    flow.step(name="second", depends_on=["first"], retry=once)(record)
    worker = workers.thread(lease=timedelta(seconds=4))
    warm = flow.start()
    soon(lambda: is_settled(warm), "the worker is up")
    cutter.thread = worker.thread
    cutter.cut_after(place[1], seen=place[0])
    run = flow.start()
    soon(lambda: is_settled(run), "the run settles")
    assert cutter.was
    assert run.status == "succeeded", run.result().error
    assert (effects.total("first"), effects.total("second")) == (2, 2)
    assert Attempt.objects.get(run_id=run.id).outcome == "released"
    assert_nothing_is_left_open()


@pytest.mark.guard("refused_writes_go_too")
def test_an_atomic_step_whose_result_is_refused_leaves_no_writes(workers, flow, refuse, effects):
    @flow.step(atomic=True)
    def book(ctx):
        record(ctx)
        return 1

    refuse("new.status = 'succeeded'")
    workers.thread()
    run = flow.start()
    soon(lambda: is_settled(run), "the run settles")
    assert run.status == "failed"
    assert effects.total("book") == 0
    assert_nothing_is_left_open()


@pytest.mark.guard("unsettled_is_left_to_its_lease", "others_go_on_beside_what_is_refused")
def test_a_task_that_cannot_be_settled_at_all_does_not_stop_the_others(workers, flow, refuse):
    @flow.step
    def only(input):
        return input

    first, *others = flow.start_many(range(20))
    refuse(f"new.id = {task_of(first).id} AND new.status IN ('succeeded', 'failed', 'cancelled')")
    workers.thread()
    soon(lambda: all(is_settled(run) for run in others), "the others settle")
    later = flow.start_many(range(20))
    soon(lambda: all(is_settled(run) for run in later), "later ones settle, too")
    assert first.status == "running"


@pytest.mark.guard("what_cannot_be_settled_ends_its_run")
def test_a_run_in_which_not_even_a_failure_can_be_settled_fails_and_its_handler_does_not_run_again(
    workers, flow, refuse, effects
):
    @flow.step
    def only(ctx):
        record(ctx)

    run = flow.start()
    refuse("new.status IN ('succeeded', 'failed')")
    workers.thread()
    soon(lambda: is_settled(run), "the run settles")
    assert (run.status, effects.total("only")) == ("failed", 1)
    assert "refused" in run.result().error["message"]
    assert_nothing_is_left_open()


@pytest.fixture
def alarm():
    """End a test whose main thread hangs."""

    def give_up(number, frame):
        raise TimeoutError("the main thread hangs")

    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 5.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.guard("signals_take_no_lock")
def test_a_signal_that_interrupts_the_very_event_it_would_set_does_not_hang(workers, alarm):
    worker = workers.thread()
    with worker.process.stopped_by_signals(is_own=False):
        with worker.dispatcher.wake._cond:  # where `wait`, `set` and `clear` are for some of their time
            signal.raise_signal(signal.SIGTERM)
        soon(lambda: not worker.is_alive(), "the worker stops")


# the first child dies at once, a later one would stay
CHILD = """
import signal, sys
with open(sys.argv[1], "a") as births:
    births.write("x")
if len(open(sys.argv[1]).read()) == 1:
    sys.exit(1)
signal.pause()
"""
SUPERVISE = """
import django, sys
django.setup()
from django_workflow.worker.supervisor import Supervisor
sys.exit(Supervisor([sys.executable, "-c", *sys.argv[1:]], 1).run())
"""


@pytest.mark.guard("stopped_supervisors_start_nobody")
def test_a_supervisor_that_is_stopped_while_a_child_rests_ends(broken_guard, tmp_path):
    births = tmp_path / "births"
    births.touch()
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": SITE}
    command = [sys.executable, "-c", SUPERVISE, CHILD, str(births)]
    supervisor = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert "starting another" in supervisor.stderr.readline()
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(sessions_module.SECONDS) == 0
        assert births.read_text() == "x", "another child was started after the stop"
    finally:
        # the child, in a group of its own, goes with its parent's signal
        supervisor.terminate()
        supervisor.wait(10)
