"""Plans of statements: tables full of finished runs, and which of them a statement reads from end to end."""

from __future__ import annotations

import json

import pytest
from django.db import connection

HOT = {f"django_workflow_{name}" for name in ("run", "steprun", "task", "attempt", "arrival", "event", "variables")}
#: As many finished runs as make a scan dearer than an index.
MANY = 20_000
FILL = f"""
    INSERT INTO django_workflow_run (id, flow_id, version_id, status, labels, deadline_at, started_at, ended_at)
    SELECT md5(n::text)::uuid, 1, 1, 'succeeded', '{{}}', clock_timestamp(), clock_timestamp(), clock_timestamp()
    FROM generate_series(1, {MANY}) n;
    INSERT INTO django_workflow_steprun (run_id, step, status, started_at, ended_at)
    SELECT id, 'filling', 'succeeded', clock_timestamp(), clock_timestamp() FROM django_workflow_run;
    INSERT INTO django_workflow_task (run_id, step_run_id, status, queue, ended_at)
    SELECT run_id, id, 'succeeded', 'default', clock_timestamp() FROM django_workflow_steprun;
    INSERT INTO django_workflow_attempt (run_id, task_id, number, ended_at, outcome)
    SELECT run_id, id, 1, clock_timestamp(), 'failed' FROM django_workflow_task;
    INSERT INTO django_workflow_event (run_id, number, type) SELECT run_id, 1, 'filling' FROM django_workflow_task;
    INSERT INTO django_workflow_arrival (run_id, step, source)
    SELECT run_id, 'filling', 'other' FROM django_workflow_task;
    INSERT INTO django_workflow_variables (run_id, values, stamps)
    SELECT run_id, '{{}}', '{{}}' FROM django_workflow_task;
    ANALYZE django_workflow_run, django_workflow_steprun, django_workflow_task, django_workflow_attempt,
            django_workflow_event, django_workflow_arrival, django_workflow_variables
"""


@pytest.fixture
def crowded(transactional_db):
    """Tables full of finished runs; a fixture of its own, for what is not committed has no statistics."""
    with connection.cursor() as cursor:
        cursor.execute(FILL)


def scans(node):
    """Yield the tables that a plan reads from end to end."""
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in HOT:
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from scans(child)


#: What EXPLAIN takes.
EXPLAINABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def scanned(statements):
    """Return the statements that read a hot table from end to end."""
    found = {}
    with connection.cursor() as cursor:
        for statement in dict.fromkeys(statements):
            if statement.split(maxsplit=1)[0].upper() in EXPLAINABLE:
                cursor.execute("EXPLAIN (FORMAT JSON) " + statement.replace("%", "%%"), [])
                plan = cursor.fetchone()[0]
                plan = json.loads(plan) if isinstance(plan, str) else plan
                if tables := set(scans(plan[0]["Plan"])):
                    found[" ".join(statement.split())[:300]] = tables
    return found
