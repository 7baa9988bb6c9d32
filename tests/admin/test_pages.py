"""The admin: every list and page answers, nothing can be written, and what is hidden stays so."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_workflow import Skip, pause_flow, pause_queue, testing
from django_workflow.admin.base import MASKED, BoundedPaginator
from django_workflow.models import Event, Run, StepRun, Task
from django_workflow.permissions import PERMISSIONS, VIEW
from tests.admin.conftest import EVIL, user_with

NAMES = (
    "flowdefinition", "flowversion", "run", "steprun", "task", "attempt", "deadletter", "event", "queue", "worker",
    "erasure",
)  # fmt: skip


def list_of(name, **query):
    return reverse(f"admin:django_workflow_{name}_changelist", query=query or None)


def page_of(name, key):
    return reverse(f"admin:django_workflow_{name}_change", args=[key])


def text_of(response):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


@pytest.fixture(params=["viewer", "operator", "superuser"])
def client(request, client_of):
    user = request.getfixturevalue(request.param)
    user.is_staff = True
    user.save()
    return client_of(user)


@pytest.fixture
def staff(operator, client_of):
    """An operator who may enter the admin."""
    operator.is_staff = True
    operator.save()
    return client_of(operator)


@pytest.fixture
def looker(viewer, client_of):
    """A viewer who may enter the admin."""
    viewer.is_staff = True
    viewer.save()
    return client_of(viewer)


def test_every_model_that_people_look_for_is_there():
    ours = {model._meta.model_name for model in admin.site._registry if model._meta.app_label == "django_workflow"}
    assert ours == set(NAMES)


def test_every_list_and_page_answers(client, story):
    for name in NAMES:
        listed = client.get(list_of(name))
        assert listed.status_code == 200, name
        key = story.rows[name].pk
        assert page_of(name, key) in listed.content.decode()
        page = client.get(page_of(name, key))
        assert page.status_code == 200, name
        assert client.get(reverse(f"admin:django_workflow_{name}_history", args=[key])).status_code == 200, name


def test_nothing_can_be_added_changed_or_deleted(client_of, superuser, story):
    client = client_of(superuser)
    for name in NAMES:
        key = story.rows[name].pk
        add, delete = (
            reverse(f"admin:django_workflow_{name}_{verb}", args=args)
            for verb, args in (("add", []), ("delete", [key]))
        )
        answers = [client.get(add), client.get(delete), client.post(delete, {"post": "yes"})]
        answers.append(client.post(page_of(name, key), {"status": "succeeded"}))
        data = {"action": "delete_selected", "_selected_action": [key], "post": "yes"}
        answers.append(client.post(list_of(name), data))
        assert [answer.status_code for answer in answers] == [403] * 5, name
        assert 'name="_save"' not in client.get(page_of(name, key)).content.decode(), name


def test_what_visitors_wrote_is_inert(staff, story):
    for name in NAMES:
        for page in (staff.get(list_of(name)), staff.get(page_of(name, story.rows[name].pk))):
            body = page.content.decode()
            assert "<script>alert" not in body, name
            assert "<img src=x" not in body, name


def test_our_part_of_the_pages_obeys_a_strict_policy(staff, story):
    for name in NAMES:
        for page in (staff.get(list_of(name)), staff.get(page_of(name, story.rows[name].pk))):
            body = page.content.decode()
            assert not re.search(r"<[^>]+\s(style|on\w+)=\"", body), name
            assert not re.search(r"<script(?![^>]*\s(src=|type=\"application/json\"))", body), name


class TestPayloads:
    def test_a_viewer_sees_none(self, looker, story):
        for name in ("run", "task", "deadletter", "attempt", "steprun"):
            body = looker.get(page_of(name, story.rows[name].pk)).content.decode()
            assert MASKED in body, name
            assert "alert" not in body, name
            assert "s3cret" not in body, name
        event = Event.objects.create(
            run_id=story.failed.id, number=99, type="run.cancelled", data={"s": "s3cret", "by": "ann"}
        )
        body = unescape(looker.get(page_of("event", event.pk)).content.decode())
        assert '"by": "ann"' in body
        assert "s3cret" not in body
        assert "s3cret" not in looker.get(list_of("event")).content.decode()

    @pytest.mark.parametrize("type", ["note", "run.cancelled", "task.failed"])
    def test_what_handlers_call_reason_is_hidden_in_their_events(self, looker, story, type):
        data = dict.fromkeys(("by", "reason", "why"), "s3cret")
        event = Event.objects.create(
            run_id=story.failed.id, number=99, type=type, data=data, task_id=story.rows["task"].pk
        )
        assert "s3cret" not in looker.get(page_of("event", event.pk)).content.decode()

    def test_what_a_handler_says_when_it_skips_is_hidden(self, looker, staff, make_flow, db):
        flow = make_flow("skipping")
        flow.step(name="charge")(lambda: Skip("s3cret"))
        run = flow.start()
        testing.run_until_idle()
        step, event = run.run.step_runs.get(), Event.objects.get(run_id=run.id, type="step.skipped")
        for url in (list_of("steprun"), page_of("steprun", step.pk), page_of("event", event.pk)):
            assert "s3cret" not in looker.get(url).text
        for url in (page_of("steprun", step.pk), page_of("event", event.pk)):
            assert "s3cret" in staff.get(url).text

    def test_who_paused_a_run_and_why_is_shown(self, looker, story):
        story.live.pause(reason="stock-taking", by="ann")
        event = Event.objects.get(run_id=story.live.id, type="run.paused")
        body = text_of(looker.get(page_of("event", event.pk)))
        assert "stock-taking" in body
        assert "ann" in body

    def test_an_operator_sees_them(self, staff, story):
        text = text_of(staff.get(page_of("run", story.failed.id)))
        assert '"secret": "s3cret"' in text
        assert EVIL in unescape(staff.get(page_of("attempt", story.rows["attempt"].pk)).content.decode())
        assert EVIL.replace('"', '\\"') in unescape(staff.get(page_of("task", story.rows["task"].pk)).content.decode())

    def test_the_class_of_an_error_is_shown_to_all(self, looker, story):
        assert "RuntimeError" in text_of(looker.get(page_of("run", story.failed.id)))
        assert "RuntimeError in each" in text_of(looker.get(list_of("run")))
        assert "RuntimeError" in text_of(looker.get(list_of("deadletter")))

    @pytest.mark.parametrize(
        "query",
        [
            "input__secret=s3cret",
            "error__message__startswith=x",
            "started_by=ann",
            "flow__draft__a=1",
            "labels__team=a",
        ],
    )
    def test_payloads_cannot_be_asked_through_addresses(self, looker, story, query):
        assert looker.get(f"{list_of('run')}?{query}").status_code == 400
        assert looker.get(f"{list_of('task')}?run__{query}").status_code == 400


class TestRules:
    @pytest.fixture
    def hidden(self, story, settings):
        """A rule that hides the story's flow."""
        slug = story.flow.slug
        settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": lambda user, permission, flow: flow.slug != slug}
        return story

    @pytest.mark.parametrize("name", sorted(set(NAMES) - {"queue", "worker"}))
    def test_rows_of_hidden_flows_are_invisible(self, staff, hidden, name):
        key = hidden.rows[name].pk
        listed = staff.get(list_of(name)).content.decode()
        assert page_of(name, key) not in listed
        assert hidden.flow.slug not in listed
        page = staff.get(page_of(name, key))
        assert page.status_code == 302
        assert page.url == reverse("admin:index")
        assert staff.get(reverse(f"admin:django_workflow_{name}_history", args=[key])).status_code == 302

    def test_a_permission_that_a_rule_takes_away_takes_the_buttons(self, staff, story, settings):
        settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": lambda user, permission, flow: permission == VIEW}
        body = staff.get(page_of("run", story.live.id)).content.decode()
        assert "/actions/cancel/" not in body
        assert MASKED in body


