"""What all our pages in the admin have in common: who sees what, lists over millions of rows, hidden payloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_workflow import permissions
from django_workflow.admin.confirming import is_allowed, spread
from django_workflow.conf import conf
from django_workflow.models import Event, FlowDefinition, Run
from django_workflow.templatetags.django_workflow import pretty, status
from django_workflow.web.acting.buttons import Button
from django_workflow.web.drawing.picture import Graph
from django_workflow.web.run.events import SENTENCES

MASKED = SafeString('<span class="masked">hidden: needs the permission to view payloads</span>')


class BoundedPaginator(Paginator):
    """Pages of a list of which only the beginning is counted: a table of millions is never read to its end."""

    #: Rows that are counted, and among which people turn pages.
    most = 10_000

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to `most`."""
        rows: Any = self.object_list
        counted: int = rows.order_by()[: self.most].count()
        return counted


class PlainChangeList(ChangeList):
    """A list that leaves large columns in the database."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> models.QuerySet[Any]:
        """Return the rows without what only their own page shows."""
        rows = super().get_queryset(request, exclude_parameters)
        return rows.defer(*self.model_admin.large)  # type: ignore[attr-defined]

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, with what is read for all of them at once."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.model_admin.prepare(self.result_list)  # type: ignore[attr-defined]

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than are counted."""
        count: int = self.result_count
        return count >= self.model_admin.paginator.most  # type: ignore[attr-defined]


