"""Reading the packages installed in this Python: metadata, files and sizes. No Django, no engine."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from example_project.audit import licences

#: Longest summary and version that are kept; both are free text.
MAX_TEXT = 300
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|unlicense)", re.IGNORECASE)
#: How much of a licence file is read: its kind shows at the beginning.
MAX_LICENCE_TEXT = 20_000


@dataclass(frozen=True)
class Package:
    """What is known of an installed package; sizes in bytes.

    missing_count: files that were installed and are not there any more.
    licence_source: where the licence is declared, see `licences.declared`.
    """

    name: str
    version: str
    summary: str
    licence: str
    licence_source: str
    size: int
    file_count: int
    missing_count: int
    requirement_count: int
    is_editable: bool


def find_packages() -> tuple[list[str], int]:
    """Return the names of the installed packages, sorted, and how many have no readable name."""
    names: dict[str, str] = {}
    nameless = 0
    for distribution in importlib.metadata.distributions():
        name = header(distribution, "Name")
        if name:
            # The first on sys.path is the one that is imported.
            names.setdefault(normalised(name), name)
        else:
            nameless += 1
    return sorted(names.values(), key=normalised), nameless


def read_package(name: str) -> Package:
    """Read one package.

    Raises `importlib.metadata.PackageNotFoundError` where there is none of that name, any more perhaps,
    and whatever its damaged files lead to.
    """
    distribution = importlib.metadata.distribution(name)
    if not header(distribution, "Name"):
        raise ValueError(f"{name} has no readable metadata")
    licence, source = licences.declared(
        expression=header(distribution, "License-Expression"),
        classifiers=headers(distribution, "Classifier"),
        field=header(distribution, "License"),
    )
    files = installed_files(distribution)
    sizes = [size for path in files if (size := file_size(path)) is not None]
    return Package(
        name=header(distribution, "Name"),
        version=header(distribution, "Version")[:MAX_TEXT],
        summary=header(distribution, "Summary")[:MAX_TEXT],
        licence=licence,
        licence_source=source,
        size=sum(sizes),
        file_count=len(sizes),
        missing_count=len(files) - len(sizes),
        requirement_count=len(headers(distribution, "Requires-Dist")),
        is_editable=is_editable(distribution),
    )


def licence_texts(name: str) -> Iterator[str]:
    """Return the beginning of each licence file that came with a package."""
    for path in sorted(installed_files(importlib.metadata.distribution(name))):
        if LICENCE_FILE.match(path.name) and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                yield file.read(MAX_LICENCE_TEXT)


def installed_files(distribution: Distribution) -> set[Path]:
    """Return the files of a package.

    They are listed in RECORD. Where nothing is (packages of a Linux distribution, old installers), they
    are those of the top-level modules.
    """
    listed = {Path(str(distribution.locate_file(path))) for path in listed_files(distribution)}
    if any(file_size(path) is not None for path in listed):
        return listed
    return {path for module in module_paths(distribution) for path in files_below(module)}


def listed_files(distribution: Distribution) -> Iterable[str]:
    """Return the files a package lists, those that are gone included, which newer Pythons leave out of `files`."""
    record = distribution.read_text("RECORD")
    if record is None:
        return map(str, distribution.files or ())
    return [row[0] for row in csv.reader(record.splitlines()) if row]


def module_paths(distribution: Distribution) -> Iterator[Path]:
    """Return where the top-level modules of a package should be."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    for name in listed or [normalised(header(distribution, "Name")).replace("-", "_")]:
        yield Path(str(distribution.locate_file(name)))
        yield Path(str(distribution.locate_file(f"{name}.py")))


def files_below(path: Path) -> Iterable[Path]:
    """Return the files in a folder, however deep; a file is its own."""
    if path.is_dir():
        return (child for child in path.rglob("*") if child.is_file())
    return (path,) if path.is_file() else ()


def file_size(path: Path) -> int | None:
    """Return a file's size, or None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def is_editable(distribution: Distribution) -> bool:
    """Say whether a package is a link to its sources (`pip install --editable`)."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def header(distribution: Distribution, name: str) -> str:
    """Return a line of a package's metadata, empty where it is absent or says UNKNOWN."""
    return next(iter(headers(distribution, name)), "")


def headers(distribution: Distribution, name: str) -> list[str]:
    """Return all lines of that name in a package's metadata; none where there is no metadata at all."""
    try:
        values = distribution.metadata.get_all(name) or []
    except (TypeError, AttributeError, OSError, UnicodeDecodeError):
        # METADATA is missing (each Python says so in its own way) or is not text.
        return []
    texts = [str(value).strip() for value in values]
    return [text for text in texts if text and text.upper() != "UNKNOWN"]


def normalised(name: str) -> str:
    """Return the form of a name that is the same for all its spellings (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
