"""Documents in the admin: seen before they are stored, stored only by whom may, and sent as files."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse

from django_workflow import FlowBuilder, handler
from django_workflow.definition import documents
from django_workflow.models import FlowDefinition, FlowVersion
from tests.admin.conftest import EVIL, user_with
from tests.web.actions.acting import rewrite

UPLOAD = "admin:django_workflow_flowdefinition_upload"
GOOD = "slug: shop\ntitle: A shop\nsteps:\n  one:\n    timeout: 30s\n"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _handlers():
    handler("one")(lambda input: None)


@pytest.fixture
def editor(client_of):
    """Somebody who may look, and store flows."""
    user = user_with("editor", ["view_run", "add_flowdefinition", "change_flowdefinition"])
    user.is_staff = True
    user.save()
    return client_of(user)


@pytest.fixture
def looker(viewer, client_of):
    viewer.is_staff = True
    viewer.save()
    return client_of(viewer)


def post(client, text=GOOD, **data):
    answer = client.post(reverse(UPLOAD), {"text": text, **data})
    return answer, unescape(answer.content.decode())


def seal_of(body):
    return re.search(r'name="seal" value="(\w+)"', body)[1]


def stored():
    return list(FlowDefinition.objects.filter(source="stored").values_list("slug", flat=True))


def test_page_is_reached_from_the_list_by_whom_may_use_it(editor, looker):
    listed = reverse("admin:django_workflow_flowdefinition_changelist")
    assert reverse(UPLOAD) in editor.get(listed).content.decode()
    assert reverse(UPLOAD) not in looker.get(listed).content.decode()
    assert editor.get(reverse(UPLOAD)).status_code == 200
    assert looker.get(reverse(UPLOAD)).status_code == 403
    assert looker.post(reverse(UPLOAD), {"text": GOOD, "confirm": "yes"}).status_code == 403


def test_nothing_is_stored_before_it_was_seen(editor):
    answer, body = post(editor, confirm="yes")
    assert answer.status_code == 200
    assert "Flow “shop” is new" in body
    assert '+ step \'one\': {"handler": "one", "timeout": "30s"}' in body
    assert stored() == []


def test_what_was_seen_is_stored_and_logged(editor):
    _, body = post(editor)
    answer, _ = post(editor, confirm="yes", seal=seal_of(body), publishes="on")
    flow = FlowDefinition.objects.get(slug="shop")
    assert answer.url == reverse("admin:django_workflow_flowdefinition_change", args=[flow.pk])
    assert FlowVersion.objects.get(flow=flow).compiled.steps["one"].timeout == 30
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Stored from a document: new; version 1 published"
    assert entry.is_addition()
    assert "Stored from a document: new" in editor.get(answer.url.replace("change", "history")).content.decode()


def test_what_was_changed_after_it_was_seen_is_shown_again(editor):
    _, body = post(editor)
    answer, again = post(editor, GOOD.replace("30s", "1m"), confirm="yes", seal=seal_of(body))
    assert answer.status_code == 200
    assert '"timeout": "1m"' in again
    assert stored() == []


def test_flow_that_changed_meanwhile_is_shown_again(editor):
    FlowBuilder.import_flow(GOOD)
    _, body = post(editor, GOOD.replace("30s", "1m"))
    assert "~ step 'one': timeout: 30s → 1m" in body
    FlowBuilder.import_flow(GOOD.replace("30s", "2m"))
    _, again = post(editor, GOOD.replace("30s", "1m"), confirm="yes", seal=seal_of(body))
    assert "~ step 'one': timeout: 2m → 1m" in again
    assert FlowBuilder.get_flow("shop").current_spec().steps["one"].timeout == 120
    answer, _ = post(editor, GOOD.replace("30s", "1m"), confirm="yes", seal=seal_of(again))
    assert answer.status_code == 302
    assert LogEntry.objects.get().get_change_message() == "Stored from a document: 1 change"


def test_all_problems_are_shown_with_their_lines_and_nothing_is_stored(editor):
    _, body = post(editor, GOOD + "    timeuot: 3\n    next: [nowhere]\n", confirm="yes")
    assert "It cannot be stored: 2 problems" in body
    assert "line 6: step 'one': unknown key 'timeuot'; did you mean 'timeout'?" in body
    assert "line 7: step 'one': next, transition 1: it leads to 'nowhere'" in body
    assert 'value="yes" class="button button-primary">Store it' not in body
    assert stored() == []


def test_warnings_are_shown(editor):
    _, body = post(editor, GOOD + "    next: [one]\nentry: [one]\n")
    assert "line 4: step 'one': it leads to itself without a condition and without a delay" in body


def test_file_is_taken_and_can_be_mended_in_the_page(editor):
    data = {"slug": "shop", "steps": {"one": {"tiemout": 5}}}
    file = SimpleUploadedFile("shop.json", json.dumps(data).encode())
    body = unescape(editor.post(reverse(UPLOAD), {"file": file}).content.decode())
    assert "did you mean 'timeout'?" in body
    assert '{"slug": "shop", "steps": {"one": {"tiemout": 5}}}</textarea>' in body


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * (documents.MAX_LENGTH * 5), b"\0", b"a: [" * 1000])
def test_file_that_is_no_document_is_told(editor, content):
    answer = editor.post(reverse(UPLOAD), {"file": SimpleUploadedFile("shop.yaml", content)})
    assert answer.status_code == 200
    assert "It cannot be stored: 1 problem" in answer.content.decode()


def test_one_of_file_and_text_is_needed(editor):
    assert "Choose a file, or write the document." in post(editor, " ")[1]


def test_permission_of_the_flow_counts(client_of, settings):
    FlowBuilder.import_flow(GOOD)
    user = user_with("adder", ["view_run", "add_flowdefinition"])
    user.is_staff = True
    user.save()
    client = client_of(user)
    assert "line 1: flow: you may not change flow 'shop'" in post(client, GOOD.replace("30s", "1m"))[1]
    assert "Flow “other” is new" in post(client, GOOD.replace("shop", "other", 1))[1]


def test_stranger_pages_cannot_post(editor):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = editor.cookies
    assert strict.post(reverse(UPLOAD), {"text": GOOD, "confirm": "yes"}).status_code == 403
    assert stored() == []


def test_what_visitors_wrote_is_inert(editor):
    for text in (f"slug: '{EVIL}'", f"slug: shop\ntitle: |\n  {EVIL}\nsteps: {{one: {{}}}}", EVIL):
        body = editor.post(reverse(UPLOAD), {"text": text}).content.decode()
        assert "<script>alert" not in body
        assert "<img src=x" not in body


def test_flow_and_version_are_sent_as_documents(looker):
    FlowBuilder.import_flow(GOOD)
    version = FlowBuilder.publish("shop")
    flow = FlowDefinition.objects.get(slug="shop")
    answer = looker.get(reverse("admin:django_workflow_flowdefinition_download", args=[flow.pk, "yaml"]))
    assert answer["Content-Disposition"] == 'attachment; filename="shop.yaml"'
    assert documents.read(answer.content).compile().to_dict() == version.spec
    answer = looker.get(reverse("admin:django_workflow_flowversion_download", args=[version.pk, "json"]))
    assert answer["Content-Disposition"] == 'attachment; filename="shop-v1.json"'
    assert answer.json()["title"] == "A shop"
    page = looker.get(reverse("admin:django_workflow_flowdefinition_change", args=[flow.pk])).content.decode()
    assert f"/flowdefinition/{flow.pk}/download.yaml" in page


def test_flow_in_code_is_sent_as_its_newest_version(flow, looker):
    flow.step(name="only")(lambda: None)
    row = flow.execute().run.flow
    answer = looker.get(reverse("admin:django_workflow_flowdefinition_download", args=[row.pk, "json"]))
    assert answer.json()["steps"] == {"only": {"handler": f"{flow.slug}.only"}}


def test_what_may_not_be_seen_is_not_sent(looker, client_of, stranger, settings):
    FlowBuilder.import_flow(GOOD)
    url = reverse(
        "admin:django_workflow_flowdefinition_download", args=[FlowDefinition.objects.get(slug="shop").pk, "yaml"]
    )
    stranger.is_staff = True
    stranger.save()
    assert client_of(stranger).get(url).status_code in (403, 404)
    settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": lambda user, permission, flow: flow.slug != "shop"}
    assert looker.get(url).status_code in (403, 404)
    assert looker.get(url.replace(".yaml", ".exe")).status_code == 404


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_version_that_this_release_cannot_read_is_told(flow, looker, format):
    flow.step(name="only")(lambda: 1)
    version = flow.start().run.version
    rewrite(version.pk, {"nodes": []})
    for name, key in (("flowversion", version.pk), ("flowdefinition", version.flow_id)):
        url = reverse(f"admin:django_workflow_{name}_download", args=[key, format])
        answer = looker.get(url, follow=True)
        assert "This release cannot read version 1 of the flow." in answer.text


@pytest.mark.timeout(60)
@pytest.mark.django_db(transaction=True)
def test_upload_with_a_version_does_not_wait_for_its_own_request(editor, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    for text, number in ((GOOD, 1), (GOOD.replace("30s", "40s"), 2)):
        _, body = post(editor, text)
        answer, _ = post(editor, text, confirm="yes", seal=seal_of(body), publishes="on")
        assert answer.status_code == 302
        assert FlowVersion.objects.filter(flow__slug="shop").count() == number
