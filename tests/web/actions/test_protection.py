"""Pages that act need the form's token and a permission each, and show what visitors wrote as text."""

from __future__ import annotations

import re

from django.urls import reverse

from django_workflow import pause_flow, resume_flow, testing
from django_workflow.operations import RUNS, STEPS
from django_workflow.permissions import PAUSE, RETRY, START, VIEW
from tests.web.actions.acting import EVIL, ONCE, confirm, failed_run, url_of
from tests.web.conftest import user_with


class TestMalice:
    def test_what_visitors_wrote_is_inert_on_every_page(self, client, make_flow):
        flow = make_flow("evil", title=EVIL, retry=ONCE)
        flow.step(name="only")(lambda input: 1 / 0)
        run = flow.start({EVIL: EVIL}, title=EVIL, labels={EVIL: EVIL}, by=EVIL)
        pages = [client.get(url_of(run, name, step="only", next=EVIL)) for name in (*RUNS, *STEPS)]
        pause_flow(flow.slug, reason=EVIL, by=EVIL)
        pages.append(client.get(reverse("django_workflow:start", args=[flow.slug])))
        pages.append(client.get(reverse("django_workflow:flow_action", args=[flow.slug, "resume"])))
        resume_flow(flow.slug)
        testing.run_until_idle()
        assert run.status == "failed"
        pages.append(client.get(url_of(run, "retry", mode=EVIL, from_step=EVIL)))
        pages.append(client.get(reverse("django_workflow:runs_action", args=["retry"]), {"ids": str(run.id)}))
        pages.append(client.post(reverse("django_workflow:start", args=[flow.slug]), {"input": EVIL, "labels": EVIL}))
        answer = confirm(client, url_of(run, "retry"), reason=EVIL)
        pages.append(client.get(answer.url))
        for page in pages:
            assert page.status_code == 200
            assert "<script>alert" not in page.content.decode()
            assert "<img" not in page.content.decode()

    def test_pages_obey_a_strict_policy(self, client, flow):
        run = failed_run(flow)
        pages = [client.get(url_of(run, name)) for name in (*RUNS, *STEPS)]
        pages.append(client.get(reverse("django_workflow:start", args=[flow.slug])))
        for page in pages:
            body = page.content.decode()
            assert not re.search(r"<[^>]+\s(style|on\w+)=", body)
            assert not re.search(r"<script(?![^>]*\ssrc=\"/)", body)
            assert "<style" not in body


def test_forms_are_refused_without_their_token(client_of, operator, flow):
    client = client_of(operator, enforce_csrf_checks=True)
    run = flow.start({})
    assert client.post(url_of(run, "cancel"), {"confirm": "yes"}).status_code == 403
    token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', client.get(url_of(run, "cancel")).content.decode())
    data = {"confirm": "yes", "csrfmiddlewaretoken": token[1]}
    assert client.post(url_of(run, "cancel"), data).status_code == 302
    assert run.status == "cancelled"


def test_each_action_has_a_permission_of_its_own(client_of, flow, db):
    run = flow.start({})
    for permission, names in (
        (PAUSE, {"pause", "resume"}),
        (RETRY, {"retry", "skip_step", "complete_step"}),
        (START, set()),
    ):
        client = client_of(user_with(f"only_{permission}", [VIEW, permission]))
        for name in (*RUNS, *STEPS):
            expected = 200 if name in names else 403
            assert client.get(url_of(run, name, step="first")).status_code == expected, (permission, name)
        assert client.get(reverse("django_workflow:start", args=[flow.slug])).status_code == (
            200 if permission == START else 403
        )
