"""Every document that is shipped fits the format, compiles, and comes back from its text."""

import jsonschema
import pytest
import yaml

from django_workflow.definition import documents, drafts
from django_workflow.definition.registry import registry
from django_workflow.definition.validation.topology import warnings
from tests.definition.documents.conftest import SHIPPED
from tests.definition.documents.round_trips import check_round_trips

NAMES = {
    *("monitoring-loop", "retry-with-cycle", "conditional-loop", "linear", "fan-out-join"),
    *("join-two-of-three", "error-branch", "several-entries"),
}


def test_those_that_the_documentation_speaks_of_are_there():
    assert {path.stem for path in SHIPPED} == NAMES


def test_slug_is_the_name_of_the_file():
    assert {documents.read(path.read_text()).slug.replace("_", "-") for path in SHIPPED} == NAMES


def test_fits_the_schema_also_as_other_libraries_read_it(shipped):
    jsonschema.Draft202012Validator.check_schema(documents.SCHEMA)
    text = shipped.replace(" on: ", ' "on": ')  # others read YAML 1.1, where this is a truth value
    jsonschema.Draft202012Validator(documents.SCHEMA).validate(yaml.safe_load(text))


def test_compiles_without_warnings(shipped):
    assert warnings(documents.read(shipped).compile()) == []


def test_comes_back_from_its_text(shipped):
    document = documents.read(shipped)
    check_round_trips(document.draft, document.compile())


@pytest.mark.parametrize("flow", registry.flows(), ids=lambda flow: flow.slug)
def test_flow_in_code_comes_back_from_its_text(flow):
    check_round_trips(drafts.of_spec(flow.spec), flow.spec)
