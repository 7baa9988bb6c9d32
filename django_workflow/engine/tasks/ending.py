"""What an outcome makes of its task: its end, another attempt, or a hold."""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import dataclass, replace

from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator, surrounded
from django_workflow.definition.elements import CALLABLE_PREFIX, LONGEST_TIME, StepSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.retry import NUMBERS, STRATEGIES, RetryPolicy
from django_workflow.engine.routing.facts import Error, error_of
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.tasks.admission import admission, waits_in_message
from django_workflow.engine.tasks.outcome import ErrorRecord, Outcome
from django_workflow.statuses import FAILED, LOST, PAUSED, QUEUED, RELEASED, SKIPPED, SUCCEEDED

UNLIMITED = 1_000_000
#: How often a task of another language may lose its worker: its documents know no attempts of that kind.
MAX_LOSSES = 3


def policy_of(step: StepSpec) -> RetryPolicy:
    """Return a step's retry policy: the settings', with what the flow and the step declare."""
    default = conf.RETRY.declared() if conf.RETRY is not None else {}
    if step.retry_when is None:
        return RetryPolicy.of(default, step.retry)
    # the worker has judged already whether there is another attempt, and when; what it evaluated for that is text here
    declared = {name: value for name, value in step.retry.items() if name not in NUMBERS}
    return RetryPolicy.of(default, declared, {"max_attempts": UNLIMITED})


@dataclass(slots=True)
class Ending:
    """One outcome and what it makes of its task.

    status: the task's next status; "running" with `keeps_lease` where a lost task goes on here.
    delay: seconds until it may be tried again.
    """

    outcome: Outcome
    run: LockedRun
    status: str
    failure_count: int
    lost_count: int
    delay: float = 0.0
    hold_reason: str = ""
    keeps_lease: bool = False
    message_id: int | None = None

    @classmethod
    def of(cls, outcome: Outcome, run: LockedRun) -> Ending:
        """Judge an outcome: the end of its task, another attempt, or a hold."""
        task = outcome.task
        lost_count = task.lost_count + (outcome.kind == LOST)
        if outcome.kind in (SUCCEEDED, SKIPPED):
            return cls(outcome, run, outcome.kind, task.failure_count, lost_count)
        failures = task.failure_count + (outcome.is_counted and outcome.kind != RELEASED)
        ending = cls(outcome, run, QUEUED, failures, lost_count)
        if outcome.kind == RELEASED:
            ending.delay = outcome.retry_after or 0.0
        elif ending.is_exhausted():
            ending.status = FAILED
            return ending
        elif outcome.was_lost_before:
            ending.keeps_lease = run.status != PAUSED and run.may_take(task.queue)
        else:
            try:
                ending.delay = ending.backoff()
            except BaseException as mistake:
                leave_to_operator(mistake)
                ending.outcome, ending.status = outcome.as_mistake_of_strategy(mistake), FAILED
                return ending
        ending.status, ending.hold_reason = admission(run.status, take=lambda: ending.keeps_lease)
        return ending

    def is_exhausted(self) -> bool:
        """Say whether no further attempt is allowed."""
        if not self.outcome.is_counted:
            return False
        task = self.outcome.task
        if self.outcome.kind == LOST and not task.spec.dialect.counts_losses:
            return self.lost_count >= MAX_LOSSES
        policy = policy_of(task.step)
        error = self.outcome.error
        wanted = self.outcome.retry_after is not None or error is None or policy.wants(error.classes)
        return not self.outcome.is_retryable or not wanted or self.failure_count >= policy.max_attempts

    def most_attempts(self) -> int | None:
        """Return how many failures the step's policy allows; None where it does not count them."""
        most = policy_of(self.outcome.task.step).max_attempts
        return most if most < UNLIMITED else None

    def backoff(self) -> float:
        """Return the seconds until the next attempt; a handler or strategy that asks for more gets the longest time."""
        return min(self.wanted_backoff(), LONGEST_TIME.total_seconds())

    def wanted_backoff(self) -> float:
        """Return the seconds that the outcome or the step's policy asks for."""
        if self.outcome.retry_after is not None:
            return max(0.0, self.outcome.retry_after)
        policy = policy_of(self.outcome.task.step)
        name = policy.strategy.removeprefix(CALLABLE_PREFIX)
        if name == policy.strategy:
            return policy.delay(self.failure_count)
        if not registry.has_callable(name):
            # a deploy took it away: it decides only how long to wait, which the policy's numbers do as well
            return replace(policy, strategy=STRATEGIES[0]).delay(self.failure_count)
        with surrounded():
            # what a strategy sets in its context (variables, language, time zone) is for nobody else
            return copy_context().run(policy.delay, self.failure_count, registry.callable(name))

    @property
    def keeps_message(self) -> bool:
        """Whether the task's message serves for the next attempt."""
        return self.status == QUEUED and waits_in_message(self.delay)

    @property
    def error(self) -> Error:
        """The error as a step's or run's record tells it."""
        error = self.outcome.error or ErrorRecord("Unknown", self.outcome.words)
        return error_of(self.outcome.task.step.name, error.error_class, error.message)
