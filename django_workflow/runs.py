"""The public face of runs: hold one, wait for it, read its result, control it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django_workflow import arguments
from django_workflow.conf import conf
from django_workflow.engine.removal import erasing
from django_workflow.engine.removal.erasing import Erased
from django_workflow.engine.retrying import dead_letters as letters
from django_workflow.engine.retrying import retry as retrying
from django_workflow.engine.retrying.request import KEPT, RetryRequest
from django_workflow.engine.verbs import cancel as cancelling
from django_workflow.engine.verbs import pause as pausing
from django_workflow.engine.verbs import steps
from django_workflow.exceptions import RunFailed, RunNotFound
from django_workflow.models import Run
from django_workflow.read.run import progress, results, waiting
from django_workflow.read.run.progress import RunStatus
from django_workflow.statuses import SUCCEEDED
from django_workflow.twins import twin

Params = ParamSpec("Params")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RunResult:
    """What a settled run came to.

    status: one of the terminal statuses. output: what the leaf steps gave, by step.
    errors: records of the failures, with step, class and message; error: what ended the run, or None.
    counts: tasks per step that was executed or carried over: one for each pass, one per item of a map.
    """

    status: str
    output: Any
    errors: list[dict[str, Any]]
    error: dict[str, Any] | None
    counts: dict[str, int]
    run_id: UUID
    run: Run = field(repr=False)

    def __getitem__(self, key: Any) -> Any:
        return self.output[key]

    @property
    def is_success(self) -> bool:
        """Whether the run succeeded."""
        return self.status == SUCCEEDED

    def raise_for_status(self) -> RunResult:
        """Return this result if the run succeeded, else raise `RunFailed` with step, class and message."""
        if not self.is_success:
            what = self.error or {"step": "", "class": self.status, "message": ""}
            place = f" at step {what['step']!r}" if what["step"] else ""
            raise RunFailed(f"run {self.run_id} {self.status}{place}: {what['class']}: {what['message']}", result=self)
        return self


class RunHandle:
    """A run by its id: cheap to make, reads the database when asked."""

    def __init__(self, run_id: UUID) -> None:
        self.id = run_id
        self._run: Run | None = None

    def __repr__(self) -> str:
        return f"<RunHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def run(self) -> Run:
        """The run's row, read at first access; `refresh` reads it again."""
        if self._run is None:
            self.refresh()
        assert self._run is not None
        return self._run

    @property
    def status(self) -> str:
        """The run's status now."""
        return self.refresh().run.status

    def refresh(self) -> RunHandle:
        """Read the run's row again; raises `RunNotFound`."""
        self._run = Run.objects.using(conf.DATABASE).select_related("flow").filter(pk=self.id).first()
        if self._run is None:
            raise RunNotFound(f"There is no run {self.id}.", run_id=self.id)
        return self

    arefresh = twin(refresh)

    def result(self) -> RunResult:
        """Return what the run has come to so far."""
        run = self.refresh().run
        return RunResult(run_id=self.id, run=run, **results.of(run))

    aresult = twin(result)

    def wait(self, timeout: timedelta | float | None = None) -> RunResult:
        """Wait until the run settles and return its result.

        timeout: a timedelta or seconds; past it `WaitTimeout` is raised and the run goes on.
        """
        waiting.until_settled(self.id, arguments.patience(timeout, "timeout="))
        return self.result()

    await_ = twin(wait)

    def cancel(self, reason: str = "", by: str = "") -> RunHandle:
        """End the run as cancelled; running handlers are told to stop, their results are not applied."""
        cancelling.cancel([self.id], reason=reason, by=by)
        return self.refresh()

    acancel = twin(cancel)

    def pause(self, reason: str = "", by: str = "") -> RunHandle:
        """Hold the run: nothing of it is claimed any more, what runs finishes, its clock stands still."""
        pausing.pause([self.id], reason=reason, by=by)
        return self.refresh()

    apause = twin(pause)

    def resume(self, reason: str = "", by: str = "") -> RunHandle:
        """Let the paused run go on, with the delays that remained."""
        pausing.resume([self.id], reason=reason, by=by)
        return self.refresh()

    aresume = twin(resume)

    def retry(
        self,
        mode: str = "failed",
        *,
        from_step: str | None = None,
        input: Any = KEPT,
        version: int | str | None = None,
        reason: str = "",
        by: str = "",
    ) -> RunHandle:
        """Make a new run from this settled one and return it; while a retry is not settled, that one is returned.

        mode: "failed" carries over what succeeded and executes the rest, of a map its failed items; "all"
        executes everything.
        from_step: execute this step and all that follows it, whatever it came to.
        input: another input. version: another version of the flow, by number, or "latest".
        Raises `NotSupported` where the run is not settled, and where results cannot be carried over as
        asked, with every reason.
        """
        request = RetryRequest(mode, from_step, input, version, reason, by)
        return RunHandle(retrying.retry(self.id, request).id)

    aretry = twin(retry)

    def skip_step(self, step: str, reason: str = "", by: str = "", *, step_run_id: int | None = None) -> RunHandle:
        """End a step that waits or runs as skipped; what follows it runs without its output.

        step_run_id: which activation of a step that runs several times; else the latest that waits or runs.
        Raises `AlreadySettled` where it has ended otherwise, also where another one still runs.
        """
        steps.skip_step(self.id, step, reason=reason, by=by, step_run_id=step_run_id)
        return self.refresh()

    askip_step = twin(skip_step)

    def complete_step(
        self, step: str, value: Any = None, reason: str = "", by: str = "", *, step_run_id: int | None = None
    ) -> RunHandle:
        """End a step that waits or runs as succeeded with `value` as its output, of a map step the whole list.

        step_run_id: as of `skip_step`.
        """
        steps.complete_step(self.id, step, value, reason=reason, by=by, step_run_id=step_run_id)
        return self.refresh()

    acomplete_step = twin(complete_step)

    def erase(self, *, payloads_only: bool = False, reason: str = "", by: str = "") -> Erased:
        """Erase the settled run, its retries and the runs it is a retry of, or only what was said in them.

        payloads_only: keep what happened and when; inputs, outputs, messages of errors and log lines go.
        Raises `NotSupported` for a run that has not settled. An `Erasure` row tells who erased it, and why.
        """
        return erasing.erase([self.id], payloads_only=payloads_only, reason=reason, by=by)

    aerase = twin(erase)


