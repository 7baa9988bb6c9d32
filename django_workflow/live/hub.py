"""The hub of a process: PostgreSQL's notifications arrive, the sockets get what concerns them.

With Channels' in-memory layer, or none, each process listens for itself. With any other layer one hub among all
processes is elected: it listens for all of them and tells them through the layer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer

from django_workflow.live.fan_out import FanOut
from django_workflow.live.inbox import STALE, Inbox, Kind, Notice
from django_workflow.live.listener import Listener, Unwanted
from django_workflow.live.viewers import FlowsOfRuns

#: Seconds that a hub stays after the last socket has gone: pages that are reloaded come back at once.
LINGER = 5.0
#: Seconds that a socket waits for the hub to listen before it says that nobody does.
PATIENCE = 2.0
#: Seconds between two loads of a page, for each page that is open in this process: together they load once a second
#: at most, however many look, and what they look at goes on at its pace.
PAUSE_PER_PAGE = 1.0


class Hub:
    """Notifies the sockets of one event loop; begins with the first and ends after the last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, layer: BaseChannelLayer | None) -> None:
        self._loop = loop
        self._fan_out = FanOut(layer, self._deliver) if layer is not None else None
        self._listener = Listener(self._tell, is_elected=self._fan_out is not None)
        #: For boards of users who may not see every flow.
        self.flows_of_runs = FlowsOfRuns()
        self._boards: set[Inbox] = set()
        self._watched: defaultdict[str, set[Inbox]] = defaultdict(set)
        self._socket_count = 0
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._is_broken = False
        self._task = loop.create_task(self._live(), name="django_workflow-live")

    @property
    def pause(self) -> float:
        """Seconds that each page should wait between two loads while changes never pause."""
        return self._socket_count * PAUSE_PER_PAGE

    @property
    def is_stale(self) -> bool:
        """Whether nobody listens at the moment; sockets are notified when somebody does again."""
        return self._is_broken or not self._ready.is_set()

    async def join(self, inbox: Inbox, run_id: str | None = None) -> None:
        """Let an inbox get what concerns a run, or all runs; returns once the hub listens."""
        self._socket_count += 1
        if not self._ready.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), PATIENCE)
        (self._boards if run_id is None else self._watched[run_id]).add(inbox)
        if self.is_stale:
            inbox.put(STALE)

    def leave(self, inbox: Inbox, run_id: str | None = None) -> None:
        """Notify an inbox that has joined no more."""
        self._socket_count -= 1
        if run_id is None:
            self._boards.discard(inbox)
        else:
            self._watched[run_id].discard(inbox)
            if not self._watched[run_id]:
                del self._watched[run_id]
        if not self._socket_count:
            self._loop.call_later(LINGER, self._end_if_empty)

    def _end_if_empty(self) -> None:
        if not self._socket_count:
            _hubs.pop(self._loop, None)
            self._over.set()

    async def _live(self) -> None:
        self._listener.start()
        fanning_out = self._loop.create_task(self._fan_out.run()) if self._fan_out is not None else None
        try:
            await self._over.wait()
        finally:  # also when the loop ends, which cancels its tasks
            _hubs.pop(self._loop, None)
            self._listener.stop()
            if fanning_out is not None:
                fanning_out.cancel()

    def _tell(self, notice: Notice, is_for_all: bool) -> None:  # noqa: FBT001  a callback of two arguments
        """Hand on what was heard; called in the listening thread."""
        hand_on = self._fan_out.send if self._fan_out is not None and is_for_all else self._deliver
        try:
            self._loop.call_soon_threadsafe(hand_on, notice)
        except RuntimeError:
            raise Unwanted from None  # the loop is closed

    def _deliver(self, notice: Notice) -> None:
        if notice.kind is Kind.CHANGED:
            self._deliver_changes(notice)
            return
        is_first = not self._ready.is_set()
        self._is_broken = notice.kind is Kind.STALE
        if notice.kind is Kind.RESYNC:
            self._ready.set()
        if not is_first or self._is_broken:
            for inbox in self._everybody():
                inbox.put(notice)

    def _deliver_changes(self, notice: Notice) -> None:
        if notice.runs or notice.is_in_queues:
            for inbox in self._boards:
                inbox.put(notice)
        for run_id in notice.runs & self._watched.keys():
            for inbox in self._watched[run_id]:
                inbox.put(Notice(Kind.CHANGED, frozenset((run_id,))))

    def _everybody(self) -> set[Inbox]:
        return self._boards.union(*self._watched.values())


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop; it begins where there is none."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop, _shared_layer())
    return _hubs[loop]


def _shared_layer() -> BaseChannelLayer | None:
    """Return the site's layer if it reaches other processes."""
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer
