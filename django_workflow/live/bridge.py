"""The bridge from PostgreSQL's notifications to the sockets of a process.

With Channels' in-memory layer, or none, each process listens for itself. With any other layer one bridge among all
processes is elected: it listens for all of them and tells them through the layer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer

from django_workflow.live.listening import Listening, Unwanted
from django_workflow.live.mailbox import STALE, Kind, Mailbox, Told
from django_workflow.live.relay import Relay
from django_workflow.live.visitors import FlowsOfRuns

#: Seconds that a bridge stays after the last socket has gone: pages that are reloaded come back at once.
LINGER = 5.0
#: Seconds that a socket waits for the bridge to listen before it says that nobody does.
PATIENCE = 2.0
#: Seconds between two loads of a page, for each page that is open in this process: together they load once a second
#: at most, however many look, and what they look at goes on at its pace.
PAUSE_PER_PAGE = 1.0


class Bridge:
    """Tells the sockets of one event loop what they are to hear; begins with the first and ends after the last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, layer: BaseChannelLayer | None) -> None:
        self._loop = loop
        self._relay = Relay(layer, self._deliver) if layer is not None else None
        self._listening = Listening(self._tell, is_elected=self._relay is not None)
        #: For boards of users who may not see every flow.
        self.flows_of_runs = FlowsOfRuns()
        self._boards: set[Mailbox] = set()
        self._watched: defaultdict[str, set[Mailbox]] = defaultdict(set)
        self._guests = 0
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._is_broken = False
        self._task = loop.create_task(self._live(), name="django_workflow-live")

    @property
    def pause(self) -> float:
        """Seconds that each page should wait between two loads while changes never pause."""
        return self._guests * PAUSE_PER_PAGE

    @property
    def is_stale(self) -> bool:
        """Whether nobody listens at the moment; sockets are told when somebody does again."""
        return self._is_broken or not self._ready.is_set()

    async def join(self, mailbox: Mailbox, run_id: str | None = None) -> None:
        """Let a mailbox get what concerns a run, or all runs; returns once the bridge listens."""
        self._guests += 1
        if not self._ready.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), PATIENCE)
        (self._boards if run_id is None else self._watched[run_id]).add(mailbox)
        if self.is_stale:
            mailbox.put(STALE)

    def leave(self, mailbox: Mailbox, run_id: str | None = None) -> None:
        """Tell a mailbox that has joined nothing any more."""
        self._guests -= 1
        if run_id is None:
            self._boards.discard(mailbox)
        else:
            self._watched[run_id].discard(mailbox)
            if not self._watched[run_id]:
                del self._watched[run_id]
        if not self._guests:
            self._loop.call_later(LINGER, self._end_if_empty)

    def _end_if_empty(self) -> None:
        if not self._guests:
            _bridges.pop(self._loop, None)
            self._over.set()

    async def _live(self) -> None:
        self._listening.start()
        relaying = self._loop.create_task(self._relay.run()) if self._relay is not None else None
        try:
            await self._over.wait()
        finally:  # also when the loop ends, which cancels its tasks
            _bridges.pop(self._loop, None)
            self._listening.stop()
            if relaying is not None:
                relaying.cancel()

    def _tell(self, told: Told, is_for_all: bool) -> None:  # noqa: FBT001  a callback of two arguments
        """Hand on what was heard; called in the listening thread."""
        hand_on = self._relay.send if self._relay is not None and is_for_all else self._deliver
        try:
            self._loop.call_soon_threadsafe(hand_on, told)
        except RuntimeError:
            raise Unwanted from None  # the loop is closed

    def _deliver(self, told: Told) -> None:
        if told.kind is Kind.CHANGED:
            self._deliver_changes(told)
            return
        is_first = not self._ready.is_set()
        self._is_broken = told.kind is Kind.STALE
        if told.kind is Kind.RESYNC:
            self._ready.set()
        if not is_first or self._is_broken:
            for mailbox in self._everybody():
                mailbox.put(told)

    def _deliver_changes(self, told: Told) -> None:
        if told.runs or told.is_in_queues:
            for mailbox in self._boards:
                mailbox.put(told)
        for run_id in told.runs & self._watched.keys():
            for mailbox in self._watched[run_id]:
                mailbox.put(Told(Kind.CHANGED, frozenset((run_id,))))

    def _everybody(self) -> set[Mailbox]:
        return self._boards.union(*self._watched.values())


_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, Bridge] = WeakKeyDictionary()


def bridge() -> Bridge:
    """Return the bridge of the running event loop; it begins where there is none."""
    loop = asyncio.get_running_loop()
    if loop not in _bridges:
        _bridges[loop] = Bridge(loop, _shared_layer())
    return _bridges[loop]


def _shared_layer() -> BaseChannelLayer | None:
    """Return the site's layer if it reaches other processes."""
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer
