"""Durable workflows for Django, on the PostgreSQL a site already has."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

#: Where each public word lives. Imported when first used: models need Django's apps to be ready.
_WORDS = {
    "builder": "FlowBuilder execute_dynamic",
    "definition.written.options": "StoredStep",
    "definition.outcomes": "Fail RetryAfter Skip",
    "definition.registry": "condition handler",
    "definition.retry": "Retry",
    "definition.written.transitions": "Otherwise To When",
    "read.dead_letters": "DeadLetter dead_letters",
    "engine.removal.erasing": "Erased",
    "read.run.progress": "RunStatus",
    "read.runs": "list_runs",
    "engine.verbs.pause": "pause_flow pause_queue resume_flow resume_queue",
    "events.following": "Following",
    "events.messages": "Received listen notify_only recent_messages send_with_notify unlisten",
    "events.stored": "follow",
    "exceptions": (
        "AlreadySettled DefinitionError ExpressionError InvalidArgument NotSupported PayloadError RunBusy RunFailed "
        "RunNotFound TypeViolation UnknownFlow UnknownQueue UnregisteredHandler WaitTimeout WorkflowError"
    ),
    "flow": "Flow",
    "runs": "RunHandle RunResult dismiss_dead_letters get_run_status retry_dead_letters",
    "signals": "run_ended run_failed",
    "worker.jobs.context": "Context",
}
#: Methods of `RunHandle` that are functions of a run, too; each has an async twin.
_OF_RUNS = "cancel complete_step erase pause resume retry skip_step wait"
#: Further functions that have one.
_WITH_TWINS = (
    "dead_letters dismiss_dead_letters get_run_status list_runs notify_only pause_flow pause_queue recent_messages "
    "resume_flow resume_queue retry_dead_letters send_with_notify"
)
_HOMES = {word: module for module, words in _WORDS.items() for word in words.split()}
_TWINS = {f"a{word}": word for word in f"{_OF_RUNS} {_WITH_TWINS}".split()}
_TWINS["await_"] = _TWINS.pop("await")  # which is Python's own

# type checkers and editors read __init__.pyi, which tests/typing/stub.py writes
__all__ = sorted([*_HOMES, *_OF_RUNS.split(), *_TWINS])  # noqa: PLE0605  a list of texts


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _function(name)


@cache
def _function(name: str) -> Any:
    """Return a function that is made from another one."""
    if name in _TWINS:
        made = import_module(f"{__name__}.twins").twin(__getattr__(_TWINS[name]))
    else:
        runs = import_module(f"{__name__}.runs")
        made = runs.of_run(getattr(runs.RunHandle, name))
    made.__name__ = made.__qualname__ = name
    made.__module__ = __name__
    return made


def __dir__() -> list[str]:
    return list(__all__)
