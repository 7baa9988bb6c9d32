"""What type checkers and editors know of the public face."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from django_workflow.definition.declare import FlowDeclaration
from django_workflow.definition.validation.steps import COMMON_OPTIONS, MAP_OPTIONS
from django_workflow.definition.written import options
from tests.typing import stub

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
#: The first run follows the imports into Django, which takes a while.
CACHE = ROOT / ".mypy_cache" / "typing"
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$", re.MULTILINE)
EXPECTED = re.compile(r"# error: (?P<codes>.+)$")


def expected(path):
    return {
        number: Counter(found["codes"].split(", "))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (found := EXPECTED.search(line))
    }


@pytest.fixture(scope="module")
def told():
    """Return what mypy tells of the files, by file and line."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "mypy.ini",
        "--cache-dir",
        str(CACHE),
        "good.py",
        "bad.py",
    ]
    environment = {**os.environ, "MYPYPATH": str(ROOT), "COLUMNS": "500"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {}
    for match in FOUND.finditer(done.stdout):
        found.setdefault(match["file"], {}).setdefault(int(match["line"]), Counter())[match["code"]] += 1
    found["text"] = done.stdout
    return found


@pytest.mark.slow
def test_flows_without_mistakes_pass(told):
    assert told.get("good.py", {}) == {}, told["text"]


@pytest.mark.slow
def test_each_mistake_is_found_in_its_line(told):
    assert told["bad.py"] == expected(HERE / "bad.py"), told["text"]


@pytest.mark.slow
def test_what_is_told_names_the_option_and_its_type(told):
    assert 'Argument "timeout" to "step" of "FlowDeclaration" has incompatible type "int"' in told["text"]
    assert "Literal['fail', 'skip', 'skip_cascade'] | None" in told["text"]


def test_the_stub_says_what_the_package_offers():
    assert stub.statements(stub.STUB.read_text()) == stub.statements(stub.rendered())


def test_the_options_that_editors_offer_are_those_that_are_checked():
    for name, known in {"step": options.StepOptions, "map": options.MapOptions}.items():
        assert getattr(FlowDeclaration, name).__annotations__["options"] == f"Unpack[{known.__name__}]"
    names = {*options.MapOptions.__annotations__}
    assert names == COMMON_OPTIONS | MAP_OPTIONS | {"name", "depends_on"}
    for name in names:
        assert re.search(rf"\b{name}\b", FlowDeclaration.step.__doc__ + FlowDeclaration.map.__doc__), name