AnyRun = RunHandle | Run | UUID | str


def handle(run: AnyRun) -> RunHandle:
    """Return a handle for a run given as handle, row or id."""
    if isinstance(run, RunHandle):
        return run
    if isinstance(run, Run):
        return RunHandle(run.pk)
    return RunHandle(arguments.uuid(run, "A run is given as its handle, row or id: it"))


def of_run(
    method: Callable[Concatenate[RunHandle, Params], Result],
) -> Callable[Concatenate[AnyRun, Params], Result]:
    """Return the function that does what a method of `RunHandle` does, with a run given as handle, row or id."""

    @wraps(method)
    def call(run: AnyRun, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        return method(handle(run), *args, **kwargs)

    signature = inspect.signature(method)
    _, *others = signature.parameters.values()
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="AnyRun")
    call.__signature__ = signature.replace(parameters=[run, *others])  # type: ignore[attr-defined]
    call.__doc__ = f"{(method.__doc__ or '').splitlines()[0]} See `RunHandle.{method.__name__}`."
    return call


def retry_dead_letters(task_ids: Sequence[int], by: str = "", reason: str = "") -> list[RunHandle]:
    """Retry the runs of dead letters, each once, all or none; a run that was retried before gives its latest retry.

    Returns the retries, in the order of the runs. Raises `NotSupported` for tasks that are no dead
    letters, and as `RunHandle.retry` does.
    """
    return [RunHandle(run_id) for run_id in letters.retry_dead_letters(task_ids, reason=reason, by=by)]


def dismiss_dead_letters(task_ids: Sequence[int], reason: str, by: str = "") -> int:
    """Record that dead letters need nothing more, and why; return how many this call dismissed."""
    return letters.dismiss_dead_letters(task_ids, reason=reason, by=by)


def get_run_status(run: AnyRun) -> RunStatus:
    """Read how far a run is, cheaply enough to be asked often; raises `RunNotFound`."""
    return progress.run_status(handle(run).id)
