"""Who coordinates: queues and workers."""

from __future__ import annotations

from django.db import models

from django_workflow.models.base import WorkflowModel
from django_workflow.models.fields import ClockTimestamp


class Queue(WorkflowModel):
    """A named pool of tasks; its messages live in the pgmq queue `wfq_<name>`."""

    name = models.CharField(max_length=40, unique=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    paused_at = models.DateTimeField(null=True, blank=True, help_text="No worker takes its tasks since then.")
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    pause_reason = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Worker(WorkflowModel):
    """One worker process: what it serves and when it was last heard of."""

    hostname = models.CharField(max_length=255)
    pid = models.IntegerField()
    queues = models.JSONField(default=list)
    concurrency = models.IntegerField()
    lease_seconds = models.FloatField()
    started_at = models.DateTimeField(db_default=ClockTimestamp())
    heartbeat_at = models.DateTimeField(db_default=ClockTimestamp())
    stopped_at = models.DateTimeField(null=True, blank=True)
    running_count = models.IntegerField(default=0, db_default=0)
    settled_count = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"


class Leader(WorkflowModel):
    """Which process does what only one at a time may do, and until when unless it renews its term."""

    name = models.CharField(max_length=40, primary_key=True)
    holder = models.CharField(max_length=32)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
