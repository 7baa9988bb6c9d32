"""The events of a run as a story."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import pause, testing
from django_workflow.models import Event
from tests.web.markup import read
from tests.web.stories import rich_run


@pytest.fixture
def story(client_of, operator):
    def open_page(handle, query="", user=None):
        page = read(client_of(user or operator).get(f"/workflow/runs/{handle.id}/{query}").text)
        return page.one("section", data_fragment="events")

    return open_page


def sentences(section):
    return [item.text for item in section.all("span", css="what")]


def test_events_tell_who_did_what_and_why(make_flow, story, db):
    handle = rich_run(make_flow)
    told = sentences(story(handle))
    assert told[0] == "shop started the run"
    assert "restock was skipped: its condition was not met" in told
    assert "survey was skipped: customers are asked on Mondays" in told
    assert 'reserve told stock_checked {"items": 12}' in told
    assert told[-1] == "The run succeeded"


def test_operators_are_named_with_their_reasons(flow, story, db):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second")(lambda first: 1)
    handle = flow.start(by="ann")
    pause(handle, reason="lunch", by="bob")
    handle.resume(by="bob")
    handle.skip_step("first", reason="not needed", by="cleo")
    handle.cancel(reason="enough", by="dora")
    told = sentences(story(handle))
    assert told[0] == "ann started the run"
    assert "bob paused the run: lunch" in told
    assert "bob resumed the run" in told
    assert "cleo skipped first: not needed" in told
    assert told[-1] == "dora cancelled the run: enough"


def test_without_names_the_story_is_told_too(flow, story, db):
    flow.step(name="first")(lambda: 1)
    handle = flow.start()
    pause(handle)
    handle.resume()
    handle.complete_step("first", 1)
    told = sentences(story(handle))
    assert told[:2] == ["The run started", "first started"]
    assert "The run was paused" in told
    assert "Somebody completed first" in told


def test_events_can_be_narrowed_by_kind_and_step(make_flow, story, db):
    handle = rich_run(make_flow)
    assert sentences(story(handle, "?kind=run")) == ["shop started the run", "The run succeeded"]
    assert sentences(story(handle, "?kind=own")) == ['reserve told stock_checked {"items": 12}']
    assert sentences(story(handle, "?of=ship")) == ["ship started", "ship succeeded"]
    assert "No such events" in story(handle, "?of=ship&kind=own").text


def test_filters_keep_the_chosen_step(make_flow, story, db):
    form = story(rich_run(make_flow), "?step=pack&item=3").one("form")
    hidden = {field.attributes["name"]: field.attributes["value"] for field in form.all("input")}
    assert hidden == {"step": "pack", "item": "3"}


def test_newest_events_are_shown_and_older_ones_linked(flow, story, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    last = Event.objects.filter(run_id=handle.id).latest("number").number
    Event.objects.bulk_create(
        Event(run_id=handle.id, number=last + n, type=f"note_{n}", step="only", task_id=1) for n in range(1, 201)
    )
    section = story(handle)
    assert "told note_200" in section.text
    assert "told note_119" not in section.text
    older = next(a for a in section.all("a") if a.text == "Older events").attributes["href"].partition("#")[0]
    assert "told note_119" in story(handle, older).text
    assert "Newest events" in story(handle, older).text


def test_story_can_be_copied_as_markdown(flow, story, db):
    flow.step(name="first_one")(lambda: 1)
    handle = flow.start(by="ann", title="Order *7*")
    pause(handle, reason="a <b>bold</b>\nreason", by="bob")
    section = story(handle)
    button = section.one("button", data_copy="#events-markdown")
    assert button.text == "Copy"
    lines = "".join(section.one(id="events-markdown").parts).splitlines()
    assert lines[0].startswith(r"**Order \*7\*** (")
    assert lines[2].endswith(" ann started the run")
    assert lines[-1].endswith(r" bob paused the run: a \<b\>bold\</b\> reason")
    assert r"first\_one started" in lines[3]


def test_data_of_handlers_are_hidden_without_the_permission(make_flow, story, viewer, db):
    section = story(rich_run(make_flow), "", viewer)
    assert "stock_checked" in section.text
    assert '"items"' not in section.text
    assert "hidden: needs the permission to view payloads" in section.text


def test_a_handler_cannot_pose_as_the_engine(flow, story, viewer, db):
    @flow.step
    def posing(ctx):
        ctx.emit("run.cancelled", {"by": "the boss", "reason": "secret 4711"})

    handle = flow.start()
    testing.run_until_idle()
    section = story(handle, "", viewer)
    assert "posing told run.cancelled" in section.text
    assert "4711" not in section.text
    assert "the boss" not in section.text


def test_tasks_are_told_at_their_level(flow, story, settings, db):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": "task"}

    @flow.step
    def twice(ctx):
        if ctx.attempt == 1:
            raise ValueError
        return 1

    handle = flow.start()
    for _ in range(3):
        testing.run_until_idle()
        testing.advance(timedelta(minutes=1))
    told = sentences(story(handle, "?kind=task"))
    assert told == ["Attempt 1 of twice failed and is tried again", "Attempt 2 of twice succeeded"]
