"""Handlers that note what they did and fail when told to, and runs of their flows."""

from __future__ import annotations

from collections import Counter

from django_workflow import Retry, testing

ONCE = Retry(max_attempts=1)


class Story:
    """What handlers did, and which of them still fail."""

    def __init__(self) -> None:
        self.calls: Counter = Counter()
        self.broken: set = set()

    def did(self, what, value=None):
        """Note an effect; return the value, or fail."""
        self.calls[what] += 1
        if what in self.broken:
            raise RuntimeError(f"{what} is broken")
        return value

    def told(self):
        """Return the effects since the last time."""
        calls, self.calls = self.calls, Counter()
        return dict(calls)


def finish(handle):
    testing.run_until_idle()
    return handle.result()


def start(flow, input=None, **options):
    handle = flow.start(input, **options)
    testing.run_until_idle()
    return handle


def fails_on(story, *indexes):
    story.broken = {("each", index) for index in indexes}