class ReadOnlyAdmin(admin.ModelAdmin):
    """A model that is looked at.

    flow_path: the lookup from a row to its flow, by which the site's rules hide rows; empty where there is none.
    shown: the fields of its page. payload: those that need the permission to view payloads.
    large: columns that lists leave out. related: what rows are read with.
    search_hint: what can be searched for; Django's own hint would be the only label of the field.
    """

    flow_path: ClassVar[str] = ""
    shown: ClassVar[Sequence[str]] = ()
    payload: ClassVar[dict[str, Callable[[Any, bool], Any]]] = {}
    large: ClassVar[Sequence[str]] = ()
    related: ClassVar[Sequence[str]] = ()
    search_hint: ClassVar[str] = ""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 200
    sortable_by = ()
    change_form_template = "admin/django_workflow/change_form.html"
    change_list_template = "admin/django_workflow/change_list.html"

    class Media:
        css: ClassVar[dict[str, Any]] = {"all": ["django_workflow/status.css", "django_workflow/admin.css"]}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Rows come from the engine only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are changed by verbs only."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows go with retention only."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say whether the user may look, at this row or at all."""
        return permissions.may(request.user, permissions.VIEW, None if obj is None else self.flow_of(obj))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Say whether the admin's index lists it."""
        return permissions.may(request.user, permissions.VIEW)

    def flow_of(self, obj: Any) -> FlowDefinition | None:
        """Return the flow that a row belongs to."""
        found = obj
        for name in self.flow_path.split("__") if self.flow_path else ():
            found = getattr(found, name)
        return found if isinstance(found, FlowDefinition) else None

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows of flows that the user may see."""
        rows: models.QuerySet[Any] = super().get_queryset(request).using(conf.DATABASE)
        if self.related:
            rows = rows.select_related(*self.related)
        flows = visible_flows(request)
        if flows is None or not self.flow_path:
            return rows
        return rows.filter(**{f"{self.flow_path}__in": [flow.pk for flow in flows]})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the kind of list."""
        return PlainChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups in addresses: they could ask payloads that are hidden. Filters have names of their own."""
        return lookup in {item.parameter_name for item in self.list_filter}  # type: ignore[union-attr]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what the page of a row shows, payloads as far as they may be seen."""
        flow = None if obj is None else self.flow_of(obj)
        shows = permissions.may(request.user, permissions.VIEW_PAYLOAD, flow)
        return [self.payload_field(name, shows) if name in self.payload else name for name in self.shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All of them."""
        return self.get_fields(request, obj)

    def payload_field(self, name: str, shows: bool) -> Callable[[Any], Any]:  # noqa: FBT001
        """Return the field that shows a payload, or that it is hidden."""
        return _payload_field(name, self.payload[name], shows)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions that the user may do."""
        # since Django 6.1 a form may have actions, too; earlier ones know those of the list only
        location = [] if action_location is None else [action_location]
        found: dict[str, Any] = super().get_actions(request, *location)
        found.pop("delete_selected", None)
        functions = {name: item[0] if isinstance(item, tuple) else item.func for name, item in found.items()}
        return {name: item for name, item in found.items() if is_allowed(request.user, functions[name])}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Refuse an action that the user has not: Django would only say that none was chosen."""
        spread(request)
        wanted = {name for name in request.POST.getlist("action") if name}
        if request.method == "POST" and not wanted <= set(self.get_actions(request)):
            raise PermissionDenied
        links = {"board_url": live_url("board")}
        return super().changelist_view(request, links | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a row, with what the user may do with it; each button leads to a page that asks first."""
        obj = self.get_object(request, object_id) if request.method == "GET" else None
        context: dict[str, Any] = {"tools": [], "live_url": ""}
        if obj is not None and self.has_view_permission(request, obj):
            context["tools"] = [_with_next(button, request.path) for button in self.tools(request, obj)]
            context["live_url"] = self.live_url(obj)
            context["links"] = self.links(obj)
            context["graph"] = self.graph(obj)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def prepare(self, rows: Sequence[Any]) -> None:
        """Read what is told of rows besides their columns, for all of them at once."""

    def tools(self, request: HttpRequest, obj: Any) -> list[Button]:
        """Return what the user may do with a row."""
        return []

    def live_url(self, obj: Any) -> str:
        """Return the address of a row's live page, if it has one."""
        return ""

    def graph(self, obj: Any) -> Graph | None:
        """Return the picture above a row's fields, if it has one."""
        return None

    def links(self, obj: Any) -> list[tuple[str, str]]:
        """Return related lists: text and address."""
        return []


@cache
def _payload_field(name: str, show: Callable[[Any, bool], Any], shows: bool) -> Callable[[Any], Any]:  # noqa: FBT001
    def field(obj: Any) -> Any:
        return show(getattr(obj, name), shows)

    field.__name__ = name
    field.short_description = name.replace("_", " ")  # type: ignore[attr-defined]
    return field


def json_payload(value: Any, shows: bool) -> Any:  # noqa: FBT001
    """Show a JSON value."""
    return json_block(value) if shows else MASKED


def text_payload(value: Any, shows: bool) -> Any:  # noqa: FBT001
    """Show a text with its lines."""
    return text_block(value) if shows else MASKED


def error_payload(value: Any, shows: bool) -> Any:  # noqa: FBT001
    """Show an error; its step and class may be seen by all, its message may hold anything."""
    if shows or not isinstance(value, dict):
        return json_block(value)
    told = f"{value.get('class', '')} in step {value['step']}" if value.get("step") else str(value.get("class", ""))
    return format_html("{} {}", told, MASKED)


def message_payload(value: Any, shows: bool) -> Any:  # noqa: FBT001
    """Show what a handler says about why it skips its step."""
    return (value or "–") if shows or not value else MASKED


def event_payload(event: Event, shows: bool) -> Any:  # noqa: FBT001
    """Show an event's data; who did it and why may be seen by all, of events that the engine wrote."""
    value = event.data
    if shows or not isinstance(value, dict):
        return json_block(value) if shows or value is None else MASKED
    # a handler's own events may have the same keys, and the engine's types, but always a task
    is_engine = event.task_id is None and event.type in SENTENCES
    known = {key: value[key] for key in ("by", "reason", "why") if is_engine and key in value}
    return json_block(known) if known == value else format_html("{} {}", json_block(known) if known else "", MASKED)


#: Characters of a JSON value that a page shows.
MOST_CHARACTERS = 200_000


def json_block(value: Any) -> Any:
    """Return a JSON value as a block of text."""
    if value is None:
        return "–"
    text = pretty(value)
    if len(text) > MOST_CHARACTERS:
        return text_block(f"{text[:MOST_CHARACTERS]}…\n(the first {MOST_CHARACTERS:,} of {len(text):,} characters)")
    return text_block(text)


def text_block(text: str) -> Any:
    """Return a text of several lines as it is."""
    return format_html('<pre class="dw-block" tabindex="0">{}</pre>', text) if text else "–"


def visible_flows(request: HttpRequest) -> list[FlowDefinition] | None:
    """Return the flows that the user may see, found once for a request; None for all."""
    if not hasattr(request, "_workflow_flows"):
        request._workflow_flows = permissions.visible_flows(request.user)  # type: ignore[attr-defined]  # noqa: SLF001
    flows: list[FlowDefinition] | None = request._workflow_flows  # type: ignore[attr-defined]  # noqa: SLF001
    return flows


def live_url(name: str, *args: Any) -> str:
    """Return the address of a live page; empty where the site has none."""
    try:
        return reverse(f"django_workflow:{name}", args=args)
    except NoReverseMatch:
        return ""


def change_url(name: str, key: Any) -> str:
    """Return the address of a row in this admin."""
    return reverse(f"admin:django_workflow_{name}_change", args=[key])


def list_url(name: str, **query: Any) -> str:
    """Return the address of a list in this admin."""
    url = reverse(f"admin:django_workflow_{name}_changelist")
    return f"{url}?{urlencode(query)}" if query else url


def link(url: str, text: Any) -> Any:
    """Return a link, or the text alone where it leads nowhere."""
    return format_html('<a href="{}">{}</a>', url, text) if url else text


def pill(value: str) -> Any:
    """Return a status as the live pages show it."""
    return status(value) if value else "–"


def run_link(run: Run) -> Any:
    """Return a link to a run in the admin."""
    return link(change_url("run", run.pk), str(run))


def _with_next(button: Button, path: str) -> Button:
    joint = "&" if "?" in button.url else "?"
    url = f"{button.url}{joint}{urlencode({'next': path})}"
    return Button(button.name, button.label, url, button.is_dangerous)
