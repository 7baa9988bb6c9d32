"""The timeline of a run: a row per task, with its waiting, its attempts and the time between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django_workflow.display import duration
from django_workflow.read.run.course import Pass
from django_workflow.read.run.facts import Facts
from django_workflow.read.run.steps import StepFacts
from django_workflow.read.run.tasks import TaskFacts, Try
from django_workflow.statuses import CANCELLED, FAILED, LOST, RUNNING, SUCCEEDED, TIMED_OUT
from django_workflow.web.address import Address
from django_workflow.web.drawing.axis import Axis, Tick
from django_workflow.web.run import spans

#: Rows of a timeline; more steps than these are counted only.
MOST_ROWS = 100
#: Of how many passes a row's description tells each.
MOST_TOLD = 3
#: Bars that a row's description tells one by one.
MOST_BARS_TOLD = 12
#: Attempts are drawn below each other, up to so many lanes; further ones begin again at the top.
MOST_LANES = 5
LANE = 9
BAR = 14
MARGIN = 4
#: The thinnest bar, in percent: what took no time is seen, too.
THINNEST = 0.3

WAITS, BACKOFF, EARLIER = "waiting", "backoff", "earlier"
TEXTURES = {
    WAITS: WAITS,
    EARLIER: EARLIER,
    "queued": WAITS,
    "held": WAITS,
    BACKOFF: BACKOFF,
    FAILED: FAILED,
} | dict.fromkeys((TIMED_OUT, LOST), FAILED)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time: `kind` is waiting, backoff, or how an attempt ended."""

    kind: str
    x: float
    width: float
    y: int
    height: int
    text: str

    @property
    def texture(self) -> str:
        """The pattern it is filled with, for those that have one."""
        return TEXTURES.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A row: a step, or an item of the chosen map. ran, waited: how long; empty where that is not told.

    median_x: where the step would end if it took as long as in the middle of earlier runs.
    passes: how often it was activated, where its bars are activations.
    """

    label: str
    href: str
    ran: str
    waited: str
    status: str
    height: int
    bars: list[Bar]
    description: str
    note: str = ""
    median_x: float | None = None
    median: str = ""
    is_critical: bool = False
    is_item: bool = False
    is_map: bool = False
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that the template draws."""

    rows: list[TimelineRow]
    ticks: list[Tick]
    left_out: int
    total: int
    has_items: bool
    span: str
    most_passes: int = 0


def draw(facts: Facts, address: Address, selected: str) -> Timeline:
    """Return the timeline of a run."""
    critical = critical_path(facts)
    steps = [step for step in facts.steps.values() if step.id is not None]
    shown = _chosen(steps, critical, selected, facts)
    axis = _axis(facts)
    rows: list[TimelineRow] = []
    for step in shown:
        rows.append(_step_row(facts, step, axis, address, is_critical=step.step in critical))
        if step.is_map and step.step == selected:
            room = MOST_ROWS - len(shown)
            items = sorted(facts.items[: max(0, min(50, room))], key=lambda task: task.index)
            rows += [_item_row(task, axis, address, facts) for task in items]
    return Timeline(
        rows=rows,
        ticks=axis.ticks(),
        left_out=len(steps) - len(shown),
        total=len(steps),
        has_items=any(row.is_item for row in rows),
        span=duration(axis.end - axis.begin),
        most_passes=max((len(facts.course.passes[row.label]) for row in rows if row.passes > MOST_TOLD), default=0),
    )


def critical_path(facts: Facts) -> set[str]:
    """Return the steps that made the run as long as it is: from its last one back to the latest before each."""
    ends = {
        step.step: step.ended_at or facts.now
        for step in facts.steps.values()
        if step.started_at is not None and not facts.is_carried(step)
    }
    # of those that still run, the one that began first has taken longest
    begins = {name: facts.steps[name].started_at or facts.now for name in ends}
    current = max(ends, key=lambda name: (ends[name], -begins[name].timestamp()), default=None)
    found: set[str] = set()
    while current is not None and current not in found:
        found.add(current)
        before = [name for name in facts.spec.predecessors[current] if name in ends and name not in found]
        current = max(before, key=lambda name: ends[name], default=None)
    return found


def _axis(facts: Facts) -> Axis:
    run = facts.run
    begin = run.started_at or run.created_at
    # what still runs in a paused run goes on after its clock stopped
    is_busy = any(step.tally.running for step in facts.steps.values())
    return Axis(begin, run.ended_at or max(facts.now if is_busy else facts.clock, begin))


