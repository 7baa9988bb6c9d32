"""Whatever a visitor or a handler puts into a run, the page has only the markup of its templates."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from django_workflow import Retry, Skip, pause, testing
from django_workflow.models import Task
from django_workflow.worker.logs import capture, writer
from tests.web.markup import read

EVIL = (
    "</pre></title></textarea><script>alert('x')</script><img src=x onerror=alert(1)>"
    "\"'><a href=javascript:alert(1) onclick=alert(2) style=color:red>{{ evil }}</a><svg onload=alert(3)>"
)
SCRIPTS = ["connection.js", "live.js", "print.js"]
URL_ATTRIBUTES = ("href", "src", "action", "formaction", "data", "xlink:href")


class EvilError(Exception):
    pass


@pytest.fixture
def evil_run(make_flow, db):
    flow = make_flow("evil", title=EVIL[:200])

    @flow.step(retry=Retry(max_attempts=2, base=timedelta(seconds=30), jitter=False), on_exhausted="skip")
    def failing(input, ctx):
        logging.getLogger("evil").warning("%s", EVIL)
        ctx.emit(EVIL[:40], {EVIL: EVIL})
        raise EvilError(EVIL)

    @flow.map(over="input.items", retry=Retry(max_attempts=1), tolerate=1)
    def each(item, ctx):
        ctx.emit("seen", EVIL)
        if item != EVIL:
            raise EvilError(EVIL)
        return {EVIL: [EVIL]}

    @flow.step(depends_on=["each"])
    def skipping():
        return Skip(EVIL)

    @flow.step(depends_on=["each", "failing"], when=f"input.items == {EVIL!r}")
    def conditional():
        return EVIL

    @flow.step(depends_on=["conditional"])
    def last():
        return EVIL

    captured = []
    capture.sinks.append(captured.append)
    with capture.capturing():
        handle = flow.start(
            {"items": [EVIL, "other"]},
            title=EVIL[:200],
            by=EVIL[:150],
            labels={"label": EVIL[:100]},
            idempotency_key=EVIL,
        )
        testing.run_until_idle()
        pause(handle, reason=EVIL, by=EVIL[:150])
    capture.sinks.remove(captured.append)
    writer.store(captured)
    return handle


def check(text):
    """Assert that every element and attribute is one of the templates'."""
    page = read(text)
    assert [item.attributes.get("src", "").rpartition("/")[2] for item in page.all("script")] == SCRIPTS
    assert not page.all("img")
    for element in page.all():
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]
        for name in URL_ATTRIBUTES:
            assert "javascript:" not in element.attributes.get(name, "")
    assert "{{ evil }}" in page.text
    return page


def tags_of(page):
    return {(item.tag, *sorted(item.attributes)) for item in page.all()}


QUERIES = [
    "", "?step=failing", "?step=each", "?step=each&item=0", "?step=each&item=1", "?step=skipping", "?step=conditional",
    "?step=last", "?whole=input",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_evil_payload_is_inert(evil_run, client_of, operator, query):
    check(client_of(operator).get(f"/workflow/runs/{evil_run.id}/{query}").text)


@pytest.mark.parametrize("query", QUERIES)
def test_evil_payload_of_an_ended_run_is_inert(evil_run, client_of, operator, query):
    evil_run.resume(reason=EVIL, by=EVIL[:150])
    testing.advance(timedelta(minutes=1))
    testing.run_until_idle()
    evil_run.refresh()
    check(client_of(operator).get(f"/workflow/runs/{evil_run.id}/{query}").text)


def test_evil_payload_of_a_failed_run_is_inert(flow, client_of, operator, db):
    @flow.step(retry=Retry(max_attempts=1))
    def failing():
        raise type(EVIL[:60], (Exception,), {})(EVIL)

    handle = flow.start(title=EVIL[:200])
    testing.run_until_idle()
    page = check(client_of(operator).get(f"/workflow/runs/{handle.id}/?step=failing").text)
    assert EVIL[:60] in page.text


def test_evil_words_of_operators_are_inert(flow, client_of, operator, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    handle.complete_step("only", EVIL, reason=EVIL, by=EVIL[:150])
    Task.objects.filter(run_id=handle.id).update(queue="default")
    check(client_of(operator).get(f"/workflow/runs/{handle.id}/?step=only").text)


@pytest.mark.parametrize("name", ["step", "of", "status", "kind", "item", "task", "page", "before", "lines", "whole"])
def test_evil_addresses_are_inert(evil_run, client_of, operator, name):
    response = client_of(operator).get(f"/workflow/runs/{evil_run.id}/", {"step": "each", name: EVIL[:120]})
    check(response.text)


def test_page_has_nothing_inline_and_nothing_from_elsewhere(evil_run, client_of, operator):
    page = read(client_of(operator).get(f"/workflow/runs/{evil_run.id}/?step=each&item=0").text)
    assert not page.all("style")
    for element in page.all():
        for name in ("src", "href"):
            assert not element.attributes.get(name, "").startswith(("http:", "https:", "//"))
    assert all(item.text == "" for item in page.all("script"))
