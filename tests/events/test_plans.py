"""What followers read is found by index, however much is stored."""

from __future__ import annotations

import json

from django.db import connection

from django_workflow.events import messages, stored

RUN = "00000000-0000-0000-0000-000000000007"
FILL = """
    INSERT INTO django_workflow_message (channel, xid, message)
    SELECT 'channel_' || n % 5, n / 10, '{}' FROM generate_series(1, 20000) n;
    INSERT INTO django_workflow_event (run_id, number, xid, type)
    SELECT ('00000000-0000-0000-0000-' || lpad((n % 50)::text, 12, '0'))::uuid, n / 50, n / 10, 'filling'
    FROM generate_series(1, 20000) n;
    ANALYZE django_workflow_message, django_workflow_event
"""


STATEMENTS = [
    (messages.READ_MESSAGES, ["channel_1", "1900", "19000"]),
    (messages.READ_MESSAGES, ["channel_1", "0", "0"]),
    (messages.BEGIN_NOW, ["channel_1", "channel_1"]),
    (messages.RECENT_MESSAGES, ["channel_1", "100"]),
    (stored.READ_EVENTS, ["1900", "19000"]),
    (stored.READ_EVENTS, ["0", "0"]),
    (stored.BEGIN_NOW, []),
    (stored.READ_EVENTS_OF_RUN, [RUN, "390"]),
    (stored.LAST_OF_RUN, [RUN]),
    (stored.LAST_OF_RUN_AT, [RUN, "1900", "19000"]),
]


def nodes(plan):
    yield plan["Node Type"]
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_no_statement_scans_a_table():
    with connection.cursor() as cursor:
        cursor.execute(FILL)
        for sql, params in STATEMENTS:
            cursor.execute("EXPLAIN (FORMAT JSON) " + sql, params)
            plan = cursor.fetchone()[0]
            plan = json.loads(plan) if isinstance(plan, str) else plan
            found = list(nodes(plan[0]["Plan"]))
            assert "Seq Scan" not in found, sql
            assert any("Index" in node for node in found), sql
