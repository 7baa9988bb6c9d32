"""What handlers log is stored with their task: in every executor, in order, within bounds, and never in their way."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from django_workflow import Retry, RunHandle, db, testing
from django_workflow.models import Task, TaskLog
from django_workflow.worker.logs import capture
from django_workflow.worker.logs import writer as log_writer
from tests.waiting import eventually
from tests.worker.site import workflows

site_log = logging.getLogger("shop.orders")
SOON = timedelta(milliseconds=10)


@pytest.fixture(autouse=True)
def _site_logs_from_info(caplog):
    """As a site's LOGGING would say."""
    caplog.set_level(logging.INFO, logger="shop")


def lines(handle):
    """Return attempt, level and message of a run's lines."""
    return list(TaskLog.objects.filter(run_id=handle.id).values_list("attempt", "level", "message"))


def messages(handle):
    return [message for _, _, message in lines(handle)]


@pytest.mark.parametrize("kind", ["plain", "coroutine", "atomic", "pool"])
def test_lines_of_every_logger_are_stored_with_their_task(flow, drain, settings, kind):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"pool": "tests.worker.site.pools.threads"}}

    def talk(item, ctx):
        site_log.info("item %s", item)
        ctx.logger.info("attempt %s", ctx.attempt)
        logging.getLogger("other").warning("careful")

    async def atalk(item, ctx):
        talk(item, ctx)

    options = {"atomic": {"atomic": True}, "pool": {"executor": "pool"}}.get(kind, {})
    flow.map(name="each", over="input", **options)(atalk if kind == "coroutine" else talk)
    handle = flow.start(["a", "b"])
    drain()
    testing.assert_settled(handle)
    for task in Task.objects.of_run(handle.id):
        found = TaskLog.objects.filter(task=task).values_list("run_id", "attempt", "level", "logger", "message")
        assert list(found) == [
            (handle.id, 1, 20, "shop.orders", f"item {task.item}"),
            (handle.id, 1, 20, "django_workflow.handler", "attempt 1"),
            (handle.id, 1, 30, "other", "careful"),
        ]


@pytest.mark.slow
def test_lines_of_child_processes_are_stored_too(site, drain):
    handle = workflows.apart.start(1)
    drain(executor="process", concurrency=1)
    testing.assert_settled(handle)
    assert lines(handle) == [(1, 30, "from the child")]


@pytest.mark.slow
def test_child_that_is_killed_leaves_what_it_logged_before(site, work):
    handle = workflows.spinning.start()
    work(concurrency=1)
    eventually(lambda: messages(handle), "a line of a handler that still runs")
    handle.cancel()
    assert messages(handle) == ["it goes on"]


def test_lines_can_be_read_while_the_handler_runs(flow, work):
    may_end = threading.Event()

    @flow.step
    def long(ctx):
        ctx.logger.info("begun")
        assert may_end.wait(20)

    handle = flow.start()
    work()
    eventually(lambda: messages(handle) == ["begun"], "a line of a handler that runs")
    may_end.set()
    assert handle.wait(20).is_success


def test_lines_that_come_after_the_end_of_a_run_are_told_to_whoever_looks_at_it(flow):
    flow.step(lambda: None, name="quick")
    run = flow.execute(None).run
    task = Task.objects.get(step_run__run=run)
    late = [capture.LogLine(run.pk, task.pk, 1, logging.INFO, time.time(), "shop", text) for text in ("one", "two")]
    with db.listen([db.RUN_CHANNEL]) as listener:
        log_writer.store(late)
        assert listener.notifications(10) == [(db.RUN_CHANNEL, str(run.pk))]
    assert run.logs.count() == 2


def test_rows_of_a_task_are_in_order_over_batches_and_attempts(flow, drain, monkeypatch):
    monkeypatch.setattr(log_writer, "BATCH", 7)

    @flow.map(count=8, retry=Retry(max_attempts=2, base=timedelta(seconds=1), jitter=False))
    def each(index, ctx):
        for number in range(30):
            site_log.info("%s", number)
        if ctx.attempt == 1:
            raise ValueError

    handle = flow.start()
    drain(concurrency=4)
    testing.assert_settled(handle)
    for task in Task.objects.of_run(handle.id):
        told = list(TaskLog.objects.filter(task=task).order_by("id").values_list("attempt", "message"))
        assert told == [(attempt, str(number)) for attempt in (1, 2) for number in range(30)]


