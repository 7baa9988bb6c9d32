"""`DaskExecutor`: one Dask task for each attempt, never kept, never computed again."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from dask import config as dask_config
from distributed import Client
from distributed.utils import LoopRunner

from django_workflow.exceptions import NotSupported
from django_workflow.worker.runners import child_main
from django_workflow.worker.runners.futures import FENCES, LostElsewhere, TaskExecutor

logger = logging.getLogger("django_workflow.dask")

PRELOAD = "django_workflow.contrib.dask.preload"
#: Seconds that a connection to the scheduler may take, and between two tries.
CONNECT_WITHIN = 5.0
#: Seconds that the first question for slots waits for a connection; later ones wait for nothing.
FIRST_ANSWER = 3.0
#: Seconds between two looks at the cluster.
LOOK_EVERY = 1.0
#: Seconds that bringing a result may take; its machine may have vanished with it.
BRING_WITHIN = 30.0
#: Jobs for each free thread, so that none stands idle between two.
PER_THREAD = 1.5
#: Seconds that a handler has to obey its interruption, before `kill` takes its process away.
OBEY_WITHIN = 15.0


@dataclass(eq=False)
class _Order:
    """A job on its way. dask: the Dask future, once it is submitted."""

    text: str
    key: str
    resources: Mapping[str, float]
    future: Future[str] = field(default_factory=Future)
    came_at: float = field(default_factory=time.monotonic)
    dask: Any = None
    kill_at: float | None = None


class DaskExecutor(TaskExecutor):
    """Runs the handlers of steps on a Dask cluster.

    address, scheduler_file, cluster: where the scheduler is, as for `distributed.Client`; without any, what Dask's
    configuration says.
    resources: what every task needs, by name, besides what its step asks for.
    resource_wait: how long a task waits for workers that have what it asks for, before it fails.
    slots: jobs at once; "auto" is one and a half for each thread of the cluster.
    fence: as for `TaskExecutor`.
    kill: "restart" restarts the Dask worker of a handler that does not stop when it is told to; only workers of one
    thread, for it would take the neighbours along.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        scheduler_file: str | None = None,
        cluster: Any = None,
        resources: Mapping[str, float] | None = None,
        resource_wait: timedelta = timedelta(minutes=10),
        slots: int | str = "auto",
        fence: str = FENCES[0],
        kill: str | None = None,
    ) -> None:
        places = {"address": address, "scheduler_file": scheduler_file}
        self._place: dict[str, Any] = {name: value for name, value in places.items() if value is not None}
        if cluster is not None:
            self._place["address"] = cluster
        if len(self._place) > 1 or (cluster is not None and address is not None):
            raise ValueError("DaskExecutor takes one of address, scheduler_file and cluster.")
        if not self._place and not dask_config.get("scheduler-address", None):
            raise ValueError("DaskExecutor needs an address, a scheduler_file or a cluster: it starts no Dask itself.")
        if slots != "auto" and not (isinstance(slots, int) and slots > 0):
            raise ValueError(f'slots must be "auto" or a positive number, not {slots!r}')
        if fence not in FENCES:
            raise ValueError(f"fence must be one of {', '.join(FENCES)}, not {fence!r}")
        if kill not in (None, "restart"):
            raise ValueError(f'kill must be None or "restart", not {kill!r}')
        self.fence = fence
        self._resources = dict(resources or {})
        self._resource_wait = resource_wait.total_seconds()
        self._slots = slots
        self._kill = kill
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._client: Any = None
        self._connect_at = 0.0
        self._is_away = False
        self._loop_runner: Any = None
        self._info: Mapping[str, Any] = {}
        self._open: dict[str, _Order] = {}
        #: Jobs that ask for what no Dask worker has.
        self._waiting: list[_Order] = []
        self._has_looked = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name="django_workflow-dask", daemon=True)
        self._thread.start()

    # what a worker's threads call: none of it waits for the cluster

    def submit_task(self, text: str, *, key: str, resources: dict[str, float]) -> Future[str]:
        """Let the cluster execute a job."""
        order = _Order(text, key, {**self._resources, **resources})
        order.future.add_done_callback(lambda done: self._take_back(order, done))
        self._orders.put(lambda: self._begin(order))
        return order.future

    def stop_task(self, key: str) -> None:
        """A handler was told to stop: see that it does."""
        if self._kill is not None:
            self._orders.put(lambda: self._doom(key))

    def slots(self) -> int:
        """Return how many jobs it wants at once; 0 while the cluster is out of reach."""
        self._has_looked.wait(FIRST_ANSWER)
        self._has_looked.set()  # once is enough
        threads = sum(worker["nthreads"] for worker in self._info.values())
        if not threads:
            return 0
        return self._slots if isinstance(self._slots, int) else math.ceil(threads * PER_THREAD)

    def examine(
        self, resources: Mapping[str, Mapping[str, float]], handlers: Sequence[str]
    ) -> Iterator[tuple[str, str, str]]:
        """Look at the cluster, and at what its workers know."""
        self._has_looked.wait(2 * CONNECT_WITHIN)
        if self._client is None:
            yield "error", "the Dask scheduler cannot be reached", "start it, or mend its address"
            return
        if not self._info:
            yield "error", "there is no Dask worker", "start some: dask worker ADDRESS --preload " + PRELOAD
            return
        threads = sum(worker["nthreads"] for worker in self._info.values())
        yield "ok", f"{len(self._info)} Dask workers with {threads} threads", ""
        for step, asked in resources.items():
            if not self._has_worker_for({**self._resources, **asked}):
                remedy = "start one: dask worker ADDRESS --resources " + ",".join(
                    f"{key}={asked[key]:g}" for key in asked
                )
                yield "warning", f"no Dask worker has what step {step} asks for ({_told(asked)})", remedy
        for address, found in self._client.run(child_main.examine, list(handlers), on_error="return").items():
            if isinstance(found, BaseException):
                yield "error", f"{address}: django_workflow cannot be imported: {found}", "install it there"
            elif found["error"] and (self.fence != "none" or found["reaches_database"]):
                yield "error", f"{address}: {found['error']}", "mend its settings"
            elif found["unknown"]:
                names = ", ".join(found["unknown"])
                yield "warning", f"{address} does not know {names}", "give it the code of this site"

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  as its base
        """Let go of everything and leave the cluster."""
        self._is_over = True
        self._orders.put(None)
        if wait:
            self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the cluster is left."""
        self._thread.join(timeout)

    def _take_back(self, order: _Order, done: Future[str]) -> None:
        if done.cancelled():
            self._orders.put(lambda: self._drop(order))

    # the thread that speaks with the cluster

    def _work(self) -> None:
        look_at = 0.0
        while not self._is_over:
            if time.monotonic() >= look_at:
                self._guarded(self._look)
                look_at = time.monotonic() + LOOK_EVERY
            try:
                action = self._orders.get(timeout=max(0.0, look_at - time.monotonic()))
            except queue.Empty:
                continue
            if action is not None:
                self._guarded(action)
        self._guarded(self._leave)

    @staticmethod
    def _guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException:  # a cancelled coroutine's, too: without this thread all jobs would wait for ever
            logger.exception("Dask: something that was asked of the cluster failed")

    def _look(self) -> None:
        """See who is there, submit what waited for it, and take away what does not end."""
        self._info = self._read_workers() if self._connected() else {}
        self._has_looked.set()
        for order in list(self._waiting):
            self._waiting.remove(order)
            self._begin(order)
        now = time.monotonic()
        for order in list(self._open.values()):
            if order.kill_at is not None and order.kill_at <= now:
                order.kill_at = None
                self._restart_worker_of(order.key)

    def _read_workers(self) -> Mapping[str, Any]:
        """Return the cluster's workers by address; a scheduler that does not answer has none."""
        try:
            info = self._client.sync(self._client.scheduler.identity, callback_timeout=CONNECT_WITHIN)
        except Exception as error:
            logger.warning("Dask: the scheduler does not answer: %s", error)
            return {}
        workers: Mapping[str, Any] = info["workers"]
        return workers

    def _connected(self) -> bool:
        """Return whether the scheduler can be asked; a connection that is over is replaced by a new client."""
        if self._client is not None and self._client.status == "running":
            return True
        self._info = {}
        if self._client is not None:
            logger.warning("Dask: the connection to the scheduler is lost")
            self._lose_all("the connection to the Dask scheduler was lost")
            self._close_client()
        if time.monotonic() < self._connect_at:
            return False
        try:
            client: Any = Client  # it has no types
            self._client = client(
                **self._place, loop=self._loop(), timeout=CONNECT_WITHIN, set_as_default=False, name="django_workflow"
            )
        except Exception as error:
            self._connect_at = time.monotonic() + CONNECT_WITHIN
            if not self._is_away:
                logger.warning("Dask: the scheduler cannot be reached, trying again: %s", error)
            self._is_away = True
            return False
        if self._is_away:
            logger.warning("Dask: the scheduler is back")
        self._is_away = False
        return True

    def _begin(self, order: _Order) -> None:
        """Submit a job, now or as soon as there is a Dask worker with what it asks for."""
        if order.future.done():
            return
        if not self._connected():
            self._end(order, error=LostElsewhere("the Dask scheduler cannot be reached"))
            return
        if order.resources and not self._has_worker_for(order.resources):
            self._await_resources(order)
            return
        self._open[order.key] = order
        try:
            order.dask = self._client.submit(
                child_main.perform, order.text, key=order.key, pure=False, retries=0,
                resources=dict(order.resources) or None, allow_other_workers=False,
            )  # fmt: skip
            order.dask.add_done_callback(lambda dask: self._take(order, dask))
        except Exception as error:
            self._end(order, error=LostElsewhere(f"Dask does not take it: {error}"))

    def _await_resources(self, order: _Order) -> None:
        if time.monotonic() < order.came_at + self._resource_wait:
            self._waiting.append(order)
            return
        asked = _told(order.resources)
        there = "; ".join(f"{address}: {_told(item['resources']) or 'none'}" for address, item in self._info.items())
        waited = f"{self._resource_wait:g} s waited"
        error = NotSupported(f"No Dask worker has {asked} ({waited}). Resources by worker: {there or 'no worker'}.")
        self._end(order, error=error)

    def _has_worker_for(self, resources: Mapping[str, float]) -> bool:
        return any(
            all(worker["resources"].get(name, 0) >= number for name, number in resources.items())
            for worker in self._info.values()
        )

    def _take(self, order: _Order, dask: Any) -> None:
        """Bring what became of a job (Dask's own thread calls this), and let go of it at once.

        A result that somebody holds is computed again when the machine dies that has it.
        """
        text: str | None = None
        error: BaseException | None = None
        try:
            if dask.status == "finished":
                text = dask.result(timeout=BRING_WITHIN)
            elif dask.status == "error":
                error = _error_of(dask.exception(timeout=BRING_WITHIN))
            else:
                self._info = {}  # nothing more is taken until the next look at the cluster
                error = LostElsewhere(f"Dask gave it up: {dask.status}")
        except Exception as failure:
            error = LostElsewhere(f"its result did not come back from Dask: {failure}")
        with suppress(Exception):
            dask.release()
        self._end(order, text=text, error=error)

    def _end(self, order: _Order, *, text: str | None = None, error: BaseException | None = None) -> None:
        order.dask = None
        self._open.pop(order.key, None)
        with suppress(InvalidStateError):  # it was taken back, or given up, meanwhile
            if text is not None:
                order.future.set_result(text)
            else:
                order.future.set_exception(error)

    def _drop(self, order: _Order) -> None:
        """Take a job out of the cluster's queue; where it runs already, its process watches its lease."""
        if order in self._waiting:
            self._waiting.remove(order)
        dask, order.dask = order.dask, None
        self._open.pop(order.key, None)
        if dask is not None:
            dask.cancel()
            dask.release()

    def _lose_all(self, why: str) -> None:
        for order in (*self._open.values(), *self._waiting):
            self._end(order, error=LostElsewhere(why))
        self._waiting.clear()

    def _doom(self, key: str) -> None:
        if (order := self._open.get(key)) is not None:
            order.kill_at = time.monotonic() + OBEY_WITHIN

    def _restart_worker_of(self, key: str) -> None:
        executing = self._client.sync(self._client.scheduler.processing, callback_timeout=CONNECT_WITHIN)
        for address, keys in executing.items():
            if key in keys and self._info[address]["nthreads"] == 1:
                logger.warning("Dask worker %s is restarted: its handler does not stop", address)
                self._client.restart_workers([address], timeout=CONNECT_WITHIN, raise_for_error=False)

    def _leave(self) -> None:
        while not self._orders.empty():
            action = self._orders.get()
            if action is not None:
                self._guarded(action)
        if self._client is not None:
            for order in list(self._open.values()):
                self._drop(order)
                order.future.cancel()
            self._close_client()
        if self._loop_runner is not None:
            loop = self._loop_runner.loop
            loop.add_callback(loop.stop)

    def _loop(self) -> Any:
        """Return the event loop of all clients: one that cannot connect would leave the thread of its own behind."""
        if self._loop_runner is None:
            self._loop_runner = LoopRunner()
            self._loop_runner.start()
        return self._loop_runner.loop

    def _close_client(self) -> None:
        client, self._client = self._client, None
        try:
            client.close(timeout=CONNECT_WITHIN)
        except Exception as error:
            logger.warning("Dask: the client could not be closed: %s", error)


def _error_of(error: BaseException) -> BaseException:
    """Return what a task failed with; Dask's own words about workers that died are a loss."""
    if type(error).__module__.partition(".")[0] == "distributed":
        return LostElsewhere(f"{type(error).__name__}: {error}")
    return error


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {number:g}" for name, number in resources.items())
