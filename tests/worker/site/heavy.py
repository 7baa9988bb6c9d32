"""Flows whose steps run on an engine of the site's own."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Group

from django_workflow import Flow, Retry
from tests.waiting import eventually

SOON = timedelta(milliseconds=10)


def tell_begin(what: str, which: object) -> None:
    """Tell of a begin; a second one of the same name has the next number."""
    for number in range(1, 100):
        _, is_new = Group.objects.get_or_create(name=f"{what} {which} #{number}")
        if is_new:
            return


def begins(what: str) -> int:
    """Return how many begins were told."""
    return Group.objects.filter(name__startswith=f"{what} ").count()


def go() -> None:
    """Let all that wait go on."""
    Group.objects.get_or_create(name="go")


def repeated() -> list[str]:
    """Return what began twice."""
    return list(Group.objects.filter(name__endswith=" #2").values_list("name", flat=True))


many = Flow("site_many", queue="heavy", executor="dask")


@many.map(over="input")
def measures(item):
    tell_begin("measures", item)
    return item * 2


slow = Flow("site_slow", queue="heavy", executor="dask", retry=Retry(max_attempts=3, base=SOON))


@slow.map(over="input")
def waits(item, ctx):
    tell_begin("waits", f"{item}.{ctx.attempt}")
    eventually(lambda: Group.objects.filter(name="go").exists(), "a word from the test", seconds=60)
    return item
