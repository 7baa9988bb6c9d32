# written by python -m tests.typing.stub

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django_workflow.builder import FlowBuilder, execute_dynamic
from django_workflow.definition.outcomes import Fail, RetryAfter, Skip
from django_workflow.definition.registry import condition, handler
from django_workflow.definition.retry import Retry
from django_workflow.definition.written.options import StoredStep
from django_workflow.definition.written.transitions import Otherwise, To, When
from django_workflow.engine.removal.erasing import Erased
from django_workflow.engine.verbs.pause import pause_flow, pause_queue, resume_flow, resume_queue
from django_workflow.events.following import Following
from django_workflow.events.messages import Received, listen, notify_only, recent_messages, send_with_notify, unlisten
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
from django_workflow.models.runtime import Run
from django_workflow.read.dead_letters import DeadLetter, dead_letters
from django_workflow.read.run.progress import RunStatus
from django_workflow.read.runs import list_runs
from django_workflow.runs import AnyRun, RunHandle, RunResult, dismiss_dead_letters, get_run_status, retry_dead_letters
from django_workflow.signals import run_ended, run_failed
from django_workflow.worker.jobs.context import Context

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

async def acancel(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
async def acomplete_step(
    run: AnyRun, step: str, value: Any = None, reason: str = "", by: str = "", *, step_run_id: int | None = None
) -> RunHandle: ...
async def adead_letters(
    flow: str | None = None, queue: str | None = None, limit: int = 100, offset: int = 0
) -> list[DeadLetter]: ...
async def adismiss_dead_letters(task_ids: Sequence[int], reason: str, by: str = "") -> int: ...
async def aerase(run: AnyRun, *, payloads_only: bool = False, reason: str = "", by: str = "") -> Erased: ...
async def aget_run_status(run: AnyRun) -> RunStatus: ...
async def alist_runs(
    status: str | Iterable[str] | None = None,
    flow: Any = None,
    *,
    since: datetime | timedelta | None = None,
    labels: Mapping[str, str] | None = None,
    limit: int = 50,
    offset: int = 0,
    order_by: str = "-created",
) -> list[Run]: ...
async def anotify_only(channel: str, message: Any) -> None: ...
async def apause(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
async def apause_flow(slug: str, *, reason: str = "", by: str = "") -> None: ...
async def apause_queue(name: str, *, reason: str = "", by: str = "") -> None: ...
async def arecent_messages(channel: str, limit: int = 100) -> list[Received]: ...
async def aresume(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
async def aresume_flow(slug: str, *, reason: str = "", by: str = "") -> None: ...
async def aresume_queue(name: str, *, reason: str = "", by: str = "") -> None: ...
async def aretry(
    run: AnyRun,
    mode: str = "failed",
    *,
    from_step: str | None = None,
    input: Any = ...,
    version: int | str | None = None,
    reason: str = "",
    by: str = "",
) -> RunHandle: ...
async def aretry_dead_letters(task_ids: Sequence[int], by: str = "", reason: str = "") -> list[RunHandle]: ...
async def asend_with_notify(channel: str, message: Any) -> int: ...
async def askip_step(
    run: AnyRun, step: str, reason: str = "", by: str = "", *, step_run_id: int | None = None
) -> RunHandle: ...
async def await_(run: AnyRun, timeout: timedelta | float | None = None) -> RunResult: ...
def cancel(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
def complete_step(
    run: AnyRun, step: str, value: Any = None, reason: str = "", by: str = "", *, step_run_id: int | None = None
) -> RunHandle: ...
def erase(run: AnyRun, *, payloads_only: bool = False, reason: str = "", by: str = "") -> Erased: ...
def pause(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
def resume(run: AnyRun, reason: str = "", by: str = "") -> RunHandle: ...
def retry(
    run: AnyRun,
    mode: str = "failed",
    *,
    from_step: str | None = None,
    input: Any = ...,
    version: int | str | None = None,
    reason: str = "",
    by: str = "",
) -> RunHandle: ...
def skip_step(
    run: AnyRun, step: str, reason: str = "", by: str = "", *, step_run_id: int | None = None
) -> RunHandle: ...
def wait(run: AnyRun, timeout: timedelta | float | None = None) -> RunResult: ...
