"""Pages of runs whose steps run more than once: loops, splits with scopes, joins, conditions, commands."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import Retry, To, When, permissions
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Run, StepRun
from django_workflow.worker.local import perform
from tests.web.conftest import user_with
from tests.web.loops import ONCE, finished, split_flow, triangle_flow, turned, watch_flow
from tests.web.markup import read
from tests.web.pages import statements, text_of

pytestmark = pytest.mark.slow


@pytest.fixture
def see(client_of, operator):
    client = client_of(operator)
    return lambda handle, query="": read(client.get(f"/workflow/runs/{handle.id}/{query}").text)


def node(page, name):
    return page.one("a", css="node", data_node=name)


def state(page, name):
    return node(page, name).one(css="node-state").text


def pills(page, name):
    return [pill.text for pill in node(page, name).all("g", css="pill")]


def edges(page):
    """What each edge says to who rests on it, with what its label says besides."""
    return {edge.one("title").text: edge.classes for edge in page.one(css="edges").all("path")}


def labels(page):
    return [label.text.removeprefix(label.one("title").text) for label in page.all("text", css="edge-label")]


def leads_to(page, name):
    table = page.one("section", data_fragment="steps").one("table")
    row = next(row for row in table.one("tbody").all("tr") if row.one("th").text.split()[0] == name)
    return [item.text for item in row.all("td")[-1].all("li")]


def passes(page):
    return [row.one("th").text for row in page.one("table", css="passes-table").one("tbody").all("tr")]


def ran(row):
    """The bars of a row of the timeline that tell what ran."""
    return [bar for bar in row.all("rect", css="bar") if "bar-waiting" not in bar.attributes["class"]]


def link(page, text):
    """Where a link of the panel leads, behind the run's address."""
    return next(item for item in page.one("section", id="task").all("a") if item.text == text).attributes["href"]


def work(count=1):
    """Do so many rounds: claim what can be claimed, and settle it."""
    for _ in range(count):
        settle([perform(task) for task in claim.claim("default", 10, slots=10, lease=60.0)])


class TestGraph:
    def test_edges_tell_conditions_and_how_often_they_were_taken(self, make_flow, see, db):
        page = see(finished(watch_flow(make_flow)))
        assert edges(page) == {
            "probe to report, taken, if result.number >= 5": ["edge", "edge-taken"],
            "probe to probe, taken 4 times, otherwise": ["edge", "edge-taken", "edge-back"],
        }
        assert labels(page) == ["if result.number >= 5", "otherwise×4"]

    def test_the_same_is_told_without_the_picture(self, make_flow, see, db):
        page = see(finished(watch_flow(make_flow)))
        told = [
            "report if result.number >= 5 (taken)",
            "probe otherwise (taken 4 times)",
            "fail (the run fails, if result.number < 0)",
            "noop (the branch ends, on failed)",
        ]
        assert leads_to(page, "probe") == told
        assert f"leads to {', '.join(told)}" in node(page, "probe").attributes["aria-label"]

    def test_ways_not_taken_are_dim(self, make_flow, see, db):
        watch_flow(make_flow, ready=9).start()
        handle = Run.objects.get()
        work(3)
        assert edges(see(handle))["probe to report, if result.number >= 9"] == ["edge", "edge-dim"]

    def test_commands_are_marks_at_their_step(self, make_flow, see, db):
        page = see(finished(watch_flow(make_flow)))
        assert [mark.one(css="node-condition").text for mark in node(page, "probe").all("g", css="node-mark")] == [
            "fail: if result.number < 0",
            "noop: on failed",
        ]
        assert {item.attributes["data-node"] for item in page.all("a", css="node")} == {"probe", "report"}

    def test_the_command_retry_is_counted_at_its_mark(self, flow, see, db):
        flow.step(name="dig", next=[When("iteration < 3", to="retry")])(lambda: 1)
        page = see(finished(flow))
        mark = node(page, "dig").one("g", css="node-mark-retry")
        assert mark.one(css="edge-count").text == "×2"
        assert pills(page, "dig") == ["×3"]

    def test_several_transitions_between_two_steps_are_one_edge(self, make_flow, see, db):
        page = see(finished(triangle_flow(make_flow, 20)))
        between = [text for text in edges(page) if text.startswith("review to revise")]
        conditions = "if iteration < 20 and iteration % 2 == 0; or if iteration < 20 and iteration % 2 == 1"
        assert between == [f"review to revise, taken 19 times, {conditions}"]
        assert "if iteration < 20 and… +1×19" in labels(page)

    def test_delays_outcomes_and_named_entries_are_told(self, flow, see, db):
        flow = type(flow)(f"{flow.slug}_named", entry=["second"])
        flow.step(name="first", next=[To("second", on="always", delay=timedelta(minutes=5))])(lambda: 1)
        flow.step(name="second", next=[When("iteration > 1", to="first")])(lambda: 1)
        page = see(flow.start())
        assert "first to second, always, after 5 min" in edges(page)
        assert pills(page, "second") == ["start"]
        assert pills(page, "first") == []


