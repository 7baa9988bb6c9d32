"""The folder of a server's unix socket, its only way in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PORT = 5432  # names the socket file only
SOCKET = f".s.PGSQL.{PORT}"

# sun_path holds 108 bytes on Linux, 104 on macOS, with the closing NUL.
MAX_PATH = 103


def socket_folder(folder: Path) -> Path:
    """Return the folder for the socket of a server: the server's own, unless its path is too long for a socket."""
    # A comma would separate two hosts.
    if len(os.fsencode(folder / SOCKET)) <= MAX_PATH and "," not in str(folder):
        return folder
    # Not tempfile.gettempdir(): every process must come to the same answer, whatever its TMPDIR.
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"django-workflow-{name}"  # noqa: S108
