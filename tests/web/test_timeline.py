"""The timeline of a run: bars of tasks, the critical path, the axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_workflow import testing
from django_workflow.engine.tasks import claim
from django_workflow.models import Run, StepRun, Task
from django_workflow.read.run.facts import read_facts
from django_workflow.read.run.steps import read_steps
from django_workflow.read.run.tasks import ItemPage, TaskFacts, Try
from django_workflow.web.address import Address
from django_workflow.web.drawing.axis import Axis, label_of
from django_workflow.web.run import timeline
from tests.web.markup import read
from tests.web.stories import rich_run

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def task(status="succeeded", begun=None, ended=None, tries=(), **more):
    values = {
        "id": 1, "step_run_id": 1, "index": 0, "hold_reason": "", "origin": "", "queue": "default",
        "attempt": len(tries) + (begun is not None), "failure_count": 0, "progress": None, "due_at": None,
        "message_id": None, "item": None, "worker": None, "heartbeat_age": None,
    } | more  # fmt: skip
    return TaskFacts(
        status=status, created_at=at(0), begun_at=None if begun is None else at(begun),
        ended_at=None if ended is None else at(ended),
        tries=[Try(n, outcome, at(b), at(e)) for n, (outcome, b, e) in enumerate(tries, start=1)], **values,
    )  # fmt: skip


def bars(item, end=100, run_end=None):
    found, height = timeline.task_bars(item, Axis(at(0), at(end)), at(end), run_end)
    return [(bar.kind, bar.x, bar.width) for bar in found], height


def facts_of(handle, step=""):
    run = Run.objects.select_related("flow", "version").get(pk=handle.id)
    spec = run.version.compiled
    steps = read_steps(run.pk, spec)
    return read_facts(run, spec, steps, page=ItemPage(steps[step].id if step else None), has_payload=True)


def test_a_task_waits_and_runs():
    assert bars(task(begun=20, ended=70)) == ([("waiting", 0, 20), ("succeeded", 20, 50)], 22)


def test_a_task_that_runs_still_grows():
    assert bars(task("running", begun=20)) == ([("waiting", 0, 20), ("running", 20, 80)], 22)


def test_a_task_that_was_never_taken_waits():
    assert bars(task("queued")) == ([("waiting", 0, 100)], 22)


def test_attempts_stand_below_each_other_with_the_backoff_between_them():
    item = task(begun=60, ended=80, tries=[("failed", 10, 20), ("timed_out", 30, 40)])
    found, height = timeline.task_bars(item, Axis(at(0), at(100)), at(100), None)
    assert [bar.kind for bar in found] == ["waiting", "failed", "backoff", "timed_out", "backoff", "succeeded"]
    assert [bar.x for bar in found] == [0, 10, 20, 30, 40, 60]
    assert len({bar.y for bar in found}) == 3
    assert height == 3 * timeline.LANE + 2 * timeline.MARGIN
    assert [bar.texture for bar in found] == ["waiting", "failed", "backoff", "failed", "backoff", ""]


def test_last_attempt_of_a_failed_task_is_not_drawn_twice():
    item = task("failed", begun=30, ended=40, tries=[("failed", 10, 20), ("failed", 30, 40)], attempt=2)
    assert [kind for kind, _, _ in bars(item)[0]] == ["waiting", "failed", "backoff", "failed"]


def test_a_task_between_two_attempts_backs_off_until_now():
    item = task("queued", tries=[("failed", 10, 20)])
    assert bars(item)[0][-1] == ("backoff", 20, 80)


def test_a_task_cancelled_with_its_run_stops_with_it():
    item = task("cancelled", ended=50, tries=[("failed", 10, 20)])
    assert bars(item)[0] == [("waiting", 0, 10), ("failed", 10, 10)]
    assert bars(task("held"), run_end=at(30))[0] == [("waiting", 0, 30)]


def test_what_took_no_time_is_seen_too():
    [(_, _, _), (kind, x, width)], _ = bars(task(begun=100, ended=100))
    assert kind == "succeeded"
    assert width == timeline.THINNEST
    assert x + width <= 100


def test_many_attempts_begin_again_at_the_top():
    tries = [("failed", 2 * n, 2 * n + 1) for n in range(12)]
    found, height = timeline.task_bars(task("queued", tries=tries), Axis(at(0), at(100)), at(100), None)
    assert height == timeline.MOST_LANES * timeline.LANE + 2 * timeline.MARGIN
    assert all(bar.y + bar.height <= height for bar in found)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0.0101, ["0", "2 ms", "4 ms", "6 ms", "8 ms"]),
        (5, ["0", "1 s", "2 s", "3 s", "4 s"]),
        (100, ["0", "30 s", "60 s", "90 s"]),
        (600, ["0", "2 min", "4 min", "6 min", "8 min"]),
        (86400, ["0", "4 h", "8 h", "12 h", "16 h", "20 h"]),
        (86400 * 365, ["0", "63 d", "126 d", "189 d", "252 d", "315 d"]),
    ],
)
def test_ticks_are_round(seconds, labels):
    assert [tick.label for tick in Axis(at(0), at(seconds)).ticks()] == labels


def test_labels_have_the_digits_they_need():
    assert [label_of(s) for s in (0.0005, 90, 150, 5400, 9000)] == [
        "0.5 ms",
        "90 s",
        "2 min 30 s",
        "90 min",
        "2 h 30 min",
    ]


def test_an_axis_without_length_is_none():
    axis = Axis(at(0), at(0))
    assert axis.x(at(0)) == 0
    assert axis.x(at(5)) == 100
    assert axis.ticks()[0].label == "0"


def test_critical_path_leads_through_the_latest(make_flow, db):
    handle = rich_run(make_flow)
    for name, begin, end in (
        ("reserve", 0, 1),
        ("charge", 1, 9),
        ("pack", 9, 20),
        ("ship", 20, 22),
        ("notify", 22, 23),
        ("survey", 22, 40),
    ):
        StepRun.objects.filter(run_id=handle.id, step=name).update(started_at=at(begin), ended_at=at(end))  # fmt: skip
    Run.objects.filter(pk=handle.id).update(created_at=at(0), started_at=at(0), ended_at=at(40))
    assert timeline.critical_path(facts_of(handle)) == {"reserve", "charge", "pack", "ship", "survey"}


def test_median_of_earlier_succeeded_runs_is_a_tick(make_flow, flow, db):
    flow.step(name="only")(lambda: 1)
    for seconds in (10, 20, 90):
        handle = flow.start()
        testing.run_until_idle()
        begin = StepRun.objects.get(run_id=handle.id).started_at
        StepRun.objects.filter(run_id=handle.id).update(ended_at=begin + timedelta(seconds=seconds))
    flow.start().cancel()
    handle = flow.start()
    testing.run_until_idle()
    facts = facts_of(handle)
    assert facts.around.medians == {"only": 20}
    facts.run.ended_at = facts.run.started_at + timedelta(seconds=40)
    row = timeline.draw(facts, Address(), "").rows[0]
    assert row.median == "median of earlier runs, waiting included: 20.0 s"
    assert row.median_x == pytest.approx(50, abs=2)


def test_first_run_has_no_median(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    assert facts_of(handle).around.medians == {}


def test_items_of_the_chosen_map_have_rows(make_flow, db):
    handle = rich_run(make_flow)
    drawn = timeline.draw(facts_of(handle, "pack"), Address(step="pack"), "pack")
    labels = [row.label for row in drawn.rows]
    assert labels[labels.index("pack") + 1] == "item 0"
    assert sum(row.is_item for row in drawn.rows) == 12
    assert not any(row.is_item for row in timeline.draw(facts_of(handle), Address(), "").rows)


def test_at_most_a_hundred_rows_and_the_rest_is_told(flow, client_of, operator, db):
    for number in range(130):
        flow.step(name=f"s{number}")(lambda: 1)
    handle = flow.start()
    claim.claim("default", 130, slots=130, lease=60.0)
    late = Task.objects.get(step_run__run_id=handle.id, step_run__step="s129")
    drawn = timeline.draw(facts_of(handle), Address(), "s129")
    assert len(drawn.rows) == 100
    assert drawn.left_out == 30
    assert any(row.label == "s129" for row in drawn.rows)
    page = read(client_of(operator).get(f"/workflow/runs/{handle.id}/?task={late.pk}").text)
    assert "30 of 130 steps are left out" in page.one("section", data_fragment="timeline").text


def test_rows_have_a_text_and_a_legend(make_flow, client_of, operator, db):
    handle = rich_run(make_flow)
    section = read(client_of(operator).get(f"/workflow/runs/{handle.id}/").text).one(
        "section", data_fragment="timeline"
    )
    pictures = section.all("svg", role="img")
    charge = next(item for item in pictures if item.attributes["aria-label"].startswith("charge: "))
    assert "attempt 1 failed after" in charge.attributes["aria-label"]
    assert "backed off" in charge.attributes["aria-label"]
    legend = section.one("ul", css="legend").text
    assert all(
        word in legend for word in ("waiting", "running", "backoff", "failed attempt", "median", "critical path")
    )
    patterns = {item.attributes["id"] for item in section.all("pattern")}
    used = {
        item.attributes["fill"].removeprefix("url(#").removesuffix(")")
        for item in section.all("rect")
        if "fill" in item.attributes
    }
    assert used <= patterns
