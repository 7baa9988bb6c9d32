"""A flow that declares what it takes: inputs that do not fit are refused wherever a run is started."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.management.base import CommandError

from django_workflow import DefinitionError, FlowBuilder, PayloadError, Retry, handler, retry, testing
from django_workflow.builder import compile_draft
from django_workflow.engine.stored import overrides
from django_workflow.models import FlowDefinition, FlowVersion, Run
from tests.commands.shell import workflow

ORDER = {
    "type": "object",
    "required": ["quantity"],
    "properties": {"quantity": {"type": "integer", "minimum": 1}, "tags": {"type": "array"}},
}


def with_schema(flow, input_schema):
    """Give a flow another schema, as a deploy does."""
    flow.options, flow._compiled = replace(flow.options, input_schema=input_schema), None


@pytest.fixture
def orders(make_flow):
    flow = make_flow("orders", input_schema=ORDER, retry=Retry(max_attempts=1))
    flow.step(name="only")(lambda input: input["quantity"])
    return flow


STARTS = {
    "start": lambda flow, value: flow.start(value),
    "start_many": lambda flow, value: flow.start_many([{"quantity": 1}, value]),
    "execute": lambda flow, value: flow.execute(value),
}


@pytest.mark.parametrize("way", STARTS)
def test_an_input_that_does_not_fit_is_refused_and_nothing_is_made(orders, way, db):
    before = Run.objects.count()
    with pytest.raises(PayloadError, match=r"at \.quantity: 'two' is not of type 'integer'") as caught:
        STARTS[way](orders, {"quantity": "two"})
    assert caught.value.path == ".quantity"
    assert caught.value.violations[0].message == "'two' is not of type 'integer'"
    assert Run.objects.count() == before


@pytest.mark.parametrize("way", STARTS)
def test_an_input_that_fits_is_taken(orders, way, db):
    STARTS[way](orders, {"quantity": 2, "tags": ("as", "stored")})


def test_several_misfits_are_told_together(orders, db):
    with pytest.raises(PayloadError) as caught:
        orders.start({"quantity": 0, "tags": 1})
    assert str(caught.value) == (
        f"The input of flow {orders.slug!r} does not fit its schema:\n"
        "  - at .quantity: 0 is less than the minimum of 1\n"
        "  - at .tags: 1 is not of type 'array'"
    )


def test_no_input_is_null_and_checked_too(orders, db):
    with pytest.raises(PayloadError, match="at its top: None is not of type 'object'"):
        orders.start()


def test_a_flow_without_a_schema_takes_anything(make_flow, db):
    flow = make_flow()
    flow.step(name="only")(lambda input: input)
    assert "input_schema" not in flow.to_dict()
    for value in (None, 1, "x", [], {"a": [1]}):
        assert flow.execute(value).is_success


def test_the_schema_is_part_of_the_version(orders, make_flow, db):
    plain = make_flow("plain")
    plain.step(name="only")(lambda input: None)
    orders.start({"quantity": 1})
    version = FlowVersion.objects.get(flow__slug=orders.slug)
    assert version.spec["input_schema"] == ORDER
    assert version.compiled == orders.spec
    before = orders.spec.fingerprint
    with_schema(orders, {**ORDER, "additionalProperties": False})
    assert orders.spec.fingerprint != before


def test_the_schema_is_compiled_once(orders, db, monkeypatch):
    orders.start({"quantity": 1})
    monkeypatch.setattr("django_workflow.definition.schemas.schema.compiled", None)
    orders.start({"quantity": 2})


def test_overrides_keep_the_schema(orders, db):
    orders.start({"quantity": 1})
    FlowDefinition.objects.filter(slug=orders.slug).update(overrides={"only": {"queue": "slow"}})
    assert overrides.apply(orders).input_schema == ORDER
    with pytest.raises(PayloadError):
        orders.start({})


def test_stored_flows_have_schemas_too(unique, db):
    handler("stored_only")(lambda input: input["quantity"])
    flow = FlowBuilder.create_flow(unique("stored"), input_schema=ORDER)
    FlowBuilder.add_step(flow, "only", handler="stored_only")
    assert compile_draft(flow.row).input_schema == ORDER
    with pytest.raises(PayloadError, match="quantity"):
        flow.start({})
    assert flow.execute({"quantity": 3}).output == {"only": 3}
    with pytest.raises(DefinitionError, match=r"input_schema at \.type"):
        FlowBuilder.create_flow(unique("wrong"), input_schema={"type": "objekt"})


def test_the_command_line_tells_what_does_not_fit(orders, db):
    with pytest.raises(CommandError, match=r"at \.quantity: 0 is less than the minimum of 1"):
        workflow("start", orders.slug, "--input", '{"quantity": 0}')
    assert not Run.objects.of_flow(orders.slug).exists()


def test_a_retry_with_another_input_is_checked(orders, db):
    old = orders.start({"quantity": 1})
    testing.run_until_idle()
    with pytest.raises(PayloadError, match="quantity"):
        retry(old, "all", input={"quantity": 0})
    assert retry(old, "all", input={"quantity": 2}).run.input == {"quantity": 2}


def test_a_retry_in_a_version_with_another_schema_is_checked(orders, db):
    old = orders.start({"quantity": 1})
    testing.run_until_idle()
    with_schema(orders, {**ORDER, "required": ["customer"]})
    with pytest.raises(PayloadError, match="'customer' is a required property"):
        retry(old, "all", version="latest")
    assert retry(old, "all").run.input == {"quantity": 1}
