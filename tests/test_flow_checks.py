"""`manage.py check` tells what is wrong with flows; every other command warns, and serves those that are sound."""

from __future__ import annotations

import inspect
import logging
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, SystemCheckError

from django_workflow import DefinitionError, Flow, To, When, handler
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import versions
from django_workflow.flow_checks import check_executors, check_first_steps, check_flows, check_joins
from django_workflow.models import FlowDefinition


@pytest.fixture(autouse=True)
def _alone(_registry_as_before):
    """Forget the flows of other tests' sites, which name executors that their settings alone have."""
    registry._flows.clear()


@pytest.fixture
def broken(make_flow):
    """A flow whose second step has a misspelt parameter; its line."""
    flow = make_flow("broken")
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge")(lambda resreve: None)
    flow.line = inspect.currentframe().f_lineno - 1
    return flow


def test_a_flow_that_is_wrong_is_an_error_with_module_line_and_what_was_meant(broken):
    (error,) = check_flows()
    assert (error.id, str(error.obj), error.msg) == (
        "django_workflow.E022",
        f"tests.test_flow_checks, line {broken.line}",
        f"Flow {broken.slug!r}: step 'charge': parameter 'resreve' is no step; did you mean 'reserve'?",
    )
    assert error.is_serious()
    with pytest.raises(
        SystemCheckError, match=rf"tests\.test_flow_checks, line {broken.line}: \(django_workflow.E022\)"
    ):
        call_command("check")


def test_each_problem_has_the_line_of_its_step(make_flow):
    flow = make_flow("broken", entry=["nowhere"])
    flow.step(name="one", queue="Big Queue")(lambda: None)
    flow.step(name="two", next=[When("ready", "one")])(lambda: None)
    last = inspect.currentframe().f_lineno
    places = {str(error.obj): error.msg.split(": ")[1] for error in check_flows()}
    assert {text: places[place] for place in places for text in [place.removeprefix("tests.")]} == {
        f"test_flow_checks, line {last - 2}": "step 'one'",
        f"test_flow_checks, line {last - 1}": "step 'two'",
        str(registry.place_of(flow.slug)).removeprefix("tests."): "flow",
    }


class OfTheSite(BaseCommand):
    def handle(self, *args, **options):
        return "done"


def test_other_commands_warn_and_go_on(broken, capsys):
    assert call_command(OfTheSite(), skip_checks=False) == "done"
    told = capsys.readouterr().err
    assert "WARNINGS" in told
    assert f"Flow {broken.slug!r}: step 'charge': parameter 'resreve' is no step" in told


def test_migrate_warns_and_publishes_the_sound_flows(broken, make_flow, db, capsys):
    sound = make_flow("sound")
    sound.step(name="only")(lambda: None)
    call_command("migrate", skip_checks=False)
    assert "parameter 'resreve' is no step" in capsys.readouterr().err
    published = set(FlowDefinition.objects.values_list("slug", flat=True))
    assert (sound.slug in published, broken.slug in published) == (True, False)


def test_who_publishes_serves_the_sound_flows_and_names_the_others(broken, make_flow, db, caplog):
    sound = make_flow("sound")
    sound.step(name="only")(lambda: None)
    with caplog.at_level(logging.ERROR, "django_workflow"):
        versions.publish_declared()
    (record,) = [item for item in caplog.records if broken.slug in item.getMessage()]
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        (
            f"flow {broken.slug!r} is not served: step 'charge': parameter 'resreve' is no step; "
            "did you mean 'reserve'? (manage.py check names the lines)"
        ),
    )
    assert FlowDefinition.objects.filter(slug=sound.slug).exists()
    assert sound.execute().status == "succeeded"


def test_runs_of_an_earlier_version_go_on_where_the_flow_is_wrong_now(flow, drain, workflow_queues):
    flow.step(name="reserve")(lambda input: input)
    handle = flow.start(7)
    flow.step(name="charge")(lambda resreve: None)
    drain()
    assert handle.result().output == {"reserve": 7}


def test_starting_a_flow_that_is_wrong_raises(broken, db):
    for verb in (broken.start, broken.execute):
        with pytest.raises(DefinitionError, match="parameter 'resreve' is no step"):
            verb({})


def test_the_doctor_and_the_prune_go_on_beside_a_flow_that_is_wrong(broken, db, capsys):
    call_command("workflow_prune", gone=True)
    with pytest.raises(SystemExit):
        call_command("workflow_doctor")
    assert "parameter 'resreve' is no step; did you mean 'reserve'?" in capsys.readouterr().out


ORQUESTA = """
version: 1.0
tasks:
  one:
    action: core.nop
"""


