"""What the reference writes by hand is complete: every word of the code is on its page."""

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

import django_workflow
from django_workflow import checks, flow_checks
from django_workflow.definition import documents, names
from django_workflow.definition.expressions import functions
from django_workflow.definition.problems import Code
from django_workflow.definition.validation.steps import COMMON_OPTIONS, MAP_OPTIONS
from django_workflow.flow import Flow
from django_workflow.management.workflow import SUBCOMMANDS
from django_workflow.worker.jobs.context import HANDLER_LOGGER, Context
from tests.docs import happenings
from tests.docs.pages import DOCS

REFERENCE = DOCS / "reference"
COMMANDS = Path(django_workflow.__file__).parent / "management" / "commands"


def words(page):
    return set(re.findall(r"\w+", (REFERENCE / page).read_text()))


def own(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


def keys_of(schema):
    """Every key that the format of documents has."""
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", ())


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("api.md", set(django_workflow.__all__)),
        ("flows.md", {name for name in inspect.signature(Flow.__init__).parameters if name != "self"}),
        ("flows.md", COMMON_OPTIONS | MAP_OPTIONS | {"name", "depends_on"}),
        ("flows.md", names.RESERVED),
        ("flows.md", own(Context) | {"cancelled", "vars"} - {"progress", "events"}),
        ("expressions.md", set(functions.FUNCTIONS)),
        ("documents.md", set(keys_of(documents.SCHEMA))),
        ("documents.md", set(get_args(Code))),
        ("commands.md", {path.stem for path in COMMANDS.glob("*.py")} - {"__init__"}),
        ("commands.md", {item.name for item in SUBCOMMANDS}),
        (
            "settings.md",
            set(re.findall(r'"(E\d{3})"', inspect.getsource(checks) + inspect.getsource(flow_checks))) | {"E001"},
        ),
    ],
)
def test_page_names_them_all(page, expected):
    assert expected - words(page) == set()


def test_events_are_on_their_page(db, settings):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": "task"}
    seen = happenings.all_kinds_of_events()
    listed = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)`", (REFERENCE / "events.md").read_text(), re.MULTILINE))
    assert seen == listed


def test_loggers_are_on_the_page_about_monitoring():
    package = Path(django_workflow.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py"))
    page = (DOCS / "howto" / "monitoring.md").read_text()
    lines = re.findall(r"^\| (`django_workflow[^|]*)\|", page, re.MULTILINE)
    told = set(re.findall(r"`([\w.]+)`", "".join(lines)))
    assert told == {*re.findall(r'getLogger\("(django_workflow[\w.]*)"\)', code), HANDLER_LOGGER}
