"""The panel of the run page: all about one step, and about one of its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django_workflow.conf import conf
from django_workflow.definition.elements import MATCH_FIRST, StepSpec
from django_workflow.definition.retry import RetryPolicy
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import Run
from django_workflow.read.run import history, tasks, wait_reasons
from django_workflow.read.run.facts import Facts, read_ahead
from django_workflow.read.run.history import LogLine
from django_workflow.read.run.steps import StepFacts, count_by_status
from django_workflow.read.run.tasks import AttemptFacts, TaskFacts
from django_workflow.statuses import CANCELLED, QUEUED, SUCCEEDED, TASK_TERMINAL
from django_workflow.web.address import NOTHING_CHOSEN, Address
from django_workflow.web.drawing import edge_text
from django_workflow.web.run import spans
from django_workflow.web.run.payloads import Value, limit_for, value_of_text
from django_workflow.web.run.spans import Span
from django_workflow.web.run.step_runs import Turns

#: Items on a page, and log lines shown at once.
ITEMS: Final = 50
LINES: Final = 200


@dataclass(slots=True)
class TaskDetail:
    """A task with what is read for it alone."""

    task: TaskFacts
    step: str
    iteration: int
    item: Value
    output: Value
    attempts: list[AttemptFacts]
    why: str = ""


@dataclass(slots=True)
class Logs:
    """The newest lines, oldest first."""

    #: Whether the viewer may see them.
    is_visible: bool
    lines: list[LogLine] = field(default_factory=list)
    older: str = ""
    newest: str = ""


def read_task(run: Run, step: StepFacts | None, address: Address, *, has_payload: bool) -> TaskDetail | None:
    """Read the task that the address names; of a step without items the only one. None where there is none.

    step: the chosen step, if the address names one.
    """
    index = address.item
    if address.task is None and (step is None or step.id is None or (step.is_map and index is None)):
        return None
    if index is not None and not -1 <= index < 2**31:
        return None
    found = tasks.read_task(
        run.pk, address.task, step.id if step is not None else None, index,
        most_item=limit_for(address, "item"), most_output=limit_for(address, "output"), has_payload=has_payload,
    )  # fmt: skip
    if found is None:
        return None
    values = []
    for label, excerpt in (("item", found.item), ("output", found.output)):
        values.append(value_of_text(label.title(), excerpt.text, excerpt.size, label, address))
        if not has_payload and excerpt.size is not None:
            values[-1] = Value(label.title(), is_masked=True)
    return TaskDetail(found.task, found.step, found.iteration, values[0], values[1], found.attempts)


def explain(facts: Facts, detail: TaskDetail) -> None:
    """Say why a task is where it is; only of a queued one that is due its queue is asked, too."""
    task = detail.task
    if task.step not in facts.steps:
        return
    detail.why = wait_reasons.of_task(facts, task, read_ahead(facts, task))


def read_logs(detail: TaskDetail, address: Address, *, is_visible: bool) -> Logs:
    """Read the newest lines that a task's handler logged."""
    logs = Logs(is_visible)
    if is_visible:
        rows = history.read_lines(detail.task.id, address.lines, LINES + 1)
        logs.lines = rows[:LINES][::-1]
        if len(rows) > LINES:
            logs.older = address.to("#logs", lines=logs.lines[0].id)
        if address.lines is not None:
            logs.newest = address.to("#logs", lines=None)
    return logs


@dataclass(frozen=True, slots=True)
class Moment:
    """A thing that happened to a task."""

    at: datetime
    status: str
    text: str


def moments(task: TaskFacts) -> list[Moment]:
    """Return what happened to a task, as its row and its attempts tell it."""
    found = [Moment(task.created_at, QUEUED, "queued")]
    if task.origin == "carried":
        found = [Moment(task.created_at, task.status, "carried over from the run that is retried")]
    elif task.origin == "override":
        found = [Moment(task.created_at, task.status, "given by an operator")]
    else:
        for item in task.all_tries:
            if item.begun_at is not None:
                found.append(Moment(item.begun_at, "running", f"attempt {item.number} began"))
            if item.ended_at is not None:
                word = item.outcome.replace("_", " ")
                error = f": {item.error_class}" if item.error_class else ""
                found.append(Moment(item.ended_at, item.outcome, f"attempt {item.number} {word}{error}"))
    if task.ended_at is not None and task.status in TASK_TERMINAL and found[-1].status != task.status:
        found.append(Moment(task.ended_at, task.status, task.status.replace("_", " ")))
    return found


@dataclass(frozen=True, slots=True)
class StatusFilter:
    """A status by which the items of a map can be narrowed."""

    status: str
    label: str
    count: int | None
    href: str
    is_chosen: bool


