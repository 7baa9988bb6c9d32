"""Who is measured: ours and each peer, with what it is installed from."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
SCRATCH = PROJECT / ".bench"


@dataclass(frozen=True)
class Contender:
    """One system under measurement: a script that speaks `peers/protocol.py`, and the Python that runs it."""

    name: str
    script: str
    requirements: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    uses_redis: bool = False

    @property
    def slug(self) -> str:
        """The name as a part of file and database names."""
        return re.sub(r"\W+", "_", self.name.lower())

    @property
    def path(self) -> Path:
        """The script that is run."""
        return HERE / "peers" / self.script

    def python(self) -> str:
        """The interpreter that has what this contender needs; made on first use."""
        return str(ensure_venv(self)) if self.requirements else sys.executable

    def versions(self) -> str:
        """The installed versions of what was asked for."""
        if not self.requirements:
            return ""
        names = [requirement.split("[")[0].split(">=")[0] for requirement in self.requirements]
        code = "import sys; from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in sys.argv[1:]))"
        command = [self.python(), "-c", code, *names]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def ours(name: str, tree: Path = PROJECT, **environment: str) -> Contender:
    """Ours, from a checkout of the project, under a name of its own."""
    path = os.pathsep.join([str(tree), str(HERE / "peers")])
    variables = {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "benchsite.settings", **environment}
    return Contender(name, "ours.py", environment=variables)


OURS = ours("ours")
PROCRASTINATE = Contender("procrastinate", "peer_procrastinate.py", ("procrastinate>=3.10", "psycopg[binary]>=3.2"))
DJANGO_TASKS_DB = Contender(
    "django-tasks-db", "peer_django_tasks_db.py", ("django-tasks-db[compat]>=0.13", "psycopg[binary]>=3.2")
)
PGQUEUER = Contender("PgQueuer", "peer_pgqueuer.py", ("pgqueuer[asyncpg]>=1.6", "uvloop>=0.21"))
PGQUEUER_BATCH = Contender(
    "PgQueuer, batches of 100", "peer_pgqueuer.py", PGQUEUER.requirements, {"PERF_PGQUEUER_BATCH": "100"}
)
DBOS = Contender("DBOS", "peer_dbos.py", ("dbos>=3.4", "psycopg[binary]>=3.2"))
CELERY = Contender("Celery", "peer_celery.py", ("celery[redis]>=5.7",), uses_redis=True)


def ensure_venv(contender: Contender) -> Path:
    """Make the contender's virtual environment unless it is there; return its interpreter.

    Every contender runs on the Python that runs this: builds of the same version differ by half in speed. The folder's
    name carries a hash of it and of the requirements, so a change of either makes a new one.
    """
    base = Path(sys.executable).resolve()
    digest = hashlib.sha256(" ".join([str(base), sys.version, *contender.requirements]).encode()).hexdigest()[:8]
    folder = SCRATCH / "venvs" / f"{contender.path.stem}-{digest}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        sys.stderr.write(f"installing {' '.join(contender.requirements)} …\n")
        # Without a pip of its own, since some systems ship Python without ensurepip: any pip installs into any folder.
        venv.create(folder, with_pip=False, clear=True)
        command = [*find_pip(), "--python", str(python), "install", "-qq", "--no-input", *contender.requirements]
        subprocess.run(command, check=True)
        complete.touch()
    return python


def find_pip() -> list[str]:
    """The command of a pip that can install for another interpreter."""
    for candidate in (sys.executable, getattr(sys, "_base_executable", sys.executable)):
        pip = [candidate, "-m", "pip"]
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:
            return pip
    raise SystemExit("The peers are installed with pip, and this Python has none: apt install python3-pip")