def test_coroutines_that_run_at_once_do_not_mix_their_lines(flow, drain):
    everybody = asyncio.Event()
    arrived = []

    @flow.map(count=5)
    async def each(index):
        site_log.info("before %s", index)
        arrived.append(index)
        if len(arrived) == 5:
            everybody.set()
        await everybody.wait()
        await asyncio.create_task(helper(index))
        await sync_to_async(site_log.info)("in a thread %s", index)

    async def helper(index):
        site_log.info("in a task %s", index)

    handle = flow.start()
    drain()
    testing.assert_settled(handle)
    for task in Task.objects.of_run(handle.id):
        found = list(TaskLog.objects.filter(task=task).values_list("message", flat=True))
        assert found == [f"{where} {task.index}" for where in ("before", "in a task", "in a thread")]


@pytest.mark.django_db
def test_time_of_a_line_is_the_databases_when_it_was_logged(flow):
    flow.step(lambda: None, name="talks")
    run = flow.start()
    task = Task.objects.get(run_id=run.id)
    before = database_time()
    log_writer.store([capture.LogLine(run.id, task.pk, 1, logging.INFO, time.time() - 60, "shop", "a minute ago")])
    after = database_time()
    minute = timedelta(minutes=1)
    assert before <= TaskLog.objects.get(run_id=run.id).created_at + minute <= after


def database_time():
    return db.rows("SELECT clock_timestamp()")[0][0]


def test_traceback_is_part_of_the_line(flow, db):
    @flow.step
    def fails(ctx):
        try:
            1 / 0  # noqa: B018  for its error
        except ZeroDivisionError:
            ctx.logger.exception("no way")

    (line,) = messages(_executed(flow))
    assert line.startswith("no way\nTraceback (most recent call last):")
    assert line.endswith("ZeroDivisionError: division by zero")


def _executed(flow):
    result = flow.execute()
    assert result.is_success, result.errors
    return RunHandle(result.run_id)


def test_local_runs_are_captured_too(flow, db):
    @flow.step(retry=Retry(max_attempts=2, base=SOON))
    def flaky(ctx):
        site_log.info("attempt %s", ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError

    assert lines(_executed(flow)) == [(1, 20, "attempt 1"), (2, 20, "attempt 2")]


def test_local_run_inside_a_handler_keeps_the_lines_apart(make_flow, db):
    outer, inner = make_flow(), make_flow()
    inner.step(name="only")(lambda ctx: ctx.logger.info("inner"))

    @outer.step
    def calls(ctx):
        ctx.logger.info("before")
        inner.execute()
        ctx.logger.info("after")

    assert messages(_executed(outer)) == ["before", "after"]


def test_lines_beyond_the_limit_are_counted_in_one_line(flow, db, settings):
    settings.DJANGO_WORKFLOW = {"LOG_LINES": 3}

    @flow.step
    def talks():
        for number in range(10):
            site_log.info("%s", number)

    told = lines(_executed(flow))
    assert told == [
        *((1, 20, str(number)) for number in range(3)),
        (1, 30, "7 more lines were left out: LOG_LINES is 3"),
    ]


def test_zero_lines_turn_capturing_off(flow, db, settings):
    settings.DJANGO_WORKFLOW = {"LOG_LINES": 0}
    flow.step(name="only")(lambda ctx: ctx.logger.error("nobody keeps this"))
    assert lines(_executed(flow)) == []


def test_level_of_the_settings_and_of_the_logger_both_count(flow, db, settings, caplog):
    settings.DJANGO_WORKFLOW = {"LOG_LEVEL": "WARNING"}
    caplog.set_level(logging.ERROR, logger="shop.quiet")

    @flow.step
    def talks(ctx):
        ctx.logger.info("below the setting")
        ctx.logger.warning("kept")
        site_log.info("below the setting")
        logging.getLogger("shop.quiet").warning("below the logger's level")
        logging.getLogger("shop.quiet").error("kept, too")

    assert messages(_executed(flow)) == ["kept", "kept, too"]


def test_ctx_logger_is_kept_from_info_though_logging_prints_from_warning(flow, db, caplog):
    caplog.set_level(logging.WARNING, logger=capture.HANDLER_LOGGER)

    @flow.step
    def talks(ctx):
        ctx.logger.debug("debug")
        ctx.logger.info("info %s", 1)
        ctx.logger.warning("warning")

    assert messages(_executed(flow)) == ["info 1", "warning"]
    shown = [record for record in caplog.records if record.name == capture.HANDLER_LOGGER]
    assert [(record.getMessage(), record.step, record.funcName) for record in shown] == [("warning", "talks", "talks")]


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        ("nul \x00 and \ud800", "nul � and ?"),
        ('quotes " and \\ and {braces}\nsecond line', 'quotes " and \\ and {braces}\nsecond line'),
        ("x" * 25_000, "x" * 10_000 + "… (25,000 characters)"),
        ("", ""),
        ("NULL", "NULL"),
    ],
    ids=["unstorable", "quoted", "long", "empty", "null"],
)
def test_every_text_can_be_stored(flow, db, message, stored):
    flow.step(name="only")(lambda ctx: ctx.logger.info("%s", message))
    assert messages(_executed(flow)) == [stored]


