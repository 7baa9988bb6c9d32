"""Child processes of a worker: each performs one job at a time."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from django_workflow.engine.tasks import outcome
from django_workflow.engine.tasks.outcome import ErrorRecord, Outcome
from django_workflow.statuses import FAILED
from django_workflow.worker.jobs import connections, invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.jobs.session_watch import SessionWatch
from django_workflow.worker.logs.writer import LogWriter
from django_workflow.worker.runners.messages import Answer, Order, describe_lines, take_lines
from django_workflow.worker.runners.perform import perform

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
            self._send(Order(job.task).to_json().encode() + b"\n")
            while (answer := self._read_line()).startswith(LOGGED) and answer.endswith(b"\n"):
                take_lines(job, json.loads(answer.removeprefix(LOGGED)))
        if answer.endswith(b"\n"):  # else it was killed while it wrote
            return Answer.from_json(answer.decode()).outcome_of(job)
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

        writer = LogWriter(lambda batch: tell(f"{LOGGED.decode()}{json.dumps(describe_lines(batch))}\n"), LOGGED_EVERY)
        writer.start()
        SessionWatch().begin()
        tell(READY)
        while text := orders.readline():
            try:
                connections.close_ended()
                answer = perform(Order.from_json(text), writer.put)
            except BaseException as error:
                # nothing a job does may end the child without a word
                answer = Answer(FAILED, error=ErrorRecord.of(error))
            connections.leave_healthy()
            writer.flush()
            tell(answer.to_json() + "\n")
