"""Pages, admin, commands and sockets render what `read/` reads: they ask the database nothing by themselves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import django_workflow

PACKAGE = Path(django_workflow.__file__).parent
INTERFACES = ("web", "admin", "management", "live", "templatetags")
#: Statements of SQL, as a constant or a part of one.
SQL = re.compile(r"\b(SELECT\b[\s\S]+\bFROM\b|SELECT\s+\w+\(|INSERT\s+INTO\b|UPDATE\s+\S+\s+SET\b|DELETE\s+FROM\b)")
#: Functions that send a statement, by the module that has them.
STATEMENTS = {
    "db": {"rows", "execute", "listen", "together", "batch"},
    "queue": {"depth", "depths", "ahead", "existing", "read"},
    "connection": {"cursor"},
}
#: Clocks of a web server; a duration in one process is measured by `time.monotonic`.
CLOCKS = {("times", "now"), ("timezone", "now"), ("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"),
          ("time", "time"), ("time", "time_ns")}  # fmt: skip
#: Models of Django's that interfaces read and write by themselves: who acts, with which permissions, recorded where.
DJANGOS = {"LogEntry", "ContentType", "Permission", "Group", "get_user_model()"}


def modules():
    """Return the modules of the interfaces, by their paths in the package."""
    found = [path for folder in INTERFACES for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in found}


def text_of(node):
    """Return the text of a literal; what a formatted one inserts is a word."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "inserted" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def offences(source):
    """Yield what a module asks the database by itself, and where it asks its own clock."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if SQL.search(text_of(node)):
            yield f"line {line}: SQL"
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)
        if node.attr in STATEMENTS.get(owner.rpartition(".")[2], ()):
            yield f"line {line}: {owner}.{node.attr}"
        if node.attr in {"objects", "_default_manager", "_base_manager"} and owner not in DJANGOS:
            yield f"line {line}: {owner}.{node.attr}"
        if (owner.rpartition(".")[2], node.attr) in CLOCKS:
            yield f"line {line}: the web server's clock, {owner}.{node.attr}"


def test_interfaces_ask_the_database_by_read_alone():
    found = [f"{path} {offence}" for path, text in modules().items() for offence in offences(text)]
    assert not found, "these belong into django_workflow/read/:\n" + "\n".join(found)


def test_commands_know_nothing_of_pages():
    for path, text in modules().items():
        if path.startswith(("management", "live")):
            assert "django_workflow.web" not in text, path


@pytest.mark.parametrize(
    "line",
    [
        'READ = "SELECT id FROM django_workflow_run"',
        'READ = f"SELECT {columns} FROM django_workflow_run WHERE id = %s"',
        'NOW = "SELECT clock_timestamp()"',
        "rows = db.rows(READ)",
        "db.execute(READ, [1])",
        "waiting, total, age = queue.depth(name)",
        "run = Run.objects.using(conf.DATABASE).first()",
        "run = models.Run.objects.get(pk=1)",
        "is_silent = worker.heartbeat_at < timezone.now() - lease",
        "is_silent = worker.heartbeat_at < times.now() - lease",
        "is_silent = worker.heartbeat_at < datetime.now(UTC) - lease",
        "age = time.time() - began",
    ],
)
def test_one_that_asks_by_itself_is_found(line):
    assert list(offences(line)), line


@pytest.mark.parametrize(
    "line",
    [
        "found = workers.live(workers.read())",
        "left = until - time.monotonic()",
        "LogEntry.objects.create()",
        '"""Select runs from the list, and update what is set."""',
        "if db.in_transaction(): pass",
    ],
)
def test_one_that_renders_is_left_alone(line):
    assert not list(offences(line)), line
