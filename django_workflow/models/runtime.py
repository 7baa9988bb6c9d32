"""What runs: runs, step runs, tasks, attempts and arrivals at joins.

These are the hot tables. References among them carry no foreign key constraint: it would lock and
look up the referred row at each insert, and the engine writes both sides in one transaction.
No index mentions a task's status or lease, so that claiming and ending it are HOT updates.
"""

from __future__ import annotations

from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q

from django_workflow import statuses
from django_workflow.ids import uuid7
from django_workflow.models.base import RowManager, WorkflowModel
from django_workflow.models.definition import FlowDefinition, FlowVersion
from django_workflow.models.fields import ClockTimestamp
from django_workflow.models.querysets import RunQuerySet, StepRunQuerySet, TaskQuerySet
from django_workflow.models.triggers import deleted_by_retention_only, never_updated, status_machine


def reference(to: Any, **options: Any) -> Any:
    """A foreign key of a hot table: no constraint, no index of its own."""
    return models.ForeignKey(to, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, **options)


class Variables(WorkflowModel):
    """What a branch of a run knows by name; never changed: publishing makes a new row."""

    run = reference("django_workflow.Run", related_name="+")
    values = models.JSONField(default=dict)
    stamps = models.JSONField(default=dict, help_text="The row in which each name was last written: the latest wins.")

    class Meta:
        verbose_name_plural = "variables"
        indexes = [models.Index(fields=("run",), name="dw_variables_run")]
        triggers: list[pgtrigger.Trigger] = [never_updated("variables"), deleted_by_retention_only("variables")]

    def __str__(self) -> str:
        return ", ".join(self.values)


