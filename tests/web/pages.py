"""Reading pages as a test does: what they say, and what they cost."""

from __future__ import annotations

import re
from contextlib import contextmanager
from html import unescape

from django.db import connection
from django.test.utils import CaptureQueriesContext

#: Statements of every page of a site: the session, the user, and what they may do.
OF_THE_SITE = re.compile(r'"(django_session|auth_\w+|django_content_type)"|^(SAVEPOINT|RELEASE)')


def text_of(response):
    """Return the words of a page, as somebody reads them."""
    html = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?bdi\b[^>]*>", "", html))).split())


def fragment(response, name):
    """Return the HTML of a live region."""
    found = re.search(rf'(?s)<section data-fragment="{name}".*?</section>', response.content.decode())
    return found[0] if found else ""


def shown_runs(response):
    """Return the ids of the runs in the list, from above to below."""
    return list(dict.fromkeys(re.findall(r'href="/workflow/runs/([0-9a-f-]{36})/"', fragment(response, "runs"))))


@contextmanager
def statements():
    """Collect the statements of pages, without those of the site: a list that is filled at the end."""
    own = []
    with CaptureQueriesContext(connection) as captured:
        yield own
    own += [query["sql"] for query in captured if not OF_THE_SITE.search(query["sql"])]
