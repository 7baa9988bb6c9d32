"""Code that no worker has: said once in the log, and truly on the page and in the shell."""

from __future__ import annotations

import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest

from django_workflow import testing
from django_workflow.definition.registry import registry
from django_workflow.engine.tasks import handed_back
from django_workflow.models import Attempt, Run, Task
from django_workflow.read.run import needed_code
from django_workflow.web.address import Address
from django_workflow.web.run import run_page
from tests.commands.shell import workflow
from tests.waiting import eventually

SOON = timedelta(milliseconds=10)


@pytest.fixture(autouse=True)
def _soon(settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON}


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "django_workflow.worker")
    return lambda: [record.getMessage() for record in caplog.records if "has no code" in record.getMessage()]


def forget(name):
    """As after a deploy that has no handler of this name any more."""
    with registry._lock:
        del registry._handlers[name]


def page_of(handle, step=""):
    run = Run.objects.select_related("flow", "version").get(pk=handle.id)
    return run_page.context_of(run, Address(step=step), run_page.Sight(payload=True, logs=True))


def put_aside(handle, count=1):
    eventually(lambda: Attempt.objects.filter(run_id=handle.id, outcome="released").count() >= count, "put back")


def test_a_worker_warns_once_for_a_handler_it_lacks_and_names_the_remedy(flow, work, warnings):
    flow.step(name="charge")(lambda: 1)
    runs = flow.start_many([None] * 3)
    forget(f"{flow.slug}.charge")
    work()
    for handle in runs:
        put_aside(handle, 2)
    (warning,) = warnings()
    assert f"no code for handler '{flow.slug}.charge' of flow {flow.slug}: its step was renamed, or its app" in warning
    assert "To mend it, add name='charge' to the step that was renamed, or start a worker with the older" in warning
    assert warning.endswith("The flow's steps are now: charge.")


def test_page_panel_and_shell_say_that_no_worker_has_the_code(flow, work):
    flow.step(name="charge")(lambda: 1)
    handle = flow.start()
    forget(f"{flow.slug}.charge")
    work()
    put_aside(handle)
    said = (
        f"No live worker has handler '{flow.slug}.charge': its step was renamed, or its app is not installed "
        "there. To mend it, add name='charge' to the step that was renamed, or start a worker with the older code."
    )
    page = page_of(handle, "charge")
    assert page["why"] == f"Step charge: n{said[1:]}"
    assert page["panel"].why == said
    assert page["panel"].detail.why == said
    assert said in " ".join(workflow("show", handle.id).out.split())


def test_what_is_missing_is_read_from_fields_and_not_from_the_words_of_the_attempt(flow, work):
    flow.step(name="charge")(lambda: 1)
    handle = flow.start()
    forget(f"{flow.slug}.charge")
    worker = work()
    put_aside(handle)
    worker.stop()
    Attempt.objects.filter(run_id=handle.id).update(message="a worker of another language said it in its own words")
    (found,) = needed_code.missing_in(handle.id).values()
    assert found.code == needed_code.Code("handler", f"{flow.slug}.charge", flow.slug, "charge")
    task = Task.objects.get(step_run__run=handle.id)
    assert handed_back.seconds_unknown(SimpleNamespace(id=task.pk)) > 0


def test_items_of_a_map_say_it_as_well(flow, work):
    flow.map(name="each", count=3)(lambda index: 1)
    handle = flow.start()
    forget(f"{flow.slug}.each")
    work()
    put_aside(handle, 3)
    assert "No live worker has handler" in page_of(handle, "each")["panel"].why


def test_while_another_worker_may_have_it_nobody_is_accused(flow, work, db):
    from django_workflow.models import Worker

    flow.step(name="charge")(lambda: 1)
    handle = flow.start()
    forget(f"{flow.slug}.charge")
    Worker.objects.create(hostname="other", pid=1, queues=["default"], concurrency=1, lease_seconds=600)
    work()
    put_aside(handle)
    (found,) = needed_code.missing_in(handle.id).values()
    assert not found.is_nobodys
    assert str(found).startswith("The worker that took it does not have handler")
    assert "Another worker may have it." in str(found)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (
            needed_code.Code("handler", "shop.charge", "shop", "charge"),
            "add name='charge' to the step that was renamed",
        ),
        (
            needed_code.Code("handler", "bank.charge", "shop", "charge"),
            "register it again with @handler('bank.charge')",
        ),
        (needed_code.Code("condition", "is_rich", "shop", "charge"), "register it again with @condition('is_rich')"),
        (needed_code.Code("executor", "gpu", "shop", "charge"), "add 'gpu' to EXECUTORS"),
    ],
)
def test_the_remedy_fits_what_is_missing(code, remedy):
    assert code.remedy.startswith(remedy)


def test_a_task_that_nobody_knew_for_long_fails_with_the_remedy(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON, "UNKNOWN_HANDLER_LIMIT": 5 * SOON}
    flow.step(name="charge")(lambda: 1)
    handle = flow.start()
    forget(f"{flow.slug}.charge")
    work()
    error = handle.wait(30).error
    assert error["class"].endswith("UnregisteredHandler")
    assert "add name='charge' to the step that was renamed" in error["message"]
    testing.assert_settled(handle, "failed")


def test_a_renamed_function_with_the_old_name_serves_runs_in_flight(flow, drain, make_flow):
    flow.step(name="charge")(lambda: "old")
    handle = flow.start()

    def charge_card():
        return "new"

    registry._handlers.pop(f"{flow.slug}.charge")
    type(flow)(flow.slug).step(name="charge")(charge_card)
    drain()
    assert handle.result()["charge"] == "new"
