"""Colours can be read, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import django_workflow
from django_workflow.web.drawing.signs import STATUS_SIGNS

FOLDER = Path(django_workflow.__file__).parent / "static" / "django_workflow"
SHEETS = {path.name: path.read_text() for path in FOLDER.glob("*.css")}
VARIABLE = re.compile(r"--([\w-]+): (?:light-dark\((#\w+), (#\w+)\)|(#\w+));")
COLOURS = {
    name: (light or both, dark or both)
    for sheet in SHEETS.values()
    for name, light, dark, both in VARIABLE.findall(sheet)
}
STATUSES = sorted(
    name.removeprefix("status-").removesuffix("-fg") for name in COLOURS if re.match("status-.*-fg", name)
)
TEXTS = ("body-fg", "body-quiet-color", "body-loud-color", "link-fg", "link-hover-color", "error-fg")
GROUNDS = ("body-bg", "darkened-bg", "selected-bg")
BUTTONS = [("button-fg", name) for name in ("button-bg", "button-hover-bg", "danger-bg", "danger-hover-bg")]
PAIRS = [
    *((text, ground) for text in TEXTS for ground in GROUNDS),
    *((f"status-{name}-fg", f"status-{name}-bg") for name in STATUSES),
    *((text, f"status-{name}-bg") for text in TEXTS[:1] for name in ("succeeded", "paused", "failed")),
    *BUTTONS,
]


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS, ids=["-on-".join(pair) for pair in PAIRS])
def test_text_can_be_read(text, ground, theme):
    assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_fields_and_focus_can_be_seen(theme):
    for name in ("field-border", "primary"):
        assert contrast(COLOURS[name][theme], COLOURS["body-bg"][theme]) >= 3


@pytest.mark.parametrize("status", STATUS_SIGNS)
def test_every_status_has_a_pill(status):
    assert f".status-{status}" in SHEETS["status.css"] or status == "waiting"


def test_every_variable_that_is_used_is_declared():
    used = {name for sheet in SHEETS.values() for name in re.findall(r"var\(--([\w-]+)\)", sheet)}
    declared = {name for sheet in SHEETS.values() for name in re.findall(r"--([\w-]+):", sheet)}
    assert used <= declared
