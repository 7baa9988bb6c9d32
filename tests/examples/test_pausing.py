"""The example of a paused audit, with a real worker."""

from __future__ import annotations

import base64
import hashlib

import pytest
from django.core.management import call_command

from django_workflow.models import Event, Run, Task
from example_project.examples import pausing
from tests.workers import database_url

pytestmark = pytest.mark.slow


def test_paused_audit_starts_nothing_and_is_finished_after(workflow_queues, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", database_url())
    call_command("run_example", "pausing")
    told = capsys.readouterr().out
    run = Run.objects.get()
    assert run.status == "succeeded"
    assert "Resumed it: succeeded" in told
    events = list(Event.objects.filter(run=run).order_by("number").values_list("type", flat=True))
    assert events.index("run.paused") < events.index("run.resumed") < events.index("run.completed")
    paused, resumed = (Event.objects.get(run=run, type=kind).created_at for kind in ("run.paused", "run.resumed"))
    begun = Task.objects.filter(run=run, begun_at__gt=paused, begun_at__lt=resumed)
    assert all((task.begun_at - paused).total_seconds() < 1 for task in begun)
    assert (resumed - paused).total_seconds() >= pausing.WATCHED


def test_files_that_are_not_as_they_were_installed_are_found(install, tmp_path):
    info = install("made-up", "", {"good.py": "x", "bad.py": "y", "gone.py": "z"})
    sums = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for name, text in (("good.py", "x"), ("bad.py", "as it was"), ("gone.py", "z"))
    }
    (info / "RECORD").write_text("".join(f"{name},sha256={value},1\n" for name, value in sums.items()))
    (tmp_path / "gone.py").unlink()
    assert pausing.check("made-up") in (
        {"checked": 2, "changed": 1, "missing": 1},
        # newer Pythons leave out of the list what is not there
        {"checked": 2, "changed": 1, "missing": 0},
    )