class TestLoopOfManyPasses:
    @pytest.fixture
    def handle(self, make_flow, db):
        return finished(triangle_flow(make_flow, 60))

    def test_node_and_edges_count(self, make_flow, see, db):
        page = see(finished(triangle_flow(make_flow, 300)))
        assert pills(page, "review") == ["×300"]
        assert "activated 300 times" in node(page, "review").attributes["aria-label"]
        assert "revise to draft, taken 299 times" in edges(page)
        assert "900 of 900 tasks" in page.one("section", data_fragment="head").text

    def test_a_running_loop_tells_its_pass_and_no_percentage(self, make_flow, see, db):
        handle = watch_flow(make_flow, ready=100).start()
        work(6)
        page = see(handle)
        assert state(page, "probe") == "queued · pass 7"
        assert "6 tasks done" in page.one("section", data_fragment="head").text
        assert not page.all("progress", id="run-progress")

    def test_passes_are_turned_over_newest_first(self, handle, see):
        page = see(handle, "?step=review")
        assert passes(page) == [str(number) for number in range(60, 50, -1)]
        older = see(handle, link(page, "Older"))
        assert passes(older) == [str(number) for number in range(50, 40, -1)]
        assert passes(see(handle, link(older, "Newer"))) == passes(page)
        assert passes(see(handle, "?step=review&turns=6"))[-1] == "1"
        assert not see(handle, "?step=review&turns=7").all("table", css="passes-table")

    def test_one_pass_tells_where_it_came_from_and_what_it_led_to(self, handle, see):
        page = see(handle, link(see(handle, "?step=review&turns=3"), "35"))
        assert "pass 35 of 60" in page.one("section", id="task").text
        led_by, leads = page.one("div", id="passes").all("ul", css="neighbours")
        assert led_by.text == "draft pass 35 succeeded"
        assert leads.text == "revise pass 35 succeeded"
        source = see(handle, led_by.one("a").attributes["href"])
        assert source.one("h2", id="task-title").text == "draft"
        assert "pass 35 of 60" in source.one("section", id="task").text
        assert link(page, "follow the newest") == "?step=review#task"

    def test_a_pass_gone_by_shows_its_own_task_and_no_button(self, handle, see):
        page = see(handle, link(see(handle, "?step=draft&turns=2"), "48"))
        panel = page.one("section", id="task")
        assert panel.one("pre", css="value").text == "48"
        assert not panel.all("a", data_action="retry")

    def test_a_task_of_a_pass_gone_by_is_shown_with_it(self, handle, see):
        task = StepRun.objects.get(run_id=handle.id, step="draft", iteration=7).tasks.get()
        panel = see(handle, f"?task={task.pk}").one("section", id="task")
        assert "pass 7 of 60" in panel.text
        assert panel.one("pre", css="value").text == "7"

    def test_the_timeline_has_a_bar_for_the_newest_passes_and_one_for_the_others(self, handle, see):
        section = see(handle).one("section", data_fragment="timeline")
        row = next(row for row in section.one("tbody").all("tr") if row.one("th").one("a").text == "review")
        bars = ran(row)
        assert len(bars) == 41
        assert bars[0].one("title").text == "20 earlier passes"
        assert bars[-1].one("title").text.startswith("pass 60 succeeded after")
        assert "the newest 40 have bars of their own" in section.text

    def test_events_are_a_page(self, handle, see):
        section = see(handle).one("section", data_fragment="events")
        assert len(section.one("ol", css="story").all("li")) == 80
        assert "review started, pass 60" in section.text