class Run(WorkflowModel):
    """One execution of one flow version."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    flow = reference(FlowDefinition, related_name="runs")
    version = reference(FlowVersion, related_name="runs")
    retry_of = reference("self", null=True, blank=True, related_name="retries")
    variables = reference(
        Variables, null=True, blank=True, related_name="+", help_text="Of the branches that have ended, merged."
    )
    open_steps = models.IntegerField(
        default=0, db_default=0, help_text="Step runs that are running, and arrivals on their way."
    )
    task_count = models.IntegerField(
        default=0,
        db_default=0,
        help_text="For the limit: tasks made by map steps; where steps may multiply, all tasks and what was skipped.",
    )
    is_local = models.BooleanField(
        default=False, db_default=False, help_text="Executed in the calling process, without queues."
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    due_at = models.DateTimeField(null=True, blank=True, help_text="A scheduled run starts then.")
    deadline_at = models.DateTimeField(null=True, blank=True, help_text="An unsettled run ends timed out then.")
    started_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Its clock stands still since then.")
    paused_seconds = models.FloatField(
        default=0.0, db_default=0.0, help_text="How long it was paused until its last resume."
    )
    is_paused_with_flow = models.BooleanField(
        default=False, db_default=False, help_text="Resuming the flow resumes it, too."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True, help_text="Its payloads were erased then.")
    status = models.CharField(max_length=10, choices=statuses.choices(statuses.RUN_STATUSES))
    title = models.CharField(max_length=200, blank=True, default="", db_default="")
    started_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    input = models.JSONField(null=True, blank=True)
    output = models.JSONField(null=True, blank=True, help_text="What its flow declares as output.")
    error = models.JSONField(null=True, blank=True, help_text="Step, class and message of what ended it.")

    objects = RowManager.from_queryset(RunQuerySet)()  # type: ignore[misc]

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(condition=Q(open_steps__gte=0), name="open_steps_never_negative"),
            models.UniqueConstraint(
                fields=("flow", "idempotency_key"),
                condition=Q(idempotency_key__isnull=False),
                name="idempotency_key_is_unique_in_its_flow",
            ),
        ]
        indexes = [
            models.Index(
                fields=("deadline_at",),
                condition=Q(status__in=("scheduled", "running", "paused")),
                name="dw_run_unsettled",
            ),
            models.Index(fields=("due_at",), condition=Q(status="scheduled"), name="dw_run_scheduled"),
            models.Index(fields=("ended_at",), condition=Q(ended_at__isnull=False), name="dw_run_ended"),
            # what lists look for among a million of succeeded ones, newest first; dead letters are among the failed
            models.Index(fields=("status", "id"), condition=~Q(status="succeeded"), name="dw_run_not_succeeded"),
            models.Index(fields=("flow", "id"), name="dw_run_flow"),
            models.Index(fields=("retry_of",), condition=Q(retry_of__isnull=False), name="dw_run_retry_of"),
            # and those on created_at and labels, which Django has in an app of its own: see migration 0002
        ]
        # view_run is Django's own
        permissions = [
            ("start_run", "Can start runs"),
            ("pause_run", "Can pause and resume runs, flows and queues"),
            ("cancel_run", "Can cancel runs"),
            ("retry_run", "Can retry runs, skip and complete steps"),
            ("signal_run", "Can send signals to runs"),
            ("approve_step", "Can approve or reject steps"),
            ("view_payload", "Can see inputs, outputs, items and error messages"),
            ("view_logs", "Can see what handlers log"),
        ]
        triggers: list[pgtrigger.Trigger] = [
            status_machine("run", statuses.RUN_MOVES),
            deleted_by_retention_only("run"),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.flow.slug} {str(self.id)[-12:]}"


class StepRun(WorkflowModel):
    """One activation of a step in a run; a loop makes a new one each pass.

    Its scope is 0, or the activation of a split that opened it: what follows that one is counted apart.
    """

    run = reference(Run, related_name="step_runs")
    source = reference(
        "self", null=True, blank=True, related_name="followers", help_text="The activation that led to it last."
    )
    variables = reference(Variables, null=True, blank=True, related_name="+")
    iteration = models.IntegerField(default=1, db_default=1)
    scope = models.BigIntegerField(default=0, db_default=0)
    open_tasks = models.IntegerField(default=0, db_default=0)
    task_count = models.IntegerField(default=0, db_default=0)
    failed_count = models.IntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=statuses.choices(statuses.STEP_RUN_STATUSES))
    step = models.CharField(max_length=128)
    reason = models.CharField(
        max_length=20, blank=True, default="", db_default="",
        help_text=f"Why it was skipped: {', '.join(statuses.SKIP_REASONS)}.",
    )  # fmt: skip
    message = models.TextField(
        blank=True, default="", db_default="", help_text="What its handler says about why it skips it."
    )
    on_retry = models.CharField(
        max_length=6, blank=True, default="", db_default="", editable=False,
        help_text="What a retry of its failed run does with it, where it is not just kept.",
    )  # fmt: skip
    error = models.JSONField(null=True, blank=True)

    objects = RowManager.from_queryset(StepRunQuerySet)()  # type: ignore[misc]

    class Meta:
        verbose_name = "step run"
        ordering = ("id",)
        constraints = [
            models.CheckConstraint(condition=Q(open_tasks__gte=0), name="open_tasks_never_negative"),
            models.UniqueConstraint(
                fields=("run", "step", "scope", "iteration"), name="step_run_is_unique_in_its_scope_and_iteration"
            ),
        ]
        triggers: list[pgtrigger.Trigger] = [
            status_machine("step_run", statuses.STEP_RUN_MOVES),
            deleted_by_retention_only("step_run"),
        ]

    def __str__(self) -> str:
        return self.step if self.iteration == 1 else f"{self.step} #{self.iteration}"


class Task(WorkflowModel):
    """The unit a worker executes: one for a single step, one per item of a map step.

    The row is the truth; the message `message_id` in the queue is a pointer to it.
    """

    run = reference(Run, related_name="tasks")
    step_run = reference(StepRun, related_name="tasks")
    message_id = models.BigIntegerField(null=True, blank=True)
    lease_id = models.BigIntegerField(null=True, blank=True, help_text="Random per claim: the fence.")
    begun_lease_id = models.BigIntegerField(
        null=True, blank=True,
        help_text="The lease under which it began on an engine of the site's own: no lease begins twice.",
    )  # fmt: skip
    worker = reference("django_workflow.Worker", null=True, blank=True, related_name="tasks")
    index = models.IntegerField(default=0, db_default=0)
    attempt = models.IntegerField(default=0, db_default=0, help_text="Claims so far; only grows.")
    failure_count = models.IntegerField(default=0, db_default=0, help_text="Counted failures, limited by max_attempts.")
    lost_count = models.SmallIntegerField(
        default=0, db_default=0, help_text="How often its lease ended without a report."
    )
    progress = models.FloatField(null=True, blank=True, help_text="0 to 1, told by the handler.")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    due_at = models.DateTimeField(null=True, blank=True, help_text="Not before this time.")
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=statuses.choices(statuses.TASK_STATUSES))
    hold_reason = models.CharField(
        max_length=10, blank=True, default="", db_default="", choices=statuses.choices(statuses.HOLD_REASONS)
    )
    origin = models.CharField(
        max_length=10, blank=True, default="", db_default="", choices=statuses.choices(statuses.TASK_ORIGINS),
        help_text="Where it came from, if no worker executed it: an earlier run, or an operator.",
    )  # fmt: skip
    queue = models.CharField(max_length=40)
    item = models.JSONField(null=True, blank=True)
    output = models.JSONField(null=True, blank=True)

    objects = RowManager.from_queryset(TaskQuerySet)()  # type: ignore[misc]

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(fields=("step_run", "index"), name="task_index_is_unique_in_its_step_run"),
        ]
        indexes = [
            models.Index(
                fields=("due_at",),
                condition=Q(message_id__isnull=True, due_at__isnull=False),
                name="dw_task_due",
            ),
        ]
        triggers: list[pgtrigger.Trigger] = [
            status_machine("task", statuses.TASK_MOVES),
            deleted_by_retention_only("task"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"


class Attempt(WorkflowModel):
    """One try of a task that ended otherwise than by success (a success is the task row itself)."""

    run = reference(Run, related_name="attempts")
    task = reference(Task, related_name="attempts")
    lease_id = models.BigIntegerField(null=True, blank=True)
    worker = reference("django_workflow.Worker", null=True, blank=True, related_name="attempts")
    number = models.IntegerField()
    is_counted = models.BooleanField(default=True, db_default=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, blank=True)
    late_outcome = models.CharField(max_length=10, blank=True, default="", db_default="")
    outcome = models.CharField(max_length=10, choices=statuses.choices(statuses.ATTEMPT_OUTCOMES))
    reason = models.CharField(
        max_length=20, blank=True, default="", db_default="", choices=statuses.choices(statuses.NO_CODE_REASONS),
        help_text="Why a worker handed the task back, where that is a code; message has words for it.",
    )  # fmt: skip
    missing_code = models.TextField(
        blank=True, default="", db_default="", help_text="The handler, condition or executor that it did not have."
    )
    error_class = models.CharField(max_length=200, blank=True, default="", db_default="")
    message = models.TextField(blank=True, default="", db_default="")
    traceback = models.TextField(blank=True, default="", db_default="")
    fingerprint = models.CharField(max_length=32, blank=True, default="", db_default="")

    class Meta:
        ordering = ("id",)
        indexes = [
            models.Index(fields=("task",), name="dw_attempt_task"),
            models.Index(fields=("fingerprint", "run"), condition=~Q(fingerprint=""), name="dw_attempt_error"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of task {self.task_id}: {self.outcome}"


class Arrival(WorkflowModel):
    """A predecessor reached a join: counted once per source, scope and generation.

    A generation is the ordinal of that source's arrivals; one that is delayed has none until it is due.
    """

    run = reference(Run, related_name="arrivals")
    step_run = reference(StepRun, null=True, related_name="arrivals", help_text="The activation it counts for.")
    source_run = reference(StepRun, null=True, related_name="+", help_text="The activation that arrived.")
    variables = reference(Variables, null=True, related_name="+")
    scope = models.BigIntegerField(default=0, db_default=0)
    generation = models.IntegerField(default=1, db_default=1, null=True)
    due_at = models.DateTimeField(null=True, help_text="It arrives then.")
    is_cascade = models.BooleanField(
        default=False, db_default=False, help_text="The source was skipped, and so is the target."
    )
    step = models.CharField(max_length=128)
    source = models.CharField(max_length=128)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("run", "step", "scope", "generation", "source"),
                name="a_source_arrives_once_per_generation",
            ),
        ]
        indexes = [
            models.Index(fields=("due_at",), condition=Q(generation__isnull=True), name="dw_arrival_due"),
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.step}"


class DeadLetter(Task):
    """A failed task whose failure ended its run, and which nobody has taken care of yet, as the admin lists it."""

    class Meta:
        proxy = True
        verbose_name = "dead letter"
        default_permissions = ()  # those of runs are asked

    def __str__(self) -> str:
        return f"dead letter {self.pk}"


class Dismissal(WorkflowModel):
    """An operator's word that a dead letter, a failed task of a failed run, needs nothing more."""

    task = models.OneToOneField(Task, on_delete=models.DO_NOTHING, db_constraint=False, related_name="dismissal")
    run = reference(Run, related_name="dismissals")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    by = models.CharField(max_length=150, blank=True, default="")
    reason = models.TextField()

    class Meta:
        indexes = [models.Index(fields=("run",), name="dw_dismissal_run")]

    def __str__(self) -> str:
        return self.reason