@dataclass(slots=True)
class Panel:
    """All that the template shows of the chosen step."""

    step: StepFacts
    spec: StepSpec
    title: str
    why: str
    rules: list[tuple[str, str]]
    error: dict[str, Any] | None
    detail: TaskDetail | None = None
    history: list[Moment] = field(default_factory=list)
    logs: Logs | None = None
    inputs: list[Value] = field(default_factory=list)
    reads_input: bool = False
    items: list[tuple[TaskFacts, str, Span]] = field(default_factory=list)
    filters: list[StatusFilter] = field(default_factory=list)
    previous: str = ""
    next: str = ""
    first: int = 0
    close: str = ""
    turns: Turns | None = None
    #: Of a step run of it that is not the one in the picture.
    is_past: bool = False

    @property
    def takes_others(self) -> bool:
        """Whether its handler takes outputs of other steps."""
        return bool(self.spec.depends_on or self.spec.sources)


def build(facts: Facts, step: StepFacts, address: Address, detail: TaskDetail | None) -> Panel:
    """Return the panel of a step, without what is read for its task alone."""
    spec = facts.spec.steps[step.step]
    panel = Panel(
        step=step,
        spec=spec,
        title=spec.title or spec.name,
        why=wait_reasons.of_step(facts, step),
        rules=rules_of(facts.spec, spec),
        error=step.error,
        detail=detail,
        history=moments(detail.task) if detail is not None else [],
        reads_input="input" in spec.params,
        is_past=step is not facts.steps[step.step],
        close=address.to(step="", **NOTHING_CHOSEN),
    )
    if step.is_map:
        page = address.page
        panel.items = [(task, address.of_item(task.index), spans.of_task(facts, task)) for task in facts.items[:ITEMS]]
        panel.first = (page - 1) * ITEMS
        panel.previous = address.to("#task", page=page - 1) if page > 1 else ""
        panel.next = address.to("#task", page=page + 1) if len(facts.items) > ITEMS else ""
        panel.filters = _filters(step, address)
    return panel


def _filters(step: StepFacts, address: Address) -> list[StatusFilter]:
    href = address.to("#task", status="", page=1, item=None, task=None)
    found = [StatusFilter("", "all", step.task_count, href, not address.status)]
    counts: dict[str, int | None] = {**count_by_status(step)}
    if step.is_settled and step.status != SUCCEEDED:
        # its counters do not tell these apart
        counts |= {SUCCEEDED: None, CANCELLED: None}
    for status, count in counts.items():
        href = address.to("#task", status=status, page=1, item=None, task=None)
        found.append(StatusFilter(status, status.replace("_", " "), count, href, address.status == status))
    return found


def rules_of(flow: FlowSpec, spec: StepSpec) -> list[tuple[str, str]]:
    """Return what the flow says about a step, as pairs of a word and a value."""
    default = conf.RETRY.declared() if conf.RETRY is not None else {}
    policy = RetryPolicy.of(default, spec.retry)
    allowed: Any = policy.max_attempts  # or an expression for those that follow the first
    attempts = f"at most {allowed}" if isinstance(allowed, int) else f"at most 1 and {allowed} more"
    rules = [("queue", spec.queue or conf.DEFAULT_QUEUE), ("attempts", attempts)]
    sources = ", ".join(flow.predecessors[spec.name])
    if join := edge_text.join_of(flow, spec.name):
        rules.append(("joins", f"{join}{' of' if join == 'all' else ':'} {sources}"))
    elif sources:
        rules.append(("after", sources))
    if spec.delay:
        rules.append(("begins", f"{edge_text.waited(spec.delay)} later"))
    if spec.over or spec.count is not None:
        rules.append(("one task per", f"item of {spec.over}" if spec.over else f"number below {spec.count:,}"))
    if spec.max_parallel is not None:
        most = spec.max_parallel
        rules.append(("at once", f"at most {most:,}" if isinstance(most, int) else f"at most {most}"))
    if spec.tolerate is not None:
        rules.append(
            ("tolerates", f"{spec.tolerate:.0%} failed" if 0 < spec.tolerate < 1 else f"{spec.tolerate:g} failed")
        )
    if spec.when is not None:
        rules.append(("only if", str(spec.when)))
    if spec.retry_when is not None:
        rules.append(("again if", spec.retry_when))
    if spec.match == MATCH_FIRST:
        rules.append(("leads on", "by the first way that holds"))
    timeout = spec.timeout
    if timeout is not None:
        rules.append(("timeout", f"{timeout:g} s"))
    if spec.atomic:
        rules.append(("atomic", "one transaction with its end"))
    return rules