class TestJoinLeftOver:
    """A loop of 90 passes reaches a join each time, another one of 31 only so often: the join fires 31 times."""

    @pytest.fixture
    def handle(self, make_flow, db):
        flow = make_flow("uneven", entry=["often", "seldom"])
        flow.step(name="often", next=["meet", When("iteration < 90", to="often")])(lambda: 1)
        flow.step(name="seldom", next=["meet", When("iteration < 31", to="seldom")])(lambda: 1)
        flow.step(name="meet", join="all")(lambda: 1)
        return finished(flow)

    def test_what_never_began_is_no_pass_and_no_task(self, handle, see):
        page = see(handle, "?step=meet")
        assert pills(page, "meet") == ["all", "×31"]
        assert "activated 31 times" in node(page, "meet").attributes["aria-label"]
        assert "152 of 152 tasks" in page.one("section", data_fragment="head").text
        assert "31 passes, 59 more left waiting" in page.one("section", id="task").text
        assert passes(page)[0] == "31"

    def test_the_timeline_has_a_bar_for_each_that_began(self, handle, see):
        section = see(handle).one("section", data_fragment="timeline")
        row = next(row for row in section.one("tbody").all("tr") if row.one("th").one("a").text == "meet")
        assert len(ran(row)) == 31
        assert row.one("th").one("span", css="kind").text == "×31"

    def test_one_of_them_can_still_be_looked_at(self, handle, see):
        left = StepRun.objects.get(run_id=handle.id, step="meet", iteration=90)
        panel = see(handle, f"?step=meet&activation={left.pk}").one("section", id="task")
        assert "pass 90; 31 in all" in panel.text