class TestButtons:
    def test_buttons_lead_to_the_confirmation_and_back(self, staff, story):
        page = page_of("run", story.live.id)
        body = unescape(staff.get(page).content.decode())
        url = re.search(r'href="([^"]+/actions/cancel/\?next=[^"]+)"', body)[1]
        assert staff.get(url).status_code == 200
        answer = staff.post(url, {"confirm": "yes", "next": page, "reason": "from the admin"})
        assert answer.url == page
        assert story.live.status == "cancelled"
        assert "Cancelled: from the admin" in text_of(
            staff.get(reverse("admin:django_workflow_run_history", args=[story.live.id]))
        )

    def test_pages_link_the_live_pages_and_lists_of_their_parts(self, staff, story):
        body = unescape(staff.get(page_of("run", story.failed.id)).content.decode())
        assert reverse("django_workflow:run", args=[story.failed.id]) in body
        for name in ("steprun", "task", "attempt", "event"):
            assert list_of(name, run=story.failed.id) in body
        assert (
            page_of("run", story.failed.id)
            in staff.get(reverse("django_workflow:run", args=[story.failed.id])).content.decode()
        )
        assert reverse("django_workflow:board") in staff.get(list_of("run")).content.decode()
        assert (
            reverse("django_workflow:board")
            in staff.get(reverse("admin:app_list", args=["django_workflow"])).content.decode()
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("flowdefinition", ["start", "actions/pause"]),
            ("queue", ["actions/pause"]),
            ("deadletter", ["retry", "dismiss"]),
        ],
    )
    def test_flows_queues_and_letters_have_buttons(self, staff, looker, story, name, expected):
        body = staff.get(page_of(name, story.rows[name].pk)).content.decode()
        for part in expected:
            assert f"/{part}/?" in body
        body = looker.get(page_of(name, story.rows[name].pk)).content.decode()
        for part in expected:
            assert f"/{part}/?" not in body

    def test_pauses_are_seen(self, staff, story):
        pause_flow(story.flow.slug, reason="why not")
        pause_queue("default", reason="why so")
        assert "paused" in text_of(staff.get(list_of("flowdefinition")))
        assert "why so" in text_of(staff.get(list_of("queue")))

    def test_without_live_pages_there_are_no_buttons(self, staff, story, settings):
        settings.ROOT_URLCONF = "tests.admin.urls"
        body = staff.get(page_of("run", story.live.id)).content.decode()
        assert "/actions/cancel/" not in body
        assert staff.get(list_of("run")).status_code == 200
        assert staff.get(reverse("admin:app_list", args=["django_workflow"])).status_code == 200


