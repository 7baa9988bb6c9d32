"""Why something waits, in one sentence: for a run, a step, a task. Nothing here asks the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django_workflow import times
from django_workflow.conf import conf
from django_workflow.definition.elements import StepSpec
from django_workflow.display import ago, duration
from django_workflow.read.run.facts import MOST_AHEAD, Facts, Pause
from django_workflow.read.run.steps import NOT_REACHED, StepFacts
from django_workflow.read.run.tasks import TaskFacts
from django_workflow.statuses import (
    CANCELLED,
    HELD,
    PAUSED,
    QUEUED,
    RELEASED,
    RUNNING,
    SCHEDULED,
    SUSPENDED,
    TIMED_OUT,
    WAITING,
)

#: Names in a sentence; more are counted.
MOST_NAMES = 3


def of_run(facts: Facts) -> str:
    """Say why nothing of a run is executed now; "" where something is, or it has ended."""
    run = facts.run
    if facts.is_settled:
        return ""
    if run.status == SCHEDULED:
        return f"Starts {at(run.due_at, facts.now)}." if run.due_at else "Starts as soon as a worker takes it up."
    if run.status == PAUSED:
        return of_pause(facts)
    open_steps = [step for step in facts.steps.values() if step.status == RUNNING]
    if any(step.tally.running for step in open_steps):
        return ""
    open_steps += [step for step in facts.steps.values() if _next_arrival(facts, step.step) is not None]
    for step in open_steps:
        if sentence := of_step(facts, step):
            return f"Step {step.step}: {sentence[0].lower()}{sentence[1:]}"
    return ""


def of_pause(facts: Facts) -> str:
    """Say who holds a paused run."""
    what, pause = _pause_of(facts)
    return held(what, pause, facts.now)


def notice_of_pause(facts: Facts) -> str:
    """Say the same where it is already told that the run does not go on."""
    what, pause = _pause_of(facts)
    return f"Paused{f' with {what}' if what != RUN else ''}{_whose(pause, facts.now)}."


def notice_of_end(facts: Facts) -> str:
    """Say who cancelled a run, or which limit ended it; "" for other runs."""
    stop = facts.around.stop
    if stop is None or facts.run.status not in (CANCELLED, TIMED_OUT):
        return ""
    by = f" by {stop.by}" if stop.by else ""
    reason = f": {stop.reason.rstrip('.')}" if stop.reason else ""
    word = "Cancelled" if facts.run.status == CANCELLED else "Timed out"
    return f"{word}{by} at {clock(stop.since or facts.now, facts.now)}{reason}."


RUN = "the run"


def _pause_of(facts: Facts) -> tuple[str, Pause]:
    flow = facts.run.flow
    if flow.paused_at is not None and facts.run.is_paused_with_flow:
        return f"flow {flow.slug}", Pause(flow.paused_at, flow.paused_by, flow.pause_reason)
    return RUN, facts.around.stop or Pause(facts.run.paused_at)


def of_step(facts: Facts, step: StepFacts) -> str:
    """Say why a step does not go on; "" where it does, or has ended."""
    tally = step.tally
    if step.is_settled or tally.running:
        return ""
    if step.status in (NOT_REACHED, WAITING):
        return _of_predecessors(facts, step)
    if tally.suspended:
        return "Waits for a signal, a time, or another run."
    task = facts.task_of_pass.get(step.id or 0)
    if task is not None and not step.is_map:
        return of_task(facts, task)
    if tally.paused:
        return of_pause(facts) if facts.run.status == PAUSED else "Held while the run was paused."
    if tally.queued and tally.queued == tally.delayed and tally.due_at is not None:
        why = f"Its next item is not tried again before {at(tally.due_at, facts.now)}."
        return _of_missing(facts, step.step) or why
    if tally.queued:
        return _of_queue(facts, facts.queue_of(step.step), None)
    return _of_places(facts.spec.steps[step.step]) if tally.parallel else ""


def of_task(facts: Facts, task: TaskFacts, ahead: int | None = None) -> str:
    """Say why a task is where it is; "" where it has ended.

    ahead: messages before its own on its queue, where that is known.
    """
    if task.status == RUNNING:
        return _of_worker(facts, task)
    if task.status == SUSPENDED:
        return "Waits for a signal, a time, or another run."
    if task.status == HELD:
        if task.hold_reason == PAUSED:
            return of_pause(facts) if facts.run.status == PAUSED else "Held while the run was paused."
        return _of_places(facts.spec.steps[task.step])
    if task.status != QUEUED:
        return ""
    if task.tries and task.tries[-1].outcome == RELEASED and (why := _of_missing(facts, task.step)):
        return why
    if task.due_at is not None and task.due_at > facts.now:
        last = task.tries[-1] if task.tries else None
        why = f": attempt {last.number} {last.outcome.replace('_', ' ')}" if last else ""
        return f"Not before {at(task.due_at, facts.now)}{why}."
    return _of_queue(facts, task.queue, ahead)


def _of_missing(facts: Facts, step: str) -> str:
    """Say that workers lack the code of a step; "" where they do not, or where none serves its queue."""
    missing = facts.missing.get(step)
    return str(missing) if missing is not None and missing.queue in facts.around.served else ""


def _of_predecessors(facts: Facts, step: StepFacts) -> str:
    if facts.is_settled:
        return "" if step.status != NOT_REACHED else "The run ended before it was reached."
    if facts.failing:
        return "The run is failing: nothing new starts."
    if (way := _next_arrival(facts, step.step)) is not None:
        return way
    if not facts.spec.is_plain:
        return _of_join(facts, step) if facts.spec.is_join(step.step) else _of_ways(facts, step.step)
    missing = [name for name in facts.spec.predecessors[step.step] if not facts.steps[name].is_settled]
    if not missing:
        return "Waits for the steps before it to be taken into account." if step.status == WAITING else ""
    return f"Waits for {names(missing)}."


def _next_arrival(facts: Facts, step: str) -> str | None:
    """Say when somebody who is on a delayed way to a step arrives; None where nobody is."""
    found = [
        (way.due_at, source)
        for (source, to), way in facts.course.ways.items()
        if to == step and way.delayed and way.due_at is not None
    ]
    if not found:
        return None
    due_at, source = min(found)
    there = facts.steps[step].arrived
    return f"Waits for {source}, which arrives {at(due_at, facts.now)}{f'; there: {names(there)}' if there else ''}."


def _of_join(facts: Facts, step: StepFacts) -> str:
    """Say who has reached a join and who is missing, in the generation that waits longest."""
    sources = facts.spec.predecessors[step.step]
    there = [name for name in sources if name in (step.arrived or ())]
    missing = [name for name in sources if name not in there]
    size = facts.spec.join_size(step.step) or len(sources)
    generation = f" in generation {step.generation}" if step.generation is not None and step.generation > 1 else ""
    more = f" {step.waiting_passes - 1:,} more wait like it." if step.waiting_passes > 1 else ""
    if not there:
        return f"Waits for {'all of ' if size == len(sources) > 1 else f'{size} of '}{names(sources)}."
    wanted = names(missing) if len(missing) == size - len(there) else f"{size - len(there)} of {names(missing)}"
    return f"Waits{generation} for {wanted}; there: {names(there)}.{more}"


def _of_ways(facts: Facts, step: str) -> str:
    """Say which steps may lead to one that has not been reached: those that are not behind it in a loop."""
    sources = [name for name in facts.spec.predecessors[step] if not facts.spec.is_back(name, step)]
    going = [name for name in sources if not facts.steps[name].is_settled]
    return f"Waits for {names(going, 'or')}." if going else ""


def _of_places(step: StepSpec) -> str:
    most = step.max_parallel
    places = f"{most:,}" if isinstance(most, int) else most or "few"
    return f"Held for a free place: at most {places} of its tasks run at once (max_parallel)."


def _of_worker(facts: Facts, task: TaskFacts) -> str:
    if facts.run.is_local:
        return "Runs in the process that called it."
    if task.worker is None or task.heartbeat_age is None:
        return "Runs."
    step = facts.spec.steps[task.step]
    if task.begun_at is None and step.executor in conf.EXECUTORS:
        return f"Waits in executor {step.executor}, where it was handed to by worker {task.worker}."
    seen = ago(facts.now - timedelta(seconds=task.heartbeat_age), facts.now)
    begun = "" if task.begun_at is not None else "Claimed and about to begin: "
    return f"{begun}{'runs' if begun else 'Runs'} on worker {task.worker}, last seen {seen}."


def _of_queue(facts: Facts, queue: str, ahead: int | None) -> str:
    flow = facts.run.flow
    if flow.paused_at is not None:
        return held(f"flow {flow.slug}", Pause(flow.paused_at, flow.paused_by, flow.pause_reason), facts.now)
    if queue in facts.around.paused_queues:
        return held(f"queue {queue}", facts.around.paused_queues[queue], facts.now)
    if queue not in facts.around.served:
        return unserved(queue)
    if ahead is None:
        return f"Queued on {queue} for the next free worker."
    if ahead == 0:
        return f"Next on queue {queue}."
    more = " or more" if ahead >= MOST_AHEAD else ""
    return f"Queued behind {ahead:,}{more} other{'s' if ahead > 1 else ''} on queue {queue}."


def unserved(queue: str) -> str:
    """Say that nobody takes what is queued."""
    return f"No live worker serves queue {queue}."


def held(what: str, pause: Pause, now: datetime) -> str:
    """Say that something is paused, by whom, since when and why."""
    return f"Held because {what} is paused{_whose(pause, now)}."


def _whose(pause: Pause, now: datetime) -> str:
    by = f" by {pause.by}" if pause.by else ""
    since = f" since {clock(pause.since, now)}" if pause.since else ""
    return f"{by}{since}" + (f": {pause.reason.rstrip('.')}" if pause.reason else "")


def at(when: datetime, now: datetime) -> str:
    """Return a time to come, and how far it is."""
    left = when - now
    return clock(when, now) + (f", in {duration(left)}" if left > timedelta(0) else "")


def clock(when: datetime, now: datetime) -> str:
    """Return a time of day, with the date where that is another one."""
    local = times.local(when)
    return f"{local:%H:%M:%S}" if local.date() == times.local(now).date() else f"{local:%b %d, %H:%M:%S}"


def names(steps: Sequence[str], word: str = "and") -> str:
    """Return names as a list in a sentence, with a word before the last one."""
    shown, rest = list(steps[:MOST_NAMES]), len(steps) - MOST_NAMES
    if rest > 0:
        shown.append(f"{rest} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"
