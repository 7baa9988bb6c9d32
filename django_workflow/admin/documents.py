"""Documents in the admin: a flow is uploaded after a look at what it changes, and downloaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from django_workflow import builder, permissions
from django_workflow.admin.base import change_url
from django_workflow.builder import FlowBuilder, StoredFlow
from django_workflow.definition import documents
from django_workflow.definition.documents import Document
from django_workflow.definition.documents.differences import Difference
from django_workflow.definition.problems import Problem, problems_of
from django_workflow.definition.validation.topology import advice
from django_workflow.exceptions import DefinitionError, NotSupported, WorkflowError
from django_workflow.models import FlowDefinition, FlowVersion
from django_workflow.read import find, versions
from django_workflow.web.acting.buttons import Button

#: Django's own permissions of flows: storing a new one, and replacing the draft of one that is there.
ADD: Final = "add_flowdefinition"
CHANGE: Final = "change_flowdefinition"
FORMATS: Final = {"yaml": "application/yaml", "json": "application/json"}


class UploadForm(forms.Form):
    """A document, as a file or as text."""

    file = forms.FileField(required=False, help_text="YAML or JSON, such as manage.py workflow_export writes it.")
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=forms.Textarea(attrs={"class": "mono", "rows": 24, "spellcheck": "false"}),
    )
    publishes = forms.BooleanField(
        required=False, label="Make a version of it at once", help_text="Otherwise its next start makes one."
    )

    def clean(self) -> dict[str, Any]:
        """Ask for one of both."""
        cleaned = super().clean() or {}
        if not cleaned.get("file") and not (cleaned.get("text") or "").strip():
            raise forms.ValidationError("Choose a file, or write the document.")
        return cleaned

    @property
    def content(self) -> str | bytes:
        """What is uploaded; of a file no more than a document may have, and a sign that there is more."""
        file = self.cleaned_data.get("file")
        if file:
            data: bytes = file.read(documents.MAX_LENGTH * 4 + 1)
            return data
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")


@dataclass
class Preview:
    """What a document would do, and what is wrong with it.

    seal: stands for this text and what it would change; only what somebody has seen like this is stored.
    """

    document: Document
    text: str
    flow: FlowDefinition | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    changes: list[Difference] = field(default_factory=list)

    @property
    def seal(self) -> str:
        """Return what a confirmation has to bring back."""
        known = f"{self.flow.pk} {self.flow.updated_at.isoformat()}" if self.flow is not None else ""
        return hashlib.sha256(f"{known}\n{self.text}".encode(errors="replace")).hexdigest()


def preview(user: Any, content: str | bytes, format: str | None) -> Preview:
    """Return what a document would do if this user stored it."""
    document = documents.parse(content, format)
    text = content if isinstance(content, str) else content.decode("utf-8-sig", errors="replace")
    row = find.flow(document.slug) if document.slug else None
    found = Preview(document, text, row)
    try:
        spec = builder.checked(document, row).spec
    except DefinitionError as error:
        found.problems = problems_of(error)
        return found
    if not permissions.may(user, ADD if row is None else CHANGE, row):
        verb = "store new flows" if row is None else f"change flow {row.slug!r}"
        found.problems = document.located([Problem("not_allowed", (), f"you may not {verb}")])
        return found
    found.warnings = document.located(advice(spec))
    found.changes = builder.changes(row, spec)
    return found


def may_upload(user: Any) -> bool:
    """Say whether a user may store any flow."""
    return permissions.may(user, ADD) or permissions.may(user, CHANGE)


def upload(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Ask for a document, show what it would do, and store what was shown and confirmed."""
    if not may_upload(request.user):
        raise PermissionDenied
    form = UploadForm(request.POST or None, request.FILES or None)
    found: Preview | None = None
    refusal = ""
    if request.method == "POST" and form.is_valid():
        try:
            found = preview(request.user, form.content, _format_of(form))
            if not found.problems and "confirm" in request.POST and request.POST.get("seal") == found.seal:
                return _stored(model_admin, request, found, publishes=form.cleaned_data["publishes"])
        except (DefinitionError, NotSupported) as error:
            refusal = error.message
        if found is not None:
            # what was in the file can be mended in the page
            form = UploadForm(initial={"text": found.text, "publishes": form.cleaned_data["publishes"]})
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Upload a flow",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "form": form,
        "preview": found,
        "refusal": refusal,
    }
    return TemplateResponse(request, "admin/django_workflow/upload.html", context)


