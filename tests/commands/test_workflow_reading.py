"""`list`, `show`, `queues`, `workers`: what stands in the tables, for people and for programs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.db import connection

from django_workflow import Fail, Retry, RetryAfter, When, pause_flow, pause_queue, testing
from django_workflow.engine.stored import versions
from django_workflow.ids import uuid7
from django_workflow.models import Event, Queue, Run, Worker
from tests.commands.shell import workflow
from tests.web.loops import finished, triangle_flow

pytestmark = pytest.mark.django_db


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda input: {"secret": input})
    return flow


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def listed(*arguments):
    return [item["run"] for item in workflow("list", "--json", *arguments).json]


def test_list_without_runs_says_how_to_start_one():
    assert workflow("list").out == "No runs yet. Start one with: manage.py workflow start FLOW\n"
    assert workflow("list", "--json").json == []


def test_list_shows_the_newest_first_and_says_that_there_are_more(simple):
    handles = simple.start_many(range(3), by="ada")
    newest_first = sorted((str(handle.id) for handle in handles), reverse=True)
    assert listed() == newest_first
    assert listed("--limit", 1) == newest_first[:1]
    told = workflow("list", "--limit", 2, on_terminal=True).out
    assert "There are more: --limit 10" in told
    assert "There are more" not in workflow("list", "--limit", 3, on_terminal=True).out


def test_list_is_filtered(simple, make_flow):
    other = make_flow()
    other.step(name="only")(lambda: None)
    prod = simple.start(labels={"env": "prod", "team": "a"})
    test = simple.start(labels={"env": "test"})
    foreign = other.start()
    testing.run_until_idle()
    waiting = simple.start(delay=timedelta(hours=1))
    assert set(listed("--flow", simple.slug)) == {str(run.id) for run in (prod, test, waiting)}
    assert listed("--label", "env=prod", "--label", "team=a") == [str(prod.id)]
    assert listed("--label", "env=prod", "--label", "team=b") == []
    assert listed("--unsettled") == listed("--status", "scheduled") == [str(waiting.id)]
    assert len(listed("--status", "scheduled", "--status", "succeeded")) == 4
    Run.objects.filter(pk=foreign.id).update(created_at="2020-01-01T00:00Z")
    assert str(foreign.id) in listed()
    assert str(foreign.id) not in listed("--since", "1h")
    assert workflow("list", "--status", "failed").out == "No run is like that. All of them: manage.py workflow list\n"


def test_list_of_an_unknown_flow_names_what_is_spelt_like_it(simple):
    with pytest.raises(CommandError, match=f"There is no flow '{simple.slug}x'. Did you mean '{simple.slug}'"):
        workflow("list", "--flow", f"{simple.slug}x")


def test_pipe_gets_full_ids_and_times_and_no_colours(simple):
    handle = simple.start()
    row = dict(zip(*(line.split() for line in workflow("list").out.splitlines()), strict=True))
    assert row["RUN"] == str(handle.id)
    assert row["CREATED"] == handle.run.created_at.isoformat(timespec="milliseconds")
    assert "\x1b" not in workflow("list").out
    assert "\x1b[" in workflow("list", "--force-color").out
    on_terminal = workflow("list", on_terminal=True).out
    assert str(handle.id) not in on_terminal
    assert str(handle.id)[-12:] in on_terminal


def test_show_tells_how_a_run_stands(flow):
    flow.map(name="measure", over="input", tolerate=1, retry=Retry(max_attempts=1))(
        lambda item: Fail("too heavy") if item == 2 else item
    )
    flow.step(name="later", depends_on=["measure"])(lambda: RetryAfter(timedelta(hours=1), "busy"))
    handle = flow.start([1, 2, 3], title="Weighing", labels={"env": "prod"}, by="ada")
    testing.run_until_idle()
    answer = workflow("show", handle.id)
    assert answer.code == 0
    for told in ("Weighing", "env=prod", "by ada", f"{flow.slug}, version 1", "2 succeeded", "1 failed", "too heavy"):
        assert told in answer.out
    data = workflow("show", handle.id, "--json").json
    assert [(step["step"], step["status"]) for step in data["steps"]] == [
        ("measure", "succeeded"),
        ("later", "running"),
    ]
    assert data["steps"][0]["tasks"] == {"succeeded": 2, "failed": 1}
    failure = data["failures"][0]
    assert (failure["step"], failure["index"], failure["message"]) == ("measure", 1, "too heavy")
    assert data["events"][0]["type"] == "run.started"
    assert "output" not in data


def waits(handle):
    """What `show` says on standard output that a run waits for."""
    lines = [line.split(None, 1) for line in workflow("show", handle.id).out.splitlines()]
    return [words[1] for words in lines if words[:1] == ["Waits"]]


def test_show_tells_that_no_worker_serves_the_queue(flow, unique):
    name = unique("served_by_nobody")
    flow.step(name="only", queue=name)(lambda: 1)
    handle = flow.start()
    assert waits(handle) == [f"No worker serves queue {name}: manage.py run_workflow_worker --queues {name}"]
    assert workflow("show", handle.id).err == ""


def test_show_tells_who_holds_a_run(flow, unique):
    name = unique("held")
    flow.step(name="only", queue=name)(lambda: 1)
    handle = flow.start()
    Worker.objects.create(hostname="web1", pid=1, queues=[name], concurrency=1, lease_seconds=60)
    assert waits(handle) == [f"Step only: queued on {name} for the next free worker."]
    pause_queue(name, reason="the bank is down", by="ada")
    (told,) = waits(handle)
    assert told.startswith(f"Step only: held because queue {name} is paused by ada since ")
    assert told.endswith(": the bank is down.")
    assert workflow("show", handle.id, "--json").json["why"] == told
    pause_flow(flow.slug, reason="prices are wrong", by="bob")
    (told,) = waits(handle)
    assert f"flow {flow.slug} is paused by bob since " in told
    handle.pause(by="eve")
    assert handle.status == "paused"
    assert len(waits(handle)) == 1
    handle.cancel()
    assert waits(handle) == []


def test_show_tells_the_passes_of_a_loop_in_one_line(make_flow):
    handle = finished(triangle_flow(make_flow, 70))
    lines = [line.split() for line in workflow("show", handle.id).out.splitlines()]
    steps = {line[0]: line[1:] for line in lines if line and line[0] in {"draft", "review", "revise", "publish_it"}}
    assert {name: words[:3] for name, words in steps.items() if name != "publish_it"} == {
        "draft": ["×70", "succeeded", "70"],
        "review": ["×70", "succeeded", "70"],
        "revise": ["×69", "succeeded", "69"],
    }
    assert steps["publish_it"][:2] == ["succeeded", "1"]
    newest = workflow("show", handle.id, "--json").json["steps"]
    assert len(newest) == 200
    assert (newest[-2]["step"], newest[-2]["iteration"], newest[-2]["scope"]) == ("review", 70, 0)


def test_show_counts_no_pass_of_a_join_that_never_began(make_flow):
    flow = make_flow("uneven", entry=["often", "seldom"])
    flow.step(name="often", next=["meet", When("iteration < 5", to="often")])(lambda: 1)
    flow.step(name="seldom", next=["meet", When("iteration < 2", to="seldom")])(lambda: 1)
    flow.step(name="meet", join="all")(lambda: 1)
    told = workflow("show", finished(flow).id).out
    (line,) = (line for line in told.splitlines() if line.startswith("  meet"))
    assert line.split()[:4] == ["meet", "×2", "succeeded", "2"]
    assert line.endswith("3 left waiting")


def test_show_keeps_the_output_to_itself_unless_asked(simple):
    handle = simple.start("password")
    testing.run_until_idle()
    for arguments in ([], ["--json"]):
        assert "password" not in workflow("show", handle.id, *arguments).out
        assert "password" in workflow("show", handle.id, "--output", *arguments).out
    assert workflow("show", handle.id, "--output", "--json").json["output"] == {"only": {"secret": "password"}}


def test_show_lets_nothing_that_others_wrote_move_the_cursor(flow):
    flow.step(name="only")(lambda: Fail("no \x1b[2J\nway"))
    handle = flow.start(
        title="a \x1b[31mlamp", labels={"a": "b\x1b[5m"}, by="eve\x1b]0;x\x07", idempotency_key="k\x1b[1m"
    )
    testing.run_until_idle()
    told = workflow("show", handle.id, "--no-color").out
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "no  [2J way" in told


def test_show_tells_what_ended_a_run(flow):
    flow.step(name="only")(lambda: Fail("no money"))
    handle = flow.start()
    testing.run_until_idle()
    assert "step only: Fail: no money" in workflow("show", handle.id).out
    assert workflow("show", handle.id, "--json").json["error"]["message"] == "no money"


@pytest.mark.parametrize("part", [lambda text: text, str.upper, lambda text: text.replace("-", ""),
                                  lambda text: text[:13], lambda text: text[-6:], lambda text: text[-17:]])  # fmt: skip
def test_run_is_found_by_either_end_of_its_id(simple, part):
    handle = simple.start(run_id=uuid7())
    assert workflow("show", part(str(handle.id)), "--json").json["run"] == str(handle.id)


def test_part_of_several_ids_is_answered_with_them(simple):
    handles = simple.start_many(range(7))
    with pytest.raises(CommandError) as caught:
        workflow("show", str(handles[0].id)[:8])
    told = str(caught.value)
    assert "Several runs have an id that begins or ends with" in told
    assert max(str(handle.id) for handle in handles) in told
    assert simple.slug in told
    assert told.endswith("and more")


@pytest.mark.parametrize("text", ["abc", "nonsense", "%", "0123456789abcdef0123456789abcdef0", ""])
def test_what_is_no_id_is_answered_with_what_to_give(text):
    with pytest.raises(CommandError, match="is not a run's id: give the whole of it, or at least 4"):
        workflow("show", text)


def test_unknown_run_is_told():
    with pytest.raises(CommandError, match=r"There is no run 'abcd'\. List runs with: manage.py workflow list"):
        workflow("show", "abcd")


def test_queues_tell_what_waits_and_who_serves(make_flow, unique):
    name = unique("queue")
    flow = make_flow(queue=name)
    flow.step(name="only")(lambda: None)
    flow.start_many(range(3))
    state = next(item for item in workflow("queues", "--json").json if item["queue"] == name)
    assert state | {"oldest_seconds": 0} == {
        "queue": name, "waiting": 3, "hidden": 0, "oldest_seconds": 0, "workers": 0, "paused_at": None,
    }  # fmt: skip
    assert (
        f"No worker serves queue {name}: manage.py run_workflow_worker --queues {name}"
        in workflow("queues", on_terminal=True).out
    )
    Worker.objects.create(hostname="here", pid=1, concurrency=4, lease_seconds=30, queues=[name])
    Queue.objects.filter(name=name).update(paused_at="2026-01-02T03:04:05Z")
    state = next(item for item in workflow("queues", "--json").json if item["queue"] == name)
    assert (state["workers"], state["paused_at"]) == (1, "2026-01-02T03:04:05Z")
    assert "paused 2026-01-02T03:04:05.000+00:00" in workflow("queues").out


def test_workers_are_live_silent_or_stopped():
    assert "No worker is running. Start one with: manage.py run_workflow_worker" in workflow("workers").out
    _, silent, stopped = (
        Worker.objects.create(hostname=name, pid=1, concurrency=4, lease_seconds=30, queues=["a", "b"])
        for name in ("live", "silent", "stopped")
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_workflow_worker SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE id = %s",
            [silent.pk],
        )
        cursor.execute("UPDATE django_workflow_worker SET stopped_at = heartbeat_at WHERE id = %s", [stopped.pk])
    states = {worker["hostname"]: worker["state"] for worker in workflow("workers", "--json").json}
    assert states == {"live": "live", "silent": "silent"}
    assert {worker["hostname"] for worker in workflow("workers", "--all", "--json").json} == {
        "live",
        "silent",
        "stopped",
    }
    told = workflow("workers", on_terminal=True).out
    assert "a,b" in told
    assert "0/4" in told
    assert "A silent worker stopped reporting" in told


def test_options_of_django_stand_behind_the_subcommand_too(simple):
    simple.start()
    assert "\x1b" not in workflow("list", "--no-color", "--traceback", "-v", "2", on_terminal=True).out


def test_every_subcommand_answers_in_json_alone(simple):
    handle = simple.start()
    versions.publish_declared()
    for words in (["list"], ["show", handle.id], ["events"], ["logs", handle.id], ["queues"], ["workers"]):
        assert workflow(*words, "--json").json is not None
    assert Event.objects.exists()
