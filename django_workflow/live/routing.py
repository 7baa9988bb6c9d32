"""Where the sockets of live pages are: two lines of a site's `asgi.py`.

    from django_workflow.live.routing import with_live_pages

    application = with_live_pages(get_asgi_application())

A site that has sockets of its own puts `websocket_urlpatterns` beside its own patterns.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import path, re_path


def with_live_pages(asgi_app: Any) -> Any:
    """Return an ASGI application that serves the sockets of live pages, and leaves everything else to `asgi_app`.

    Sockets are opened by pages of the site's own hosts (`ALLOWED_HOSTS`) and know the user of the session.
    """
    from channels.auth import AuthMiddlewareStack  # noqa: PLC0415
    from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: PLC0415
    from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier  # noqa: PLC0415

    deny: Any = WebsocketDenier.as_asgi()
    routes: list[Any] = [*_urlpatterns(), re_path(r"", deny)]
    sockets = AuthMiddlewareStack(URLRouter(routes))
    return ProtocolTypeRouter({"http": asgi_app, "websocket": AllowedHostsOriginValidator(sockets)})


def _urlpatterns() -> list[Any]:
    from django_workflow.live.consumers import BoardConsumer, RunConsumer  # noqa: PLC0415

    board: Any = BoardConsumer.as_asgi()
    run: Any = RunConsumer.as_asgi()
    # a proxy may pass on the whole path of a site that is not at its host's root; Channels knows `root_path` alone
    below = (settings.FORCE_SCRIPT_NAME or "").strip("/")
    return [
        path(f"{start}ws/workflow/{rest}", consumer)
        for start in (["", f"{below}/"] if below else [""])
        for rest, consumer in (("board/", board), ("runs/<uuid:run_id>/", run))
    ]


def __getattr__(name: str) -> Any:
    """Make `websocket_urlpatterns` when it is asked for: the models are loaded by then, not when asgi.py begins."""
    if name == "websocket_urlpatterns":
        return _urlpatterns()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
