"""Durable workflows for Django, on the PostgreSQL a site already has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_workflow.builder import FlowBuilder, execute_dynamic
    from django_workflow.definition.outcomes import Fail, RetryAfter, Skip
    from django_workflow.definition.registry import condition, handler
    from django_workflow.definition.retry import Retry
    from django_workflow.definition.written.options import StoredStep
    from django_workflow.definition.written.transitions import Otherwise, To, When
    from django_workflow.engine.removal.erasing import Erased
    from django_workflow.engine.verbs.pause import pause_flow, pause_queue, resume_flow, resume_queue
    from django_workflow.events.following import Following
    from django_workflow.events.messages import (
        Received,
        anotify_only,
        arecent_messages,
        asend_with_notify,
        listen,
        notify_only,
        recent_messages,
        send_with_notify,
        unlisten,
    )
    from django_workflow.events.stored import follow
    from django_workflow.exceptions import (
        AlreadySettled,
        DefinitionError,
        ExpressionError,
        InvalidArgument,
        NotSupported,
        PayloadError,
        RunBusy,
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
    from django_workflow.read.dead_letters import DeadLetter, dead_letters
    from django_workflow.read.run.progress import RunStatus
    from django_workflow.read.runs import list_runs
    from django_workflow.runs import (
        RunHandle,
        RunResult,
        acancel,
        acomplete_step,
        adead_letters,
        adismiss_dead_letters,
        aerase,
        aget_run_status,
        alist_runs,
        apause,
        apause_flow,
        apause_queue,
        aresume,
        aresume_flow,
        aresume_queue,
        aretry,
        aretry_dead_letters,
        askip_step,
        await_,
        cancel,
        complete_step,
        dismiss_dead_letters,
        erase,
        get_run_status,
        pause,
        resume,
        retry,
        retry_dead_letters,
        skip_step,
        wait,
    )
    from django_workflow.signals import run_ended, run_failed
    from django_workflow.worker.jobs.context import Context

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
    "events.messages": (
        "Received anotify_only arecent_messages asend_with_notify listen notify_only recent_messages "
        "send_with_notify unlisten"
    ),
    "events.stored": "follow",
    "exceptions": (
        "AlreadySettled DefinitionError ExpressionError InvalidArgument NotSupported PayloadError RunBusy RunFailed "
        "RunNotFound TypeViolation UnknownFlow UnknownQueue UnregisteredHandler WaitTimeout WorkflowError"
    ),
    "flow": "Flow",
    "runs": (
        "RunHandle RunResult aget_run_status alist_runs get_run_status "
        "acancel apause apause_flow apause_queue aresume aresume_flow aresume_queue "
        "await_ cancel pause resume wait "
        "acomplete_step adead_letters adismiss_dead_letters aerase aretry aretry_dead_letters askip_step "
        "complete_step dismiss_dead_letters erase retry retry_dead_letters skip_step"
    ),
    "signals": "run_ended run_failed",
    "worker.jobs.context": "Context",
}
_HOMES = {word: module for module, words in _WORDS.items() for word in words.split()}

__all__ = [
    "AlreadySettled",
    "Context",
    "DeadLetter",
    "DefinitionError",
    "Erased",
    "ExpressionError",
    "Fail",
    "Flow",
    "FlowBuilder",
    "Following",
    "InvalidArgument",
    "NotSupported",
    "Otherwise",
    "PayloadError",
    "Received",
    "Retry",
    "RetryAfter",
    "RunBusy",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunResult",
    "RunStatus",
    "Skip",
    "StoredStep",
    "To",
    "TypeViolation",
    "UnknownFlow",
    "UnknownQueue",
    "UnregisteredHandler",
    "WaitTimeout",
    "When",
    "WorkflowError",
    "acancel",
    "acomplete_step",
    "adead_letters",
    "adismiss_dead_letters",
    "aerase",
    "aget_run_status",
    "alist_runs",
    "anotify_only",
    "apause",
    "apause_flow",
    "apause_queue",
    "arecent_messages",
    "aresume",
    "aresume_flow",
    "aresume_queue",
    "aretry",
    "aretry_dead_letters",
    "asend_with_notify",
    "askip_step",
    "await_",
    "cancel",
    "complete_step",
    "condition",
    "dead_letters",
    "dismiss_dead_letters",
    "erase",
    "execute_dynamic",
    "follow",
    "get_run_status",
    "handler",
    "list_runs",
    "listen",
    "notify_only",
    "pause",
    "pause_flow",
    "pause_queue",
    "recent_messages",
    "resume",
    "resume_flow",
    "resume_queue",
    "retry",
    "retry_dead_letters",
    "run_ended",
    "run_failed",
    "send_with_notify",
    "skip_step",
    "unlisten",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
