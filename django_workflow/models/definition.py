"""What is defined: flows and their immutable versions."""

from __future__ import annotations

from functools import cached_property

import pgtrigger
from django.db import models

from django_workflow.definition.spec import FlowSpec
from django_workflow.models.base import WorkflowModel
from django_workflow.models.triggers import deleted_by_retention_only, never_updated


class FlowDefinition(WorkflowModel):
    """A flow as the database knows it: by slug, with its versions."""

    class Source(models.TextChoices):
        CODE = "code", "declared in code"
        STORED = "stored", "stored as data"

    slug = models.CharField(max_length=128, unique=True)
    title = models.CharField(max_length=200, blank=True, default="")
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.CODE)
    draft = models.JSONField(null=True, blank=True, help_text="The stored definition being edited.")
    overrides = models.JSONField(
        default=dict,
        blank=True,
        help_text="Step name to options that replace the author's at the next start.",
    )
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Its runs are held since then.")
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    pause_reason = models.TextField(blank=True, default="", db_default="")
    retired_at = models.DateTimeField(
        null=True, blank=True, help_text="No code declares it any more; the board does not show it."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "flow"
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug


class FlowVersion(WorkflowModel):
    """One immutable version of a flow; a run keeps the version it started with."""

    flow = models.ForeignKey(FlowDefinition, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    fingerprint = models.CharField(max_length=64)
    spec = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "flow version"
        ordering = ("flow", "-number")
        constraints = [
            models.UniqueConstraint(fields=("flow", "number"), name="version_number_is_unique_in_its_flow"),
            models.UniqueConstraint(fields=("flow", "fingerprint"), name="same_definition_is_the_same_version"),
        ]
        triggers: list[pgtrigger.Trigger] = [
            never_updated("flow_version", times=False),
            deleted_by_retention_only("flow_version"),
        ]

    def __str__(self) -> str:
        return f"{self.flow} v{self.number}"

    @cached_property
    def compiled(self) -> FlowSpec:
        """The stored definition as a `FlowSpec`."""
        return FlowSpec.from_dict(self.spec)