class TestFinding:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"status": "failed"}, "failed"),
            ({"status": "running"}, "live"),
            ({"status": "paused"}, ""),
            ({"q": "team=a"}, "failed"),
            ({"q": "team=b"}, ""),
            ({"q": "key-1"}, "failed"),
            ({"q": "nothing like this"}, ""),
            ({"within": "hour"}, "failed live"),
            ({"within": "hour", "status": "running"}, "live"),
            ({"flow": "nowhere"}, ""),
        ],
    )
    def test_runs(self, staff, story, query, found):
        body = staff.get(list_of("run", **query)).content.decode()
        for name in ("failed", "live"):
            assert (page_of("run", getattr(story, name).id) in body) == (name in found), name

    def test_runs_by_flow_and_id(self, staff, story):
        body = staff.get(list_of("run", flow=story.flow.slug)).content.decode()
        assert page_of("run", story.failed.id) in body
        for part in (str(story.live.id), str(story.live.id)[:23].upper()):
            body = staff.get(list_of("run", q=part)).content.decode()
            assert page_of("run", story.live.id) in body

    @pytest.mark.parametrize("name", ["steprun", "task", "attempt", "event"])
    def test_parts_of_a_run(self, staff, story, name):
        key = story.rows[name].pk
        for query in ({"run": story.failed.id}, {"q": str(story.failed.id)}):
            assert page_of(name, key) in staff.get(list_of(name, **query)).content.decode()
        for query in ({"run": story.live.id}, {"run": "no id"}, {"q": "xyz"}, {"q": str(story.live.id)}):
            assert page_of(name, key) not in staff.get(list_of(name, **query)).content.decode()

    def test_statuses_within_a_run_only(self, staff, story):
        body = staff.get(list_of("task", run=story.failed.id, status="failed")).content.decode()
        assert page_of("task", story.rows["task"].pk) in body
        body = staff.get(list_of("task", run=story.failed.id, status="succeeded")).content.decode()
        assert page_of("task", story.rows["task"].pk) not in body
        assert "By status" not in staff.get(list_of("task")).content.decode()

    def test_letters_of_a_flow(self, staff, story):
        key = page_of("deadletter", story.rows["deadletter"].pk)
        assert key in staff.get(list_of("deadletter", flow=story.flow.slug)).content.decode()
        story.failed.retry()
        assert key not in staff.get(list_of("deadletter")).content.decode()


