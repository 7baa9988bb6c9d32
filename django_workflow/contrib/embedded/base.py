"""The Django database engine: PostgreSQL's own, which starts the server it connects to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from .client import DatabaseClient
from .errors import EmbeddedPostgresError
from .launcher import USER, Cluster
from .sockets import PORT

DEFAULT_FOLDER = ".postgres"


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to an embedded PostgreSQL.

    ``OPTIONS["folder"]`` says where the server lives, by default in ``.postgres`` under ``settings.BASE_DIR`` (or
    under the current directory). Every other key means what it means to ``django.db.backends.postgresql``, except
    ``HOST``, ``PORT``, ``USER`` and ``PASSWORD``, which are the server's own.
    """

    client_class = DatabaseClient
    # Databases this process has seen to exist; a process that lives long asks once, not at each connection.
    _seen: ClassVar[set[tuple[Path, str]]] = set()

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self.cluster = Cluster(_folder(settings_dict))
        # Whoever reads the settings (dbshell, a connection of its own kind) finds the server.
        params = self.cluster.params()
        settings_dict.update(HOST=params.host, PORT=PORT, USER=USER, PASSWORD="")

    def ensure_running(self) -> None:
        """Start the server and create the database, unless they are there.

        Raises:
            django.db.OperationalError: the server cannot be started; the message says what to do.
        """
        database = self.settings_dict["NAME"] or USER
        if (self.cluster.folder, database) in self._seen and self.cluster.pid is not None:
            return
        try:
            self.cluster.ensure_running(database)
        except EmbeddedPostgresError as error:
            raise OperationalError(str(error)) from error
        self._seen.add((self.cluster.folder, database))

    def get_connection_params(self) -> dict[str, Any]:
        """Return the parameters of a server that runs: a pool or an asynchronous connection may use them too."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("folder", None)
        self.ensure_running()
        return params


def _folder(settings_dict: dict[str, Any]) -> Path:
    folder = settings_dict["OPTIONS"].get("folder")
    return Path(folder) if folder else Path(getattr(settings, "BASE_DIR", "")) / DEFAULT_FOLDER
