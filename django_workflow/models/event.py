"""What happened: engine events, written by the verbs, and messages, sent by users."""

from __future__ import annotations

import pgtrigger
from django.db import models

from django_workflow.models.base import WorkflowModel
from django_workflow.models.fields import ClockTimestamp, CurrentTransaction
from django_workflow.models.runtime import Run, reference
from django_workflow.models.triggers import deleted_by_retention_only, never_updated


class Event(WorkflowModel):
    """One thing that happened in a run; `number` counts a run's events without gaps.

    `xid` is the writing transaction's id, or a higher one that an event of the run before it has.
    """

    run = reference(Run, related_name="events")
    number = models.IntegerField()
    xid = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    task = reference("django_workflow.Task", null=True, blank=True, related_name="events")
    type = models.CharField(max_length=40)
    step = models.CharField(max_length=128, blank=True, default="", db_default="")
    data = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(fields=("run", "number"), name="events_of_a_run_are_numbered"),
        ]
        indexes = [models.Index(fields=("xid", "id"), name="dw_event_cursor")]
        triggers: list[pgtrigger.Trigger] = [
            never_updated("event"),
            deleted_by_retention_only("event"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.step}".strip()

    @property
    def cursor(self) -> tuple[int, int]:
        """The event's place among all events: `follow(after=event.cursor)` goes on behind it."""
        return self.xid, self.id


class Message(WorkflowModel):
    """A durable message on a channel; readers do not consume it."""

    xid = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    channel = models.CharField(max_length=40)
    message = models.JSONField(null=True)

    class Meta:
        ordering = ("id",)
        indexes = [
            models.Index(fields=("channel", "xid", "id"), name="dw_message_cursor"),
            models.Index(fields=("created_at",), name="dw_message_created"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.pk}"


class Renumbering(WorkflowModel):
    """Transaction ids that a restore brought from another cluster and that were shifted: of which rows, by how much."""

    table_name = models.CharField(max_length=63)
    last_id = models.BigIntegerField(help_text="The rows up to this one.")
    lowest = models.BigIntegerField(help_text="Their transaction ids were at least this before.")
    shift = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.table_name} up to {self.last_id}"
