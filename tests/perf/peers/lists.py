"""The list of runs over many: `fill COUNT` makes them, `measure` prints what its pages take as JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import timedelta
from hashlib import md5
from typing import Any
from urllib.parse import urlencode

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_workflow.models import Run  # noqa: E402
from tests.web.filling import fill  # noqa: E402
from tests.web.pages import statements  # noqa: E402

URL = "/workflow/runs/"
TIMES = 7


def queries() -> dict[str, list[tuple[str, Any]]]:
    """Every filter alone, the usual pairs, pages, and searches for what is rare or not there."""
    middle = Run.objects.filter(status="succeeded").order_by("id")[500_000]
    error = md5(b"error 3").hexdigest()
    old = timezone.now() - timedelta(days=20)
    return {
        "all": [],
        "older page": [("before", middle.pk)],
        "newer page": [("after", middle.pk)],
        "flow": [("flow", "shopping")],
        "rare flow": [("flow", "rare")],
        "version": [("flow", "shopping"), ("version", 2)],
        "old version": [("flow", "shopping"), ("version", 1)],
        **{status: [("status", status)] for status in ("failed", "running", "paused", "succeeded", "timed_out")},
        "several statuses": [("status", "failed"), ("status", "running"), ("status", "cancelled")],
        "label": [("label", "tenant=t3")],
        "rare label": [("label", "rare=needle")],
        "label of long ago": [("label", "tenant=gone")],
        "label that nobody has": [("label", "x=y")],
        "name of a label": [("label", "order")],
        "rare name of a label": [("label", "rare")],
        "queue": [("queue", "slow")],
        "error": [("error", error)],
        "error of many tasks": [("error", md5(b"each item").hexdigest())],
        "unknown error": [("error", "ab")],
        **{f"last {name}": [("within", name)] for name in ("hour", "day", "week", "month")},
        "two days long ago": [("from", f"{old:%Y-%m-%d}"), ("to", f"{old:%Y-%m-%d}")],
        "id": [("q", middle.pk)],
        "beginning of an id": [("q", str(middle.pk)[:13])],
        "end of an id": [("q", str(middle.pk)[-12:])],
        "key": [("q", "key-501")],
        "nothing": [("q", "no such key")],
        "flow and status": [("flow", "shopping"), ("status", "failed")],
        "rare flow and status": [("flow", "rare"), ("status", "failed")],
        "status and label": [("status", "failed"), ("label", "tenant=t3")],
        "flow and label": [("flow", "imports"), ("label", "tenant=t3")],
        "status and time": [("status", "failed"), ("within", "day")],
        "flow and time": [("flow", "inspections"), ("within", "hour")],
        "queue and status": [("queue", "slow"), ("status", "failed")],
        "error and flow": [("error", error), ("flow", "rare")],
        "label and time": [("label", "tenant=gone"), ("to", f"{old:%Y-%m-%d}")],
    }


def measure() -> dict[str, tuple[float, int]]:
    """Return the median of milliseconds, and the statements, of each page."""
    settings.ALLOWED_HOSTS = ["testserver"]
    user, _ = User.objects.get_or_create(username="looks", is_superuser=True)
    client = Client()
    client.force_login(user)
    found = {}
    for name, query in queries().items():
        url = f"{URL}?{urlencode(query)}"
        times = []
        for _ in range(TIMES):
            start = time.perf_counter()
            answer = client.get(url)
            times.append(1000 * (time.perf_counter() - start))
            if answer.status_code != 200 or "Nothing was looked for" in answer.content.decode():
                raise SystemExit(f"{url} is no list: {answer.status_code}")
        with statements() as own:
            client.get(url)
        found[name] = (round(statistics.median(times), 2), len(own))
    return found


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(measure()))
