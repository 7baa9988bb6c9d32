"""`python -m example_project.serve.site DESCRIPTOR`: the site on a socket that somebody has bound already."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn


def main(descriptor: int) -> None:
    """Answer requests and websockets until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.conf import settings  # noqa: PLC0415
    from django.utils.module_loading import import_string  # noqa: PLC0415

    module, _, name = settings.ASGI_APPLICATION.rpartition(".")
    import_string(f"{module}.{name}")  # a mistake shows here, and not as a server that answers nothing
    config = uvicorn.Config(
        f"{module}:{name}",
        lifespan="off",
        log_level="warning",
        ws="websockets-sansio",
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
