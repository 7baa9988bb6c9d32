"""Flows and their versions in the admin."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver

from django_workflow.admin import documents, filters
from django_workflow.admin.base import (
    ReadOnlyAdmin,
    change_url,
    json_block,
    link,
    list_url,
    live_url,
    pill,
    visible_flows,
)
from django_workflow.models import FlowDefinition, FlowVersion
from django_workflow.read import versions
from django_workflow.statuses import PAUSED
from django_workflow.templatetags.django_workflow import moment
from django_workflow.web.acting.buttons import Button, flow_buttons
from django_workflow.web.drawing.picture import Graph, draw_definition

#: What a page with a picture is shown with.
STYLES = {"all": ["django_workflow/graph.css"]}


def picture(version: FlowVersion | None) -> Graph | None:
    """Return the picture of a definition; None without steps, as of one that a later release wrote."""
    spec = versions.readable_spec(version) if version is not None else None
    return draw_definition(spec) if spec is not None and spec.steps else None


@admin.register(FlowDefinition)
class FlowAdmin(ReadOnlyAdmin):
    """Flows, by name."""

    class Media:
        css: ClassVar[dict[str, Any]] = STYLES

    large = ("draft",)
    ordering = ("slug",)
    list_display = ("slug_shown", "title_shown", "source_shown", "state", "updated")
    search_fields = ("slug", "title")
    shown = (
        *("slug_shown", "title_shown", "source_shown", "state", "paused_at", "paused_by", "pause_reason"),
        *("overrides_shown", "draft_shown", "created_at", "updated"),
    )

    def flow_of(self, obj: FlowDefinition) -> FlowDefinition:
        """Return the flow itself."""
        return obj

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the flows that the user may see."""
        rows = super().get_queryset(request)
        flows = visible_flows(request)
        return rows if flows is None else rows.filter(pk__in=[flow.pk for flow in flows])

    def tools(self, request: HttpRequest, obj: FlowDefinition) -> list[Button]:
        """Return what the user may do with the flow."""
        found = flow_buttons(request.user, obj) if live_url("board") else []
        return [*found, *documents.download_buttons("flowdefinition", obj.pk)]

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        """Return the addresses of the pages, documents first: what follows them takes any address for a key."""
        return [*documents.urls(self, uploads=True), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, with the way to store a flow."""
        links = {"upload_url": documents.upload_url()} if documents.may_upload(request.user) else {}
        return super().changelist_view(request, links | (extra_context or {}))

    def links(self, obj: FlowDefinition) -> list[tuple[str, str]]:
        """Return the lists of what belongs to the flow."""
        return [("Runs", list_url("run", flow=obj.slug)), ("Versions", list_url("flowversion", flow=obj.slug))]

    def graph(self, obj: FlowDefinition) -> Graph | None:
        """Return the picture of the newest version."""
        return picture(versions.newest(obj.pk))

    @admin.display(description="flow")
    def slug_shown(self, flow: FlowDefinition) -> str:
        """Return the name."""
        return flow.slug

    @admin.display(description="title")
    def title_shown(self, flow: FlowDefinition) -> str:
        """Return the title."""
        return flow.title or "–"

    @admin.display(description="source")
    def source_shown(self, flow: FlowDefinition) -> str:
        """Return where it is defined."""
        return str(FlowDefinition.Source(flow.source).label)

    @admin.display(description="status")
    def state(self, flow: FlowDefinition) -> Any:
        """Return whether it is paused."""
        return pill(PAUSED) if flow.paused_at else "–"

    @admin.display(description="updated")
    def updated(self, flow: FlowDefinition) -> Any:
        """Return when it was changed."""
        return moment(flow.updated_at)

    @admin.display(description="overrides")
    def overrides_shown(self, flow: FlowDefinition) -> Any:
        """Return the options that replace the author's."""
        return json_block(flow.overrides or None)

    @admin.display(description="draft")
    def draft_shown(self, flow: FlowDefinition) -> Any:
        """Return the stored definition."""
        return json_block(flow.draft)


@admin.register(FlowVersion)
class FlowVersionAdmin(ReadOnlyAdmin):
    """Versions, newest first."""

    class Media:
        css: ClassVar[dict[str, Any]] = STYLES

    flow_path = "flow"
    related = ("flow",)
    large = ("spec", "flow__draft")
    ordering = ("-id",)
    list_display = ("__str__", "flow_name", "number_shown", "created", "short_fingerprint")
    list_filter = (filters.FlowFilter,)
    shown = ("flow_name", "number_shown", "created", "fingerprint", "definition")

    def tools(self, request: HttpRequest, obj: FlowVersion) -> list[Button]:
        """Return the documents of the version."""
        return documents.download_buttons("flowversion", obj.pk)

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        """Return the addresses of the pages, documents first: what follows them takes any address for a key."""
        return [*documents.urls(self, uploads=False), *super().get_urls()]

    def graph(self, obj: FlowVersion) -> Graph | None:
        """Return the picture of the version."""
        return picture(obj)

    @admin.display(description="flow")
    def flow_name(self, version: FlowVersion) -> Any:
        """Return a link to the flow."""
        return link(change_url("flowdefinition", version.flow_id), version.flow.slug)

    @admin.display(description="version")
    def number_shown(self, version: FlowVersion) -> str:
        """Return the number."""
        return f"v{version.number}"

    @admin.display(description="created")
    def created(self, version: FlowVersion) -> Any:
        """Return when it was stored."""
        return moment(version.created_at)

    @admin.display(description="fingerprint")
    def short_fingerprint(self, version: FlowVersion) -> str:
        """Return the beginning of the fingerprint."""
        return version.fingerprint[:12]

    @admin.display(description="definition")
    def definition(self, version: FlowVersion) -> Any:
        """Return the definition."""
        return json_block(version.spec)
