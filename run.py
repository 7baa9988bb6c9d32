#!/usr/bin/env python3
"""Try, test and measure this project with nothing but Python installed.

usage: python3 run.py COMMAND [ARGUMENTS]

commands:
  setup   make .venv and install all of it; the others install by themselves what they need
  demo    run the example project's workflows and show what happened
  serve   serve the example's live pages, with a worker and runs that keep going; --port 8000, --pace 1.0
  test    run the tests; arguments go to pytest, --all includes the long ones (slow, chaos, browser)
  bench   measure; arguments go to python -m tests.perf
  stop    stop the PostgreSQL that manage.py or an interrupted command has left running

environment:
  DJANGO_WORKFLOW_VENV      folder of the virtual environment (default: .venv)
  DJANGO_WORKFLOW_EXTRAS    what is installed besides the project, whatever the command: names of extras (default:
                            demo for demo and serve, and dev as well, which is all, for the others)
  DJANGO_WORKFLOW_POSTGRES  folder of the embedded PostgreSQL (default: .postgres)
  DATABASE_URL              a PostgreSQL of your own, instead of the embedded one
"""

# Only the standard library, and no syntax newer than Python 3.7: older ones get a clear word, not a SyntaxError.
from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, NoReturn  # noqa: UP035 — collections.abc.Iterator has no [] before 3.9

ROOT = Path(__file__).resolve().parent
VENV = ROOT / os.environ.get("DJANGO_WORKFLOW_VENV", ".venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup-of"
LOG = VENV / "setup.log"
#: What is installed besides the project: extras to look at it, and those to work on it. The larger names the smaller,
#: so that an environment with all of it has what a demonstration needs.
DEMO, ALL = {"demo"}, {"demo", "dev"}
OLDEST_PYTHON = (3, 11)
INTERRUPTED = 130
# more than there are cores: many tests wait for a process, a lease or a notification
PARALLEL = ("--numprocesses", "4", "--dist", "worksteal")

# minutes that the quick tests take, and all of them
SHORT, LONG = 5, 15
AS_MODULE = "-m"

# What pip says when it reaches no index; it retries for a while before.
NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "SSLError",
    "Connection refused",
    "from versions: none",
)


def main() -> None:
    """Run the command named on the command line."""
    commands = {"setup": prepare, "demo": demo, "serve": serve, "test": test, "bench": bench, "stop": stop}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name == AS_MODULE:
        run_module(*sys.argv[2:])
        return
    if name in ("-h", "--help", "help"):
        print(__doc__)
        return
    if name not in commands:
        fail(f"There is no command {name!r}.\n\n{__doc__}")
    if sys.version_info < OLDEST_PYTHON:
        fail(f"This project needs Python 3.11 or newer; {sys.executable} is {python_version()}. {newer_pythons()}")
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    commands[name](sys.argv[2:])


def prepare(arguments: list[str]) -> None:
    """Set up all of it and do no more."""
    if arguments:
        fail("setup takes no arguments")
    setup(ALL)


def demo(arguments: list[str]) -> None:
    """Run the example project's demonstration."""
    setup(DEMO)
    become("-m", "example_project.demo", *arguments)


def serve(arguments: list[str]) -> None:
    """Serve the example project's pages."""
    setup(DEMO)
    become("-m", "example_project.serve", *arguments)


def test(arguments: list[str]) -> None:
    """Run the tests."""
    setup(ALL)
    if not set(arguments) - {"--all"}:
        say(f"This takes about {LONG if '--all' in arguments else SHORT} minutes on two cores. Ctrl-C ends it.")
    if "--all" in arguments:
        # An empty marker expression overrides the one in pyproject.toml.
        arguments = ["-m", "", *(word for word in arguments if word != "--all")]
    if "DATABASE_URL" not in os.environ:  # else there is one server only, and tests that share it disturb each other
        arguments = [*PARALLEL, *arguments]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # tests start hundreds of processes: each would compile it all
    become("-m", "pytest", *arguments)


def bench(arguments: list[str]) -> None:
    """Run the measurements."""
    setup(ALL)
    become("-m", "tests.perf", *arguments)


