"""What stands where on the run page, and how much of it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_workflow import testing
from django_workflow.models import Task, Worker
from django_workflow.templatetags.django_workflow import OPENING_CHARACTERS, OPENING_LINES, is_long, opening
from tests.web.markup import read
from tests.web.stories import ONCE


@pytest.fixture
def see(client_of, operator):
    """Open the page of a run and read its markup."""
    return lambda handle, query="": read(client_of(operator).get(f"/workflow/runs/{handle.id}/{query}").text)


@pytest.fixture
def worker(db):
    return Worker.objects.create(
        hostname="host", pid=4711, queues=["default"], concurrency=1, lease_seconds=30.0, heartbeat_at=timezone.now()
    )


def test_panel_names_the_worker_that_executed_a_step(flow, see, worker):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    assert "worker" not in see(handle, "?step=only").one("section", id="task").text
    Task.objects.filter(run_id=handle.id).update(worker=worker)
    assert "Executed by worker host:4711." in see(handle, "?step=only").one("section", id="task").text


def test_input_and_output_stand_above_the_graph(flow, see, db):
    flow.step(name="only")(lambda: 1)
    names = [section.attributes.get("data-fragment") for section in see(flow.start()).all("section")]
    assert names.index("data") < names.index("graph")


MESSAGES = {"lines": "\n".join(map(str, range(100))), "characters": "x" * 1_900}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_long_message_is_opened_by_its_reader(flow, see, db, message):
    @flow.step(retry=ONCE)
    def only():
        raise ValueError(message)

    handle = flow.start()
    testing.run_until_idle()
    page = see(handle, "?step=only")
    for name in ("notices", "task"):
        section = page.one("section", data_fragment=name)
        begin, whole = section.all("pre", css="error-message")
        assert begin.text.endswith("…")
        assert len(begin.text) <= OPENING_CHARACTERS + 1
        assert "".join(whole.parts) == message
        assert section.one("details", css="whole").one("pre") is whole


def test_short_message_stands_as_it_is():
    for text in ("", "short", "\n".join("x" * OPENING_LINES)):
        assert (opening(text), is_long(text)) == (text, False)


def test_text_of_people_has_a_direction_of_its_own(flow, see, db):
    hebrew = "שלום עולם"

    @flow.step(retry=ONCE)
    def only():
        raise ValueError(hebrew)

    handle = flow.start(title=hebrew, by=hebrew, labels={"customer": hebrew}, idempotency_key=hebrew)
    testing.run_until_idle()
    page = see(handle, "?step=only")
    told = [element for element in page.one("main").all() if element.text == hebrew and not element.children]
    assert len(told) >= 6
    assert [element.tag for element in told if element.tag != "bdi" and element.attributes.get("dir") != "auto"] == []
