"""The two lines of a site's asgi.py."""

import subprocess
import sys

import pytest
from channels.testing import HttpCommunicator, WebsocketCommunicator

from django_workflow.live import routing
from tests.live.site.asgi import application
from tests.live.viewers import cookie


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


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "root"),
    [
        pytest.param("/ws/workflow/board/", "", id="the proxy takes the path away"),
        pytest.param("/shop/ws/workflow/board/", "", id="the proxy leaves the path"),
        pytest.param("/shop/ws/workflow/board/", "/shop", id="the server knows the path"),
    ],
)
async def test_sockets_of_a_site_below_a_path_are_found(session, settings, path, root):
    settings.FORCE_SCRIPT_NAME = "/shop"
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie(session).encode())]
    communicator = WebsocketCommunicator(routing.with_live_pages(None), path, headers=headers)
    communicator.scope["root_path"] = root
    is_open, _ = await communicator.connect(timeout=10)
    assert is_open
    assert (await communicator.receive_json_from(timeout=10))["type"] == "hello"
    await communicator.disconnect(timeout=10)
