"""The picture of a run: the graph of its flow with the state of every step, and the table with the same content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow.definition.elements import SINGLE, StepSpec
from django_workflow.display import cut, duration
from django_workflow.read.run import wait_reasons
from django_workflow.read.run.facts import Facts
from django_workflow.read.run.steps import NOT_REACHED, StepFacts
from django_workflow.statuses import FAILED, QUEUED, RUNNING, WAITING
from django_workflow.web.address import Address
from django_workflow.web.drawing.picture import (
    BAR_WIDTH,
    STATE_LENGTH,
    TITLE_LENGTH,
    Graph,
    Node,
    Plan,
    ProgressBar,
    edge_of,
    start_of,
    steps_in_words,
    told_of,
)
from django_workflow.web.run import spans
from django_workflow.web.run.spans import Span


@dataclass(frozen=True, slots=True)
class Row:
    """A step as the table below the picture tells it."""

    node: Node
    kind: str
    facts: StepFacts
    done: str
    failed: int
    why: str
    is_carried: bool
    span: Span
    #: Where it leads, with when and how often.
    ways: list[str]


@dataclass(frozen=True, slots=True)
class RunGraph(Graph):
    """The picture of a run, with the rows of the table below it."""

    rows: list[Row] = field(default_factory=list)

    @property
    def tells_ways(self) -> bool:
        """Whether the table has to say where steps lead: there are conditions, loops or commands."""
        return any(row.ways for row in self.rows)


def draw(facts: Facts, address: Address, selected: str) -> RunGraph:
    """Return the picture of a run and the table with the same content."""
    plan = Plan(facts.spec)
    counts = {(way.source, way.to): facts.taken(way.source, way.to) for way in plan.ways}
    nodes = [_node(facts, plan, step, counts) for step in facts.spec.steps.values()]
    nodes = [replace(node, href=address.of_step(node.name), is_selected=node.name == selected) for node in nodes]
    drawn = plan.ways if plan.is_drawn else []
    edges = [edge_of(way, plan.lines[way.source, way.to], counts[way.source, way.to]) for way in drawn]
    # what was taken is drawn last, above the rest
    edges.sort(key=lambda edge: edge.is_taken)
    words = Counter(node.status.replace("_", " ") for node in nodes)
    told = ", ".join(f"{count} {word}" for word, count in words.items())
    title = f"Graph of {facts.run.flow.slug}: {steps_in_words(len(nodes))}, {told}"
    return RunGraph(
        nodes, edges, plan.picture.width, plan.picture.height, title, start_of(nodes), edge_count=len(plan.ways),
        is_drawn=plan.is_drawn, rows=[_row(facts, node, plan.told_ways(node.name, counts)) for node in nodes],
    )  # fmt: skip


def _node(facts: Facts, plan: Plan, step: StepSpec, counts: Mapping[tuple[str, str], int]) -> Node:
    """Return a step's node; nobody has chosen it, and it leads nowhere yet."""
    state = facts.steps[step.name]
    box = plan.box(step.name)
    title = step.title or step.name
    failures, words = state_of(facts, state)
    leads_to_itself = (step.name, step.name) in plan.lines
    retries = 0 if leads_to_itself else facts.taken(step.name, step.name)
    return Node(
        name=step.name,
        title=cut(title, TITLE_LENGTH),
        full_title=title,
        status=state.shown,
        sign=state.shown,
        failures=failures,
        state=cut(words, STATE_LENGTH - len(failures)),
        description=_description(facts, plan, state, title, counts) if plan.is_drawn else "",
        href="",
        x=box.x,
        y=box.y,
        is_map=state.is_map,
        is_selected=False,
        bar=_progress(state) if state.is_map and state.together[1] else None,
        notes=plan.notes(step, retries),
        pills=plan.pills(step.name, _badge(state)),
    )


def _badge(step: StepFacts) -> str:
    """Return how often a step was activated, and in how many scopes, where that is not once."""
    if step.passes < 2:
        return ""
    return f"×{step.passes:,}" + (f" · {step.scopes:,} scopes" if step.scopes > 1 else "")


def _progress(step: StepFacts) -> ProgressBar:
    done, total, failed = step.together
    return ProgressBar(round(BAR_WIDTH * done / total, 1), round(BAR_WIDTH * failed / total, 1))


