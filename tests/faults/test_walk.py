"""Every statement of a worker goes wrong, one by one: nothing is lost, turned, done twice or counted.

One by one each statement goes wrong in one way or, with `DJANGO_WORKFLOW_WHOLE_WALKS=1` in the environment, in each:

    DJANGO_WORKFLOW_WHOLE_WALKS=1 python3 run.py test -m slow tests/faults
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

from django_workflow import testing
from django_workflow.worker.dispatching import dispatcher, lost_claims, unsettled
from django_workflow.worker.jobs import invoke
from tests.faults.proxy import CANCEL, CUT_AFTER, CUT_BEFORE, FAULTS, Choice, Proxy, Step, nothing, proxied
from tests.faults.scenes import SCENES

Unique = Callable[..., str]
Scene = Callable[[Unique], AbstractContextManager[object]]

pytestmark = pytest.mark.django_db(transaction=True)

#: What goes wrong in the default tests.
SAMPLE = (CANCEL, CUT_AFTER)
REST = [fault for fault in FAULTS if fault not in SAMPLE]
#: What goes wrong at one statement of a whole scene; to the server all that is refused is the same.
ALONE = (CANCEL, CUT_BEFORE, CUT_AFTER)
#: Threads of a worker and of its handlers; those of tests have connections of their own.
WORKERS = ("worker-", "django_workflow-handler")


@pytest.fixture
def proxy(transactional_db, monkeypatch, settings) -> Iterator[Proxy]:
    """Let the connections of workers pass through a proxy."""
    settings.DJANGO_WORKFLOW = {"RETENTION": timedelta(days=30)}
    connection.ensure_connection()
    connect = connection.get_connection_params()
    params = DatabaseWrapper.get_connection_params
    plain = {key: connect[key] for key in ("host", "port", "user", "dbname", "password") if connect.get(key)}
    with proxied(connection.settings_dict, plain) as made:

        def of_workers(wrapper: DatabaseWrapper) -> dict[str, object]:
            found = params(wrapper)
            is_worker = threading.current_thread().name.startswith(WORKERS)
            return found | {"host": made.host} if is_worker else found

        monkeypatch.setattr(DatabaseWrapper, "get_connection_params", of_workers)
        monkeypatch.setattr(dispatcher, "RECOVER_AFTER", 0.01)
        monkeypatch.setattr(lost_claims, "LOOK_EVERY", 0.01)
        monkeypatch.setattr(invoke, "AGAIN", (0.0, 0.0))
        monkeypatch.setattr(unsettled, "RETRIES", (0.01, 0.01))
        testing.clean_queues()
        yield made
        testing.clean_queues()


def play(scene: Scene, proxy: Proxy, unique: Unique, chosen: Choice) -> None:
    """Play a scene in which something goes wrong."""
    with scene(unique):
        proxy.begin(chosen)


def is_of_engine(step: Step) -> bool:
    """Say whether a statement is not of a handler, whose own errors count: its insert, and the BEGIN before that."""
    return "auth_group" not in step.text and not step.text.startswith("BEGIN ISOLATION")


@pytest.mark.parametrize("fault", [*SAMPLE, *(pytest.param(fault, marks=pytest.mark.slow) for fault in REST)])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_statements_that_go_wrong_once_each_change_nothing(scene, fault, proxy, unique):
    play(scene, proxy, unique, lambda step: fault if step.number == 0 and is_of_engine(step) else None)
    assert {step.text for step in proxy.struck} == {step.text for step in proxy.steps if is_of_engine(step)}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALONE)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_no_statement_that_goes_wrong_changes_anything(scene, fault, proxy, unique):
    play(scene, proxy, unique, nothing)
    steps = [step for step in dict.fromkeys(proxy.steps) if step.number == 0 and is_of_engine(step)]
    if os.environ.get("DJANGO_WORKFLOW_WHOLE_WALKS") != "1":
        steps = steps[ALONE.index(fault) :: len(ALONE)]
    missed = 0
    for wrong in steps:
        try:
            play(scene, proxy, unique, lambda step, wrong=wrong: fault if step == wrong else None)
        except BaseException as error:
            error.add_note(f"{scene.__name__}: {fault}: {wrong.text}")
            raise
        missed += not proxy.struck
    assert missed <= max(2, len(steps) / 4), "statements that depend on chance are few"
