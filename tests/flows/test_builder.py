"""Flows stored as data: built step by step, run here with functions given now, or by workers by name."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import checks

from django_workflow import (
    DefinitionError,
    Flow,
    FlowBuilder,
    NotSupported,
    Otherwise,
    Retry,
    UnknownFlow,
    UnregisteredHandler,
    When,
    execute_dynamic,
    handler,
    testing,
)
from django_workflow.engine.stored import versions
from django_workflow.models import FlowDefinition, FlowVersion
from tests.definition.documents.mutations import texts


@pytest.fixture
def slug(unique, db):
    return unique("stored")


@pytest.fixture
def stored(slug):
    """A stored flow: fetch, then double each, then total."""
    flow = FlowBuilder.create_flow(slug, title="Stored")
    FlowBuilder.add_step(flow, "fetch")
    FlowBuilder.add_map_step(flow, "double", over="fetch")
    FlowBuilder.add_step(flow, "total", depends_on=["double"])
    return flow


def same(input):
    return input


def fetch(input):
    return list(range(input))


def double(item):
    return item * 2


def total(double):
    return sum(double)


FUNCTIONS = {"fetch": fetch, "double": double, "total": total}


@pytest.fixture
def registered(unique):
    """The functions registered under names of this test."""
    names = {step: unique(step) for step in FUNCTIONS}
    for step, function in FUNCTIONS.items():
        handler(names[step])(function)
    return names


def test_functions_given_now_run_here(stored):
    result = execute_dynamic(stored, 4, FUNCTIONS)
    assert result["total"] == 12
    assert result.run.flow.source == "stored"
    assert result.run.is_local


def test_flow_may_be_given_by_its_slug(stored, slug):
    assert execute_dynamic(slug, 3, FUNCTIONS)["total"] == 6


def test_registered_names_may_stand_for_functions(stored, registered):
    assert execute_dynamic(stored, 4, registered)["total"] == 12


def test_workers_run_what_is_registered(stored, registered):
    run = execute_dynamic(stored, 4, registered, workers=True, labels={"a": "b"})
    testing.run_until_idle()
    assert run.result()["total"] == 12
    assert run.run.labels == {"a": "b"}


def test_workers_are_given_registered_functions_by_their_names(stored, registered):
    run = execute_dynamic(stored, 2, FUNCTIONS, workers=True)
    testing.run_until_idle()
    assert run.result()["total"] == 2


def test_workers_need_every_function_registered_and_all_that_are_not_are_listed(stored, unique):
    with pytest.raises(UnregisteredHandler) as caught:
        execute_dynamic(stored, 4, {"fetch": same, "double": unique("nowhere")}, workers=True)
    assert all(f"{step} (" in str(caught.value) for step in FUNCTIONS)
    assert '@handler("name")' in str(caught.value)


def test_function_for_a_step_that_is_not_there_is_refused(stored):
    with pytest.raises(DefinitionError, match="step_functions names 'other', which is no step"):
        execute_dynamic(stored, 4, FUNCTIONS | {"other": fetch})


def test_parameter_of_a_given_function_adds_a_dependency(slug):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "first")
    FlowBuilder.add_step(flow, "second")
    result = execute_dynamic(flow, 1, {"first": same, "second": lambda first: first + 1})
    assert result.output == {"second": 2}


def test_steps_name_their_handlers(slug, registered):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "fetch", handler=registered["fetch"])
    handle = flow.start(3)
    testing.run_until_idle()
    assert handle.result()["fetch"] == [0, 1, 2]


def test_options_are_stored_and_work(slug, unique):
    name = unique("flaky")
    calls = []

    @handler(name)
    def flaky():
        calls.append(1)
        raise ValueError

    flow = FlowBuilder.create_flow(slug, retry=Retry(base=timedelta(milliseconds=1)), max_duration=timedelta(hours=2))
    FlowBuilder.add_step(flow, "flaky", handler=name, retry=Retry(max_attempts=2), timeout=timedelta(seconds=5))
    FlowBuilder.add_step(flow, "after", depends_on="flaky", handler=name, when="outputs.flaky == 1")
    spec = FlowBuilder.get_flow(slug).current_spec()
    assert spec.max_duration == 7200
    assert spec.steps["flaky"].timeout == 5
    assert spec.steps["after"].when.expression == "outputs.flaky == 1"
    assert flow.execute().status == "failed"
    assert len(calls) == 2


def test_publish_makes_a_version_once(stored, registered, slug):
    FlowDefinition.objects.filter(slug=slug).update(overrides={}, draft=with_handlers(stored, registered))
    first = FlowBuilder.publish(slug)
    assert FlowBuilder.publish(slug).pk == first.pk
    FlowBuilder.add_step(slug, "more", handler=registered["fetch"])
    assert FlowBuilder.publish(slug).number == 2


def with_handlers(stored, names):
    stored.row.refresh_from_db()
    return {"steps": [step | {"handler": names[step["name"]]} for step in stored.row.draft["steps"]]}


def test_publish_tells_every_problem_at_once(slug):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "unknown_one")
    FlowBuilder.add_map_step(flow, "unknown_two", count=1, colour="red")
    with pytest.raises(DefinitionError) as caught:
        FlowBuilder.publish(flow)
    text = str(caught.value)
    assert "no handler 'unknown_one' is registered" in text
    assert "no handler 'unknown_two' is registered" in text
    assert "unknown option 'colour'" in text
    assert not FlowVersion.objects.filter(flow__slug=slug).exists()


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("Bad Name", {}, "a name is"),
        ("input", {}, "this name is reserved"),
        ("first", {}, "it was added before"),
        ("second", {"depends_on": ["nowhere"]}, "it depends on 'nowhere', which was not added before"),
        ("second", {"handler": print}, "not <built-in function print>"),
        ("second", {"when": same}, "a stored flow names functions, it does not hold them"),
        ("second", {"retry": Retry(strategy=timedelta)}, "register it with @condition"),
    ],
)
def test_each_call_checks_what_it_can_and_changes_nothing_when_it_refuses(slug, name, options, problem):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "first")
    with pytest.raises(DefinitionError) as caught:
        FlowBuilder.add_step(flow, name, **options)
    assert problem in str(caught.value)
    assert [step["name"] for step in FlowBuilder.get_flow(slug).steps] == ["first"]


@pytest.mark.parametrize("slug", ["Bad Slug", "", "1st", None])
def test_slug_is_checked(db, slug):
    with pytest.raises(DefinitionError, match="a slug is"):
        FlowBuilder.create_flow(slug)


def test_slug_can_be_used_once(stored, slug):
    with pytest.raises(DefinitionError, match="exists already"):
        FlowBuilder.create_flow(slug)


def test_flows_are_listed_and_found(stored, slug):
    assert [flow.slug for flow in FlowBuilder.list_flows()] == [slug]
    assert FlowBuilder.get_flow(slug).steps == stored.steps
    with pytest.raises(UnknownFlow, match=rf"No flow 'nonsense' is stored.*stored: {slug}"):
        FlowBuilder.get_flow("nonsense")


def test_flow_declared_in_code_is_no_stored_flow(flow, db):
    flow.step(name="only")(lambda: None)
    flow.execute()
    with pytest.raises(UnknownFlow):
        FlowBuilder.get_flow(flow.slug)


@pytest.mark.parametrize(
    "use",
    [
        lambda flow: FlowBuilder.add_step(flow, "more"),
        FlowBuilder.publish,
        FlowBuilder.delete_flow,
        FlowBuilder.retire_flow,
        lambda flow: flow.start(1),
        lambda flow: flow.execute(1),
        lambda flow: flow.to_document(),
        lambda flow: flow.to_dict(),
        lambda flow: execute_dynamic(flow, 1, FUNCTIONS),
    ],
)
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_flow_that_was_deleted_is_unknown(stored, slug, use, is_elsewhere):
    FlowBuilder.delete_flow(slug if is_elsewhere else stored)
    with pytest.raises(UnknownFlow, match=slug):
        use(stored)


def test_flow_without_runs_can_be_deleted_with_its_versions(stored, registered, slug):
    FlowDefinition.objects.filter(slug=slug).update(draft=with_handlers(stored, registered))
    FlowBuilder.publish(slug)
    FlowBuilder.delete_flow(slug)
    assert not FlowDefinition.objects.filter(slug=slug).exists()
    assert not FlowVersion.objects.filter(flow__slug=slug).exists()


def test_flow_with_runs_is_kept(stored):
    execute_dynamic(stored, 1, FUNCTIONS)
    with pytest.raises(NotSupported, match="has 1 runs"):
        FlowBuilder.delete_flow(stored)
    assert len(FlowBuilder.list_flows()) == 1


def test_definition_can_be_drawn_and_read(stored, registered, slug):
    FlowDefinition.objects.filter(slug=slug).update(draft=with_handlers(stored, registered))
    flow = FlowBuilder.get_flow(slug)
    assert "fetch --> double" in flow.to_mermaid()
    assert [step["name"] for step in flow.to_dict()["steps"]] == ["fetch", "double", "total"]
    assert slug in repr(flow)


def test_what_has_an_order_keeps_it_in_the_database(slug, registered):
    publish = {"zebra": 1, "b": "vars.zebra + 1", "a": "vars.b + 1"}
    flow = FlowBuilder.create_flow(
        slug, entry=["first"], vars={"z": 1, "y": "vars.z + 1"}, output={"z": "vars.z", "a": "vars.a"}, max_iterations=7
    )
    ways = [When("input == 1", "later", publish=publish, delay="1 + 1"), Otherwise(["noop"], on="always")]
    FlowBuilder.add_step(flow, "first", handler=registered["fetch"], next=ways, match="first", delay=timedelta(hours=1))
    FlowBuilder.add_map_step(
        flow, "later", count=2, handler=registered["fetch"], join=1, arguments={"z": 1, "a": "input"}
    )
    spec = FlowBuilder.get_flow(slug).current_spec()
    assert [item.name for item in spec.vars] == ["z", "y"]
    assert [item.name for item in spec.output] == ["z", "a"]
    assert spec.max_iterations == 7
    first, otherwise = spec.transitions
    assert {item.name: item.value for item in first.publish} == publish
    assert [item.name for item in first.publish] == ["zebra", "b", "a"]
    assert (first.delay, otherwise.is_otherwise, otherwise.on) == ("1 + 1", True, ("succeeded", "failed", "skipped"))
    assert (spec.steps["first"].match, spec.steps["first"].delay) == ("first", 3600)
    assert (spec.steps["later"].join, spec.steps["later"].arguments) == (1, {"z": 1, "a": "input"})


def test_step_may_lead_to_one_that_is_added_later(slug, registered):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "first", handler=registered["fetch"], next="second")
    with pytest.raises(DefinitionError, match="it leads to 'second', which is no step"):
        FlowBuilder.publish(slug)
    FlowBuilder.add_step(flow, "second", handler=registered["fetch"])
    assert FlowBuilder.publish(slug).number == 1


def test_way_that_is_none_is_refused_at_once(slug):
    flow = FlowBuilder.create_flow(slug)
    with pytest.raises(DefinitionError, match="must be a When, a To, an Otherwise or a step, not 5"):
        FlowBuilder.add_step(flow, "first", next=[5])
    with pytest.raises(DefinitionError, match="a stored flow names functions"):
        FlowBuilder.add_step(flow, "first", next=[When(same, "first")])
    assert FlowBuilder.get_flow(slug).steps == []


def test_imported_document_is_a_flow_that_runs(slug, registered):
    flow = FlowBuilder.import_flow(f"slug: {slug}\ntitle: Mine\nsteps:\n  fetch: {{handler: {registered['fetch']}}}")
    assert flow.row.title == "Mine"
    assert flow.execute(3).output == {"fetch": [0, 1, 2]}
    handle = FlowBuilder.get_flow(slug).start(2)
    testing.run_until_idle()
    assert handle.result()["fetch"] == [0, 1]


def test_document_replaces_the_draft_and_gives_a_new_version(slug, registered):
    text = f"slug: {slug}\nsteps:\n  fetch: {{handler: {registered['fetch']}}}"
    FlowBuilder.import_flow(text)
    assert FlowBuilder.publish(slug).number == 1
    FlowBuilder.import_flow(text)
    assert FlowBuilder.publish(slug).number == 1
    FlowBuilder.import_flow(text.replace("steps", "max_tasks: 5\nsteps"))
    assert FlowBuilder.publish(slug).number == 2
    assert FlowBuilder.get_flow(slug).to_document().startswith(f"slug: {slug}\nmax_tasks: 5\n\nsteps:\n  fetch:")


def test_document_of_a_stored_flow_gives_the_same_definition(stored, registered, slug):
    FlowDefinition.objects.filter(slug=slug).update(draft=with_handlers(stored, registered))
    flow = FlowBuilder.get_flow(slug)
    before = flow.current_spec()
    FlowBuilder.import_flow(flow.to_document("json"))
    assert FlowBuilder.get_flow(slug).current_spec() == before


@pytest.mark.parametrize("text", ["slug: {slug}", "slug: {slug}\nsteps: {{one: {{handler: nobody}}}}", "slug: [{slug}"])
def test_refused_document_leaves_nothing(slug, text):
    with pytest.raises(DefinitionError, match="line"):
        FlowBuilder.import_flow(text.format(slug=slug))
    assert not FlowDefinition.objects.filter(source="stored").exists()


def test_refused_document_leaves_what_was_there(stored, slug):
    with pytest.raises(DefinitionError):
        FlowBuilder.import_flow(f"slug: {slug}\nsteps: {{one: {{handler: nobody}}}}")
    assert [step["name"] for step in FlowBuilder.get_flow(slug).steps] == ["fetch", "double", "total"]


def test_document_does_not_replace_a_flow_in_code(flow, registered, db):
    text = f"slug: {flow.slug}\nsteps:\n  fetch: {{handler: {registered['fetch']}}}"
    with pytest.raises(
        DefinitionError, match=r"line 1: flow: a flow of this name is declared in tests\.conftest, line"
    ):
        FlowBuilder.import_flow(text)


def test_overrides_of_the_row_have_to_fit_the_document(slug, registered):
    text = f"slug: {slug}\nsteps:\n  fetch: {{handler: {registered['fetch']}}}"
    FlowBuilder.import_flow(text)
    FlowDefinition.objects.filter(slug=slug).update(overrides={"fetch": {"timeout": 5}})
    with pytest.raises(DefinitionError, match="override of step 'fetch': there is no such step"):
        FlowBuilder.import_flow(text.replace("fetch:", "other:"))


def test_broken_documents_leave_no_row(db):
    stored, rows = 0, FlowDefinition.objects.filter(source="stored")
    for text in texts(300, seed=3):
        before = rows.count()
        try:
            FlowBuilder.import_flow(text)
        except DefinitionError:
            assert rows.count() == before
        else:
            stored += 1
    assert 0 < rows.count() <= stored < 150


def test_a_flow_declared_in_code_is_not_stored_a_second_time(flow, db):
    handler("one")(lambda: 1)
    place = r"a flow of this name is declared in tests\.conftest, line \d+"
    with pytest.raises(DefinitionError, match=place):
        FlowBuilder.create_flow(flow.slug)
    with pytest.raises(DefinitionError, match=place):
        FlowBuilder.import_flow(f"slug: {flow.slug}\nsteps:\n  one: {{}}\n")


def test_a_flow_in_code_does_not_take_over_a_stored_one(make_flow, unique, db, caplog):
    slug = unique("flow")
    handler("one")(lambda: "stored")
    stored = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(stored, "one")
    FlowBuilder.publish(stored)
    declared = Flow(slug)
    declared.step(name="one")(lambda: "code")
    told = rf"flow '{slug}' is declared twice: .*test_builder, line \d+, and stored as data in the database 'default'"
    for verb in (declared.start, declared.execute, stored.start):
        versions.published.forget()
        with pytest.raises(DefinitionError, match=told):
            verb()
    versions.publish_declared()
    assert re.search(told, caplog.text)
    (error,) = checks.run_checks(databases=["default"], tags=["database"])
    assert (error.id, error.msg.startswith(f"flow '{slug}' is declared twice")) == ("django_workflow.E020", True)
    assert checks.run_checks(databases=[], tags=["database"]) == []
