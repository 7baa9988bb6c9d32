"""Another commit of the project as the only peer: the same measures, in alternating rounds."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .contenders import PROJECT, Contender, ours
from .measures import Measure, Peer


@contextmanager
def checkout(reference: str) -> Iterator[Contender]:
    """A worktree of another commit for a block, as a contender."""
    with tempfile.TemporaryDirectory(prefix="perf-tree-") as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--detach", str(tree), reference)
        try:
            # This harness measures both: only the package comes from the other tree.
            yield ours(f"ours at {reference}", tree)
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*arguments: str) -> None:
    """Run git in the project."""
    result = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {result.stderr.strip()}")


def compared(measures: list[Measure], other: Contender) -> list[Measure]:
    """The same measures with the other commit as the only peer, and nothing to pass or miss."""
    return [dataclasses.replace(each, peers=(as_peer(other, each),), must=None, aim=None) for each in measures]


def as_peer(other: Contender, measure: Measure) -> Peer:
    """The other commit under the conditions of this measure, but with its own code."""
    environment = {**measure.ours.environment, **other.environment}
    return Peer(dataclasses.replace(other, environment=environment), measure.play)