def _format_of(form: UploadForm) -> str | None:
    file = form.cleaned_data.get("file")
    return documents.format_of(file.name) if file else None


def _stored(model_admin: Any, request: HttpRequest, found: Preview, *, publishes: bool) -> HttpResponse:
    is_new = found.flow is None
    flow = FlowBuilder.import_document(found.document)
    told = f"Stored from a document: {'new' if is_new else counted(found.changes)}"
    if publishes:
        told += f"; version {FlowBuilder.publish(flow).number} published"
    log = model_admin.log_addition if is_new else model_admin.log_change
    log(request, flow.row, told)
    messages.success(request, f"Flow {flow.slug!r}: {told[0].lower()}{told[1:]}.")
    return HttpResponseRedirect(change_url("flowdefinition", flow.row.pk))


def counted(changes: list[Difference]) -> str:
    """Return how much changes."""
    return f"{len(changes)} change{'' if len(changes) == 1 else 's'}"


def download(model_admin: Any, request: HttpRequest, object_id: str, format: str) -> HttpResponse:
    """Send a flow, or a version of one, as a document."""
    obj = model_admin.get_object(request, object_id)
    if obj is None or format not in FORMATS:
        raise Http404
    if not model_admin.has_view_permission(request, obj):
        raise PermissionDenied
    version = obj if isinstance(obj, FlowVersion) else versions.newest(obj.pk)
    try:
        if isinstance(obj, FlowDefinition) and obj.source == FlowDefinition.Source.STORED:
            name, text = obj.slug, StoredFlow(obj).to_document(format)
        elif version is not None:
            name, text = f"{version.flow.slug}-v{version.number}", _document(version, format)
        else:
            raise NotSupported("The flow has no version yet.")
    except WorkflowError as error:
        messages.error(request, error.message)
        return HttpResponseRedirect(change_url(model_admin.opts.model_name, obj.pk))
    answer = HttpResponse(text, content_type=f"{FORMATS[format]}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{format}"'
    return answer


def _document(version: FlowVersion, format: str) -> str:
    if not versions.is_readable(version):
        raise NotSupported(f"This release cannot read version {version.number} of the flow.")
    return documents.write(version.compiled, format)


def download_buttons(name: str, key: Any) -> list[Button]:
    """Return the links to a row's documents."""
    return [
        Button(f"download_{form}", f"Download {form.upper()}", _url(name, "download", key, form)) for form in FORMATS
    ]


def _url(name: str, page: str, *args: Any) -> str:
    return reverse(f"admin:django_workflow_{name}_{page}", args=args)


def upload_url() -> str:
    """Return the address of the page that takes documents."""
    return _url("flowdefinition", "upload")


def urls(model_admin: Any, *, uploads: bool) -> list[URLPattern]:
    """Return the addresses of documents for a model's admin."""
    name, wrap = model_admin.opts.model_name, model_admin.admin_site.admin_view

    def send(request: HttpRequest, object_id: str, format: str) -> HttpResponse:
        return download(model_admin, request, object_id, format)

    def take(request: HttpRequest) -> HttpResponse:
        return upload(model_admin, request)

    found = [path("<path:object_id>/download.<str:format>", wrap(send), name=f"django_workflow_{name}_download")]
    if uploads:
        found.append(path("upload/", wrap(take), name=f"django_workflow_{name}_upload"))
    return found
