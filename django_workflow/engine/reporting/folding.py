"""Folding: of what happens many times alike one record is made, and the others are counted."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf

#: Seconds for which others like it are counted after a record was made.
EVERY = 60.0
#: Kinds that are remembered at once, at most: what is different each time costs a worker no memory without end.
MOST = 10_000


@dataclass(slots=True)
class _Fold:
    """One kind: until when the others are counted, how many there were, and how the last of them is told."""

    until: float
    count: int = 0
    tell: Callable[[int], None] | None = None


class Folding:
    """Says what is to be told at once, and tells later how many more there were of its kind.

    It folds while somebody has started it and calls `tell_due`; else all is told.
    every: seconds. clock: of `time.monotonic`.
    """

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        #: In the order in which their times end, all but for what threads do within microseconds of each other.
        self._folds: OrderedDict[Hashable, _Fold] = OrderedDict()
        self._lock = threading.Lock()
        self._users = 0
        #: When something is to be told again, at the earliest; infinity where nothing was.
        self.due_at = inf

    def start(self) -> None:
        """Fold from now on."""
        with self._lock:
            self._users += 1

    def stop(self) -> None:
        """Tell what was counted; the last who started it ends it."""
        with self._lock:
            self._users -= 1
        self.tell_due(is_last=True)

    def admit(self, kind: Hashable, tell_others: Callable[[int], None]) -> bool:
        """Say whether something of a kind is told now; else it is counted.

        tell_others: tells that there were so many more like this one.
        """
        self.tell_due()
        oldest = None
        with self._lock:
            fold = self._folds.get(kind)
            if not self._users:
                return True
            if fold is not None:
                fold.count += 1
                fold.tell = tell_others
                return False
            if len(self._folds) >= MOST:
                _, oldest = self._folds.popitem(last=False)
            self._folds[kind] = _Fold(self._clock() + self._every)
            self._note_due()
        if oldest is not None and oldest.tell is not None:
            oldest.tell(oldest.count)
        return True

    def tell_due(self, *, is_last: bool = False) -> None:
        """Tell how many there were of the kinds whose time is over; the last time of all kinds."""
        now = self._clock()
        if now < self.due_at and not is_last:
            return
        over: list[tuple[Hashable, Callable[[int], None], int]] = []
        with self._lock:
            while self._folds and (is_last or next(iter(self._folds.values())).until <= now):
                kind, fold = self._folds.popitem(last=False)
                if fold.tell is not None:
                    over.append((kind, fold.tell, fold.count))
            if not is_last:
                self._folds.update((kind, _Fold(now + self._every)) for kind, _, _ in over)
            self._note_due()
        for _, tell, count in over:
            tell(count)

    def _note_due(self) -> None:
        self.due_at = next(iter(self._folds.values())).until if self._folds else inf
