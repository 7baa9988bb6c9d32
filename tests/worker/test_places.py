"""A worker's child processes import from where it does, however it was started."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from django.core.management import CommandError, call_command

from django_workflow import testing

pytestmark = pytest.mark.slow

SETTINGS = """
    from tests.worker.settings import *
    INSTALLED_APPS = [*INSTALLED_APPS, "elsewhere"]
"""
WORKFLOWS = """
    import os
    from django_workflow import Flow

    flow = Flow("elsewhere", executor="process")

    @flow.step
    def tells(input):
        return [os.getpid(), input]
"""
MANAGE = """
    import os, sys
    from django.core.management import execute_from_command_line
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "elsewhere.settings")
    execute_from_command_line(sys.argv)
"""


@pytest.fixture
def folder(site, tmp_path, monkeypatch):
    """A folder with a site that nobody finds by chance, and a flow of it that was started."""
    package = tmp_path / "code" / "elsewhere"
    package.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name, text in {"__init__": "", "settings": SETTINGS, "workflows": WORKFLOWS, "../manage": MANAGE}.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "elsewhere"]:
        del sys.modules[name]


WAYS = {
    "a script, from another folder": ("empty", ["{code}/manage.py"], None),
    "a script, by a relative path": ("empty", ["../code/manage.py"], None),
    "a module, in the site's folder": ("code", ["-m", "django"], "elsewhere.settings"),
    "a module, with --pythonpath": ("empty", ["-m", "django"], "elsewhere.settings --pythonpath ../code"),
    "a script as a module": ("code", ["-m", "manage"], None),
}


@pytest.mark.parametrize("way", WAYS)
def test_children_of_children_find_the_site(folder, way):
    from elsewhere.workflows import flow

    cwd, entry, settings = WAYS[way]
    handle = flow.start(7)
    command = [sys.executable, *(item.format(code=folder / "code") for item in entry), "run_workflow_worker"]
    command += ["--drain", "--quiet", "--concurrency", "1", "--processes", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    if settings is not None:
        command += ["--settings", *settings.split()]
    done = subprocess.run(
        command, cwd=folder / cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert testing.assert_settled(handle)["tells"][1] == 7, done.stderr


def test_processes_are_refused_where_the_command_cannot_be_started_again(site):
    with pytest.raises(CommandError, match="must be called from the command line"):
        call_command("run_workflow_worker", processes=2)
