"""Statements that find what must not be, whatever happened."""

from __future__ import annotations

#: Statements that find what must not be: of a moment, for they are true at any time, and at the end.
WRONG_AT_ANY_TIME = {
    "open tasks differ from a recount": """
        SELECT s.id, s.run_id, s.step, s.status, s.open_tasks FROM django_workflow_steprun s WHERE s.status = 'running'
        AND s.open_tasks <> (SELECT count(*) FROM django_workflow_task t WHERE t.step_run_id = s.id
                             AND t.status IN ('queued', 'held', 'running', 'suspended'))
    """,
    "open steps differ from a recount": """
        SELECT r.id, r.status, r.open_steps FROM django_workflow_run r
        WHERE r.status IN ('running', 'paused') AND r.open_steps <> (
            SELECT count(*) FROM django_workflow_steprun s WHERE s.run_id = r.id AND s.status = 'running'
        ) + (SELECT count(*) FROM django_workflow_arrival a WHERE a.run_id = r.id AND a.generation IS NULL)
    """,
    "a handler has begun twice in one attempt": """
        SELECT run_id, step, index, attempt, count(*) FROM race_effect GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
    """,
    "an atomic step's effect without its success, or twice": """
        SELECT e.run_id, count(*) FROM race_effect e WHERE e.step = 'book' GROUP BY 1
        HAVING count(*) <> 1 OR NOT EXISTS (
            SELECT 1 FROM django_workflow_task t JOIN django_workflow_steprun s ON s.id = t.step_run_id
            WHERE s.run_id = e.run_id AND s.step = 'book' AND t.status = 'succeeded' AND t.origin = '')
    """,
    "an atomic step's success without its effect": """
        SELECT s.run_id FROM django_workflow_task t JOIN django_workflow_steprun s ON s.id = t.step_run_id
        WHERE s.step = 'book' AND t.status = 'succeeded' AND t.origin = ''
        AND NOT EXISTS (SELECT 1 FROM race_effect e WHERE e.run_id = s.run_id AND e.step = 'book')
    """,
}
WRONG_AT_THE_END = WRONG_AT_ANY_TIME | {
    "failed tasks differ from a recount": """
        SELECT s.id, s.step, s.failed_count FROM django_workflow_steprun s
        WHERE s.status IN ('succeeded', 'failed') AND s.failed_count <> (
            SELECT count(*) FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.status = 'failed')
    """,
    "events have a gap": """
        SELECT run_id FROM django_workflow_event GROUP BY run_id
        HAVING min(number) <> 1 OR max(number) <> count(*) OR count(DISTINCT number) <> count(*)
    """,
    "a run failed for what is no fault of it": """
        SELECT r.id, f.slug, r.error FROM django_workflow_run r
        JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
        WHERE r.status IN ('failed', 'timed_out')
    """,
}
