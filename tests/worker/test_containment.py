"""Code of the site's that wants to end the process: a worker goes on, and so does all that runs beside."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from django_workflow import Retry
from django_workflow.models import Attempt
from tests.workers import ROOT

pytestmark = pytest.mark.slow


def raising(error):
    def raises():
        raise error

    return raises


def broken_factory():
    """Stand for an executor whose module ends the process."""
    raise SystemExit(3)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_conditions_and_strategies_that_end_processes_end_no_worker(make_flow, work, error):
    before = []
    conditional, persistent, calm = (make_flow() for _ in range(3))
    conditional.step(name="first")(lambda: before.append(1))
    conditional.step(name="second", depends_on=["first"], when=raising(error))(lambda: None)
    persistent.step(name="only", retry=Retry(strategy=lambda failures: raising(error)()))(raising(ValueError("no")))
    calm.step(name="only")(lambda: "calm")
    handles = [conditional.start(), persistent.start(), *calm.start_many([None] * 3)]
    worker = work()
    results = [handle.wait(20) for handle in handles]
    assert [result.status for result in results] == ["failed", "failed", *["succeeded"] * 3]
    assert (results[0].error["class"], results[1].error["class"]) == ("ExpressionError", type(error).__name__)
    assert before == [1]
    assert worker.thread.is_alive()


def test_a_factory_of_an_executor_that_ends_processes_fails_its_attempts_alone(flow, make_flow, work, settings):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"broken": broken_factory}}
    flow.step(name="only", executor="broken", retry=Retry(max_attempts=2, base=timedelta(milliseconds=1)))(lambda: None)
    calm = make_flow()
    calm.step(name="only")(lambda: "calm")
    handles = [flow.start(), calm.start()]
    worker = work()
    assert [handle.wait(20).status for handle in handles] == ["failed", "succeeded"]
    assert Attempt.objects.filter(run_id=handles[0].id).count() == 2
    assert worker.thread.is_alive()


def test_flows_that_end_the_process_when_they_are_imported_say_so(site, tmp_path):
    app = tmp_path / "leaving"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "workflows.py").write_text("import sys\nsys.exit()\n")
    (tmp_path / "leaving_settings.py").write_text(
        "from tests.worker.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'leaving']\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    result = subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); print('goes on')"],
        env=os.environ | {"PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "leaving_settings"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "A workflows.py raised SystemExit(None) when it was imported." in result.stderr
    assert "leaving/workflows.py" in result.stderr
