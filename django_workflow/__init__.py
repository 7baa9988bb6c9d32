"""Durable workflows for Django, on the PostgreSQL a site already has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_workflow.builder import FlowBuilder, execute_dynamic
    from django_workflow.definition.outcomes import Fail, RetryAfter, Skip
    from django_workflow.definition.registry import condition, handler
    from django_workflow.definition.retry import Retry
    from django_workflow.engine.pausing import pause_flow, pause_queue, resume_flow, resume_queue
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
        UnknownQueue,
        UnregisteredHandler,
        WaitTimeout,
        WorkflowError,
    )
    from django_workflow.flow import Flow
    from django_workflow.runs import (
        RunHandle,
        RunResult,
        acancel,
        apause,
        apause_flow,
        apause_queue,
        aresume,
        aresume_flow,
        aresume_queue,
        await_,
        cancel,
        pause,
        resume,
        wait,
    )
    from django_workflow.worker.context import Context

#: Where each public word lives. Imported when first used: models need Django's apps to be ready.
_WORDS = {
    "builder": "FlowBuilder execute_dynamic",
    "definition.outcomes": "Fail RetryAfter Skip",
    "definition.registry": "condition handler",
    "definition.retry": "Retry",
    "engine.pausing": "pause_flow pause_queue resume_flow resume_queue",
    "exceptions": (
        "AlreadySettled DefinitionError ExpressionError NotSupported PayloadError RunFailed RunNotFound "
        "TypeViolation UnknownFlow UnknownQueue UnregisteredHandler WaitTimeout WorkflowError"
    ),
    "flow": "Flow",
    "runs": (
        "RunHandle RunResult acancel apause apause_flow apause_queue aresume aresume_flow aresume_queue "
        "await_ cancel pause resume wait"
    ),
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
    "UnknownQueue",
    "UnregisteredHandler",
    "WaitTimeout",
    "WorkflowError",
    "acancel",
    "apause",
    "apause_flow",
    "apause_queue",
    "aresume",
    "aresume_flow",
    "aresume_queue",
    "await_",
    "cancel",
    "condition",
    "execute_dynamic",
    "handler",
    "pause",
    "pause_flow",
    "pause_queue",
    "resume",
    "resume_flow",
    "resume_queue",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
