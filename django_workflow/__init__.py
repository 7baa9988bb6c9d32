"""Durable workflows for Django, on the PostgreSQL a site already has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_workflow.builder import FlowBuilder, execute_dynamic
    from django_workflow.definition.outcomes import Fail, RetryAfter, Skip
    from django_workflow.definition.registry import condition, handler
    from django_workflow.definition.retry import Retry
    from django_workflow.exceptions import (
        AlreadySettled,
        DefinitionError,
        ExpressionError,
        NotSupported,
        PayloadError,
        RunFailed,
        RunNotFound,
        TypeViolation,
        UnknownFlow,
        UnregisteredHandler,
        WaitTimeout,
        WorkflowError,
    )
    from django_workflow.flow import Flow
    from django_workflow.runs import RunHandle, RunResult, acancel, await_, cancel, wait
    from django_workflow.worker.context import Context

#: Where each public word lives. Imported when first used: models need Django's apps to be ready.
_WORDS = {
    "builder": "FlowBuilder execute_dynamic",
    "definition.outcomes": "Fail RetryAfter Skip",
    "definition.registry": "condition handler",
    "definition.retry": "Retry",
    "exceptions": (
        "AlreadySettled DefinitionError ExpressionError NotSupported PayloadError RunFailed RunNotFound "
        "TypeViolation UnknownFlow UnregisteredHandler WaitTimeout WorkflowError"
    ),
    "flow": "Flow",
    "runs": "RunHandle RunResult acancel await_ cancel wait",
    "worker.context": "Context",
}
_HOMES = {word: module for module, words in _WORDS.items() for word in words.split()}

__all__ = [
    "AlreadySettled",
    "Context",
    "DefinitionError",
    "ExpressionError",
    "Fail",
    "Flow",
    "FlowBuilder",
    "NotSupported",
    "PayloadError",
    "Retry",
    "RetryAfter",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunResult",
    "Skip",
    "TypeViolation",
    "UnknownFlow",
    "UnregisteredHandler",
    "WaitTimeout",
    "WorkflowError",
    "acancel",
    "await_",
    "cancel",
    "condition",
    "execute_dynamic",
    "handler",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
