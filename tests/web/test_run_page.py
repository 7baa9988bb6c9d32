"""The run page: what it shows, to whom."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from uuid import uuid4

import pytest

from django_workflow import Skip, pause, pause_flow, testing
from django_workflow.models import Run, StepRun, Task, TaskLog
from django_workflow.read.run import results
from django_workflow.statuses import SKIP_REASONS
from django_workflow.web.run import payloads
from tests.web.ids import raise_ids
from tests.web.markup import read
from tests.web.pages import shown_runs
from tests.web.stories import ONCE, order_flow, rich_run

MASKED = "hidden: needs the permission to view payloads"


@pytest.fixture
def see(client_of, operator):
    """Open the page of a run and read its markup."""

    def open_page(handle, query="", user=None):
        response = client_of(user or operator).get(f"/workflow/runs/{handle.id}/{query}")
        assert response.status_code == 200
        return read(response.text)

    return open_page


@pytest.fixture
def rich(make_flow, db):
    return rich_run(make_flow)


def machine_read(response):
    """Return the tags of a page without what is told to people, and without what differs each time."""
    tags = re.findall(
        r"<[a-z][^>]*>", re.sub(r'(aria-label|title|data-since|name="csrf[^"]*" value)="[^"]*"', "", response.text)
    )
    return [tag for tag in tags if not tag.startswith("<html")]


@pytest.mark.parametrize("language", ["en-us", "de"])
@pytest.mark.parametrize("path", ["", "?step=pack&activation={step}&task={task}", "?step=charge&task={first}"])
def test_what_forms_and_scripts_read_is_the_same_in_every_language(
    make_flow, client_of, operator, settings, path, language
):
    for table in ("task", "steprun"):
        raise_ids(table, 5_100_500)
    handle = rich_run(make_flow, items=60)
    task = Task.objects.of_run(handle.id).filter(step_run__step="pack").last()
    first = Task.objects.of_run(handle.id).get(step_run__step="charge")
    url = f"/workflow/runs/{handle.id}/" + path.format(step=task.step_run_id, task=task.pk, first=first.pk)
    client = client_of(operator)
    plain = machine_read(client.get(url))
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = language
    assert machine_read(client.get(url)) == plain


def section(page, name):
    return page.one("section", data_fragment=name)


def test_head_tells_what_who_and_when(rich, see):
    head = section(see(rich), "head")
    assert head.one("h1").text == "Order 7 of Ann"
    assert head.one(css="status").text == "succeeded"
    facts = {item.one("dt").text: item.one("dd").text for item in head.one("dl").all("div")}
    assert facts["By"] == "shop"
    assert facts["Id"] == str(rich.id)
    assert "customer ann" in head.text
    assert "Order fulfilment" in head.one(css="crumbs").text


def test_parts_are_fragments_with_headings_in_order(rich, see):
    page = see(rich, "?step=pack&item=3")
    names = [item.attributes["data-fragment"] for item in page.all("section") if "data-fragment" in item.attributes]
    assert names == ["head", "notices", "data", "graph", "steps", "task", "timeline", "events"]
    levels = [int(item.tag[1]) for item in page.all() if item.tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [item.attributes["id"] for item in page.all() if "id" in item.attributes]
    assert len(ids) == len(set(ids))


def test_socket_of_the_run_is_named(rich, see):
    assert see(rich).one("main").attributes["data-live"] == f"ws/workflow/runs/{rich.id}/"


def test_every_header_of_a_table_has_a_scope_and_every_field_a_label(rich, see):
    page = see(rich, "?step=pack")
    assert all(cell.attributes.get("scope") in ("col", "row") for cell in page.all("th"))
    labels = {label.attributes["for"] for label in page.all("label")}
    for field in [*page.all("select"), *page.all("progress")]:
        assert field.attributes["id"] in labels


def test_progress_counts_tasks(rich, see):
    bar = section(see(rich), "head").one("progress")
    assert (bar.attributes["value"], bar.attributes["max"]) == ("18", "18")
    assert "1 failed" in section(see(rich), "head").text


def test_a_running_run_has_tasks_to_come(flow, see, db):
    flow.map(name="each", over="input")(lambda item: item)
    flow.step(name="after")(lambda each: each)
    handle = flow.start([1, 2, 3])
    bar = section(see(handle), "head").one("progress")
    assert (bar.attributes["value"], bar.attributes["max"]) == ("0", "4")


def test_failed_run_shows_where_and_why(flow, see, db):
    @flow.step(retry=ONCE)
    def charge():
        raise ConnectionError("the bank is closed")

    handle = flow.start()
    testing.run_until_idle()
    notice = section(see(handle), "notices")
    assert "Failed at charge: ConnectionError" in notice.text
    assert "the bank is closed" in notice.text
    assert notice.one("a").attributes["href"] == "?step=charge#task"


def test_paused_run_tells_by_whom_and_that_running_tasks_finish(make_flow, see, db):
    handle = order_flow(make_flow).start({"items": []})
    pause(handle, reason="stocktaking", by="ann")
    notice = section(see(handle), "notices").text
    assert notice.startswith("Paused by ann since ")
    assert "stocktaking." in notice
    assert "nothing new starts" in notice


def test_run_paused_with_its_flow_names_the_flow(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    pause_flow(flow.slug, reason="maintenance", by="bob")
    assert f"Paused with flow {flow.slug} by bob" in section(see(handle), "notices").text


def test_cancelled_run_tells_by_whom_and_why(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    handle.cancel(reason="ordered twice", by="ann")
    notice = section(see(handle), "notices").text
    assert notice.startswith("Cancelled by ann at ")
    assert notice.endswith(": ordered twice.")


def test_run_past_its_deadline_says_so(make_flow, see, db):
    flow = make_flow(max_duration=timedelta(minutes=1))
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    testing.advance(timedelta(minutes=2))
    assert section(see(handle), "notices").text.startswith("Timed out at ")


def test_scheduled_run_tells_when_it_starts(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start(delay=timedelta(hours=2))
    page = see(handle)
    assert "Starts " in section(page, "notices").text
    assert "Nothing has run yet" in section(page, "timeline").text


def test_retries_are_linked_both_ways(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    again = handle.retry("all", by="ann", reason="once more")
    assert f"/workflow/runs/{again.id}/" in [a.attributes["href"] for a in section(see(handle), "head").all("a")]
    page = see(again)
    assert f"/workflow/runs/{handle.id}/" in [a.attributes["href"] for a in section(page, "head").all("a")]
    assert f"ann retried all of run {str(handle.id)[-12:]}: once more" in section(page, "events").text


def test_carried_steps_are_told(flow, see, db):
    flow.step(name="first")(lambda: 1)
    broken = [True]

    @flow.step(retry=ONCE)
    def second(first):
        if broken:
            raise ValueError

    handle = flow.start()
    testing.run_until_idle()
    again = handle.retry()
    page = see(again)
    assert "carried over" in section(page, "steps").text
    assert "carried over" in section(page, "timeline").text


def test_local_run_has_a_page(flow, see, db):
    flow.step(name="only")(lambda: {"answer": 42})
    result = flow.execute()
    page = see(result.run)
    assert "in the calling process" in section(page, "head").text
    assert '"answer": 42' in section(page, "data").text


def test_only_actions_the_viewer_may_do_are_there(flow, see, viewer, operator, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()

    def actions(user):
        return {
            a.attributes["data-action"]
            for a in see(handle, "?step=only", user).all("a")
            if "data-action" in a.attributes
        }

    assert {"pause", "cancel"} <= actions(operator)
    assert actions(viewer) == set()


def test_unknown_run_and_hidden_flow_are_not_found(flow, client_of, operator, settings, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    client = client_of(operator)
    assert client.get(f"/workflow/runs/{uuid4()}/").status_code == 404
    settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": lambda user, permission, flow: False}
    assert client.get(f"/workflow/runs/{handle.id}/").status_code == 404


def test_stranger_and_anonymous_are_refused(flow, client_of, stranger, settings, db):
    settings.LOGIN_URL = "/log-in/"
    flow.step(name="only")(lambda: 1)
    url = f"/workflow/runs/{flow.start().id}/"
    assert client_of(stranger).get(url).status_code == 403
    assert client_of().get(url).status_code == 302


def test_page_only_reads(flow, client_of, operator, db):
    flow.step(name="only")(lambda: 1)
    assert client_of(operator).post(f"/workflow/runs/{flow.start().id}/").status_code == 405


# the task panel


def test_panel_of_a_step_shows_history_attempts_input_and_output(rich, see):
    panel = section(see(rich, "?step=charge"), "task")
    assert panel.one("h2").text == "charge"
    assert "attempt 1 failed: ConnectionError" in panel.text
    assert "attempt 3 succeeded" in panel.text
    attempts = panel.all("details", css="attempt")
    assert [item.one(css="attempt-number").text for item in attempts] == ["#1", "#2"]
    assert "the card provider is busy" in attempts[0].text
    assert "Traceback" in attempts[0].one("pre", css="traceback").text
    assert '"receipt": "r-17"' in panel.text
    assert "output of reserve" in panel.text


def test_the_fingerprint_of_an_attempt_leads_to_all_runs_with_its_error(rich, see, client_of, operator):
    attempts = section(see(rich, "?step=charge"), "task").all("details", css="attempt")
    (told,) = {item.one("a").attributes["href"] for item in attempts}
    assert shown_runs(client_of(operator).get(told)) == [str(rich.id)]
    assert shown_runs(client_of(operator).get(told[:-1])) == []


def test_items_of_a_map_come_failures_first_and_can_be_narrowed(rich, see):
    def rows(query):
        table = section(see(rich, query), "task").one("table")
        return [row.one("th").text for row in table.one("tbody").all("tr")]

    assert rows("?step=pack") == ["3", "0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11"]
    assert rows("?step=pack&status=failed") == ["3"]
    assert "3" not in rows("?step=pack&status=succeeded")


def test_items_are_paged(flow, see, db):
    flow.map(name="each", count=120)(lambda index: index)
    handle = flow.start()
    testing.run_until_idle()

    def rows(query):
        panel = section(see(handle, query), "task")
        items = [row.one("th").text for row in panel.one("table").one("tbody").all("tr")]
        return items, [a.text for a in panel.all("nav", css="pager")[0].all("a")]

    assert rows("?step=each") == ([str(n) for n in range(50)], ["Next"])
    assert rows("?step=each&page=2") == ([str(n) for n in range(50, 100)], ["Previous", "Next"])
    assert rows("?step=each&page=3") == ([str(n) for n in range(100, 120)], ["Previous"])


def test_a_page_of_items_beyond_the_last_is_empty(rich, see):
    assert "No items" in section(see(rich, "?step=pack&page=99999999999"), "task").text


def test_item_shows_its_value_error_and_logs(rich, see):
    panel = section(see(rich, "?step=pack&item=3"), "task")
    assert "pack / item 3" in panel.one("h2").text
    assert '"broken"' in panel.text
    assert "item is broken" in panel.text


def test_task_is_found_by_its_id_too(rich, see):
    task = Task.objects.get(step_run__run_id=rich.id, step_run__step="pack", index=3)
    assert "item 3" in section(see(rich, f"?task={task.pk}"), "task").one("h2").text


def test_task_of_another_run_is_not_shown(rich, see, flow):
    flow.step(name="only")(lambda: 1)
    other = flow.start()
    task = Task.objects.get(run_id=other.id)
    assert section(see(rich, f"?task={task.pk}"), "task").text == ""


@pytest.mark.parametrize(
    "query",
    ["?step=nosuch", "?step=pack&item=99999", "?step=pack&item=9999999999999", "?task=99999999999999999999", "?task=x",
     "?step=charge&item=-5", "?page=-1&status=odd&kind=odd&before=x", "?before=99999999999&lines=1", "?of=nosuch",
     "?step=%00&of=%00"],
)  # fmt: skip
def test_odd_addresses_are_harmless(rich, see, query):
    see(rich, query)


def test_newest_log_lines_are_shown_and_older_ones_linked(rich, see):
    task = Task.objects.get(step_run__run_id=rich.id, step_run__step="charge")
    TaskLog.objects.bulk_create(
        TaskLog(
            run_id=rich.id, task=task, attempt=1, level=20, created_at=task.created_at, logger="x", message=f"line {n}"
        )
        for n in range(450)
    )
    panel = section(see(rich, "?step=charge"), "task")
    assert "line 449" in panel.text
    assert "line 249" not in panel.text
    older = next(a for a in panel.all("a") if a.text == "Older lines").attributes["href"].partition("#")[0]
    panel = section(see(rich, older), "task")
    assert "line 249" in panel.text
    assert "line 449" not in panel.text


def test_what_an_operator_gave_is_told(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    handle.complete_step("only", {"by": "hand"}, reason="the machine is broken", by="ann")
    page = see(handle, "?step=only")
    assert "given by an operator" in section(page, "task").text
    assert "ann completed only: the machine is broken" in section(page, "events").text
    assert '"by": "hand"' in section(page, "data").text


def test_later_pass_of_a_loop_is_shown_with_the_count(flow, see, db):
    flow.step(name="probe")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    StepRun.objects.create(run_id=handle.id, step="probe", iteration=2, status="running", task_count=1, open_tasks=1)
    page = see(handle, "?step=probe")
    assert "×2" in section(page, "graph").text
    assert "×2" in section(page, "steps").text
    assert "pass 2 of 2" in section(page, "task").text


# what the viewer may see


def test_viewer_sees_the_course_and_no_payload(rich, see, viewer):
    page = see(rich, "?step=pack&item=3", viewer)
    text = page.text
    for secret in ("broken", "r-17", '"item', "item is", "packing", '"mails"', "busy"):
        assert secret not in text, secret
    assert MASKED in section(page, "data").text
    assert MASKED in section(page, "task").text
    assert "hidden: needs the permission to view logs" in section(page, "task").text
    assert "ValueError" in section(page, "task").text
    assert "stock_checked" in section(page, "events").text


def test_viewer_sees_the_class_of_an_error_and_not_its_message(flow, see, viewer, db):
    @flow.step(retry=ONCE)
    def charge():
        raise ValueError("card 4711")

    handle = flow.start()
    testing.run_until_idle()
    page = see(handle, "?step=charge", viewer)
    assert "4711" not in page.text
    assert "ValueError" in section(page, "notices").text
    assert MASKED in section(page, "notices").text


def test_what_a_handler_says_when_it_skips_needs_the_permission_to_view_payloads(flow, see, viewer, operator, db):
    @flow.step
    def charge():
        return Skip("card 4711 is blocked")

    handle = flow.start()
    testing.run_until_idle()
    for query in ("", "?step=charge", "?kind=step"):
        assert "4711" not in see(handle, query, viewer).text
        assert "4711" in see(handle, query, operator).text
    assert "needs the permission to view payloads" in section(see(handle, "", viewer), "steps").text


@pytest.mark.parametrize("word", SKIP_REASONS)
def test_a_handler_that_says_a_word_of_the_engine_is_not_taken_for_it(flow, see, viewer, operator, word, db):
    flow.step(name="charge")(lambda: Skip(word))
    handle = flow.start()
    testing.run_until_idle()
    step = StepRun.objects.get(run=handle.id)
    assert (step.reason, step.message) == ("handler", word)
    assert word in section(see(handle, "", operator), "steps").text
    page = see(handle, "", viewer)
    assert "hidden" in section(page, "steps").text
    assert "Somebody skipped" not in section(page, "events").text


def test_of_a_handler_that_skips_without_a_word_nothing_is_hidden(flow, see, viewer, db):
    flow.step(name="charge")(lambda: Skip(""))
    handle = flow.start()
    testing.run_until_idle()
    assert StepRun.objects.get(run=handle.id).reason == "handler"
    for part in ("steps", "events"):
        assert "hidden" not in section(see(handle, "", viewer), part).text


def test_the_engines_reasons_for_a_skip_are_shown_to_all(flow, see, viewer, db):
    flow.step(name="first", when="input == 1")(lambda: 1)
    handle = flow.start(2)
    testing.run_until_idle()
    assert "Its condition was not met." in section(see(handle, "", viewer), "steps").text


# size


def test_large_values_are_cut_and_shown_whole_on_demand(flow, see, db):
    flow.step(name="only")(lambda: "y" * 30_000)
    handle = flow.start("x" * 30_000)
    testing.run_until_idle()
    data = section(see(handle), "data")
    assert len(data.text) < 15_000
    assert "of 30,002 characters" in data.text
    assert "x" * 30_000 in section(see(handle, "?whole=input"), "data").text
    assert "y" * 30_000 in section(see(handle, "?whole=output"), "data").text


def test_output_of_a_large_map_is_a_part_of_it(flow, see, db):
    flow.map(name="each", count=200)(lambda index: index * 1000)
    handle = flow.start()
    testing.run_until_idle()
    data = section(see(handle), "data")
    assert "19000" in data.text
    assert "20000" not in data.text
    assert "180 more items" in data.text


def test_of_many_long_items_no_more_is_read_than_is_shown(flow, see, db, monkeypatch):
    monkeypatch.setattr(payloads, "LONG", 50_000)
    flow.map(name="each", count=30)(lambda index: "x" * 20_000)
    handle = flow.start()
    testing.run_until_idle()
    read = []
    rows = results.db.rows
    monkeypatch.setattr(results.db, "rows", lambda *args: read.extend(found := rows(*args)) or found)
    data = section(see(handle, "?whole=output"), "data")
    assert sum(len(row[2]) for row in read if row[0] == "each" and len(row) == 4) == 50_000
    assert "27 more items, listed with the step" in data.text


def test_version_that_cannot_be_read_leaves_a_page(flow, see, db, monkeypatch):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    monkeypatch.setattr("django_workflow.engine.stored.versions.spec_of", lambda version_id: {}["steps"])
    page = see(handle)
    assert "No graph" in section(page, "graph").text
    assert "The run started" in section(page, "events").text


def test_run_without_a_title_has_a_name(flow, see, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    assert section(see(handle), "head").one("h1").text == str(Run.objects.select_related("flow").get(pk=handle.id))
