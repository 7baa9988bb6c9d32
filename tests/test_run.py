"""The command that sets up, tests and tries the project."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "run.py"


@pytest.fixture
def run(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "setup", lambda: None)
    return module


@pytest.fixture
def became(run, monkeypatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(run, "become", lambda *arguments: calls.append(arguments))
    return calls


def test_unknown_command_is_answered_with_the_known_ones():
    done = subprocess.run([sys.executable, SCRIPT, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no command 'nonsense'" in done.stderr
    assert "python3 run.py COMMAND" in done.stderr


def test_old_python_can_read_the_script():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_old_python_is_told_so(run, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    monkeypatch.setattr(sys, "argv", ["run.py", "demo"])
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; .* is 3\.10\.4"):
        run.main()


def test_arguments_of_test_go_to_pytest(run, became, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    run.test(["-k", "join", "-x"])
    assert became == [("-m", "pytest", *run.PARALLEL, "-k", "join", "-x")]


def test_arguments_of_serve_go_to_the_example(run, became):
    run.serve(["--port", "8001"])
    assert became == [("-m", "example_project.serve", "--port", "8001")]


def test_all_includes_the_slow_tests(run, became, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    run.test(["--all", "-x"])
    assert became == [("-m", "pytest", *run.PARALLEL, "-m", "", "-x")]


def test_on_a_server_of_ones_own_tests_run_one_after_the_other(run, became, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://somewhere/site")
    run.test(["-x"])
    assert became == [("-m", "pytest", "-x")]


@pytest.mark.parametrize("change", ["pyproject", "python", "constraint"])
def test_environment_is_remade_when_what_it_depends_on_changes(run, monkeypatch, tmp_path, change):
    constraint = tmp_path / "constraint.txt"
    constraint.write_text("Django~=5.2.0")
    (tmp_path / "pyproject.toml").write_text("[project]")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraint))
    monkeypatch.setattr(run, "ROOT", tmp_path)
    before = run.fingerprint()
    assert run.fingerprint() == before
    match change:
        case "pyproject":
            (tmp_path / "pyproject.toml").write_text("[project] # more")
        case "python":
            monkeypatch.setattr(sys, "version_info", (3, 99, 0))
        case "constraint":
            constraint.write_text("Django~=6.0.0")
    assert run.fingerprint() != before


def test_failing_pip_without_a_network_says_so(run, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(run, "LOG", tmp_path / "log")
    pip = [sys.executable, "-c", "print('NewConnectionError: refused'); raise SystemExit(1)"]
    with pytest.raises(SystemExit, match="is PyPI reachable"):
        run.install(pip)
    assert "NewConnectionError" in capfd.readouterr().err
