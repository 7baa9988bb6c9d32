import functools

import pytest

from django_workflow.definition.registry import Handler, Registry
from django_workflow.exceptions import UnknownFlow, UnregisteredHandler


@pytest.fixture
def registry():
    return Registry()


def test_a_handler_tells_its_parameters_and_defaults(registry):
    def charge(reserve, ctx, tip=0, *rest, **more): ...

    handler = registry.add_handler("charge", charge)
    assert (handler.params, handler.defaults) == (("reserve", "ctx", "tip"), {"tip": 0})


async def _coroutine(): ...


class _AsyncCallable:
    async def __call__(self): ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (_coroutine, True),
        (functools.partial(_coroutine), True),
        (_AsyncCallable(), True),
        (lambda: None, False),
        (functools.partial(lambda: None), False),
    ],
)
def test_coroutines_are_recognised_in_every_form(function, is_async):
    assert Handler.of("x", function).is_async is is_async


def test_a_later_declaration_replaces_an_earlier_one(registry):
    registry.add_handler("charge", lambda: 1)
    later = registry.add_handler("charge", lambda: 2)
    assert registry.handler("charge") is later


def test_an_unknown_handler_is_none_so_that_a_worker_can_leave_it_to_others(registry):
    assert registry.handler("nope") is None


def test_an_unknown_callable_is_named(registry):
    with pytest.raises(UnregisteredHandler, match="'nope'"):
        registry.callable("nope")


def test_an_unknown_flow_is_named_and_so_are_the_known_ones(registry):
    class Declared:
        slug = "orders"

    registry.add_flow(Declared())
    with pytest.raises(UnknownFlow, match=r"'nope' .*known: orders"):
        registry.flow("nope")


def test_code_is_known_only_when_handler_and_all_callables_are(registry):
    registry.add_handler("charge", lambda: None)
    registry.add_callable("is_big", lambda: True)
    assert registry.knows("charge", ("is_big",))
    assert not registry.knows("charge", ("is_big", "is_small"))
    assert not registry.knows("ship", ())