def stop(arguments: list[str]) -> None:
    """Stop the embedded PostgreSQL."""
    if not STAMP.exists():
        print("Nothing to stop: nothing is installed.")
        return
    folder = Path(os.environ.get("DJANGO_WORKFLOW_POSTGRES", ".postgres"))
    of_parallel_tests = sorted(folder.parent.glob(f"{folder.name}-gw*"))
    for each in [folder, *of_parallel_tests]:
        command = [str(PYTHON), "-m", "django_workflow.contrib.embedded", "stop", str(each), *arguments]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(1)  # it has said why


def setup(needed: set[str]) -> None:
    """Make the virtual environment and install the project with some extras, unless that is done.

    What an environment has beyond them stays, so that a demonstration takes nothing from the tests.
    """
    needed = chosen_extras() or needed
    if is_set_up(needed):
        return
    with one_at_a_time():
        if is_set_up(needed):  # by somebody else, in the meantime
            return
        began = time.monotonic()
        extras = sorted(needed | installed_extras())
        installer = make_venv()
        install(installer, extras)
        STAMP.write_text(f"{fingerprint()}\n{','.join(extras)}\n")
        say(f"Ready after {time.monotonic() - began:.0f} s.\n")


def is_set_up(needed: set[str]) -> bool:
    """Tell whether the environment is what this checkout and this Python would make, and has these extras."""
    return PYTHON.exists() and stamp()[:1] == [fingerprint()] and needed <= installed_extras()


def stamp() -> list[str]:
    """Read what the environment was made of: its fingerprint and the names of its extras."""
    return STAMP.read_text().splitlines() if STAMP.exists() else []


def installed_extras() -> set[str]:
    """Name the extras that the environment has, if it is one of this Python."""
    lines = stamp()
    is_ours = len(lines) > 1 and lines[0].startswith(python_version() + " ")
    return set(lines[1].split(",")) if is_ours else set()


def chosen_extras() -> set[str]:
    """Name the extras that somebody wants, whatever the command needs."""
    return {word for word in os.environ.get("DJANGO_WORKFLOW_EXTRAS", "").replace(",", " ").split() if word}


