"""A deploy while workers run: the processes that claim, execute and settle may have the code of different releases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Retry, testing
from django_workflow.definition.registry import Handler, registry
from django_workflow.models import Attempt
from tests.waiting import eventually
from tests.worker.site import workflows

pytestmark = pytest.mark.slow

LARGE = "x" * 50_000
SOON = timedelta(milliseconds=10)


@pytest.mark.parametrize("value", ["x", LARGE], ids=["small", "large"])
def test_runs_in_flight_all_get_what_a_handler_asks_for_since_a_deploy(flow, drain, value):
    flow.step(name="first")(lambda: "old")
    flow.step(name="second", depends_on=["first"])(lambda: "old")
    flow.step(name="third", depends_on=["second"])(lambda: "old")
    handles = [flow.start(value) for _ in range(6)]
    registry.add_handler(f"{flow.slug}.third", lambda input, first: [first, input])
    drain(concurrency=2)
    assert [handle.result()["third"] for handle in handles] == [["old", value]] * 6


def test_a_child_with_newer_code_gets_what_that_asks_for(site, drain):
    # as this process has it, which started before the deploy
    registry._handlers["site_echo.gives"] = Handler.of("site_echo.gives", lambda: None)
    handle = workflows.echo.start(LARGE)
    drain()
    assert handle.result()["gives"] == LARGE


def test_a_child_without_the_code_puts_the_task_back_uncounted(flow, site, work):
    flow.step(name="only", executor="process", retry=Retry(max_attempts=1))(lambda: None)
    handle = flow.start()
    work(concurrency=1)
    eventually(lambda: Attempt.objects.filter(run_id=handle.id).exists(), "an attempt put back", seconds=20)
    attempt = Attempt.objects.filter(run_id=handle.id).first()
    assert (attempt.outcome, attempt.is_counted) == ("released", False)
    assert attempt.message == f"no handler '{flow.slug}.only' in this process"
    assert (attempt.reason, attempt.missing_code) == ("no_handler", f"{flow.slug}.only")
    handle.cancel("nobody has the code")


def test_a_task_of_an_executor_that_is_unknown_here_is_left_to_others(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"UNKNOWN_HANDLER_DELAY": 10 * SOON, "POLL_INTERVAL": 5 * SOON}
    flow.step(name="only", executor="cluster", retry=Retry(max_attempts=1))(lambda: "known")
    handle = flow.start()
    registry.add_handler(f"{flow.slug}.only", lambda: "known")  # as a worker of the old release has it
    work()
    eventually(lambda: Attempt.objects.filter(run_id=handle.id).exists(), "an attempt put back")
    attempt = Attempt.objects.filter(run_id=handle.id).first()
    assert (attempt.outcome, attempt.is_counted) == ("released", False)
    assert attempt.message == "no executor 'cluster' in this process"
    assert (attempt.reason, attempt.missing_code) == ("no_executor", "cluster")
    pool = "concurrent.futures.ThreadPoolExecutor"
    settings.DJANGO_WORKFLOW = {**settings.DJANGO_WORKFLOW, "EXECUTORS": {"cluster": pool}}
    assert handle.wait(20)["only"] == "known"


def test_a_task_of_an_executor_that_a_deploy_gave_up_goes_where_the_code_says_now(flow, drain):
    flow.step(name="only", executor="cluster")(lambda: "ran")
    handle = flow.start()
    registry.add_handler(f"{flow.slug}.only", lambda: "ran", executor="thread")
    drain()
    assert testing.assert_settled(handle)["only"] == "ran"


def test_arguments_of_a_coroutine_may_read_outputs(flow, drain):
    flow.step(name="first")(lambda: LARGE)

    @flow.step(depends_on=["first"], arguments={"length": "len(outputs.first)"})
    async def second(length):
        return length

    handle = flow.start()
    drain()
    assert handle.result()["second"] == len(LARGE)
