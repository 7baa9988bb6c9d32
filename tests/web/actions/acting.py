"""What a person opens, posts and reads on the pages that act."""

from __future__ import annotations

import json
import re
from html import unescape

from django.contrib.messages import get_messages
from django.db import connection
from django.urls import reverse

from django_workflow import Retry, testing
from django_workflow.engine.stored import versions

ONCE = Retry(max_attempts=1)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def url_of(run, name, **query):
    return reverse("django_workflow:run_action", args=[getattr(run, "id", run), name], query=query or None)


def text_of(response):
    """What a person reads on a page."""
    body = re.sub(r"(?s)^.*<main", "<main", response.content.decode())
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?bdi>", "", body)))).strip()


def told(response):
    """What the user is told after the redirect."""
    return [unescape(re.sub(r"<[^>]+>", "", str(message))) for message in get_messages(response.wsgi_request)]


def confirm(client, url, **data):
    """Open the page, then post what it asks for."""
    page = client.get(url)
    assert page.status_code == 200
    hidden = dict(
        re.findall(r'<input type="hidden" name="(asked_at|step|run_id)" value="([^"]*)"', page.content.decode())
    )
    return client.post(url, {"confirm": "yes", **hidden, **data})


def rewrite(version_id, spec):
    """Store a version in other words, which a trigger refuses to all but its owner."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE django_workflow_flowversion SET spec = %s::jsonb WHERE id = %s", [json.dumps(spec), version_id]
        )
        cursor.execute("SET LOCAL session_replication_role = origin")
    versions.published.forget()  # versions are immutable, so this process has read it for good


def failed_run(flow):
    flow.broken = {1}
    handle = flow.start({"secret": EVIL})
    testing.run_until_idle()
    assert handle.status == "failed"
    flow.broken = set()
    return handle
