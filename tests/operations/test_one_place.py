"""What people may do is written once: a new operation is a class, and every interface offers it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

import django_workflow
from django_workflow import operations, permissions
from django_workflow.admin.confirming import action
from django_workflow.management.workflow import control
from django_workflow.models import FlowDefinition, Run
from django_workflow.operations.holding import PauseFlow
from django_workflow.operations.operation import Line, Words
from django_workflow.operations.runs import RunOperation
from django_workflow.operations.several import SeveralRuns
from django_workflow.statuses import RUN_UNSETTLED
from django_workflow.web.acting.buttons import buttons, run_operations
from django_workflow.web.runs.run_list import fitting
from tests.commands.shell import workflow
from tests.web.conftest import _site, client_of, operator, viewer  # noqa: F401

PACKAGE = Path(django_workflow.__file__).parent
INTERFACES = ("web", "admin", "management", "live", "templatetags")
#: What of the engine interfaces use themselves: what only reads, values, who bridges notifications to pages, and what
#: retention removes for those who run the site.
OF_THE_ENGINE = {
    "engine.retrying.request": {"ALL_STEPS", "FAILED_STEPS", "KEPT", "LATEST"},
    "engine.retrying.dead_letters": {"DeadLetter", "dead_letters"},
    "engine.stored.outputs": {"run_output"},
    "engine.verbs.start": {"MAX_KEY"},
    "engine.due.leadership": {"Leadership"},
    "engine.removal": {"erasing", "unused"},
    "engine.removal.erasing": {"Erased"},
    "engine.removal.retention": {"prune"},
}
NAMES = {
    name
    for table in (operations.RUNS, operations.STEPS, operations.FLOWS, operations.QUEUES, operations.DEAD_LETTERS)
    for name in table
}


def modules():
    for folder in INTERFACES:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            yield path.relative_to(PACKAGE), ast.parse(path.read_text())


def test_interfaces_write_by_operations_and_public_words_alone():
    for path, tree in modules():
        for item in ast.walk(tree):
            if isinstance(item, ast.ImportFrom) and (item.module or "").startswith("django_workflow.engine"):
                allowed = OF_THE_ENGINE.get(item.module.removeprefix("django_workflow."), set())
                assert {alias.name for alias in item.names} <= allowed, path
            if isinstance(item, ast.Import):
                assert not any(alias.name.startswith("django_workflow.engine") for alias in item.names), path


def test_interfaces_do_not_ask_which_operation_it_is():
    for path, tree in modules():
        compared = [item for item in ast.walk(tree) if isinstance(item, ast.Compare | ast.match_case)]
        texts = {item.value for part in compared for item in ast.walk(part) if isinstance(item, ast.Constant)}
        assert not texts & NAMES, path


class Poke(RunOperation[Words]):
    """An operation that nobody but this test knows."""

    name, label, permission, past = "poke", "Poke", permissions.SIGNAL, "poked"
    meaning = "It is poked."
    statuses = RUN_UNSETTLED

    def lines(self, run_ids):
        return [Line(len(run_ids), "to be poked")]

    def act(self, run, words, by):
        Run.objects.filter(pk=run.pk).update(title=f"poked by {by}: {words.reason}")


@pytest.fixture
def poke(monkeypatch):
    made = Poke()
    monkeypatch.setitem(operations.RUNS, made.name, made)
    return made


@pytest.fixture
def run(make_flow, db):
    flow = make_flow("poked")
    flow.step(name="only")(lambda: None)
    return flow.start().run


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_a_class_is_a_page_and_a_button_of_a_run(poke, run, client_of, operator, viewer):  # noqa: F811
    assert "poke" in [button.name for button in buttons(operator, run)]
    assert "poke" not in [button.name for button in buttons(viewer, run)]
    url = reverse("django_workflow:run_action", args=[run.pk, "poke"])
    page = client_of(operator).get(url).content.decode()
    assert all(text in page for text in ("It is poked.", "to be poked", "Poke the run"))
    assert client_of(viewer).get(url).status_code == 403
    answer = client_of(operator).post(url, {"confirm": "yes", "reason": "to see"})
    assert told(answer) == [f"Run {run} was poked."]
    run.refresh_from_db()
    assert run.title == "poked by operator: to see"


def test_a_class_is_an_action_on_several_runs(poke, run, client_of, operator):  # noqa: F811
    assert "poke" in fitting(run)
    assert "poke" in [item.name for item in run_operations()]
    url = reverse("django_workflow:runs_action", args=["poke"])
    client = client_of(operator)
    assert "1 of 1 will be poked." in client.get(url, {"ids": run.pk}).content.decode()
    assert told(client.post(url, {"ids": run.pk, "confirm": "yes"})) == ["1 of 1 were poked."]
    act = action(SeveralRuns(poke), "runs")
    assert (act.__name__, act.short_description) == ("poke_runs", "Poke selected runs")


def test_a_class_is_a_word_at_the_shell(poke, run, monkeypatch):
    monkeypatch.setattr("django_workflow.management.commands.workflow.SUBCOMMANDS", control.subcommands())
    answer = workflow("poke", run.pk, "--reason", "to see", "--by", "ada")
    assert (answer.code, answer.out) == (0, f"Run {run.pk} of {run.flow.slug} is running.\n")
    run.refresh_from_db()
    assert run.title == "poked by ada: to see"
    assert [item.help for item in control.subcommands() if item.name == "poke"] == ["It is poked."]


def test_an_operation_needs_neither_a_request_nor_a_form(run):
    row = FlowDefinition.objects.get(pk=run.flow_id)
    pause = PauseFlow()
    assert [(line.count, line.text) for line in pause.preview(row, Words()).lines] == [(1, "run will be held")]
    done = pause.perform(row, Words("stock-taking"), "ada")
    assert (done.text, done.changed) == (f"Flow {row.slug} was paused.", [row])
    row.refresh_from_db()
    assert (row.pause_reason, row.paused_by, pause.fits(row)) == ("stock-taking", "ada", False)
    assert str(pause.preview(row, Words()).refusal) == "This flow is already paused."
    assert pause.perform(row, Words(), "ada").changed == ()
