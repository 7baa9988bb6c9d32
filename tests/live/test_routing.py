"""The two lines of a site's asgi.py."""

import subprocess
import sys

import pytest
from channels.testing import HttpCommunicator

from django_workflow.live import routing
from tests.live.site.asgi import application


def test_module_is_imported_before_the_apps_are_loaded():
    """As asgi.py does, whose first lines are imports."""
    subprocess.run([sys.executable, "-c", "from django_workflow.live.routing import with_live_pages"], check=True)


def test_patterns_stand_beside_those_of_a_site():
    assert [str(pattern.pattern) for pattern in routing.websocket_urlpatterns] == [
        "ws/workflow/board/",
        "ws/workflow/runs/<uuid:run_id>/",
    ]


def test_other_names_are_unknown():
    with pytest.raises(AttributeError):
        routing.urlpatterns  # noqa: B018


@pytest.mark.asyncio
async def test_pages_are_left_to_the_site(settings):
    settings.ROOT_URLCONF = "tests.live.site.urls"
    answer = await HttpCommunicator(application, "GET", "/up/", headers=[(b"host", b"localhost")]).get_response()
    assert (answer["status"], answer["body"]) == (200, b"up")