def _chosen(steps: list[StepFacts], critical: set[str], selected: str, facts: Facts) -> list[StepFacts]:
    """Return the steps that have a row, in the order in which they began: if there are many, the most telling."""
    late = facts.now + timedelta(days=1)

    def importance(step: StepFacts) -> tuple[bool, bool, bool, timedelta]:
        took = spans.of_step(facts, step).whole
        return step.step == selected, step.status in (FAILED, RUNNING), step.step in critical, took

    kept = sorted(steps, key=importance, reverse=True)[:MOST_ROWS]
    return sorted(kept, key=lambda step: (step.started_at or step.ended_at or late, step.id))


def _step_row(facts: Facts, step: StepFacts, axis: Axis, address: Address, *, is_critical: bool) -> TimelineRow:
    task = facts.task_of.get(step.step)
    note = ""
    bars: list[Bar] = []
    height = BAR + 2 * MARGIN
    if facts.is_carried(step):
        note = "carried over"
    elif step.step in facts.course.passes:
        bars, height = pass_bars(facts.course.passes[step.step], step, axis, facts.now)
        note = "" if bars else step.status
    elif task is not None and not step.is_map:
        bars, height = task_bars(task, axis, _now_of(task, facts), facts.run.ended_at)
    elif step.started_at is not None:
        bars = _map_bars(step, axis, facts.now if step.tally.running else facts.clock)
    elif step.status not in (SUCCEEDED, FAILED):
        note = step.status
    span = spans.of_step(facts, step)
    row = TimelineRow(
        label=step.step,
        href=address.of_step(step.step),
        ran=_told(span.ran) if not note else "",
        waited=_told(span.waited) if not note else "",
        status=step.shown,
        height=height,
        bars=bars,
        description=_description(step.step, step.shown, bars, note),
        note=note,
        is_critical=is_critical,
        is_map=step.is_map,
        passes=step.passes if step.step in facts.course.passes else 0,
    )
    median = facts.around.medians.get(step.step)
    if median is None or step.started_at is None or note:
        return row
    place = step.started_at + timedelta(seconds=median)
    text = f"median of earlier runs, waiting included: {duration(median)}"
    return replace(row, median_x=axis.x(place) if place <= axis.end else None, median=text)


def _item_row(task: TaskFacts, axis: Axis, address: Address, facts: Facts) -> TimelineRow:
    bars, height = task_bars(task, axis, _now_of(task, facts), facts.run.ended_at)
    label = "given by an operator" if task.index < 0 else f"item {task.index}"
    span = spans.of_task(facts, task)
    return TimelineRow(
        label=label,
        href=address.of_item(task.index),
        ran=_told(span.ran),
        waited=_told(span.waited),
        status=task.status,
        height=height,
        bars=bars,
        description=_description(label, task.status, bars, ""),
        note="carried over" if task.origin == "carried" else "",
        is_item=True,
    )


def _told(time: timedelta | None) -> str:
    return "" if time is None else duration(time)