def fingerprint() -> str:
    """Sum up all that an environment depends on; its place too, because scripts in it name their own path."""
    constraints = os.environ.get("PIP_CONSTRAINT", "").split()
    parts = [python_version(), str(VENV), (ROOT / "pyproject.toml").read_text()]
    parts += [Path(name).read_text() for name in constraints if Path(name).is_file()]
    return python_version() + " " + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def python_version() -> str:
    """Name the version of the Python that runs this."""
    return "{}.{}.{}".format(*sys.version_info[:3])


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one process after the other set up the same environment."""
    try:
        import fcntl  # noqa: PLC0415 — absent on Windows, where two at once must take care of themselves
    except ImportError:
        yield
        return
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with (VENV.parent / (VENV.name + ".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv() -> list[str]:
    """Make the virtual environment, if there is none of this Python.

    Returns:
        The pip command that installs into it: its own, or else the one of the Python that runs this.
    """
    if not (PYTHON.exists() and "".join(stamp()).startswith(python_version() + " ")):
        say(f"Making a virtual environment in {VENV}")
        shutil.rmtree(VENV, ignore_errors=True)
        if importlib.util.find_spec("venv") is not None:
            checked([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
        else:
            make_venv_without_venv()
    STAMP.unlink(missing_ok=True)  # what follows may be interrupted
    own_pip = [str(PYTHON), "-m", "pip"]
    if works([*own_pip, "--version"]) or works([str(PYTHON), "-m", "ensurepip", "--default-pip"]):
        return own_pip
    # Debian and Ubuntu leave ensurepip out unless python3-venv is installed. A pip from 22.3 on can help out.
    foreign_pip = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if works([*foreign_pip, "--version"]):
        return foreign_pip
    fail("This Python has no pip and no ensurepip. On Debian or Ubuntu: apt install python3-venv")


def make_venv_without_venv() -> None:
    """Make the virtual environment with virtualenv, which pip fetches for this once."""
    tools = VENV.parent / (VENV.name + "-tools")
    pip = [sys.executable, "-m", "pip"]
    if not works([*pip, "--version"]):
        fail("This Python has neither the module venv nor pip. On Debian or Ubuntu: apt install python3-venv")
    checked([*pip, "install", "--quiet", "--target", str(tools), "virtualenv"])
    checked([sys.executable, "-m", "virtualenv", "--quiet", str(VENV)], PYTHONPATH=str(tools))
    shutil.rmtree(tools, ignore_errors=True)


def install(pip: list[str], extras: list[str]) -> None:
    """Install the project editable, with some extras; the details go to a log."""
    say(f"Installing the project and what it needs (details: {LOG})")
    # Python compiles what is imported, which is a part of it
    quick = ["--no-input", "--disable-pip-version-check", "--no-compile"]
    command = [*pip, "install", *quick, "--editable", f"{ROOT}[{','.join(extras)}]"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with LOG.open("w") as log, child(command, **piped) as process:
        for line in process.stdout or ():
            log.write(line)
            show_progress(line)
        process.wait()
    show_progress("")
    if process.returncode != 0:
        output = LOG.read_text(errors="replace")
        print("\n".join(output.splitlines()[-20:]), file=sys.stderr)
        if any(sign in output for sign in NO_NETWORK):
            fail("pip could not fetch packages: is PyPI reachable from here? A mirror can be set by PIP_INDEX_URL.")
        fail(f"pip failed. All it said is in {LOG}")


def show_progress(line: str) -> None:
    """Show which package pip is at: on a terminal in one line, elsewhere as a dot each; nothing at all ends it."""
    words = line.split()
    is_terminal = sys.stdout.isatty()
    if not line:
        text = "\r\033[K" if is_terminal else "\n"
    elif words[:1] == ["Collecting"] and len(words) > 1:
        text = f"\r\033[K  {words[1]}" if is_terminal else "."
    elif line.startswith("Installing collected packages"):
        text = "\r\033[K  unpacking" if is_terminal else " unpacking"
    else:
        return
    print(text, end="", flush=True)


def become(*arguments: str) -> NoReturn:
    """Replace this process by the environment's Python, so that signals and the exit code are its own."""
    sys.stdout.flush()
    environment = dict(os.environ)
    environment.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    environment["PATH"] = os.pathsep.join([str(PYTHON.parent), environment.get("PATH", os.defpath)])
    # Ctrl-C waits until somebody is there who can answer it: a Python that starts would answer with a traceback
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execve(str(PYTHON), [str(PYTHON), __file__, *arguments], environment)


def run_module(name: str, *arguments: str) -> None:
    """Do what `python -m` does, with Ctrl-C as quiet as everywhere here."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command that hears nothing of Ctrl-C, and has ended behind the block, with all it has started."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    except BaseException:
        # as Ctrl-C would: pip removes then what it has half unpacked
        end_group(process, signal.SIGINT)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def end_group(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process and all it has started, and kill what does not follow."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        os.killpg(process.pid, signal.SIGKILL)


def checked(command: list[str], **environment: str) -> None:
    """Run a command that has to succeed; its output shows only if it does not."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with child(command, env={**os.environ, **environment}, **output) as process:
        said, _ = process.communicate()
    if process.returncode != 0:
        fail(f"{' '.join(command)} failed:\n{said}")


def works(command: list[str]) -> bool:
    """Tell whether a command succeeds."""
    with child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        return process.wait() == 0


def newer_pythons() -> str:
    """Name a newer Python on this machine, if there is one on the path."""
    for minor in range(15, 10, -1):
        name = f"python3.{minor}"
        # It must really start: version managers leave names on the path behind which nothing is.
        if shutil.which(name) and works([name, "-c", "import sys"]):
            return f"Try: {name} run.py"
    return "Get one from https://www.python.org/downloads/ or your system's packages."


def say(message: str) -> None:
    """Print a line at once."""
    print(message, flush=True)


def fail(message: str) -> NoReturn:
    """End with a message for people, instead of a traceback."""
    raise SystemExit(f"run.py: {message}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nrun.py: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
