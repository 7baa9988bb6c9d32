"""Attempts that fail: retries and their times, what is given up at once, and how a failure ends a run."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_workflow import Fail, Retry, RetryAfter, RunFailed, Skip, condition, queue, testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.models import Attempt, Run, StepRun, Task

SOON = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)


class Flaky(Exception):
    """Goes away."""


class VeryFlaky(Flaky):
    """A kind of Flaky."""


def failing_flow(flow, error, **options):
    calls = []

    @flow.step(**options)
    def fails():
        calls.append(1)
        raise error

    return calls


def test_default_is_three_attempts(flow, run):
    calls = failing_flow(flow, Flaky("no"))
    assert run_quickly(flow, run).status == "failed"
    assert len(calls) == 3


def run_quickly(flow, run):
    """Run a flow without waiting for its backoff."""
    flow.defaults["retry"] = Retry(base=SOON)
    return run(flow)


@pytest.mark.parametrize("allowed", [1, 2, 4])
def test_max_attempts_counts_the_failures_allowed(flow, run, allowed):
    calls = failing_flow(flow, Flaky("no"), retry=Retry(max_attempts=allowed, base=SOON))
    result = run(flow)
    assert len(calls) == allowed
    task = Task.objects.get(run_id=result.run_id)
    assert (task.status, task.attempt, task.failure_count) == ("failed", allowed, allowed)


def test_retry_that_succeeds_makes_the_run_succeed_and_keeps_the_history(flow, run):
    @flow.step(retry=Retry(base=SOON))
    def flaky(ctx):
        if ctx.attempt < 3:
            raise Flaky(f"attempt {ctx.attempt}")
        return "at last"

    result = run(flow)
    assert (result.status, result.output, result.errors) == ("succeeded", {"flaky": "at last"}, [])
    history = Attempt.objects.filter(run_id=result.run_id).order_by("number")
    assert [(item.number, item.outcome, item.message) for item in history] == [
        (1, "failed", "attempt 1"),
        (2, "failed", "attempt 2"),
    ]


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(max_attempts=4, base=HOUR, jitter=False, cap=timedelta(days=9)), [1, 2, 4]),
        (Retry(max_attempts=4, base=HOUR, factor=3, jitter=False, cap=timedelta(days=9)), [1, 3, 9]),
        (Retry(max_attempts=4, base=HOUR, jitter=False, cap=HOUR * 3), [1, 2, 3]),
        (Retry(max_attempts=4, base=HOUR, strategy="linear", jitter=False, cap=timedelta(days=9)), [1, 2, 3]),
        (Retry(max_attempts=4, base=HOUR, strategy="constant", jitter=False, cap=timedelta(days=9)), [1, 1, 1]),
        (Retry(max_attempts=4, strategy=lambda failures: HOUR * failures * 10), [10, 20, 30]),
    ],
    ids=["exponential", "factor", "cap", "linear", "constant", "function"],
)
def test_delay_is_written_in_the_row(flow, db, retry, delays):
    failing_flow(flow, Flaky("no"), retry=retry)
    handle = flow.start()
    for hours in delays:
        testing.run_until_idle()
        task = Task.objects.get(run_id=handle.id)
        assert task.status == "queued"
        assert task.message_id is None  # too far away for the queue
        assert remaining(task) == pytest.approx(hours * 3600, abs=5)
        testing.advance(HOUR * hours)
    testing.run_until_idle()
    assert handle.status == "failed"


def remaining(task):
    due = Task.objects.filter(pk=task.pk).extra(select={"left": "extract(epoch FROM due_at - clock_timestamp())"})
    return float(due.values_list("left", flat=True)[0])


def test_jitter_draws_between_zero_and_the_computed_delay(flow, db):
    failing_flow(flow, Flaky("no"), retry=Retry(max_attempts=2, base=HOUR, cap=HOUR))
    handles = flow.start_many([None] * 30)
    testing.run_until_idle()
    delays = [remaining(task) for task in Task.objects.filter(run_id__in=[handle.id for handle in handles])]
    assert len(delays) == 30
    assert all(-5 < delay <= 3600 for delay in delays)
    assert max(delays) - min(delays) > 600


def test_short_delay_hides_the_message_and_stands_in_the_row(flow, db):
    failing_flow(flow, Flaky("no"), retry=Retry(base=timedelta(seconds=10), jitter=False))
    handle = flow.start()
    message = Task.objects.get(run_id=handle.id).message_id
    assert testing.run_until_idle() == 1
    task = Task.objects.get(run_id=handle.id)
    assert task.message_id == message
    assert remaining(task) == pytest.approx(10, abs=2)
    assert testing.run_until_idle() == 0
    testing.advance(timedelta(seconds=10))
    assert testing.run_until_idle() == 1


@pytest.mark.parametrize(
    ("rules", "error", "calls"),
    [
        ({"retry_on": (Flaky,)}, Flaky(), 3),
        ({"retry_on": (Flaky,)}, VeryFlaky(), 3),
        ({"retry_on": (VeryFlaky,)}, Flaky(), 1),
        ({"retry_on": (KeyError,)}, LookupError(), 1),
        ({"give_up_on": (Flaky,)}, VeryFlaky(), 1),
        ({"give_up_on": (KeyError,)}, Flaky(), 3),
        ({"retry_on": (Flaky,), "give_up_on": (VeryFlaky,)}, VeryFlaky(), 1),
    ],
)
def test_retry_on_and_give_up_on_know_subclasses(flow, run, rules, error, calls):
    made = failing_flow(flow, error, retry=Retry(base=SOON, **rules))
    assert run(flow).status == "failed"
    assert len(made) == calls


def test_retry_after_wins_over_backoff_and_rules_and_counts(flow, db):
    @flow.step(retry=Retry(max_attempts=2, base=timedelta(days=1), retry_on=(KeyError,)))
    def asks():
        return RetryAfter(timedelta(minutes=2), "rate limit")

    handle = flow.start()
    testing.run_until_idle()
    task = Task.objects.get(run_id=handle.id)
    assert remaining(task) == pytest.approx(120, abs=5)
    testing.advance(timedelta(minutes=2))
    testing.run_until_idle()
    assert handle.result().error == {"step": "asks", "class": "RetryAfter", "message": "rate limit"}


def test_whoever_asks_for_longer_than_a_year_waits_a_year(flow, db):
    flow.step(name="asks")(lambda: RetryAfter(timedelta(days=99_999_999)))
    handle = flow.start()
    testing.run_until_idle()
    assert remaining(Task.objects.get(run_id=handle.id)) == pytest.approx(365 * 86_400, abs=60)


def test_a_declared_output_that_is_too_large_fails_the_run_and_nothing_runs_again(make_flow, run, settings):
    settings.DJANGO_WORKFLOW = {"MAX_OUTPUT_BYTES": 100}
    flow = make_flow(output={"one": "outputs.a", "two": "outputs.a"})
    calls = []
    flow.step(name="a")(lambda: "x" * 60)
    flow.step(name="b", retry=Retry(max_attempts=2))(lambda a: calls.append(1))
    result = run(flow)
    assert (result.status, result.error["class"], len(calls)) == ("failed", "ExpressionError", 1)
    assert result.error["message"] == "output of the flow: 139 bytes of JSON are too many; 100 are allowed"


def test_fail_ends_the_step_without_further_attempts(flow, run):
    flow.step(name="gives_up", retry=Retry(max_attempts=9))(lambda: Fail("no such customer"))
    result = run(flow)
    assert result.error == {"step": "gives_up", "class": "Fail", "message": "no such customer"}
    assert Attempt.objects.filter(run_id=result.run_id).count() == 1


def test_skip_ends_the_step_with_its_reason(flow, run):
    flow.step(name="skips")(lambda: Skip("nothing to do"))
    result = run(flow)
    assert (result.status, result.output) == ("succeeded", {})
    step = StepRun.objects.get(run_id=result.run_id)
    assert (step.status, step.reason, step.message) == ("skipped", "handler", "nothing to do")


def test_failed_step_fails_the_run_fast(flow, db):
    ran = []

    @flow.step(retry=Retry(max_attempts=1))
    def fails():
        raise Flaky("broken")

    @flow.step
    def sibling():
        ran.append("sibling")

    @flow.step(depends_on=["fails"])
    def successor():
        ran.append("successor")

    @flow.step(depends_on=["sibling", "successor"])
    def join():
        ran.append("join")

    result = flow.execute()
    assert ran == []
    assert result.status == "failed"
    assert result.error["class"].endswith("Flaky")
    assert result.error | {"class": ""} == {"step": "fails", "class": "", "message": "broken"}
    testing.assert_settled(result.run_id, "failed", steps={"fails": "failed", "sibling": "cancelled"})


def test_settled_run_has_no_row_that_is_not_terminal(flow, db):
    @flow.step
    def root():
        return list(range(5))

    flow.map(name="held", over="root", max_parallel=1)(lambda item: item)
    flow.step(name="waits", depends_on=["root"])(lambda: RetryAfter(HOUR))
    flow.step(name="fails", depends_on=["root"], retry=Retry(max_attempts=1))(lambda: 1 / 0)
    flow.step(name="join", depends_on=["held", "waits", "fails"])(lambda: None)
    handle = flow.start()
    testing.run_until_idle()
    assert handle.status == "failed"
    assert not StepRun.objects.filter(run_id=handle.id).unsettled().exists()
    assert not Task.objects.of_run(handle.id).unsettled().exists()
    assert Run.objects.get(pk=handle.id).open_steps == 0
    assert not StepRun.objects.filter(run_id=handle.id, open_tasks__gt=0).exists()


@pytest.mark.parametrize(("on_exhausted", "after"), [("skip", "succeeded"), ("skip_cascade", "skipped")])
def test_exhausted_step_may_be_skipped_and_its_error_is_kept(flow, run, on_exhausted, after):
    failing_flow(flow, Flaky("broken"), retry=Retry(max_attempts=2, base=SOON), on_exhausted=on_exhausted)
    flow.step(name="after")(lambda fails="absent": fails)
    flow.step(name="last")(lambda after="absent": after)
    result = run(flow)
    assert result.status == "succeeded"
    assert result.output == ({"last": "absent"} if after == "succeeded" else {})
    step = StepRun.objects.get(run_id=result.run_id, step="fails")
    assert (step.status, step.reason, step.error["message"]) == ("skipped", "handler_failed", "broken")
    following = StepRun.objects.get(run_id=result.run_id, step="last")
    assert following.reason == ("" if after == "succeeded" else "dependency_skipped")
    assert result.errors == [step.error]
    assert result.error is None


def test_each_attempt_has_its_error_record(flow, run):
    @flow.step(retry=Retry(max_attempts=2, base=SOON))
    def fails(ctx):
        raise Flaky(f"order {ctx.attempt} of 'me' at 0xdeadbeef")

    result = run(flow)
    one, two = Attempt.objects.filter(run_id=result.run_id).order_by("number")
    assert one.error_class.endswith("test_failure.Flaky")
    assert (one.message, two.message) == ("order 1 of 'me' at 0xdeadbeef", "order 2 of 'me' at 0xdeadbeef")
    assert "in fails" in one.traceback
    assert one.traceback.endswith(f"{one.error_class}: {one.message}\n")
    assert one.begun_at <= one.ended_at
    assert one.is_counted
    assert one.fingerprint == two.fingerprint != ""


def test_each_attempt_keeps_its_worker(flow, db):
    flow.step(name="only", retry=Retry(base=SOON))(lambda: 1)
    handle = flow.start()
    take(1, fails)
    take(2, lambda task: None)  # it vanishes
    take(3, lambda task: outcome.lost(task, 30.0))
    history = Attempt.objects.filter(run_id=handle.id).order_by("number")
    assert list(history.values_list("outcome", "worker_id")) == [("failed", 1), ("lost", 2)]
    assert Task.objects.get(run_id=handle.id).worker_id == 3


def fails(task):
    return outcome.failed(task, outcome.ErrorRecord("Flaky", "no"))


def take(worker_id, end):
    """Let a worker claim the one task there is and hand in what `end` makes of it."""
    queue.advance("default", HOUR)
    (task,) = claim.claim("default", 1, slots=1, lease=30.0, worker_id=worker_id)
    settle([item for item in [end(task)] if item is not None])


def test_fingerprint_tells_different_errors_apart(flow, run):
    errors = [Flaky("no parcel"), Flaky("no customer"), VeryFlaky("no parcel")]

    @flow.step(retry=Retry(max_attempts=3, base=SOON))
    def fails(ctx):
        raise errors[ctx.attempt - 1]

    result = run(flow)
    assert Attempt.objects.filter(run_id=result.run_id).values("fingerprint").distinct().count() == 3


def test_error_that_postgresql_could_not_store_is_stored_cleaned(flow, run):
    failing_flow(flow, Flaky("nul \x00 and surrogate \ud800"), retry=Retry(max_attempts=1))
    result = run(flow)
    assert result.error["message"] == "nul \ufffd and surrogate ?"


def test_error_whose_text_fails_is_an_error_all_the_same(flow, run):
    class Mute(Exception):
        def __str__(self):
            raise ValueError("no text")

    failing_flow(flow, Mute(), retry=Retry(max_attempts=1))
    result = run(flow)
    assert result.status == "failed"
    assert "Mute" in result.error["class"]
    assert "ValueError" in result.error["message"]


def test_long_messages_are_cut(flow, run):
    failing_flow(flow, Flaky("x" * 100_000), retry=Retry(max_attempts=1))
    result = run(flow)
    assert len(result.error["message"]) == 2_000
    assert len(Attempt.objects.get(run_id=result.run_id).traceback) <= 20_000


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
def test_handler_that_wants_to_end_the_process_only_fails(flow, run, error):
    failing_flow(flow, error, retry=Retry(max_attempts=1))
    result = run(flow)
    assert (result.status, result.error["class"]) == ("failed", type(error).__name__)


def test_strategy_that_fails_itself_fails_the_step_with_that_error(flow, run):
    def broken(failures):
        raise ZeroDivisionError("no delay")

    failing_flow(flow, Flaky("no"), retry=Retry(strategy=broken))
    result = run(flow)
    assert (result.status, result.error["class"], result.error["message"]) == (
        "failed",
        "ZeroDivisionError",
        "the retry strategy of step 'fails': no delay; its handler had failed with tests.flows.test_failure.Flaky: no",
    )


def test_registered_strategy_is_found_by_name(flow, db, unique):
    name = unique("strategy")
    condition(name)(lambda failures: timedelta(minutes=failures))
    failing_flow(flow, Flaky("no"), retry=Retry(strategy=f"callable:{name}"))
    handle = flow.start()
    testing.run_until_idle()
    assert remaining(Task.objects.get(run_id=handle.id)) == pytest.approx(60, abs=5)


def test_flow_and_settings_give_what_a_step_leaves_out(make_flow, run, settings):
    settings.DJANGO_WORKFLOW = {"RETRY": Retry(max_attempts=7, base=SOON, strategy="constant")}
    flow = make_flow(retry=Retry(max_attempts=2))
    calls = failing_flow(flow, Flaky("no"), retry=Retry(jitter=False))
    run(flow)
    assert len(calls) == 2


def test_raise_for_status_names_step_class_and_message(flow, run):
    failing_flow(flow, Flaky("broken"), retry=Retry(max_attempts=1))
    result = run(flow)
    with pytest.raises(RunFailed, match=r"failed at step 'fails': .*Flaky: broken") as caught:
        result.raise_for_status()
    assert caught.value.result is result


def test_deadline_ends_an_unsettled_run_as_timed_out(make_flow, db):
    flow = make_flow(max_duration=HOUR)
    flow.step(name="waits")(lambda: RetryAfter(timedelta(days=1)))
    handle = flow.start()
    testing.run_until_idle()
    testing.advance(timedelta(minutes=59))
    assert handle.status == "running"
    testing.advance(timedelta(minutes=2))
    result = testing.assert_settled(handle, "timed_out", steps={"waits": "cancelled"})
    assert "max_duration" in result.error["message"]
    with pytest.raises(RunFailed, match="timed_out"):
        result.raise_for_status()


def test_local_attempt_past_its_timeout_is_timed_out_and_tried_again(flow, db):
    @flow.step(timeout=timedelta(milliseconds=50), retry=Retry(max_attempts=2, base=SOON))
    def slow(ctx):
        if ctx.attempt == 1:
            spin_until_stopped(ctx)
        return "quick"

    result = flow.execute()
    assert result["slow"] == "quick"
    attempt = Attempt.objects.get(run_id=result.run_id)
    assert (attempt.outcome, attempt.error_class) == ("timed_out", "TimedOut")
    assert "timeout of 0.05 s" in attempt.message


def spin_until_stopped(ctx, seconds=10):
    """Run Python code until the attempt is interrupted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    raise AssertionError("nobody stopped this handler")
