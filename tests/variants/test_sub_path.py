"""A site that is not at the root of its host: pages name the sockets below its path."""

from __future__ import annotations

import pytest
from django.test.utils import override_script_prefix
from django.urls import reverse

from tests.web.conftest import _site, client_of, superuser  # noqa: F401


@pytest.fixture
def below(settings, _site):  # noqa: F811
    """The path of the site."""
    settings.FORCE_SCRIPT_NAME = "/shop"
    with override_script_prefix("/shop/"):
        yield "/shop/"


def test_pages_name_the_sockets_below_the_path(below, db, client_of, superuser, flow):  # noqa: F811
    flow.step(name="only")(lambda: None)
    run = flow.start()
    client = client_of(superuser)
    for name in ("board", "queues", "workers", "run_list"):
        assert reverse(f"django_workflow:{name}").startswith("/shop/workflow/")
        page = client.get(reverse(f"django_workflow:{name}").removeprefix("/shop")).content.decode()
        assert 'data-live="shop/ws/workflow/board/"' in page
    page = client.get(reverse("django_workflow:run", args=[run.id]).removeprefix("/shop")).content.decode()
    assert f'data-live="shop/ws/workflow/runs/{run.id}/"' in page
    assert 'href="/workflow/' not in page
