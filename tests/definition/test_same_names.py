"""Two things of one name are refused where the second one is declared, naming both places."""

from __future__ import annotations

import functools
import sys
from importlib import import_module, invalidate_caches, reload

import pytest

from django_workflow import DefinitionError, Flow, condition, handler
from django_workflow.definition.registry import registry

FLOW = """
from django_workflow import Flow

payments = Flow("payments")


@payments.step
def charge(input):
    return {name!r}
"""
HANDLER = """
from django_workflow import condition, handler


@handler("same_handler")
def charge(input):
    return {name!r}
"""
CONDITION = """
from django_workflow import condition


@condition("same_condition")
def is_large(input):
    return {name!r} == "large"
"""
HANDLER_OF_A_FLOW = """
from django_workflow import handler


@handler("payments.charge")
def charge(input):
    return {name!r}
"""
HELPED = """
from helping import payments

flow = payments()
"""
ORQUESTA = """
from django_workflow import Flow

flow = Flow.from_orquesta("version: 1.0\\ntasks:\\n  one:\\n    action: core.noop\\n", actions={{}}, slug="payments")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of a site and import it."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name, text):
        sys.modules.pop(name, None)  # of another test
        (tmp_path / f"{name}.py").write_text(text.format(name=name))
        invalidate_caches()
        names.append(name)
        return import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (FLOW, FLOW, r"flow 'payments' is declared twice: shop, line 4, and billing, line 4"),
        (
            HANDLER,
            HANDLER,
            r"handler 'same_handler' is declared twice: shop.charge, line 5, and billing.charge, line 5",
        ),
        (CONDITION, CONDITION, r"condition 'same_condition' is declared twice: shop.is_large.*, and billing.is_large"),
        (FLOW, HANDLER_OF_A_FLOW, r"handler 'payments.charge' is declared twice: shop.charge.*, and billing.charge"),
        (HANDLER_OF_A_FLOW, FLOW, r"handler 'payments.charge' is declared twice: shop.charge.*, and billing.charge"),
        (ORQUESTA, FLOW, r"flow 'payments' is declared twice: shop, line 4, and billing, line 4"),
        (FLOW, ORQUESTA, r"flow 'payments' is declared twice: shop, line 4, and billing, line 4"),
    ],
)
def test_a_second_one_in_another_module_is_refused_and_the_first_one_stays(module, first, second, told):
    module("shop", first)
    flows, handlers = registry.flows(), {name: registry.handler(name) for name in registry.handler_names()}
    with pytest.raises(DefinitionError, match=told):
        module("billing", second)
    if "flow" in told:
        assert registry.flows() == flows
        assert {name: registry.handler(name) for name in registry.handler_names()} == handlers


def test_a_function_that_declares_for_two_modules_is_another_place_for_each(module, monkeypatch):
    module("helping", "from django_workflow import Flow\n\n\ndef payments():\n    return Flow('payments')\n")
    # as while apps are set up: what functions declare then is declared in every process
    monkeypatch.setattr(registry, "is_starting", lambda: True)
    module("shop", HELPED)
    with pytest.raises(DefinitionError, match=r"flow 'payments' is declared twice: helping, line 5"):
        module("billing", "\n" + HELPED)


@pytest.mark.parametrize("text", [FLOW, HANDLER, CONDITION, ORQUESTA])
def test_a_module_that_is_loaded_again_declares_the_same(module, text):
    reload(module("shop", text))


def test_what_functions_declare_is_replaced(unique):
    slug, name = unique("flow"), unique("handler")
    first = Flow(slug)
    first.step(name="one")(lambda: 1)
    second = Flow(slug)
    second.step(name="one")(lambda: 2)
    assert registry.flow(slug) is second
    handler(name)(lambda: 1)
    handler(name)(functools.partial(lambda: 2))
    assert registry.handler(name).function() == 2
    condition(name)(lambda: True)
    condition(name)(lambda: False)
    assert registry.callable(name)() is False


class Charge:
    """A handler that is an object."""

    def __call__(self, input):
        return input


def test_objects_and_builtins_have_a_place_too(unique):
    name = unique("handler")
    handler(name)(Charge())
    handler(name)(Charge())
    with pytest.raises(DefinitionError, match=r"is declared twice: .*Charge.*, and .*test_same_names"):
        handler(name)(lambda input: None)
    condition(name)(bool)
