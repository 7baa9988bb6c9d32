"""Notices to a page: runs changed, nobody listens any more, everything is to be asked for anew."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

#: Seconds in which changes are collected after a notice of one.
WINDOW = 0.05
#: The longest such time: it doubles while changes keep coming, for no page is loaded that often.
WIDEST_WINDOW = 0.8


class Kind(Enum):
    """What a notice says."""

    CHANGED = "changed"
    STALE = "stale"
    RESYNC = "resync"


@dataclass(frozen=True)
class Notice:
    """What a page is notified of.

    runs: ids of those that changed. is_in_queues: something happened in queues, as it does when a run starts.
    is_asked: the page wanted to hear it.
    """

    kind: Kind
    runs: AbstractSet[str] = frozenset()
    is_in_queues: bool = False
    is_asked: bool = False


STALE = Notice(Kind.STALE)
RESYNC = Notice(Kind.RESYNC)


class Inbox:
    """The notices that one socket has yet to get, folded; for one event loop.

    The first change is there to be taken at once, what follows is collected for a while: a slow page gets
    fewer messages, never a queue of them.

    limit: of ids at once; beyond it everything is to be asked for anew.
    """

    def __init__(self, limit: int, *, widest_window: float = WIDEST_WINDOW) -> None:
        self._limit = limit
        self._widest_window = widest_window
        self._window = WINDOW
        self._opens_at = 0.0
        self._filled = asyncio.Event()
        self._kind = Kind.CHANGED
        self._runs: set[str] = set()
        self._is_in_queues = self._is_asked = False

    def put(self, notice: Notice) -> None:
        """Add something; the last word on whether somebody listens is what counts."""
        if notice.kind is Kind.CHANGED:
            self._add(notice.runs)
        else:
            self._kind = notice.kind
            self._runs.clear()
        self._is_in_queues |= notice.is_in_queues
        self._is_asked |= notice.is_asked
        self._filled.set()

    def _add(self, runs: AbstractSet[str]) -> None:
        if self._kind is not Kind.CHANGED:
            return
        self._runs |= runs
        if len(self._runs) > self._limit:
            self._kind = Kind.RESYNC
            self._runs.clear()

    async def take(self) -> Notice:
        """Wait for something, and for the end of the time in which it is collected; return all there is."""
        await self._filled.wait()
        loop = asyncio.get_running_loop()
        remaining = self._opens_at - loop.time()
        if remaining > 0:
            await asyncio.sleep(remaining)
            self._window = min(self._widest_window, 2 * self._window)
        else:
            self._window = WINDOW
        self._opens_at = loop.time() + self._window
        notice = Notice(self._kind, frozenset(self._runs), self._is_in_queues, self._is_asked)
        self._filled.clear()
        self._kind = Kind.CHANGED
        self._runs.clear()
        self._is_in_queues = self._is_asked = False
        return notice
