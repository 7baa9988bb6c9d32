"""Admin actions on several rows: asked about first, with numbers, and only by those who may."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.urls import reverse

from django_workflow import testing
from django_workflow.models import Dismissal, Event, Run, Task
from django_workflow.permissions import CANCEL, PAUSE, RETRY, VIEW
from django_workflow.web.acting import pages
from tests.admin.conftest import EVIL, user_with
from tests.admin.test_pages import list_of, looker, staff, text_of  # noqa: F401


@pytest.fixture
def runs(story):
    """Three that go on, and the one that failed."""
    return [story.live, *(story.flow.start({"items": [1]}) for _ in range(2)), story.failed]


def choose(client, name, rows, **data):
    return client.post(
        list_of("run" if name.endswith("_runs") else "deadletter"),
        {"action": name, "_selected_action": [str(getattr(row, "id", row)) for row in rows], "index": "0", **data},
    )


def told(response):
    return [unescape(str(message)) for message in get_messages(response.wsgi_request)]


def test_an_action_asks_with_numbers_before_it_acts(staff, runs):  # noqa: F811
    page = choose(staff, "cancel_runs", runs)
    assert page.status_code == 200
    text = text_of(page)
    assert "3 of 4 will be cancelled; 1 ended." in text
    assert "3 waiting tasks will be cancelled" in text
    assert {run.status for run in runs[:3]} == {"running"}
    hidden = re.search(r'name="chosen" value="([^"]+)"', page.content.decode())[1].split(",")
    answer = choose(staff, "cancel_runs", hidden, confirm="yes", reason="all wrong")
    assert answer.status_code == 302
    assert {run.status for run in runs[:3]} == {"cancelled"}
    assert "3 of 4 were cancelled. 1 could not be, as they stood." in told(answer)[0]
    assert Event.objects.filter(type="run.cancelled", data={"reason": "all wrong", "by": "operator"}).count() == 3
    assert LogEntry.objects.filter(change_message="Cancelled: all wrong").count() == 3


@pytest.mark.parametrize(("name", "status"), [("pause_runs", "paused"), ("retry_runs", "running")])
def test_pause_and_retry(staff, runs, name, status):  # noqa: F811
    assert choose(staff, name, runs).status_code == 200
    choose(staff, name, runs, confirm="yes")
    if name == "pause_runs":
        assert {run.status for run in runs[:3]} == {status}
        choose(staff, "resume_runs", runs, confirm="yes")
        assert {run.status for run in runs[:3]} == {"running"}
    else:
        assert Run.objects.get(retry_of=runs[3].id).status == status


def test_letters_are_retried_and_dismissed(staff, story):  # noqa: F811
    letter = story.rows["deadletter"]
    page = choose(staff, "dismiss_letters", [letter])
    assert "1 of 1 will be dismissed." in text_of(page)
    assert "This field is required" in text_of(choose(staff, "dismiss_letters", [letter], confirm="yes"))
    assert not Dismissal.objects.exists()
    choose(staff, "dismiss_letters", [letter], confirm="yes", reason="paid by hand")
    assert (Dismissal.objects.get().reason, Dismissal.objects.get().by) == ("paid by hand", "operator")

    second = story.flow.start({"items": [1, 2]})
    testing.run_until_idle()
    letter = Task.objects.get(run_id=second.id, status="failed")
    assert "1 run will be retried" in text_of(choose(staff, "retry_letters", [letter]))
    choose(staff, "retry_letters", [letter], confirm="yes")
    assert Run.objects.filter(retry_of=second.id).count() == 1


@pytest.mark.parametrize(
    "name", ["pause_runs", "resume_runs", "cancel_runs", "retry_runs", "retry_letters", "dismiss_letters"]
)
def test_a_viewer_has_no_actions_and_a_forged_one_is_refused(looker, runs, story, name):  # noqa: F811
    where = "run" if name.endswith("_runs") else "deadletter"
    assert 'name="action"' not in looker.get(list_of(where)).content.decode()
    before = list(Event.objects.values_list("pk", flat=True))
    rows = runs if where == "run" else [story.rows["deadletter"]]
    assert choose(looker, name, rows, confirm="yes", reason="x").status_code == 403
    assert list(Event.objects.values_list("pk", flat=True)) == before
    assert {run.status for run in runs[:3]} == {"running"}
    assert not Dismissal.objects.exists()


def test_each_action_needs_its_permission(client_of, runs):
    for permission, allowed in (
        (PAUSE, {"pause_runs", "resume_runs"}),
        (CANCEL, {"cancel_runs"}),
        (RETRY, {"retry_runs"}),
    ):
        user = user_with(f"only_{permission}", [VIEW, permission])
        user.is_staff = True
        user.save()
        client = client_of(user)
        for name in ("pause_runs", "resume_runs", "cancel_runs", "retry_runs"):
            assert choose(client, name, runs).status_code == (200 if name in allowed else 403), (permission, name)


def test_a_rule_protects_the_runs_of_a_flow(staff, runs, story, make_flow, settings):  # noqa: F811
    other = make_flow("other")
    other.step(name="only")(lambda: None)
    free = other.start()
    protected = story.flow.slug
    settings.DJANGO_WORKFLOW = {
        "OBJECT_PERMISSION": lambda user, permission, flow: permission == VIEW or flow.slug != protected
    }
    page = choose(staff, "cancel_runs", [*runs, free])
    assert "1 of 5 will be cancelled; 4 of flows on which you may not do this." in text_of(page)
    choose(staff, "cancel_runs", [*runs, free], confirm="yes")
    assert free.status == "cancelled"
    assert {run.status for run in runs[:3]} == {"running"}

    settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": lambda user, permission, flow: flow.slug != protected}
    choose(staff, "cancel_runs", runs, confirm="yes")
    assert {run.status for run in runs[:3]} == {"running"}


def test_too_many_at_once_are_refused(staff, runs, monkeypatch):  # noqa: F811
    monkeypatch.setattr("django_workflow.admin.confirming.MAX_SELECTED", 2)
    answer = choose(staff, "cancel_runs", runs, confirm="yes")
    assert "At most 2 can be chosen at once." in told(answer)[0]
    assert {run.status for run in runs[:3]} == {"running"}


def test_all_that_are_listed_can_be_chosen(staff, runs):  # noqa: F811
    choose(staff, "pause_runs", runs[:1], select_across="1", confirm="yes")
    assert {run.status for run in runs[:3]} == {"paused"}


def test_a_confirmation_says_in_one_field_what_was_chosen(staff, runs):  # noqa: F811
    page = choose(staff, "cancel_runs", runs[:2])
    body = page.content.decode()
    assert "_selected_action" not in body
    given = re.search('name="chosen" value="([^"]*)"', body)[1]
    assert set(given.split(",")) == {str(run.id) for run in runs[:2]}
    answer = staff.post(list_of("run"), {"action": "cancel_runs", "chosen": given, "confirm": "yes"})
    assert answer.status_code == 302
    assert [run.status for run in runs[:3]] == ["cancelled", "cancelled", "running"]


def test_confirmations_are_inert_and_strict(staff, story):  # noqa: F811
    for page in (
        choose(staff, "cancel_runs", [story.live, story.failed]),
        choose(staff, "retry_letters", [story.rows["deadletter"]]),
    ):
        body = page.content.decode()
        assert "<script>alert" not in body
        assert EVIL not in body
        assert not re.search(r"<[^>]+\s(style|on\w+)=\"", body)


def test_actions_need_the_token_of_the_form(client_of, operator, runs):
    operator.is_staff = True
    operator.save()
    client = client_of(operator, enforce_csrf_checks=True)
    assert choose(client, "cancel_runs", runs, confirm="yes").status_code == 403
    assert runs[0].status == "running"


def test_the_limit_is_the_one_of_live_pages():
    assert pages.MAX_SELECTED == 1_000
    assert reverse("admin:django_workflow_run_changelist")
