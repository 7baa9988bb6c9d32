"""What fails reaches people: records in the log, signals, and `on_failure=`, wherever the run is executed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_workflow import (
    DefinitionError,
    Fail,
    Flow,
    Retry,
    Skip,
    To,
    When,
    run_ended,
    run_failed,
    skip_step,
    testing,
)
from django_workflow.definition.registry import registry
from django_workflow.engine.reporting.failure_log import StoredFailure
from django_workflow.models import Run

SOON = timedelta(milliseconds=1)
ONCE = Retry(max_attempts=1)


@pytest.fixture
def told(caplog):
    """The records of failures."""
    caplog.set_level(logging.INFO, "django_workflow.failures")
    return lambda level=logging.WARNING: [
        record for record in caplog.records if record.name == "django_workflow.failures" and record.levelno >= level
    ]


@pytest.fixture
def heard():
    """What receivers of both signals hear: the signal, the flow and the run."""
    found = []

    def hear_failed(sender, run, **kwargs):
        found.append(("run_failed", sender, run))

    def hear_ended(sender, run, **kwargs):
        found.append(("run_ended", sender, run))

    run_failed.connect(hear_failed)
    run_ended.connect(hear_ended)
    yield found
    run_failed.disconnect(hear_failed)
    run_ended.disconnect(hear_ended)


# the log


def test_retries_are_warnings_and_the_last_attempt_is_one_error(flow, run, told):
    @flow.step(retry=Retry(max_attempts=3, base=timedelta(milliseconds=20), jitter=False))
    def fails(input):
        raise ValueError(f"wrong: {input}")

    result = run(flow, {"card": "4711"})
    place = f"{flow.slug}.fails"
    assert [(record.levelname, record.getMessage()) for record in told()] == [
        ("WARNING", f"{place} failed (attempt 1 of 3, again in 20 ms; run {result.run_id}): ValueError"),
        ("WARNING", f"{place} failed (attempt 2 of 3, again in 40 ms; run {result.run_id}): ValueError"),
        ("ERROR", f"{place} failed for good (attempt 3 of 3; run {result.run_id} failed): ValueError"),
    ]


def test_an_error_record_has_the_exception_with_the_handlers_own_frames(flow, run, told):
    @flow.step(retry=ONCE)
    def fails():
        raise ValueError("this one")

    run(flow)
    (record,) = told()
    kind, error, tb = record.exc_info
    assert (kind, str(error)) == (ValueError, "this one")
    while tb.tb_next is not None:
        tb = tb.tb_next
    assert tb.tb_frame.f_code.co_name == "fails"


class Evil(Exception):
    """An error of which no traceback can be made."""

    @property
    def __cause__(self):
        raise SystemExit(3)


def test_an_exception_that_cannot_be_written_down_is_told_by_its_text(flow, run, told):
    @flow.step(retry=ONCE)
    def fails():
        raise Evil("so evil")

    assert run(flow).status == "failed"
    (record,) = told()
    assert isinstance(record.exc_info[1], StoredFailure)
    assert str(record.exc_info[1]).endswith("Evil: so evil")


def test_a_logging_handler_that_breaks_changes_nothing(flow, run):
    class Breaks(logging.Handler):
        def emit(self, record):
            raise SystemExit(3)

    breaks = Breaks()
    logging.getLogger("django_workflow.failures").addHandler(breaks)
    try:
        flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
        assert run(flow).status == "failed"
    finally:
        logging.getLogger("django_workflow.failures").removeHandler(breaks)


@pytest.mark.parametrize("where", ["django_workflow.failures", "django_workflow"])
def test_a_logging_handler_that_breaks_keeps_nobody_from_hearing(make_flow, run, heard, where):
    class Breaks(logging.Handler):
        def emit(self, record):
            raise RuntimeError("handler")

    def breaks_too(**kwargs):
        calls.append("breaks too")
        raise ValueError

    calls = []
    flow = make_flow(on_failure=[breaks_too, lambda **kwargs: calls.append("on_failure")])
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    breaks = Breaks(level=logging.ERROR)
    logging.getLogger(where).addHandler(breaks)
    try:
        assert run(flow).status == "failed"
    finally:
        logging.getLogger(where).removeHandler(breaks)
    assert calls == ["breaks too", "on_failure"]
    assert [name for name, _, _ in heard] == ["run_failed", "run_ended"]


def test_execute_without_the_code_of_a_step_names_the_remedy(flow, db):
    flow.step(name="charge")(lambda: 1)
    flow.to_dict()
    del registry._handlers[f"{flow.slug}.charge"]
    error = flow.execute().error
    assert error["message"].startswith(
        f"This process has no code for handler '{flow.slug}.charge': its step was renamed"
    )
    assert "add name='charge' to the step that was renamed" in error["message"]


@pytest.mark.parametrize("options", [{"next": [To("mend", on="failed")]}, {"on_exhausted": "skip"}])
def test_a_failure_that_the_flow_handles_is_a_warning(flow, run, told, options):
    flow.step(name="fails", retry=ONCE, **options)(lambda: 1 / 0)
    flow.step(name="mend")(lambda: "mended")
    result = run(flow)
    assert result.status == "succeeded"
    (record,) = told()
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith(f"(attempt 1 of 1; handled in run {result.run_id}): ZeroDivisionError")
    assert record.exc_info[0] is ZeroDivisionError


def test_a_failure_whose_handler_does_not_apply_is_an_error(flow, run, told):
    flow.step(name="fails", retry=ONCE, next=[When("input > 2", "mend", on="failed")])(lambda: 1 / 0)
    flow.step(name="mend")(lambda: "mended")
    assert run(flow, 1).status == "failed"
    (record,) = told()
    assert record.levelname == "ERROR"


def test_items_that_a_map_tolerates_are_warnings(flow, run, told):
    flow.map(name="each", count=3, retry=ONCE, tolerate=1)(lambda index: 1 / index)
    assert run(flow).status == "succeeded"
    (record,) = told()
    assert record.levelname == "WARNING"


def test_what_is_not_tried_again_says_so(flow, run, told):
    flow.step(name="refused")(lambda: Fail("no money for 4711"))
    run(flow)
    (record,) = told()
    assert "(attempt 1 of 3, not to be tried again; run " in record.getMessage()
    assert "4711" not in record.getMessage()
    assert isinstance(record.exc_info[1], StoredFailure)
    assert str(record.exc_info[1]) == "Fail: no money for 4711"


def test_a_run_that_fails_without_a_failed_attempt_has_a_record_of_its_own(flow, run, told):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when="outputs.first.nothing > 2")(lambda: 2)
    result = run(flow)
    (record,) = told(logging.ERROR)
    assert record.getMessage() == f"run {result.run_id} failed at {flow.slug}.second: ExpressionError"
    assert (record.run_id, record.flow, record.step) == (str(result.run_id), flow.slug, "second")
    assert record.fingerprint
    assert "nothing" in str(record.exc_info[1])


def test_a_run_that_the_command_fail_ends_has_one_record(make_flow, run, told):
    good, bad = make_flow(), make_flow()
    good.step(name="only", next=[To("fail")])(lambda: 1)
    bad.step(name="only", retry=ONCE, next=[To("fail", on="failed")])(lambda: 1 / 0)
    ended, failed = run(good), run(bad)
    assert [record.getMessage() for record in told()] == [
        f"run {ended.run_id} failed at {good.slug}.only: FailCommand",
        f"{bad.slug}.only failed for good (attempt 1 of 1; run {failed.run_id} failed): ZeroDivisionError",
    ]


LATER = """
version: 1.0
tasks:
  begin:
    action: core.noop
    next:
      - do: [breaks, waits]
  breaks:
    action: breaks
    next:
      - do: [fail, cleans]
  cleans:
    action: core.noop
  waits:
    action: core.noop
