"""Runs in which everything happens that the engine tells events of."""

from __future__ import annotations

from datetime import timedelta

from django_workflow import Fail, Flow, Retry, testing
from django_workflow.models import Event

SOON = timedelta(milliseconds=1)


def all_kinds_of_events() -> set[str]:
    """Make runs succeed, fail, be retried, skipped, scheduled, cancelled and timed out; return the events' types."""
    good = Flow("docs_good")
    good.step(lambda ctx: 1 / (ctx.attempt - 1), name="flaky", retry=Retry(base=SOON))
    good.step(lambda flaky: None, name="never", when="outputs.flaky < 0")
    bad = Flow("docs_bad")
    bad.step(lambda: Fail("no"), name="refused")
    slow = Flow("docs_slow", max_duration=timedelta(hours=1))
    slow.step(lambda: None, name="waits")
    good.execute()
    bad.execute()
    slow.start().cancel()
    slow.start(delay=timedelta(days=1))
    slow.start()
    testing.advance(timedelta(hours=2))
    return set(Event.objects.values_list("type", flat=True))
