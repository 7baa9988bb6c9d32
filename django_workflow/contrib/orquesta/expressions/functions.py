"""What expressions of Orquesta documents may call besides their language's own functions, and functions with fences.

Each reads the evaluation of the thread, so that expressions are compiled once and see nothing but its answers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django_workflow.contrib.orquesta.expressions.evaluation import MAX_TEXT, current, spend, weigh
from django_workflow.exceptions import ExpressionError

#: Most characters to take away from the ends of a text.
MAX_TRIMMED: Final = 1_000
#: How an action says that it failed and with which result; see `ActionFailed`.
ACTION_FAILED = "ActionFailed"


def ctx(key: str | None = None) -> Any:
    """Return a variable, or all of them."""
    variables = _name("vars")
    if key is None:
        return variables
    if key not in variables:
        raise LookupError(f"there is no variable {key!r}, only {', '.join(sorted(map(str, variables))) or 'none'}")
    return variables[key]


def result() -> Any:
    """Return what the task's action returned; of a failed task its error's message, or the result it failed with."""
    value, error = _name("result"), current().names.get("error")
    return failed_result(error) if value is None and error else value


def failed_result(error: Mapping[str, Any]) -> Any:
    """Return the result of an action that failed: the error's message, or what it failed with."""
    message = str(error.get("message"))
    if str(error.get("class")).rpartition(".")[2] == ACTION_FAILED:
        try:
            return json.loads(message)
        except ValueError:
            return message
    return message


def succeeded() -> bool:
    """Say whether the task succeeded; a task that an operator skipped does not stop what follows it."""
    return _name("status") in ("succeeded", "skipped")


def failed() -> bool:
    """Say whether the task failed."""
    return bool(_name("status") == "failed")


def completed() -> bool:
    """Say that the task has ended, which it has wherever this can be asked."""
    return _name("status") in ("succeeded", "failed", "skipped")


def task_status(task: str) -> Any:
    """Return the latest status of a task, the text "null" where it has not run."""
    return _name("statuses").get(task) or "null"


def item(key: str | None = None) -> Any:
    """Return the item, or one of its named parts."""
    value = _named_item()
    if key is None:
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"the item has no parts, so there is no {key!r} in it")
    if key not in value:
        raise LookupError(f"there is no {key!r} in the item, only {', '.join(sorted(map(str, value)))}")
    return value[key]


def _named_item() -> Any:
    value, keys = _name("item"), current().names.get("item_names") or ()
    if not keys:
        return value
    if isinstance(value, list | tuple):
        return dict(zip(keys, value, strict=False))
    return {keys[0]: value} if len(keys) == 1 else value


def zipped(*lists: Iterable[Any] | None, pad: Any = None) -> Any:
    """Return the lists' elements side by side, the shorter ones filled up."""
    if len(lists) == 1:
        return lists[0] if lists[0] is not None else []
    found = [[] if values is None else list(values) for values in lists]
    longest = max((len(values) for values in found), default=0)
    spend(longest * len(found))
    return list(itertools.zip_longest(*found, fillvalue=pad))


def json_(text: Any) -> Any:
    """Return what a JSON text says; an object stays what it is."""
    if isinstance(text, Mapping):
        return text
    if not isinstance(text, str):
        raise TypeError(f"json() needs a text, not {type(text).__name__}")
    spend(len(text))
    return json.loads(text)


def _name(name: str) -> Any:
    names = current().names
    if name not in names:
        raise ExpressionError(f"{PLACES[name]} can be asked only {WHERE[name]}")
    return names[name]


PLACES = {
    "vars": "ctx()",
    "result": "result()",
    "status": "succeeded(), failed() and completed()",
    "statuses": "task_status()",
    "item": "item()",
}
WHERE = {
    "vars": "in a run",
    "result": "after a task, in next and retry",
    "status": "after a task, in next and retry",
    "statuses": "once a run has begun, not in its input and vars",
    "item": "in a task with items",
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "ctx": ctx,
    "result": result,
    "succeeded": succeeded,
    "failed": failed,
    "completed": completed,
    "item": item,
    "task_status": task_status,
    "zip": zipped,
    "json": json_,
}


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """Replace within a text, unless that makes it too long."""
    times = len(text) + 1 if not old else text.count(old)
    fits(len(text) + (times if count < 0 else min(times, count)) * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


def joined(separator: str, pieces: Iterable[Any]) -> str:
    """Join texts, unless that makes a text that is too long."""
    texts, length = [], 0
    for piece in pieces:
        text = as_text(piece)
        spend(1 + len(text) // 10)
        length += len(text) + len(separator)
        fits(length)
        texts.append(text)
    return separator.join(texts)


def as_text(value: Any) -> str:
    """Return the text of a value, unless that is too long."""
    if not isinstance(value, str):
        fits(weigh(value))
    return str(value)


def without(characters: str | None) -> None:
    """Refuse to take away too many different characters from the ends of a text: each is looked for among all."""
    if characters is not None and len(characters) > MAX_TRIMMED:
        raise ValueError(f"trim takes at most {MAX_TRIMMED:,} characters")


def fits(length: int) -> None:
    """Count the work of making a text; one that is too long is refused."""
    if length > MAX_TEXT:
        raise ValueError(f"a text of more than {MAX_TEXT:,} characters")
    spend(max(0, length) // 10)