def test_a_document_that_is_wrong_keeps_a_site_from_nothing_else(unique, monkeypatch, db, caplog):
    slug = unique("document")
    with pytest.raises(DefinitionError, match=r"there is no action 'core\.nop'"):
        Flow.from_orquesta(ORQUESTA, actions={}, slug=slug)
    monkeypatch.setattr(registry, "is_starting", lambda: True)
    flow = Flow.from_orquesta(ORQUESTA, actions={}, slug=slug)
    (error,) = check_flows()
    assert (error.id, "there is no action 'core.nop'" in error.msg) == ("django_workflow.E022", True)
    versions.publish_declared()
    assert f"flow {slug!r} is not served" in caplog.text
    with pytest.raises(DefinitionError, match=r"there is no action 'core\.nop'"):
        flow.start()


def test_a_document_warns_of_joins_as_well(capsys, tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(
        "slug: shop\nsteps:\n  reserve: {}\n  charge: {depends_on: [reserve], next: [{to: restock, on: failed}]}\n"
        "  restock: {depends_on: [reserve]}\n"
    )
    for name in ("reserve", "charge", "restock"):
        handler(name)(lambda: None)
    call_command("workflow_validate", str(path))
    told = capsys.readouterr().out
    assert "warning: step 'restock': it waits for 'reserve' and 'charge'" in told


def test_a_join_that_no_success_completes_is_an_error(flow):
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge", next=[To("restock", on="failed")])(lambda reserve: None)
    flow.step(name="restock")(lambda reserve: None)
    line = inspect.currentframe().f_lineno - 1
    (error,) = check_joins()
    assert (error.id, str(error.obj)) == ("django_workflow.E023", f"tests.test_flow_checks, line {line}")
    assert error.msg == (
        f"Flow {flow.slug!r}: step 'restock': it waits for 'reserve' and 'charge', but when every step succeeds, "
        "'charge' does not lead to it, so the run fails."
    )
    assert "ctx.output()" in error.hint


def test_a_join_that_some_way_leaves_incomplete_is_a_warning(flow):
    flow.step(name="pack")(lambda input: None)
    flow.step(name="charge", next=[To("tell", on="failed")])(lambda input: None)
    flow.step(name="tell")(lambda input: None)
    flow.step(name="ship")(lambda pack, charge: None)
    (warning,) = check_joins()
    assert warning.id == "django_workflow.W003"
    assert "lead to the command 'fail'" in warning.hint


@pytest.mark.parametrize("options", [{"arguments": {"held": "outputs.reserve.item"}}, {"when": "'reserve' in outputs"}])
def test_a_first_step_that_reads_what_another_gives_is_a_warning(flow, options):
    flow.step(name="reserve")(lambda input: None)
    flow.step(name="charge")(lambda reserve: None)
    flow.step(name="restock", **options)((lambda held: None) if "arguments" in options else (lambda: None))
    line = inspect.currentframe().f_lineno - 1
    (warning,) = check_first_steps()
    assert (warning.id, str(warning.obj)) == ("django_workflow.W004", f"tests.test_flow_checks, line {line}")
    assert warning.msg == (
        f"Flow {flow.slug!r}: step 'restock': nothing leads to it, so it runs when each run begins, but it reads the "
        "output of 'reserve', which is not there then."
    )


def test_a_step_that_something_leads_to_or_that_waits_may_read_what_it_likes(flow):
    flow.step(name="reserve", next=[To("restock", on="failed")])(lambda input: None)
    flow.step(name="restock", arguments={"held": "outputs.reserve"})(lambda held: None)
    flow.step(name="look", delay=timedelta(hours=1), arguments={"held": "outputs.reserve"})(lambda held: None)
    flow.step(name="alone", arguments={"given": "input.given", "own": "outputs.alone"})(lambda given, own: None)
    assert check_first_steps() == []


def test_an_executor_that_there_is_not_is_an_error_that_tells_what_was_meant(flow, make_flow, settings):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"gpu": "concurrent.futures.ThreadPoolExecutor"}}
    flow.step(name="one", executor="gpu")(lambda: None)
    flow.step(name="two", executor="proces")(lambda: None)
    whole = make_flow("whole", executor="dask")
    whole.step(name="three")(lambda: None)
    whole.step(name="four")(lambda: None)
    assert {error.msg for error in check_executors()} == {
        f"Flow {flow.slug!r}, step 'two': there is no executor 'proces'; did you mean 'process'?",
        (
            f"Flow {whole.slug!r}, steps 'three', 'four': there is no executor 'dask'"
            "; there are async, gpu, process, thread."
        ),
    }


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"gpu": "nowhere.engine"}, "['gpu'] cannot be imported: No module named 'nowhere'."),
        ({"gpu": 3}, "['gpu'] is no function or class but 3."),
        (["gpu"], " must be executors by name, not ['gpu']."),
    ],
)
def test_an_executor_that_cannot_be_made_is_an_error(settings, given, problem):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": given}
    assert [(item.id, item.msg) for item in check_executors()] == [
        ("django_workflow.E013", f"DJANGO_WORKFLOW['EXECUTORS']{problem}")
    ]


def test_a_worker_tells_which_executor_was_meant():
    with pytest.raises(CommandError, match=r"There is no executor 'proces'; did you mean 'process'\?"):
        call_command("run_workflow_worker", executor="proces")
