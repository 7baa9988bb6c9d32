"""Which steps and variables an expression reads, and which statuses it asks for, by the text of their names."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from django_workflow.definition.expressions.syntax import parse
from django_workflow.spelling import guess_or_list

#: What a transition's `status` may be.
STATUSES = ("succeeded", "failed", "skipped")


def problem(expression: str, *, steps: Collection[str] | None, variables: Collection[str] | None) -> str | None:
    """Return what an expression reads that there is not, or None.

    expression: text that is valid. steps, variables: those that there are; None leaves that open.
    """
    tree = parse(expression)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    offered: Mapping[str, Collection[str] | None] = {"outputs": steps, "vars": variables, "status": STATUSES}
    for name, key in _read(tree):
        known = offered.get(name)
        if name not in bound and known is not None and key not in known:
            return f"expression {expression!r}: {_message(name, key)}{guess_or_list(key, known)}"
    return None


def outputs_read(expression: str) -> set[str]:
    """Return the steps whose outputs a valid expression reads by name."""
    return {key for name, key in _read(parse(expression)) if name == "outputs"}


def _message(name: str, key: str) -> str:
    if name == "status":
        return f"status is never {key!r}"
    return f"there is no step {key!r}" if name == "outputs" else f"nothing sets the variable {key!r}"


def _read(tree: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield what is read by its own name: `outputs.x`, `outputs["x"]`, `get(outputs, "x")`, `"x" in outputs`."""
    for node in ast.walk(tree):
        pairs: list[tuple[ast.expr, object]] = []
        if isinstance(node, ast.Attribute):
            pairs.append((node.value, node.attr))
        elif isinstance(node, ast.Subscript):
            pairs.append((node.value, _text(node.slice)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get" and node.args[1:]:
            pairs.append((node.args[0], _text(node.args[1])))
        elif isinstance(node, ast.Compare):
            pairs += _compared(node)
        for holder, key in pairs:
            if isinstance(holder, ast.Name) and isinstance(key, str):
                yield holder.id, key


def _compared(node: ast.Compare) -> Iterator[tuple[ast.expr, object]]:
    """Yield what a comparison asks for: a key of an object, or a status."""
    for left, operation, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
        if isinstance(operation, ast.In | ast.NotIn) and _is_named(right, "outputs", "vars"):
            yield right, _text(left)
        elif isinstance(operation, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
            yield from ((left, _text(item)) for item in right.elts if _is_named(left, "status"))
        elif isinstance(operation, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
            yield from (
                (one, _text(other)) for one, other in ((left, right), (right, left)) if _is_named(one, "status")
            )


def _is_named(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _text(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None