class TestCosts:
    def test_lists_cost_few_statements_however_long(self, staff, story):
        def statements_of(name):
            with CaptureQueriesContext(connection) as queries:
                assert staff.get(list_of(name)).status_code == 200, name
            return [query["sql"] for query in queries if not re.search("auth_|django_session", query["sql"])]

        def statements():
            return {name: statements_of(name) for name in NAMES}

        statements()  # what is read once only
        before = statements()
        for _ in range(3):
            story.flow.start({"items": [1, 2]})
        testing.run_until_idle()
        for name, after in statements().items():
            assert len(after) == len(before[name]) <= 4, after
            counts = [sql for sql in after if "COUNT(" in sql]
            assert all("LIMIT" in sql for sql in counts), counts

    def test_lists_leave_payloads_in_the_database(self, staff, story):
        with CaptureQueriesContext(connection) as queries:
            for name in NAMES:
                staff.get(list_of(name))
        for query in queries:
            for column in ('_run"."input"', '"item"', '"output"', '"traceback"', '"spec"', '"draft"'):
                assert f"{column}," not in query["sql"]

    def test_what_is_counted_is_bounded(self, staff, story, monkeypatch):
        monkeypatch.setattr(BoundedPaginator, "most", 1)
        text = text_of(staff.get(list_of("run")))
        assert "These are the first 1." in text


def test_strangers_and_those_who_are_no_staff_are_kept_out(client_of, stranger, viewer, story):
    stranger.is_staff = True
    stranger.save()
    for name in NAMES:
        for url in (list_of(name), page_of(name, story.rows[name].pk)):
            assert client_of(stranger).get(url).status_code == 403
            assert client_of(viewer).get(url).status_code == 302  # to the login
            assert client_of().get(url).status_code == 302
    assert "Workflows" not in text_of(client_of(stranger).get(reverse("admin:index")))


def test_permissions_without_view_open_nothing(client_of, story):
    blind = user_with("blind", [name for name in PERMISSIONS if name != VIEW])
    blind.is_staff = True
    blind.save()
    for name in NAMES:
        assert client_of(blind).get(list_of(name)).status_code == 403


def test_a_get_of_any_page_changes_nothing(staff, story):
    before = [list(model.objects.order_by("pk").values()) for model in (Run, StepRun, Task, Event)]
    for name in NAMES:
        staff.get(list_of(name))
        staff.get(page_of(name, story.rows[name].pk))
    assert before == [list(model.objects.order_by("pk").values()) for model in (Run, StepRun, Task, Event)]


def test_an_address_with_a_nul_is_answered(looker, story):
    looker.raise_request_exception = False
    queries = [f"?{name}=%00" for name in ("status", "flow", "run", "within", "q", "id")]
    queries += ["?q=a%3D%00", f"?run={story.failed.id}&status=%00"]
    urls = [list_of(name) + query for name in NAMES for query in queries]
    urls += [page_of(name, "x").replace("/x/", "/%00/") for name in NAMES]
    assert [url for url in urls if looker.get(url).status_code >= 500] == []
