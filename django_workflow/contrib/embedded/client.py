"""``manage.py dbshell`` with the ``psql`` that comes with the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from .binaries import find_binaries


class DatabaseClient(client.DatabaseClient):
    """PostgreSQL's client, bundled and with the server up."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        """Return the command and its environment."""
        arguments, environment = super().settings_to_cmd_args_env(settings_dict, parameters)
        return [str(find_binaries().psql), *arguments[1:]], environment

    def runshell(self, parameters: Iterable[str]) -> None:
        """Start the server if needed, then the client."""
        self.connection.get_connection_params()  # starts the server
        super().runshell(parameters)
