"""A small site in a folder and a database of its own, in which somebody makes a mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from django.db import connection

from tests.docs.pages import ROOT
from tests.waiting import eventually

MANAGE = """\
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
SECRET_KEY = "secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "pgtrigger", "django_workflow", "shop"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{database!r}}}}}
USE_TZ = True
"""
WORKFLOWS = """\
from django_workflow import Flow

orders = Flow("orders", queue="payments")


@orders.step
def charge(input):
    return "paid"
"""
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
FRAMES = re.compile(r"(?<=Traceback \(most recent call last\):\n)(?:  .*\n)+")


class Site:
    """The site `mysite` with the app `shop`, whose flow is `orders`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"mistake_{os.getpid()}"
        self.user = ""
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "RUN"))}
        self.environment.pop("DATABASE_URL", None)
        self.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(folder)])
        self.environment["PATH"] = os.pathsep.join([str(folder / "programs"), os.environ["PATH"]])
        self.environment["COLUMNS"] = "400"
        self._background: list[subprocess.Popen[str]] = []
        self.sql(f"DROP DATABASE IF EXISTS {self.name}", f"CREATE DATABASE {self.name} TEMPLATE template0")
        (folder / "programs").mkdir()
        (folder / "programs" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / "programs" / "python").chmod(0o755)
        self.write("manage.py", MANAGE)
        self.write("mysite/__init__.py", "")
        self.write("shop/__init__.py", "")
        self.write("shop/workflows.py", WORKFLOWS)
        self.settings()

    def sql(self, *statements: str) -> None:
        """Execute statements in the server, as its owner."""
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def own_sql(self, *statements: str) -> None:
        """Execute statements in the site's own database, as its owner."""
        import psycopg

        entry = self.database | {"USER": connection.settings_dict["USER"]}
        place = {"host": entry["HOST"], "port": entry["PORT"], "user": entry["USER"], "password": entry["PASSWORD"]}
        url = f"postgresql:///{quote(self.name)}?" + urlencode({key: value for key, value in place.items() if value})
        with psycopg.connect(url, autocommit=True) as session:
            for statement in statements:
                session.execute(statement)

    @property
    def database(self) -> dict[str, str]:
        entry = connection.settings_dict
        found = {key: entry[key] for key in ("HOST", "PORT", "USER", "PASSWORD")}
        return found | {"NAME": self.name} | ({"USER": self.user} if self.user else {})

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def settings(self, **replaced: str) -> None:
        """Write the settings; `replaced`: what stands there by what it becomes."""
        text = SETTINGS.format(database=self.database)
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        self.write("mysite/settings.py", text)

    def as_role(self, name: str) -> None:
        """Let the site log in as a role that may do nothing but that."""
        self.sql(f"DROP ROLE IF EXISTS {name}", f"CREATE ROLE {name} LOGIN")
        self.user = name
        self.settings()

    def shell(self, command: str) -> str:
        """Execute a command as a shell does and return what it printed; one that ends with & goes on meanwhile."""
        if command.endswith("&"):
            return self._begin(command.removesuffix("&").strip())
        if "$RUN" in command:  # what a worker does meanwhile may take a moment
            return eventually(lambda: self._end(command), command)
        return self._end(command)

    def _end(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, text=True, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return told(done.stdout)

    def _begin(self, command: str) -> str:
        log = self.folder / "background.log"
        with log.open("w") as file:
            self._background.append(
                subprocess.Popen(
                    f"exec {command}", shell=True, cwd=self.folder, env=self.environment, text=True,
                    stdout=file, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
        eventually(lambda: log.read_text().endswith("\n"), "a word of the command in the background")
        return told(log.read_text())

    def close(self) -> None:
        """End what still runs, and remove the database and the role."""
        for process in self._background:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        self.sql(f"DROP DATABASE {self.name} WITH (FORCE)")
        if self.user:
            self.sql(f"DROP ROLE {self.user}")


def told(text: str) -> str:
    """Return what a command printed without what differs each time: ids, and the frames of tracebacks."""
    text = FRAMES.sub("  ...\n", UUID.sub("0193b2d4-…", text))
    return re.sub(r"mistake_\d+", "mysite", text).strip()