"""


def test_a_run_that_fails_once_what_runs_has_ended_has_one_record(unique, run, told):
    def breaks():
        raise ValueError

    calls = []
    slug = unique()
    flow = Flow.from_orquesta(
        LATER, actions={"breaks": breaks}, slug=slug, on_failure=lambda **told: calls.append(told)
    )
    result = run(flow)
    assert result.status == "failed"
    (record,) = told(logging.ERROR)
    assert f"{slug}.breaks failed for good (attempt 1" in record.getMessage()
    assert [told["run"].pk for told in calls] == [result.run_id]


def test_a_run_past_its_deadline_has_a_record(make_flow, told, db):
    flow = make_flow(max_duration=timedelta(hours=1))
    flow.step(name="waits")(lambda: 1)
    handle = flow.start()
    testing.advance(timedelta(hours=2))
    (record,) = told()
    why = "the run took longer than its max_duration"
    assert (record.levelname, record.getMessage()) == ("ERROR", f"run {handle.id} of flow {flow.slug} timed out: {why}")


def test_runs_that_succeed_skip_or_are_cancelled_tell_nothing(flow, run, told):
    flow.step(name="skips")(lambda: Skip("nothing to do"))
    run(flow)
    flow.start().cancel("not wanted")
    assert told() == []


def test_execute_past_its_timeout_is_told_once(flow, told, db):
    flow.step(name="fails", retry=Retry(max_attempts=5, base=timedelta(hours=1)))(lambda: 1 / 0)
    flow.execute(timeout=timedelta(milliseconds=50))
    (record,) = told(logging.ERROR)
    assert record.getMessage().endswith("execute() took longer than its timeout")


def test_a_failure_that_is_rolled_back_is_not_told(make_flow, told, heard, transactional_db):
    flow = make_flow()
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    with transaction.atomic():
        flow.execute()
        transaction.set_rollback(True)
    assert told() == [] == heard


def test_failures_in_the_callers_transaction_are_told_after_its_commit(make_flow, told, heard, transactional_db):
    flow = make_flow()
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    with transaction.atomic():
        flow.execute()
        assert told() == [] == heard
    assert len(told()) == 1
    assert [name for name, _, _ in heard] == ["run_failed", "run_ended"]


def test_failed_items_of_a_map_are_told_and_the_run_not_again(flow, run, told):
    flow.map(name="each", count=3, retry=ONCE, tolerate=1)(lambda index: 1 / (index - 1) and 1 / index)
    result = run(flow)
    assert result.status == "failed"
    # the first one could still be tolerated
    assert [record.levelname for record in told()] == ["WARNING", "ERROR"]


# signals


def test_a_failed_run_is_announced_once_with_its_flow_and_what_ended_it(flow, run, heard):
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    result = run(flow)
    assert [(name, sender) for name, sender, _ in heard] == [("run_failed", flow), ("run_ended", flow)]
    for _, _, found in heard:
        assert isinstance(found, Run)
        assert (found.pk, found.status, found.flow.slug) == (result.run_id, "failed", flow.slug)
        assert (found.error["step"], found.error["class"]) == ("fails", "ZeroDivisionError")


def test_a_run_that_succeeded_is_announced_as_ended_only(flow, run, heard):
    flow.step(name="good")(lambda: 1)
    run(flow)
    assert [(name, found.status) for name, _, found in heard] == [("run_ended", "succeeded")]


def test_a_run_that_timed_out_and_one_that_was_cancelled_are_announced(make_flow, heard, db):
    flow = make_flow(max_duration=timedelta(hours=1))
    flow.step(name="waits")(lambda: 1)
    flow.start().cancel()
    flow.start()
    testing.advance(timedelta(hours=2))
    assert [(name, found.status) for name, _, found in heard] == [
        ("run_ended", "cancelled"), ("run_failed", "timed_out"), ("run_ended", "timed_out")
    ]  # fmt: skip


def test_a_run_that_an_operator_brings_to_its_end_is_announced(flow, heard, db):
    flow.step(name="waits")(lambda: 1)
    handle = flow.start()
    skip_step(handle, "waits")
    assert [(name, found.pk) for name, _, found in heard] == [("run_ended", handle.id)]


def test_a_run_that_ends_as_it_starts_is_announced(flow, heard, db):
    flow.step(name="never", when="input > 2")(lambda: 1)
    flow.start(1)
    assert [(name, found.status) for name, _, found in heard] == [("run_ended", "succeeded")]


def test_receivers_of_one_flow_hear_of_no_other(make_flow, run):
    one, other = make_flow(), make_flow()
    for flow in (one, other):
        flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    found = []

    def hear(sender, run, **kwargs):
        found.append(sender)

    run_failed.connect(hear, sender=one)
    run(one)
    run(other)
    assert found == [one]


@pytest.mark.parametrize("error", [ValueError("receiver"), SystemExit(3)])
def test_what_a_receiver_raises_is_logged_and_changes_nothing(flow, run, heard, caplog, error):
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)

    def breaks(sender, run, **kwargs):
        raise error

    run_failed.connect(breaks)
    try:
        result = run(flow)
    finally:
        run_failed.disconnect(breaks)
    assert result.status == "failed"
    assert [name for name, _, _ in heard][-1] == "run_ended"
    assert any(record.exc_info and record.exc_info[1] is error for record in caplog.records)


def test_without_receivers_a_run_that_succeeds_asks_the_database_for_nothing_more(flow, db):
    flow.step(name="good")(lambda: 1)
    flow.execute()
    with CaptureQueriesContext(connection) as queries:
        flow.execute()
    run_failed.connect(_ignore)
    try:
        with CaptureQueriesContext(connection) as again:
            flow.execute()
    finally:
        run_failed.disconnect(_ignore)
    assert len(again) == len(queries)


def _ignore(sender, **kwargs):
    pass


# on_failure=


def test_on_failure_is_called_for_each_failed_run_of_its_flow(make_flow, run):
    calls = []
    flow = make_flow(on_failure=lambda sender, run, **kwargs: calls.append((sender, run.pk)))
    flow.step(name="divides", retry=ONCE)(lambda input: 1 / input)
    failed = run(flow, 0)
    run(flow, 1)
    assert calls == [(flow, failed.run_id)]


def test_on_failure_may_be_several_functions_and_coroutines(make_flow, run):
    calls = []

    def breaks(**kwargs):
        calls.append("breaks")
        raise ValueError

    async def tells(sender, run, signal):
        await asyncio.sleep(0)
        calls.append(("tells", signal is run_failed, run.error["class"]))

    flow = make_flow(on_failure=[breaks, tells])
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    assert run(flow).status == "failed"
    assert calls == ["breaks", ("tells", True, "ZeroDivisionError")]


def test_whatever_a_receiver_returns_is_awaited(make_flow, run):
    calls = []

    async def tell(what, **kwargs):
        await asyncio.sleep(0)
        calls.append(what)

    class Tells:
        async def __call__(self, **kwargs):
            await tell("object")

    def receiver(sender, **kwargs):
        return tell("signal")

    flow = make_flow(on_failure=[Tells(), functools.partial(tell, "partial"), lambda **kwargs: tell("wrapped")])
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    run_failed.connect(receiver, sender=flow)
    assert run(flow).status == "failed"
    assert calls == ["signal", "object", "partial", "wrapped"]


@pytest.mark.parametrize("is_caught", [False, True])
def test_a_statement_of_a_receiver_that_fails_breaks_no_transaction_of_a_test(make_flow, run, is_caught):
    calls = []

    def stores(run, **kwargs):
        Group.objects.create(name=f"stays {run.pk}")
        calls.append("stores")
        raise ValueError

    def breaks(**kwargs):
        with contextlib.suppress(IntegrityError) if is_caught else contextlib.nullcontext():
            for _ in range(2):
                Group.objects.create(name="twice")

    def receiver(sender, run, **kwargs):
        calls.append(run.flow.slug)
        breaks()

    flow = make_flow(on_failure=[stores, breaks, lambda run, **kwargs: calls.append(Run.objects.get(pk=run.pk).status)])
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    run_ended.connect(receiver, sender=flow)
    result = run(flow)
    assert calls == ["stores", "failed", flow.slug]
    assert [group.name for group in Group.objects.all()] == [f"stays {result.run_id}"]


def test_on_failure_is_no_part_of_a_version(make_flow, db):
    flow = make_flow(on_failure=lambda **told: None)
    flow.step(name="good")(lambda: 1)
    assert "on_failure" not in str(flow.to_dict())


def _takes_the_run_alone(run):
    pass


def _wants_more(sender, run, channel, **kwargs):
    pass


@pytest.mark.parametrize("wrong", [_takes_the_run_alone, _wants_more, [_ignore, lambda: None]])
def test_on_failure_that_cannot_be_called_with_its_arguments_is_a_problem_of_the_definition(make_flow, wrong):
    flow = make_flow(on_failure=wrong)
    flow.step(name="good")(lambda: 1)
    with pytest.raises(DefinitionError, match=r"with sender=, run= and signal=, which it does not take; begin it as"):
        flow.to_dict()


@pytest.mark.parametrize("wrong", [3, "tell_slack", ["tell_slack"]])
def test_on_failure_that_is_no_function_is_a_problem_of_the_definition(make_flow, wrong):
    flow = make_flow(on_failure=wrong)
    flow.step(name="good")(lambda: 1)
    with pytest.raises(DefinitionError, match="flow: on_failure= takes"):
        flow.to_dict()