def _now_of(task: TaskFacts, facts: Facts) -> datetime:
    """Return until when the bars of a task go on: what waits in a paused run waits no longer."""
    return facts.now if task.status == RUNNING else facts.clock


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where bars are drawn: a strip of a row."""

    axis: Axis
    y: int = MARGIN
    height: int = BAR

    def bar(self, kind: str, begin: datetime, end: datetime, text: str) -> Bar:
        """Return the bar of a stretch of time."""
        left, right = self.axis.x(begin), self.axis.x(end)
        width = right - left if kind in (WAITS, BACKOFF) else max(right - left, THINNEST)
        # at the very right, what is too thin to be seen grows to the left
        return Bar(kind, round(min(left, 100 - width), 3), round(width, 3), self.y, self.height, text)

    def gap(self, begin: datetime, end: datetime, *, is_backoff: bool) -> Bar:
        """Return the bar of a time in which nothing was executed."""
        word = "backed off" if is_backoff else "waited"
        return self.bar(BACKOFF if is_backoff else WAITS, begin, end, f"{word} {duration(end - begin)}")


def pass_bars(passes: Sequence[Pass], step: StepFacts, axis: Axis, now: datetime) -> tuple[list[Bar], int]:
    """Return a bar for each of the newest activations of a step, one for all before them, and their height together.

    Activations that overlap stand below each other. passes: begun ones, newest first.
    """
    begun = sorted(passes, key=lambda item: (item.started_at or now, item.id))
    free: list[datetime] = []
    placed: list[tuple[Pass, int]] = []
    for item in begun:
        assert item.started_at is not None
        lane = next((number for number, end in enumerate(free) if end <= item.started_at), len(free))
        end = item.ended_at or now
        if lane == len(free) < MOST_LANES:
            free.append(end)
        lane %= MOST_LANES
        free[lane] = max(free[lane], end)
        placed.append((item, lane))
    count = max(1, len(free))
    height = BAR if count == 1 else LANE
    lanes = [_Lane(axis, MARGIN + number * height, height - (count > 1)) for number in range(count)]
    bars = []
    before = step.begun - len(passes)
    if before > 0 and begun and step.began_at is not None and begun[0].started_at is not None:
        whole = _Lane(axis, MARGIN, count * height - (count > 1))
        bars.append(whole.bar(EARLIER, step.began_at, begun[0].started_at, f"{before:,} earlier passes"))
    for item, number in placed:
        assert item.started_at is not None
        end = item.ended_at or now
        begun_at = item.begun_at or (end if item.ended_at is None else item.started_at)
        if begun_at > item.started_at:
            bars.append(lanes[number].gap(item.started_at, begun_at, is_backoff=False))
        if item.begun_at is not None or item.ended_at is not None:
            text = f"pass {item.iteration:,} {item.status.replace('_', ' ')} after {duration(end - begun_at)}"
            bars.append(lanes[number].bar(item.status, begun_at, end, text))
    return bars, count * height + 2 * MARGIN


def _map_bars(step: StepFacts, axis: Axis, now: datetime) -> list[Bar]:
    """Return the bars of a step with items: its wait for the first worker, and what it ran since."""
    assert step.started_at is not None
    lane, end = _Lane(axis), step.ended_at or now
    if step.begun_at is None and step.ended_at is None:
        return [lane.gap(step.started_at, end, is_backoff=False)]
    begun_at = step.begun_at or step.started_at
    over = f", {step.done:,} of {step.task_count:,} tasks are over" if step.is_map else ""
    text = f"{step.shown.replace('_', ' ')} for {duration(end - begun_at)}{over}"
    bars = [lane.gap(step.started_at, begun_at, is_backoff=False), lane.bar(step.shown, begun_at, end, text)]
    return [bar for bar in bars if bar.width > 0]


def task_bars(task: TaskFacts, axis: Axis, now: datetime, run_end: datetime | None) -> tuple[list[Bar], int]:
    """Return the bars of one task, and how high they are together.

    Its attempts stand below each other like stairs, what lies between two of them in the lane of the next.
    """
    if task.origin == "carried":
        return [], BAR + 2 * MARGIN
    tries = [item for item in task.all_tries if item.begun_at is not None]
    is_between = _is_between(task, tries)
    count = min(MOST_LANES, max(1, len(tries) + is_between))
    height = BAR if count == 1 else LANE
    lanes = [_Lane(axis, MARGIN + place * height, height - (count > 1)) for place in range(count)]
    over = task.ended_at or run_end or now
    bars: list[Bar] = []
    free = task.created_at
    for number, item in enumerate(tries):
        assert item.begun_at is not None
        lane = lanes[number % count]
        bars.append(lane.gap(free, item.begun_at, is_backoff=number > 0))
        end = item.ended_at or over
        text = f"attempt {item.number} {item.outcome.replace('_', ' ')} after {duration(end - item.begun_at)}"
        bars.append(lane.bar(item.outcome, item.begun_at, end, text))
        free = end
    if not tries or is_between:
        bars.append(lanes[len(tries) % count].gap(free, over, is_backoff=is_between))
    return [bar for bar in bars if bar.width > 0], count * height + 2 * MARGIN


def _is_between(task: TaskFacts, tries: list[Try]) -> bool:
    """Say whether a task waits for a further attempt."""
    return bool(tries) and task.ended_at is None and task.status != RUNNING and tries[-1].ended_at is not None


def _description(label: str, status: str, bars: Iterable[Bar], note: str) -> str:
    texts = [bar.text for bar in bars]
    if len(texts) > MOST_BARS_TOLD:
        texts = [texts[0], f"{len(texts) - 1 - MOST_TOLD:,} more", *texts[-MOST_TOLD:]]
    told = ", ".join(texts)
    return f"{label}: {note or told or status.replace('_', ' ')}"


#: The kinds of bars, for the legend: those of attempts that ended badly share a texture.
LEGEND = (
    (WAITS, "waiting"),
    (RUNNING, "running"),
    (SUCCEEDED, "succeeded"),
    (FAILED, "failed attempt"),
    (BACKOFF, "backoff"),
    (CANCELLED, "cancelled"),
)
#: What is added to it where a step has many passes.
LEGEND_OF_LOOPS = ((EARLIER, "earlier passes together"),)