class Erasure(WorkflowModel):
    """What was erased of a run: who, when, why and how many rows; it is all that is left of a whole run."""

    run_id = models.UUIDField(help_text="Of the run; where all of it was erased there is none any more.")
    flow = reference(FlowDefinition, null=True, related_name="erasures")
    flow_slug = models.CharField(max_length=128)
    what = models.CharField(max_length=10, choices=[("run", "the whole run"), ("payloads", "its payloads")])
    counts = models.JSONField(default=dict, help_text="How many rows were deleted or emptied, by table.")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    by = models.CharField(max_length=150, blank=True, default="")
    reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("run_id",), name="dw_erasure_run")]

    def __str__(self) -> str:
        return f"{self.flow_slug} {self.run_id}"


class TaskLog(WorkflowModel):
    """One line that a handler logged."""

    run = reference(Run, related_name="logs")
    task = reference(Task, related_name="logs")
    attempt = models.IntegerField()
    level = models.SmallIntegerField(help_text="As in Python's logging: 20 is info, 40 error.")
    created_at = models.DateTimeField()
    logger = models.CharField(max_length=200)
    message = models.TextField()

    class Meta:
        verbose_name = "log line"
        ordering = ("id",)
        indexes = [
            models.Index(fields=("run", "id"), name="dw_log_run"),
            models.Index(fields=("task",), name="dw_log_task"),
        ]

    def __str__(self) -> str:
        return self.message
