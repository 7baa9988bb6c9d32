"""Branches side by side, a map step, and a step that joins them.

`checksums` and `longest` both depend on `files` and on nothing else: workers execute them at the same
time. `checksums` is a map step, one task per file. `manifest` names both, so it waits for both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django_workflow
from django_workflow import Flow

FOLDER = Path(django_workflow.__file__).parent / "definition"

checksum_flow = Flow("checksums", title="Checksums of the files in a folder")


@checksum_flow.step
def files(input: str) -> list[str]:
    """List the Python files of a folder."""
    return sorted(str(path) for path in Path(input).glob("*.py"))


@checksum_flow.map(over="files", max_parallel=4)
def checksums(item: str) -> str:
    """Compute the checksum of one file; of all the tasks at most four are in flight at once."""
    return hashlib.sha256(Path(item).read_bytes()).hexdigest()


@checksum_flow.step
def longest(files: list[str]) -> str:
    """Find the file with most lines, meanwhile."""
    return max(files, key=lambda path: len(Path(path).read_text().splitlines()), default="")


@checksum_flow.step
def manifest(files: list[str], checksums: list[str], longest: str) -> dict[str, Any]:
    """Put both branches together: the outputs of a map step are a list in the order of its items."""
    return {
        "checksums": [f"{checksum[:16]}  {Path(path).name}" for path, checksum in zip(files, checksums, strict=True)],
        "longest": Path(longest).name,
    }


def run(say: Callable[[str], object]) -> None:
    """Execute the flow here and tell what it came to."""
    result = checksum_flow.execute(str(FOLDER)).raise_for_status()
    for line in result["manifest"]["checksums"]:
        say(f"  {line}")
    say(f"The longest of them is {result['manifest']['longest']}.")
    say("Tasks that were executed: " + ", ".join(f"{count} × {step}" for step, count in result.counts.items()) + ".")
