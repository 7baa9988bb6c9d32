"""The table of places for changes names files and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "path-of-a-run.md"
SECTION = PAGE.read_text(encoding="utf-8").split("## Where to begin a change")[1]
PATHS = sorted(set(re.findall(r"`([\w/]+(?:/|\.(?:py|html)))`", SECTION)) - {"django_workflow/"})
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)` \(`([\w.]+)`\)", SECTION)))


@pytest.mark.parametrize("path", PATHS)
def test_the_file_is_there(path):
    assert (ROOT / "django_workflow" / path).exists()


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_name_stands_in_its_file(path, name):
    text = (ROOT / "django_workflow" / path).read_text(encoding="utf-8")
    for part in name.split("."):
        assert re.search(rf"\b{part}\b", text)
