"""Running a job in another process: what crosses is JSON text, handlers are found by name on both sides."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django_workflow import payload
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored.outputs import StepOutput
from django_workflow.engine.tasks import outcome
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.engine.tasks.outcome import ErrorRecord, Outcome
from django_workflow.statuses import RELEASED
from django_workflow.worker.jobs import connections, invoke, missing_code
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.jobs.session_watch import SessionWatch
from django_workflow.worker.logs.capture import LogLine, Sink, capturing
from django_workflow.worker.logs.writer import LogWriter

#: A child's first line.
READY = "ready\n"
#: How a line begins that brings what a handler logged.
LOGGED = b"logged "
#: Seconds that a child lets such lines collect.
LOGGED_EVERY = 0.1
#: Most bytes read at once from a child.
CHUNK = 262_144
#: How often a child is looked at where its end cannot be waited for, in milliseconds.
LOOK_EVERY_MS = 100


#: Answers of an engine's process that called no handler: the database is out of its reach, or the lease has begun.
UNREACHABLE, ALREADY_BEGUN = "unreachable", "already_begun"
#: Seconds until a task is tried again whose begin could not be recorded.
REACH_AGAIN = 5.0


def describe(job: Job, *, is_fenced: bool = False) -> str:
    """Return all a handler needs, as JSON text.

    is_fenced: whether it begins only where its lease has not begun before.
    """
    task = job.task
    return json.dumps(
        {
            "is_fenced": is_fenced,
            "id": task.id,
            "run_id": str(task.run_id),
            "step_run_id": task.step_run_id,
            "lease_id": task.lease_id,
            "index": task.index,
            "attempt": task.attempt,
            "age": task.age,
            "iteration": task.iteration,
            "scope": task.scope,
            "source_id": task.source_id,
            "failure_count": task.failure_count,
            "variables": task.variables,
            "item": task.item,
            "input": task.input,
            "is_input_read": task.is_input_read,
            "sources": task.sources,
            "queue": task.queue,
            "step": task.step.name,
            "flow": task.spec.to_dict(),
            "dependencies": {name: [item.status, item.text] for name, item in task.dependencies.items()},
        }
    )


def perform(text: str, sink: Sink | None = None) -> str:
    """Run the described job in this thread and return its outcome as JSON text; `sink` as for `execute`."""
    task = task_of(json.loads(text))
    handler = registry.handler(task.step.handler)
    if handler is None:
        return answer(missing_code.judge(task))  # this process has other code than the one that claimed the task
    return execute(Job(task, handler), sink)


def execute(job: Job, sink: Sink | None = None, judge: Callable[[Outcome], Outcome] | None = None) -> str:
    """Run a job in this thread and return its outcome as JSON text.

    sink: takes what the handler logs; without one it comes back with the outcome.
    judge: has the last word on the outcome.
    """
    lines: list[LogLine] = []
    job.log.sink = sink or lines.append
    job.begin()
    with capturing():
        result = invoke.call_here(job)
    return answer(judge(result) if judge is not None else result, lines)


def answer(result: Outcome, lines: Sequence[LogLine] = ()) -> str:
    """Return an outcome as JSON text, with what the handler logged."""
    error = result.error
    return json.dumps(
        {
            "kind": result.kind,
            "output": result.output,
            "error": [error.error_class, error.message, error.traceback, list(error.classes)] if error else None,
            "is_retryable": result.is_retryable,
            "ends_run": result.ends_run,
            "retry_after": result.retry_after,
            "words": result.words,
            "reason": result.reason,
            "missing_code": result.missing_code,
            "events": result.events,
            "seconds": None if result.begun_at is None else time.monotonic() - result.begun_at,
            "logged": _describe_lines(lines),
        }
    )


def read_result(job: Job, text: str) -> Outcome:
    """Turn what `perform` returned into an outcome of the job."""
    data = json.loads(text)
    if (refused := _read_refusal(job, data)) is not None:
        return refused
    if job.executor is not None and data["seconds"] is not None:
        job.begun_at = time.monotonic() - data["seconds"]  # when it began is known there only
    error = data["error"]
    _take_lines(job, data.get("logged", ()))
    job.context.events = [(kind, body) for kind, body in data["events"]]
    return Outcome(
        job.task,
        data["kind"],
        output=data["output"],
        error=ErrorRecord(error[0], error[1], error[2], tuple(error[3])) if error else None,
        is_retryable=data["is_retryable"],
        ends_run=data.get("ends_run", False),
        retry_after=data["retry_after"],
        is_counted=data["kind"] != RELEASED,
        words=data["words"],
        reason=data["reason"],
        missing_code=data["missing_code"],
        **invoke.times(job),
    )


def _read_refusal(job: Job, data: dict[str, Any]) -> Outcome | None:
    """Return what becomes of an attempt that did not begin where it was executed; None where it did."""
    if data["kind"] == ALREADY_BEGUN:
        why = "it was executed a second time: what executed it first did not report its end"
        return outcome.lost_elsewhere(job.task, why, has_begun=True, **invoke.times(job))
    if data["kind"] == UNREACHABLE:
        why = f"its begin could not be recorded: {data['reason']}"
        return outcome.released(job.task, why, delay=REACH_AGAIN, **invoke.times(job))
    return None


def _describe_lines(lines: Sequence[LogLine]) -> list[list[Any]]:
    """Return lines as JSON-able lists; the clock of another machine may differ, so their age is told."""
    now = time.time()
    return [[str(line.run_id), *line[1:4], now - line.created, *line[5:]] for line in lines]


def _take_lines(job: Job, described: Sequence[Sequence[Any]]) -> None:
    """Hand on what another process captured; a line names its own attempt, which may be an earlier one."""
    now = time.time()
    for run_id, task_id, attempt, level, age, logger, message in described:
        job.log.put(LogLine(UUID(run_id), task_id, attempt, level, now - age, logger, message))


def task_of(data: dict[str, Any]) -> ClaimedTask:
    """Return the described task."""
    spec = FlowSpec.from_dict(data["flow"])
    step = spec.steps[data["step"]]
    return ClaimedTask(
        id=data["id"], run_id=UUID(data["run_id"]), step_run_id=data["step_run_id"], message_id=None,
        lease_id=data["lease_id"], index=data["index"], attempt=data["attempt"],
        failure_count=data["failure_count"], lost_count=0,
        item=data["item"], spec=spec, step=step, iteration=data["iteration"], queue=data["queue"], age=data["age"],
        is_begun=True, input=data["input"], scope=data["scope"], variables=data["variables"],
        source_id=data["source_id"],
        dependencies={name: StepOutput(*item) for name, item in data["dependencies"].items()},
        is_input_read=data["is_input_read"], sources=tuple(data["sources"]),
    )  # fmt: skip


def _files(channel: socket.socket) -> tuple[TextIO, TextIO]:
    """Return one file to read and one to write: a single one forgets what it has read ahead when it is written to."""
    return (
        channel.makefile("r", encoding="utf-8", newline="\n"),
        channel.makefile("w", encoding="utf-8", newline="\n"),
    )


#: What a child executes. It imports from where its parent does, which the folder it is started in says nothing about.
ENTRY = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from django_workflow.worker.runners.child_main import main; main(int(sys.argv[1]))"
)


def import_path() -> list[str]:
    """Return where this process imports from, as another process finds it; names of import hooks stay as they are."""
    paths = [path for path in sys.path if isinstance(path, str)]
    return [str(Path(path).absolute()) if Path(path).exists() else path for path in paths]


class Child:
    """A process of our own in a group of its own, which performs one job at a time.

    What a handler starts may outlive the process and keep the channel open, so its end is watched as well.
    """

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._received = bytearray()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._is_killed = self._is_ready = False
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ENTRY, str(theirs.fileno()), *import_path()],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # so that a kill ends what the handler started, too
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        #: Readable once the process has ended, which is not reaped by that; None where there is no such thing.
        self._exit: int | None = None
        with suppress(OSError, AttributeError):
            self._exit = os.pidfd_open(self.process.pid)

    def wait_until_ready(self) -> None:
        """Wait until the process has set Django up, or died."""
        if not self._is_ready:
            with suppress(OSError):
                self._read_line()
            self._is_ready = True

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        if self._exit is None:
            return self.process.poll() is None
        return not _poll({self._exit: select.POLLIN}, 0)

    def perform(self, job: Job) -> Outcome:
        """Run a job and wait for it; a child that dies fails the attempt."""
        answer = b""
        with suppress(OSError):
            self._send(describe(job).encode() + b"\n")
            while (answer := self._read_line()).startswith(LOGGED) and answer.endswith(b"\n"):
                _take_lines(job, json.loads(answer.removeprefix(LOGGED)))
        if answer.endswith(b"\n"):  # else it was killed while it wrote
            return read_result(job, answer.decode())
        self.end()
        if job.is_interrupted:
            error = ErrorRecord("Cancelled", "the handler's process was ended", classes=("Cancelled",))
            return outcome.failed(job.task, error, is_retryable=False, **invoke.times(job))
        message = f"the handler's process ended with code {self.process.returncode}"
        return outcome.failed(
            job.task, ErrorRecord("ProcessDied", message, classes=("ProcessDied",)), **invoke.times(job)
        )

    @contextmanager
    def serving(self, job: Job) -> Iterator[None]:
        """Run a job in the block: whoever stops it later stops no other one."""
        self._job = job
        try:
            yield
        finally:
            with self._lock:
                self._job = None
            job.cannot_be_stopped()

    def kill(self, job: Job | None = None) -> None:
        """End the process and all it started, at once.

        job: only as long as it runs this one.
        """
        with self._lock:
            # once, and before it is reaped: afterwards the number of the group may be another one's
            if not self._is_killed and (job is None or job is self._job):
                self._is_killed = True
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the process with all it started, and take note of its end."""
        self.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process and give back what it took here; only its own thread may call this."""
        self.end()
        self._channel.close()
        if self._exit is not None:
            os.close(self._exit)
            self._exit = None

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._wait(select.POLLOUT):
            with suppress(BlockingIOError):
                left = left[self._channel.send(left, socket.MSG_DONTWAIT) :]

    def _read_line(self) -> bytes:
        """Return the next line; what there is of it once the process has ended."""
        looked_at = 0
        while (end := self._received.find(b"\n", looked_at) + 1) == 0:
            looked_at = len(self._received)
            chunk = self._receive()
            if not chunk:
                end = looked_at
                break
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[:end]
        return line

    def _receive(self) -> bytes:
        if self._wait(select.POLLIN):
            return self._channel.recv(CHUNK)
        try:
            return self._channel.recv(CHUNK, socket.MSG_DONTWAIT)  # what it wrote just before its end
        except BlockingIOError:
            return b""

    def _wait(self, event: int) -> bool:
        """Wait until the channel is ready for something; False where the process ended first."""
        channel = self._channel.fileno()
        watched = {channel: event} | ({} if self._exit is None else {self._exit: select.POLLIN})
        while channel not in (ready := _poll(watched, None if self._exit is not None else LOOK_EVERY_MS)):
            if self._exit in ready or not self.is_alive():
                return False
        return True


def _poll(watched: dict[int, int], milliseconds: int | None) -> set[int]:
    """Wait until something happens to one of the descriptors; return those to which it did."""
    poll = select.poll()
    for descriptor, events in watched.items():
        poll.register(descriptor, events)
    return {descriptor for descriptor, _ in poll.poll(milliseconds)}


def serve(descriptor: int) -> None:
    """Be a child: perform the jobs that come through the socket `descriptor` until it is closed."""
    # a terminal's Ctrl-C is the parent's to handle
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as channel:
        orders, answers = _files(channel)
        talking = threading.Lock()

        def tell(text: str) -> None:
            with talking:
                answers.write(text)
                answers.flush()

        writer = LogWriter(lambda batch: tell(f"{LOGGED.decode()}{json.dumps(_describe_lines(batch))}\n"), LOGGED_EVERY)
        writer.start()
        SessionWatch().begin()
        tell(READY)
        while text := orders.readline():
            try:
                connections.close_ended()
                answer = perform(text, writer.put)
            except BaseException as error:
                # nothing a job does may end the child without a word
                record = ErrorRecord.of(error)
                answer = payload.dumps(
                    {
                        "kind": "failed", "output": None, "is_retryable": True, "retry_after": None,
                        "words": "", "reason": "", "missing_code": "",
                        "error": [record.error_class, record.message, record.traceback, list(record.classes)],
                        "events": [],
                    },
                    what="an error",
                )  # fmt: skip
            connections.leave_healthy()
            writer.flush()
            tell(answer + "\n")
