"""What has one place in the package: whoever writes it elsewhere, by SQL or by the ORM, is found here."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

import django_workflow

PACKAGE = Path(django_workflow.__file__).parent
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts]
RUNS, TASKS = "engine/writing/runs.py", "engine/writing/tasks.py"
#: Statements whose status is a parameter that is never "queued", by module and name.
NEVER_QUEUED = {("engine/settling/task_ends.py", "END_IF_LEASED")}
#: Stands for what an f-string or a format puts in.
HOLE = "{}"
#: Methods of the ORM that write rows.
WRITES = {"save", "create", "update", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
WRITES |= {f"a{name}" for name in WRITES}


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def texts(tree):
    """Yield the name that each text of a module is assigned to, where it is, and the text."""
    names = {}
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.update((id(inner), node.targets[0].id) for inner in ast.walk(node.value))
        if isinstance(node, ast.JoinedStr):
            parts.update(id(part) for part in node.values)
            pieces = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
            yield names.get(id(node), ""), "".join(map(str, pieces))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield names.get(id(node), ""), re.sub(r"\{\w+\}", HOLE, node.value)


def statements(text, verb, table):
    """Yield the rest of each statement of a text that writes a table, or one whose name is put in."""
    pattern = rf"{verb}\s+(?:only\s+)?(?:\w+\.)?\"?(?:{table}\b|{re.escape(HOLE)})\"?(.*)"
    for found in re.finditer(pattern, text, flags=re.IGNORECASE | re.DOTALL):
        yield found[1]


def set_status(rest):
    """Return the expression that an UPDATE sets a status to, None where it sets none."""
    clause = re.split(r"\b(?:WHERE|RETURNING)\b", rest, maxsplit=1, flags=re.IGNORECASE)[0]
    found = re.search(r"[\s,(]\"?status\"?\s*(?:,[^()=]*)?\)?\s*=\s*(\S+)", clause, flags=re.IGNORECASE)
    return found and found[1].rstrip(",")


def orm_writes(tree, model):
    """Yield the calls by which a module writes rows of a model, or a status of rows of whatever."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES):
            continue
        receiver = ast.unparse(node.func.value)
        given = {keyword.arg for keyword in node.keywords} | {
            item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)
        }
        is_row = node.func.attr.endswith("save") and re.search(rf"\b{model}", receiver, re.IGNORECASE)
        if is_row or re.search(rf"\b{model}\b", receiver) or "status" in given:
            yield ast.unparse(node)


def writers(tree, table, model, *, status=""):
    """Return what in a module inserts rows of a table or sets their status (to this, where it may).

    Each as the name that the statement has and what it does.
    """
    found = [("", call) for call in orm_writes(tree, model)]
    for name, text in texts(tree):
        for verb in ("INSERT INTO", "MERGE INTO", "COPY"):
            found += [(name, f"{verb} {table}") for _ in statements(text, verb, table)]
        for rest in statements(text, "UPDATE", table):
            value = set_status(rest)
            is_other = value and value.startswith("'") and value.strip("'") != status
            if value and not (status and is_other):
                found.append((name, f"UPDATE {table} SET status = {value}"))
    return found


def all_writers(table, model, *, status=""):
    return {
        (path.relative_to(PACKAGE).as_posix(), name, what)
        for path in MODULES
        for name, what in writers(tree_of(path), table, model, status=status)
    }


def test_one_module_writes_the_status_of_runs():
    found = all_writers("django_workflow_run", "Run")
    assert {module for module, _, _ in found} == {RUNS}, found
    assert len(found) == 6, "every statement of the module is seen"


def test_one_module_inserts_tasks_and_makes_them_queued():
    found = all_writers("django_workflow_task", "Task", status="queued")
    found = {item for item in found if item[:2] not in NEVER_QUEUED}
    assert {module for module, _, _ in found} == {TASKS}, found
    assert len(found) >= 9, "every statement of the module is seen"


def callers(name):
    """Return the modules that use a name of the package, by attribute or by import."""
    found = set()
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if (isinstance(node, ast.Attribute) and node.attr == name) or (
                isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}
            ):
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_messages_of_tasks_are_sent_where_their_rows_are_written():
    assert callers("sending") == {TASKS}


@pytest.mark.parametrize("name", ["close_runs", "ends"])
def test_what_follows_from_the_end_of_a_run_is_called_in_one_place(name):
    assert RUNS in callers(name)
    others = callers(name) - {RUNS}
    # `ends` is an attribute of other things as well
    namesakes = {"engine/routing/ending.py", "engine/routing/routing.py", "engine/retrying/retry.py"}
    assert others <= (namesakes if name == "ends" else set()), others


@pytest.mark.parametrize(
    "source",
    [
        'SQL = "UPDATE django_workflow_run SET status = %s WHERE id = %s"',
        'SQL = "UPDATE django_workflow_run r SET error = NULL, status = n.status FROM n WHERE n.id = r.id"',
        'SQL = """\n    update only django_workflow_run\n    set ended_at = now(),\n        "status" = \'failed\'\n"""',
        "SQL = f\"UPDATE {table} SET status = 'failed'\"",
        "SQL = \"UPDATE {table} SET status = 'failed'\".format(table=TABLE)",
        'SQL = "UPDATE django_workflow_run SET (error, status) = (NULL, %s)"',
        'SQL = "UPDATE django_workflow_run SET (status, error) = (%s, NULL)"',
        'SQL = "INSERT INTO django_workflow_run (id) SELECT 1"',
        "Run.objects.filter(pk=key).update(status=FAILED)",
        "Run.objects.using(alias).create(id=key)",
        "run.save()",
        'Run.objects.bulk_update(runs, ["status"])',
        "rows.update(status=FAILED)",
    ],
)
def test_a_second_writer_of_runs_would_be_found(source):
    assert writers(ast.parse(source), "django_workflow_run", "Run")


@pytest.mark.parametrize(
    "source",
    [
        'SQL = "UPDATE django_workflow_run SET due_at = now() WHERE status = %s"',
        'SQL = "UPDATE django_workflow_runner SET status = 1"',
        'SQL = "UPDATE django_workflow_steprun SET status = 1"',
        "SQL = \"SELECT 1 FROM django_workflow_run WHERE status = 'failed'\"",
        "known.update(names)",
    ],
)
def test_what_only_reads_runs_or_writes_others_is_left_alone(source):
    assert not writers(ast.parse(source), "django_workflow_run", "Run")


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("SQL = \"UPDATE django_workflow_task SET status = 'queued'\"", True),
        ('SQL = "UPDATE django_workflow_task t SET status = e.status FROM e"', True),
        ("SQL = \"UPDATE django_workflow_task SET status = CASE WHEN true THEN 'queued' END\"", True),
        ("SQL = \"UPDATE django_workflow_task SET status = 'running'\"", False),
        ("SQL = \"UPDATE django_workflow_task SET lease_id = NULL WHERE status = 'queued'\"", False),
        ('SQL = "INSERT INTO django_workflow_task (id) SELECT 1"', True),
        ("Task.objects.filter(pk=1).update(status=QUEUED)", True),
    ],
)
def test_a_second_place_where_tasks_become_queued_would_be_found(source, is_found):
    assert bool(writers(ast.parse(source), "django_workflow_task", "Task", status="queued")) == is_found
