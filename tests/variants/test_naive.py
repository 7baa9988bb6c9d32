"""On a site with `USE_TZ = False` all pages and commands answer, and times are those of the site.

Two walks run tests of other folders in other settings: a sample that touches every page, command and verb or, with
`DJANGO_WORKFLOW_WHOLE_WALKS=1` in the environment, these folders whole, which takes minutes:

    DJANGO_WORKFLOW_WHOLE_WALKS=1 python3 run.py test -m slow tests/variants/test_naive.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from django_workflow import Retry, list_runs, testing
from django_workflow import db as database
from django_workflow.contrib.embedded.launcher import Cluster
from tests.admin.conftest import story  # noqa: F401
from tests.commands.shell import workflow
from tests.web.conftest import client_of, superuser  # noqa: F401
from tests.web.pages import text_of

ROOT = Path(__file__).resolve().parent.parent.parent
HOURS = timedelta(hours=9)  # Tokyo


@pytest.fixture
def naive(settings, transactional_db):
    """The settings of such a site; connections learn of them when they are made."""
    settings.ROOT_URLCONF = "tests.web.urls"
    settings.TIME_ZONE = "Asia/Tokyo"
    settings.USE_TZ = False
    connections.close_all()
    yield
    connections.close_all()


@pytest.fixture
def client(naive, client_of, superuser):  # noqa: F811
    """A browser of somebody who may do everything."""
    return client_of(superuser)


def test_live_pages_and_the_admins_answer(client, story):  # noqa: F811
    run, live = story.failed.id, story.live.id
    story.live.pause(reason="a while", by="ann")
    addresses = [reverse(f"django_workflow:{name}") for name in ("board", "queues", "workers", "run_list")]
    addresses += [
        reverse("django_workflow:run_list") + query
        for query in ("?within=hour", "?from=2026-01-31", "?to=2026-01-31 14:05", "?from=2026-01-31T10:00:00Z&q=story")
    ]
    for found in (run, live):
        page = reverse("django_workflow:run", args=[found])
        addresses += [page, *(f"{page}?{query}" for query in ("step=each", "step=each&item=1", "show=events"))]
    for name, row in story.rows.items():
        listed = reverse(f"admin:django_workflow_{name}_changelist")
        addresses += [listed, reverse(f"admin:django_workflow_{name}_change", args=[row.pk])]
    addresses += [reverse("admin:django_workflow_run_changelist") + "?within=day"]
    answers = {address: client.get(address) for address in addresses}
    assert {address: answer.status_code for address, answer in answers.items() if answer.status_code != 200} == {}
    told = answers[reverse("django_workflow:run", args=[run])].content.decode()
    times = re.findall(r'<time datetime="([^"]*)"', told)
    assert times
    for text in times:  # scripts and other programs read the zone
        assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=10)
        assert text.endswith("+09:00")
    assert f"{story.failed.run.created_at:%H:%M}" in text_of(answers[reverse("django_workflow:run", args=[run])])


@pytest.mark.parametrize("query", ["?to=9999-12-31T23:59:59-12:00", "?from=0001-01-01T00:00:00%2B14:00"])
def test_a_time_beyond_the_sites_calendar_is_the_last_or_the_first_there_is(client, flow, query):
    flow.step(name="only")(lambda: None)
    run = flow.start()
    assert str(run.id) in client.get(reverse("django_workflow:run_list") + query).content.decode()


def test_times_of_all_origins_are_those_of_the_site(naive, flow):
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda: 1 / 0)
    handle = flow.start()
    testing.run_until_idle()
    run = handle.run
    by_the_wire = database.rows("SELECT created_at FROM django_workflow_run WHERE id = %s", [run.pk])[0][0]
    assert (run.created_at.tzinfo, by_the_wire) == (None, run.created_at)
    assert abs(run.created_at - timezone.now()) < timedelta(minutes=5)
    assert abs(run.created_at - HOURS - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)


@pytest.mark.parametrize("has_zone", [False, True])
def test_a_run_starts_at_a_time_of_the_site_or_at_one_with_a_zone(naive, flow, has_zone):
    flow.step(name="only")(lambda: None)
    wanted = timezone.now() + timedelta(hours=1)
    at = wanted.replace(tzinfo=timezone.get_default_timezone()).astimezone(UTC) if has_zone else wanted
    handle = flow.start(at=at)
    assert (handle.status, handle.run.due_at) == ("scheduled", wanted)
    assert [found.id for found in list_runs(flow=flow, since=wanted - timedelta(hours=2))] == [handle.id]
    assert list_runs(flow=flow, since=wanted) == []
    with pytest.raises(ValueError, match="at most"):
        flow.start(at=wanted + timedelta(days=4000))
    testing.advance(timedelta(hours=1))
    testing.run_until_idle()
    testing.assert_settled(handle)


@pytest.mark.parametrize("on_terminal", [False, True])
def test_commands_answer(naive, story, on_terminal):  # noqa: F811
    run = str(story.failed.id)
    for words in (["list"], ["show", run], ["events", run], ["logs", run], ["queues"], ["workers"], ["dead"]):
        assert workflow(*words, on_terminal=on_terminal).code == 0, words
    assert workflow(command="workflow_doctor").code in (0, 1)
    told = workflow("list", "--json").json[0]
    assert told["created_at"].endswith("+09:00")


#: What these tests compare with times that have a zone (or are of UTC), or refuse for having none.
OF_SITES_WITH_ZONES = (
    "test_options_that_make_no_sense_are_refused or test_arguments_that_cannot_be_meant_are_refused_clearly"
    " or test_pipe_gets_full_ids_and_times_and_no_colours or test_every_filter_is_understood"
    " or test_a_date_as_the_end_is_the_whole_day or test_times_are_those_of_the_viewer"
    " or test_queues_tell_what_waits_and_who_serves"
)

WHOLE = ("tests/web", "tests/admin", "tests/commands", "tests/control", "tests/flows", "tests/events")
#: Of each kind the quickest file or class.
SAMPLE = (
    "tests/variants/test_naive.py::test_live_pages_and_the_admins_answer",  # all of them, once
    "tests/web/test_lists.py",
    "tests/web/test_run_list.py::test_the_first_and_the_last_day_can_be_asked_for",
    *(f"tests/web/actions/test_{name}.py" for name in ("one_run", "flows_and_queues", "dead_letters")),
    "tests/web/actions/test_steps.py::TestSteps",
    "tests/web/actions/test_start.py::TestStart::test_a_run_is_started_with_all_that_the_form_says",
    "tests/web/actions/test_retry.py::TestRetry::test_from_a_step",
    *(f"tests/commands/test_workflow_{name}.py" for name in ("reading", "json", "control", "starting")),
    *(f"tests/commands/test_workflow_{name}.py" for name in ("prune", "roles", "doctor")),
    *(f"tests/control/test_{name}.py" for name in ("status", "steps", "dead_letters", "erasing", "pause")),
    "tests/control/retrying/test_carried.py::test_from_step_repeats_one_branch_and_the_join_of_a_succeeded_diamond",
    "tests/flows/test_start.py",
    "tests/events/test_stored.py",
)


def walk(settings, folder, *, without=""):
    """Run the tests of pages, commands and verbs on a site with other settings, with a PostgreSQL of its own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_") and name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    }
    environment["DJANGO_WORKFLOW_POSTGRES"] = str(folder)
    tests = WHOLE if os.environ.get("DJANGO_WORKFLOW_WHOLE_WALKS") == "1" else SAMPLE
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ds={settings}", *tests]
    command += ["-k", f"not ({without})"] if without else []
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    finally:
        Cluster(folder).stop()
    assert done.returncode == 0, done.stdout[-10_000:]


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_all_pages_commands_and_verbs_work_without_time_zones(tmp_path):
    walk("tests.variants.naive", tmp_path / "postgres", without=OF_SITES_WITH_ZONES)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_all_pages_commands_and_verbs_read_nothing_from_a_replica(tmp_path):
    walk("tests.variants.replica", tmp_path / "postgres")
