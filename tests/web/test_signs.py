"""Signs are drawn: no page depends on what the fonts of its reader know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import django_workflow
from django_workflow import statuses
from django_workflow.definition.names import COMMANDS
from django_workflow.templatetags.django_workflow import sign, status
from django_workflow.web.drawing.signs import SIGNS

FOLDER = Path(django_workflow.__file__).parent
PAGES = [
    path for place in ("templates", "static", "web", "admin", "templatetags") for path in (FOLDER / place).rglob("*.*")
]
TEXTS = [path for path in PAGES if path.suffix in {".html", ".css", ".js", ".py"}]
#: What the fonts of all systems have: ASCII, and marks of ordinary texts.
ORDINARY = re.compile(r"[\x00-\x7f·×–“”…−≈]*\Z")
STATUSES = sorted(
    {*statuses.RUN_STATUSES, *statuses.STEP_RUN_STATUSES, *statuses.TASK_STATUSES, *statuses.ATTEMPT_OUTCOMES}
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_text_of_the_pages_has_a_rare_glyph(path):
    lines = path.read_text().splitlines()
    assert [line for line in lines if not ORDINARY.match(line)] == []


@pytest.mark.parametrize("name", [*STATUSES, "not_reached", *sorted(COMMANDS)])
def test_every_status_and_command_has_a_sign_of_its_own(name):
    alike = {other for other, path in SIGNS.items() if path == SIGNS[name]}
    assert alike <= {name, "fail", "failed", "", "not_reached"}


def test_sign_stands_beside_the_word_and_is_silent():
    assert status("timed_out").startswith('<span class="status status-timed_out"><svg class="sign"')
    assert status("timed_out").endswith("</svg> timed out</span>")
    assert 'aria-hidden="true"' in sign("failed")
    assert 'class="sign-solid"' in sign("running")
    assert "<path d=" in sign("failed")


def test_unknown_status_has_a_dot():
    assert sign("of another release") == sign("")
