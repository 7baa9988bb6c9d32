"""The command that sets up, tests and tries the project."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import psutil
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "run.py"


@pytest.fixture
def run(monkeypatch) -> ModuleType:
    module = load()
    monkeypatch.setattr(module, "setup", lambda needed: None)
    return module


def load() -> ModuleType:
    """Import the script, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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


@pytest.mark.parametrize(
    ("command", "needed"), [("demo", "DEMO"), ("serve", "DEMO"), ("test", "ALL"), ("bench", "ALL")]
)
def test_a_command_installs_what_it_needs(run, became, monkeypatch, command, needed):
    asked = []
    monkeypatch.setattr(run, "setup", asked.append)
    getattr(run, command)([])
    assert asked == [getattr(run, needed)]
    assert len(became) == 1


@pytest.fixture
def installed(monkeypatch, tmp_path) -> tuple[ModuleType, list[list[str]]]:
    """The script with an environment of its own, in which nothing is really installed; and what would have been."""
    monkeypatch.delenv("DJANGO_WORKFLOW_EXTRAS", raising=False)
    module = load()
    asked: list[list[str]] = []
    (tmp_path / "bin").mkdir()
    for name, value in {"VENV": tmp_path, "PYTHON": tmp_path / "bin" / "python", "STAMP": tmp_path / "stamp"}.items():
        monkeypatch.setattr(module, name, value)
    module.PYTHON.touch()
    monkeypatch.setattr(module, "make_venv", lambda: ["pip"])
    monkeypatch.setattr(module, "install", lambda pip, extras: asked.append(extras))
    return module, asked


def test_tests_add_to_what_a_demonstration_has_installed_and_take_nothing_away(installed):
    run, asked = installed
    for needed in (run.DEMO, run.DEMO, run.ALL, run.ALL, run.DEMO):
        run.setup(needed)
    assert asked == [["demo"], ["demo", "dev"]]


def test_a_changed_project_is_installed_with_what_was_there(installed, monkeypatch):
    run, asked = installed
    run.setup(run.ALL)
    monkeypatch.setattr(run, "fingerprint", lambda: f"{run.python_version()} changed")
    run.setup(run.DEMO)
    assert asked == [["demo", "dev"]] * 2


def test_extras_can_be_chosen_whatever_the_command(installed, monkeypatch):
    run, asked = installed
    monkeypatch.setenv("DJANGO_WORKFLOW_EXTRAS", "embedded,yaml")
    run.setup(run.DEMO)
    run.setup(run.ALL)
    assert asked == [["embedded", "yaml"]]


def test_tests_say_beforehand_how_long_they_take_unless_some_are_chosen(run, became, capsys):
    run.test([])
    run.test(["--all"])
    quick, whole = (int(line.split("about ")[1].split()[0]) for line in capsys.readouterr().out.splitlines())
    assert 0 < quick < whole
    run.test(["-k", "join"])
    assert capsys.readouterr().out == ""


def start(script: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts background jobs with SIGINT ignored, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


def end(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal when the process says that it works; return its exit code, and what it said of errors."""
    assert process.stdout is not None
    while "working" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, (130, "\nrun.py: interrupted\n")), (signal.SIGTERM, (143, ""))],
    ids=["Ctrl-C", "kill"],
)
def test_an_interrupted_set_up_leaves_no_installer_and_is_quiet(tmp_path, number, expected):
    installer = "import os, time; print('working', os.getpid(), flush=True); time.sleep(600)"
    text = SCRIPT.read_text()
    for there, here in {
        'command = [*pip, "install"': f'command = [sys.executable, "-c", {installer!r}',
        "            show_progress(line)": "            log.flush(); say(line)",
    }.items():
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "run.py").write_text(text)
    (tmp_path / "pyproject.toml").write_text("[project]")
    process = start(tmp_path / "run.py", "demo", DJANGO_WORKFLOW_VENV=".venv")
    assert end(process, number) == expected
    pid = int((tmp_path / ".venv" / "setup.log").read_text().split()[1])
    assert not psutil.pid_exists(pid)


def test_ctrl_c_is_quiet_from_the_first_moment_of_a_command(tmp_path):
    (tmp_path / "long.py").write_text("print('working', flush=True)\nimport time\ntime.sleep(600)\n")
    process = start(SCRIPT, "-m", "long", PYTHONPATH=str(tmp_path))
    assert end(process, signal.SIGINT) == (130, "\nrun.py: interrupted\n")


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
        run.install(pip, ["demo"])
    assert "NewConnectionError" in capfd.readouterr().err