def test_logging_that_fails_does_not_fail_the_handler(flow, db, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's raise on purpose
    monkeypatch.setattr(logging, "lastResort", None)

    class Mute:
        def __str__(self):
            raise RuntimeError

    @flow.step
    def talks(ctx):
        ctx.logger.info("%s and %s", 1)  # noqa: PLE1206  that is the mistake
        ctx.logger.info("%s", Mute())
        ctx.logger.info(Mute())
        ctx.logger.log(99_999, "loud")
        return "done"

    assert lines(_executed(flow)) == [
        (1, 20, "%s and %s (its text cannot be made: TypeError)"),
        (1, 20, "%s (its text cannot be made: RuntimeError)"),
        (1, 20, "<Mute> (its text cannot be made: RuntimeError)"),
        (1, 32_767, "loud"),
    ]


def test_engine_s_own_records_belong_to_no_task(flow, drain):
    @flow.step(retry=Retry(max_attempts=1))
    def fails():
        logging.getLogger("django_workflow.worker").error("of the engine")
        raise ValueError

    handle = flow.start()
    drain()
    testing.assert_settled(handle, "failed")
    assert lines(handle) == []


def test_lines_of_an_atomic_step_that_is_rolled_back_stay(flow, drain):
    @flow.step(atomic=True, retry=Retry(max_attempts=1))
    def fails(ctx):
        ctx.logger.info("it will not do")
        raise ValueError

    handle = flow.start()
    drain()
    testing.assert_settled(handle, "failed")
    assert messages(handle) == ["it will not do"]


def test_python_prints_what_nobody_handles_also_while_we_listen(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(sys.stderr))
    logging.lastResort.setLevel(logging.WARNING)
    with capture.capturing():
        site_log.warning("nobody handles this")
        site_log.info("nor this")
    assert root.handlers == []
    assert capsys.readouterr().err == "nobody handles this\n"


@pytest.mark.slow
def test_worker_without_any_logging_configuration_prints_warnings_once(command):
    handle = workflows.apart.start(1)
    code, output = command("--drain", "--quiet", "--concurrency", "1").end()
    assert (code, output.splitlines()) == (0, ["from the child"])
    assert messages(handle) == ["from the child"]


def test_logging_handler_of_the_site_still_gets_everything(flow, drain, caplog):
    flow.step(name="only")(lambda: site_log.info("for both"))
    handle = flow.start()
    drain()
    assert messages(handle) == ["for both"]
    assert "for both" in [record.getMessage() for record in caplog.records]


def test_lines_wait_in_memory_while_the_database_is_away():
    written, broken = [], [True]

    def write(batch):
        if broken:
            broken.clear()
            raise OperationalError("the connection is lost")
        written.extend(batch)

    writer = log_writer.LogWriter(write, every=0.01)
    writer.start()
    for number in range(5):
        writer.put(number)
    eventually(lambda: written == [0, 1, 2, 3, 4], "lines written in order after all")
    writer.stop()


def test_batch_that_cannot_be_stored_does_not_stop_the_others():
    written = []

    def write(batch):
        if "bad" in batch:
            raise ValueError("no")
        written.extend(batch)

    writer = log_writer.LogWriter(write, every=0.01)
    writer.start()
    writer.put("bad")
    writer.flush()
    writer.put("good")
    writer.stop()
    assert written == ["good"]


def test_more_lines_than_fit_into_memory_are_dropped(monkeypatch, caplog):
    monkeypatch.setattr(log_writer, "MOST", 3)
    written = []
    writer = log_writer.LogWriter(written.extend, every=0.01)
    for number in range(5):
        writer.put(number)
    writer.flush()
    assert written == [0, 1, 2]
    assert "2 lines that handlers logged were dropped" in caplog.text