def state_of(facts: Facts, step: StepFacts) -> tuple[str, str]:
    """Return what a map, or a step of several passes, says of its failures; and a status in words, with its counts."""
    due = _due(facts, step)
    if step.status == NOT_REACHED:
        return "", f"due {due}" if due else "not reached"
    done, total, failed = step.together
    failures = f"{failed:,} failed" if failed and (step.is_map or step.passes > 1) else ""
    # of one that has ended the badge tells it
    turns = step.passes > 1 and step.scopes == 1 and not step.is_settled and not step.arrived
    is_told = failures and (step.is_map or turns or step.shown == FAILED)
    parts = [] if is_told else [_word(step)]
    if step.is_map and total:
        parts.append(f"{done:,}/{total:,}")
    if turns:
        parts.append(f"pass {step.iteration:,}")
    ran = spans.of_step(facts, step).ran
    if step.status == WAITING and step.arrived:
        there = f"{len(step.arrived)} of {facts.spec.join_size(step.step)}"
        parts = [there] if due else [*parts, f"{there} there"]
    if due:
        parts.append(f"due {due}")
    elif ran is not None and not (step.is_map or turns or failures) and (step.is_settled or step.shown == RUNNING):
        parts.append(duration(ran))
    return failures, " · ".join(parts)


def _word(step: StepFacts) -> str:
    """Return the status; of several activations at once how many of them there are."""
    word = step.shown.replace("_", " ")
    together = step.open_passes if step.status == RUNNING else step.waiting_passes
    return f"{together:,} {word}" if together > 1 else word


def _due(facts: Facts, step: StepFacts) -> str:
    """Return when something goes on that waits for its time: all of a step's tasks, or an arrival at it."""
    tally = step.tally
    if step.shown == QUEUED and tally.due_at is not None and tally.queued == tally.delayed:
        return wait_reasons.clock(tally.due_at, facts.now)
    if step.status in (NOT_REACHED, WAITING) and not facts.is_settled:
        times = [way.due_at for (_, to), way in facts.course.ways.items() if to == step.step and way.due_at is not None]
        return wait_reasons.clock(min(times), facts.now) if times else ""
    return ""


def _description(facts: Facts, plan: Plan, step: StepFacts, title: str, counts: Mapping[tuple[str, str], int]) -> str:
    """Return what the picture says of a step, for those who do not see it."""
    status = step.shown.replace("_", " ")
    failures, words = state_of(facts, step)
    done, total, _ = step.together
    parts = [f"{title}: {status}"]
    if step.is_map and total:
        parts.append(f"{done:,} of {total:,} tasks done")
    elif step.status != NOT_REACHED and words not in ("", status):
        parts.append(words)
    if failures:
        parts.append(failures)
    if step.passes > 1:
        parts.append(f"activated {step.passes:,} times" + (f" in {step.scopes:,} scopes" if step.scopes > 1 else ""))
    if why := wait_reasons.of_step(facts, step):
        parts.append(why.rstrip("."))
    if not facts.spec.is_plain:
        parts += told_of(plan, facts.spec.steps[step.step])
    if led := plan.told_ways(step.step, counts):
        parts.append(f"leads to {', '.join(led)}")
    return "; ".join(parts)


def _row(facts: Facts, node: Node, told: list[str]) -> Row:
    step = facts.steps[node.name]
    spec = facts.spec.steps[node.name]
    over, total, failed = step.together
    done = f"{over:,} of {total:,}" if step.is_map and total else ""
    kind = "step" if spec.kind == SINGLE else spec.kind
    why = wait_reasons.of_step(facts, step)
    if not why:
        why = step.message or REASONS.get(step.reason, "")
    if not why and step.error and step.error.get("class"):
        why = str(step.error["class"])
    return Row(node, kind, step, done, failed, why, facts.is_carried(step), spans.of_step(facts, step), told)


#: What the engine's reasons for a skip mean.
REASONS: dict[str, Any] = {
    "condition_unmet": "Its condition was not met.",
    "dependency_skipped": "A step before it was skipped.",
    "handler_failed": "It failed, and the flow goes on without it.",
    "operator": "An operator ended it.",
}