class TestFailuresOfOtherPasses:
    def test_a_map_in_two_scopes_counts_all_its_items(self, make_flow, see, db):
        flow = make_flow("scoped", entry=["bad", "good"])
        flow.step(name="bad", next=[To("take", publish={"items": "[0, 0, 0, 1, 1]"})])(lambda: 1)
        flow.step(name="good", next=[To("take", publish={"items": "[1, 1, 1, 1, 1]"})])(lambda: 1)
        flow.step(name="take", next="each")(lambda ctx: ctx.vars["items"])
        flow.map(name="each", over="take", tolerate=5, retry=ONCE)(lambda item: 1 / item)
        page = see(finished(flow))
        assert node(page, "each").one(css="node-failures-text").text == "3 failed"
        assert state(page, "each") == "3 failed · 10/10"
        told = node(page, "each").attributes["aria-label"]
        assert "10 of 10 tasks done; 3 failed; activated 2 times in 2 scopes" in told
        assert "3 failed , 10 of 10" in page.one("section", data_fragment="steps").text.replace("failed,", "failed ,")
        assert "3 failed" in page.one("section", data_fragment="head").text

    def test_a_loop_tells_of_the_passes_that_failed(self, flow, see, db):
        flow.step(
            name="dig", next=[When("iteration < 4", to="dig", on="always")], retry=ONCE
        )(lambda ctx: 1 // (ctx.iteration // 3))  # fmt: skip
        page = see(finished(flow))
        assert state(page, "dig") == "2 failed · succeeded"
        assert "2 failed" in page.one("section", data_fragment="steps").text
        assert "2 failed" in page.one("section", data_fragment="head").text


class TestCost:
    @pytest.fixture
    def cost(self, client_of, operator):
        client = client_of(operator)

        def count(handle, query=""):
            with statements() as own:
                assert client.get(f"/workflow/runs/{handle.id}/{query}").status_code == 200
            return len(own)

        return count

    @pytest.mark.parametrize("query", ["", "?step=probe", "?step=probe&turns=2"])
    def test_a_loop_of_10000_passes_costs_as_many_statements_as_one_of_20(self, query, make_flow, cost, db):
        handle = watch_flow(make_flow).start()
        turned(handle.id, "probe", 20)
        expected = cost(handle, query)
        turned(handle.id, "probe", 10_000)
        assert cost(handle, query) == expected <= 12

    def test_what_comes_of_10000_passes_is_bounded(self, make_flow, client_of, operator, db):
        handle = watch_flow(make_flow).start()
        turned(handle.id, "probe", 10_000)
        client = client_of(operator)
        with CaptureQueriesContext(connection):
            response = client.get(f"/workflow/runs/{handle.id}/?step=probe")
        page = read(response.text)
        assert pills(page, "probe") == ["×10,000"]
        assert "probe to probe, taken 9,999 times, otherwise" in edges(page)
        assert len(response.content) < 100_000


class TestScopes:
    def test_a_split_tells_its_scopes(self, make_flow, see, db):
        page = see(finished(split_flow(make_flow)))
        assert pills(page, "take") == ["×3 · 3 scopes"]
        assert pills(page, "ship") == ["all", "×3 · 3 scopes"]
        assert "mail to take, taken" in edges(page)
        assert "check to ship, taken 3 times" in edges(page)

    def test_a_pass_in_a_scope_tells_it_with_generation_and_sources(self, make_flow, see, db):
        handle = finished(split_flow(make_flow))
        ship = StepRun.objects.filter(run_id=handle.id, step="ship", scope__gt=0).first()
        panel = see(handle, f"?step=ship&activation={ship.pk}").one("section", id="task")
        assert f"pass 1 in scope {ship.scope}; 3 in all" in panel.text
        assert "It is generation 1 of this join in its scope." in panel.text
        led_by = panel.one("div", id="passes").all("ul", css="neighbours")[0]
        assert [item.one("a").text for item in led_by.all("li")] == ["check", "stock"]

    def test_activations_at_once_are_counted(self, make_flow, see, db):
        handle = split_flow(make_flow).start()
        work(1)
        assert state(see(handle), "take").startswith("3 queued")


class TestVariables:
    def test_a_pass_shows_the_variables_it_began_with(self, make_flow, see, db):
        handle = finished(watch_flow(make_flow))
        third = StepRun.objects.get(run_id=handle.id, step="probe", iteration=3)
        panel = see(handle, f"?step=probe&activation={third.pk}").one("section", id="task")
        assert panel.one("details", css="variables").one("pre").text == '{ "seen": 2 }'

    def test_they_are_hidden_without_the_permission_to_view_payloads(self, make_flow, client_of, db):
        handle = finished(split_flow(make_flow))
        client = client_of(user_with("looks", [permissions.VIEW]))
        text = client.get(f"/workflow/runs/{handle.id}/?step=take").text
        assert "Variables" in text
        assert "channel" not in text

    def test_the_declared_output_and_the_final_variables_are_those_of_the_run(self, make_flow, see, db):
        section = see(finished(split_flow(make_flow))).one("section", data_fragment="data")
        assert '"orders":' in section.text
        assert '"channel":' in section.text
        assert "as the flow declares it" in section.text


class TestWaiting:
    def join_flow(self, make_flow):
        flow = make_flow("joining", entry=["left", "middle", "right"])
        flow.step(name="left", next="meet")(lambda: 1)
        flow.step(name="middle", next=[To("meet", delay=timedelta(hours=1))])(lambda: 1)
        flow.step(name="right", next=[When("result == 2", to="meet")], retry=Retry(max_attempts=1))(lambda: 1)
        flow.step(name="meet", join=2)(lambda: 1)
        return flow

    def test_a_join_partly_reached_tells_who_is_there_and_who_is_missing(self, make_flow, see, db):
        handle = self.join_flow(make_flow).start()
        settle([perform(task) for task in claim.claim("default", 1, slots=1, lease=60.0)])
        page = see(handle)
        assert pills(page, "meet") == ["2 of 3"]
        assert state(page, "meet") == "waiting · 1 of 2 there"
        assert "Waits for 1 of middle and right; there: left." in page.one("section", data_fragment="steps").text

    def test_an_arrival_on_its_way_tells_when_it_is_due(self, make_flow, see, db):
        handle = self.join_flow(make_flow).start()
        work(1)
        page = see(handle)
        assert state(page, "meet").startswith("1 of 2 · due ")
        notice = page.one("section", data_fragment="notices").text
        assert "Step meet: waits for middle, which arrives" in notice
        assert "there: left" in notice

    def test_a_delayed_step_tells_when_it_is_due(self, flow, see, db):
        flow.step(name="now", next=[To("later", delay=timedelta(hours=1))])(lambda: 1)
        flow.step(name="later")(lambda: 1)
        page = see(finished(flow))
        assert state(page, "later").startswith("queued · due ")
        assert "Step later: not before" in page.one("section", data_fragment="notices").text

    def test_a_run_that_ends_with_a_join_left_over_tells_so(self, make_flow, see, db):
        flow = make_flow("left_over", entry=["often", "once"])
        flow.step(name="often", next=["meet", When("iteration < 2", to="often")])(lambda: 1)
        flow.step(name="once", next="meet")(lambda: 1)
        flow.step(name="meet", join="all")(lambda: 1)
        handle = finished(flow)
        page = see(handle)
        assert handle.status == "succeeded"
        assert state(page, "meet").startswith("succeeded")
        told = page.one("section", data_fragment="events").text
        assert "Join meet was left waiting in generation 2: often arrived, once never did" in told

    def test_a_failing_run_says_that_nothing_new_starts(self, make_flow, see, db):
        handle = watch_flow(make_flow, ready=100).start()
        Run.objects.filter(pk=handle.id).update(error={"step": "probe", "class": "FailCommand", "message": "no"})
        page = see(handle)
        notice = page.one("section", data_fragment="notices").text
        assert "Failing at probe: FailCommand. Nothing new starts" in notice
        assert page.one("section", data_fragment="head").one(css="failing").text == "failing"


def test_the_preview_of_a_retry_refuses_with_the_reason(make_flow, client_of, operator, db):
    handle = finished(watch_flow(make_flow))
    url = f"/workflow/runs/{handle.id}/actions/retry/"
    told = client_of(operator).get(f"{url}?from_step=probe").text
    assert "cannot be repeated from a step: its flow decides on its way where it goes on" in told
    panel = client_of(operator).get(f"/workflow/runs/{handle.id}/?step=probe").text
    assert "Run again from here" not in panel


def test_the_preview_of_going_on_tells_what_is_kept_of_a_loop(flow, client_of, operator, db):
    flow.step(name="dig", next=[When("iteration < 4", to="dig")], retry=ONCE)(lambda ctx: 1 // (3 - ctx.iteration))
    flow.step(name="fill", next="noop")(lambda: 1)
    handle = finished(flow)
    assert handle.status == "failed"
    told = text_of(client_of(operator).get(f"/workflow/runs/{handle.id}/actions/retry/"))
    assert "dig what did not succeed runs again 1 2" in told


def test_an_unknown_activation_counts_as_not_said(make_flow, see, db):
    handle = finished(watch_flow(make_flow))
    other = StepRun.objects.filter(run_id=finished(watch_flow(make_flow)).id).first()
    for activation in (other.pk, 2**62, "x"):
        panel = see(handle, f"?step=probe&activation={activation}").one("section", id="task")
        assert "pass 5 of 5" in panel.text


def test_the_preview_of_a_skip_tells_the_pass(make_flow, client_of, operator, db):
    handle = watch_flow(make_flow, ready=100).start()
    work(3)
    text = client_of(operator).get(f"/workflow/runs/{handle.id}/actions/skip_step/?step=probe").text
    assert "It is pass 4 of the step." in text
    assert "Next, as far as conditions hold: report, probe." in text
