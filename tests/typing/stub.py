"""The stub of the package: what its public words are, for type checkers and editors.

`python -m tests.typing.stub` writes it; a test holds it equal to what the package says.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import django_workflow

STUB = Path(django_workflow.__file__).with_suffix(".pyi")
NAME = re.compile(r"[A-Za-z_]\w*")


def rendered() -> str:
    """Return the text of the stub: imports of what stands somewhere, and a head for each function that is made."""
    imports = defaultdict(set)
    for word, module in django_workflow._HOMES.items():
        imports[f"django_workflow.{module}"].add(word)
    made = [word for word in django_workflow.__all__ if word not in django_workflow._HOMES]
    heads = [head(word, getattr(django_workflow, word), imports) for word in made]
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
    origin = "# written by python -m tests.typing.stub"
    return "\n".join([origin, "", *lines, "", f"__all__ = {list(django_workflow.__all__)!r}", "", *heads, ""])


def statements(text) -> list[str]:
    """Return what a stub says, whatever its order and form."""
    body = ast.parse(text).body
    for item in body:
        if isinstance(item, ast.ImportFrom):
            item.names.sort(key=lambda alias: alias.name)
    return sorted(map(ast.dump, body))


def head(word, function, imports) -> str:
    signature = inspect.signature(function)
    parts, is_marked = [], False
    for item in signature.parameters.values():
        note_imports(item.annotation, function, imports)
        if item.kind is item.KEYWORD_ONLY and not is_marked:
            parts, is_marked = [*parts, "*"], True
        default = "" if item.default is item.empty else f" = {shown(item.default)}"
        parts.append(f"{item.name}: {item.annotation}{default}")
    note_imports(signature.return_annotation, function, imports)
    kind = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{kind} {word}({', '.join(parts)}) -> {signature.return_annotation}: ..."


def shown(default) -> str:
    return repr(default) if default is None or isinstance(default, str | int) else "..."


def note_imports(annotation, function, imports) -> None:
    """Import what an annotation names, from where it is at home."""
    own = inspect.unwrap(function).__globals__
    for name in set(NAME.findall(annotation)) - set(vars(builtins)):
        value = own[name]
        home = getattr(value, "__module__", None) if hasattr(value, "__qualname__") else None
        imports[home or own["__name__"]].add(name)


if __name__ == "__main__":
    import django

    django.setup()
    STUB.write_text(rendered())
    subprocess.run([sys.executable, "-m", "ruff", "format", STUB], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "check", "--fix", STUB], check=True)
