"""Where code was registered under a name, so that a second one of that name is not taken for the first one again."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a module.

    is_fixed: every process that imports the module gets there; what a function makes later, as in a test, may be
    made again elsewhere.
    path: the lines that led there, from within an import.
    """

    module: str
    line: int
    is_fixed: bool
    path: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}"

    def collides_with(self, later: Place) -> bool:
        """Say whether what is registered later is another thing, not the same one after a reload."""
        # a line of a shell or a notebook, whose file is nowhere, is written again
        return self.is_fixed and self.path != later.path and Path(self.path[0][0]).exists()


def of_caller(*, is_starting: bool) -> Place:
    """Return where this package was called from, and by which lines of the module that is being imported.

    A function that declares flows for several modules is another path for each of them.
    """
    frame: Any = sys._getframe(1)  # noqa: SLF001  the way of inspect and warnings
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame = frame.f_back
    module, line = frame.f_globals.get("__name__", "?"), frame.f_lineno
    is_fixed = is_starting or frame.f_code.co_name == "<module>"
    path = [(frame.f_code.co_filename, line)]
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
        path.append((frame.f_code.co_filename, frame.f_lineno))
    return Place(module, line, is_fixed, tuple(path))


def of_function(function: Callable[..., Any], *, is_starting: bool) -> Place:
    """Return where a function, a class or whatever else can be called is written."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    written: Any = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(function, "__code__", None)
    file = code.co_filename if code else getattr(sys.modules.get(written.__module__), "__file__", None) or "?"
    line = code.co_firstlineno if code else 0
    is_fixed = is_starting or "<locals>" not in written.__qualname__
    return Place(f"{written.__module__}.{written.__qualname__}", line, is_fixed, ((file, line),))
