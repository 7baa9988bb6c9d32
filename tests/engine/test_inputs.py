"""What a handler receives, by parameter name."""

import pytest

from django_workflow.definition.registry import Handler
from django_workflow.worker.jobs.handler_arguments import wire


def wired(function, skipped=(), **values):
    return wire(Handler.of("test", function), values, skipped=frozenset(skipped))


def test_a_handler_receives_what_its_parameters_name_and_nothing_else():
    assert wired(lambda input, reserve: None, input=1, reserve=2, other=3) == {"input": 1, "reserve": 2}


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False])
def test_any_value_arrives_as_it_is(value):
    assert wired(lambda reserve=5: None, reserve=value) == {"reserve": value}


def test_a_skipped_dependency_arrives_as_the_parameters_default():
    assert "reserve" not in wired(lambda reserve=5: None, skipped={"reserve"}, reserve=None)


def test_a_skipped_dependency_without_default_arrives_as_none():
    assert wired(lambda reserve: None, skipped={"reserve"}) == {"reserve": None}


def test_a_parameter_that_the_runs_version_does_not_know_arrives_as_none_or_its_default():
    assert wired(lambda added, also_added=1: None) == {"added": None}


def test_open_parameters_receive_nothing():
    assert wired(lambda input, *more, **named: None, input=1, named=2, more=3) == {"input": 1}
