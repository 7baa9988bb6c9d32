"""Tables full of runs, as a busy site has them after a month: made by a few statements, a million in half a minute."""

from __future__ import annotations

from django.db import connection

from django_workflow.engine.stored import versions as stored_versions
from django_workflow.models import FlowDefinition, FlowVersion

#: Flows by their share of the runs in percent; the one without a share has a handful of old runs.
SHARES = {"shopping": 50, "newsletter": 25, "reports": 15, "imports": 8, "inspections": 2, "rare": 0}
#: Kept by its steps on a queue of its own.
SPECIAL_QUEUE = {"inspections": "slow"}
#: In the label of one old run.
NEEDLE = "needle"
#: The label of a customer with many runs, all of them old.
GONE = "gone"

# ids are made of the time of the start, as `ids.uuid7` makes them
RUNS = """
    INSERT INTO django_workflow_run
        (id, flow_id, version_id, status, labels, title, started_by, idempotency_key, input, error,
         created_at, started_at, ended_at, deadline_at, open_steps)
    SELECT id, flow, CASE WHEN n <= %(count)s * 0.6 THEN version ELSE version + 1 END, status,
           CASE WHEN n = 777 THEN jsonb_build_object('rare', 'needle')
                WHEN n <= %(count)s / 4 AND n %% 3 = 1 THEN jsonb_build_object('tenant', 'gone')
                WHEN n %% 3 = 0 THEN jsonb_build_object('tenant', 't' || n %% 50)
                WHEN n %% 10 = 5 THEN jsonb_build_object('order', n::text) ELSE '{}' END,
           CASE WHEN n %% 4 = 0 THEN 'Number ' || n ELSE '' END,
           CASE WHEN n %% 5 = 0 THEN 'ada' ELSE '' END,
           CASE WHEN n %% 10 = 1 THEN 'key-' || n END,
           jsonb_build_object('n', n),
           CASE WHEN status = 'failed' THEN
                jsonb_build_object('step', 'work', 'class', 'ValueError', 'message', 'no ' || n) END,
           at, CASE WHEN status <> 'scheduled' THEN at + interval '20 ms' END,
           CASE WHEN status NOT IN ('scheduled', 'running', 'paused')
                THEN at + make_interval(secs => 0.1 + (n %% 300) / 10.0) END,
           at + interval '7 days', CASE WHEN status = 'running' THEN 1 ELSE 0 END
    FROM (
        SELECT n, at, flow, version,
               (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
                || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
               CASE WHEN n > %(count)s * 0.9998 THEN 'scheduled' WHEN n > %(count)s * 0.998 THEN 'running'
                    WHEN n %% 200000 = 11 THEN 'paused' WHEN n %% 100 = 7 THEN 'failed'
                    WHEN n %% 500 = 12 THEN 'cancelled' WHEN n %% 1000 = 13 THEN 'timed_out'
                    ELSE 'succeeded' END AS status
        FROM (
            SELECT n, clock_timestamp() - interval '30 days' * (1 - n::float8 / %(count)s) AS at,
                   f.flow, f.version
            FROM generate_series(1, %(count)s) n
            JOIN unnest(%(lows)s::int[], %(highs)s::int[], %(flows)s::bigint[], %(versions)s::bigint[])
                 AS f(low, high, flow, version)
              ON CASE WHEN n BETWEEN 1001 AND 1040 THEN -1 ELSE n / 100 %% 100 END BETWEEN f.low AND f.high
        ) numbered
    ) made
    ORDER BY n
"""
# what went on in those that are not over, and the tries of those that failed
REST = """
    INSERT INTO django_workflow_steprun (run_id, step, status, started_at, ended_at, task_count, open_tasks)
    SELECT r.id, s.step, s.status, r.started_at, CASE WHEN s.status = 'succeeded' THEN r.started_at END, s.tasks, s.open
    FROM django_workflow_run r,
         (VALUES ('read', 'succeeded', 1, 0), ('work', 'running', 100, 60)) AS s(step, status, tasks, open)
    WHERE r.status IN ('running', 'paused');
    INSERT INTO django_workflow_attempt
        (run_id, task_id, number, begun_at, ended_at, outcome, error_class, message, fingerprint)
    SELECT id, 0, number, started_at, ended_at, 'failed', 'ValueError', 'no',
           md5('error ' || (('x' || right(id::text, 4))::bit(16)::int %% 20))
    FROM django_workflow_run, generate_series(1, 3) number WHERE status = 'failed';
    INSERT INTO django_workflow_attempt (run_id, task_id, number, ended_at, outcome, error_class, message, fingerprint)
    SELECT id, 0, 1, ended_at, 'failed', 'KeyError', 'once', md5('once')
    FROM (SELECT * FROM django_workflow_run WHERE status = 'failed' ORDER BY id LIMIT 1) oldest;
    INSERT INTO django_workflow_attempt (run_id, task_id, number, ended_at, outcome, error_class, message, fingerprint)
    SELECT id, 0, 1, ended_at, 'failed', 'OSError', 'each item', md5('each item')
    FROM (SELECT * FROM django_workflow_run WHERE status = 'failed' ORDER BY id DESC LIMIT 3) latest,
         generate_series(1, %s)
"""
ANALYZE = "VACUUM ANALYZE django_workflow_run, django_workflow_attempt, django_workflow_steprun"


def flows() -> dict[str, tuple[FlowDefinition, FlowVersion]]:
    """Make the flows with two versions each; returns them with their first one."""
    made = {}
    for slug in SHARES:
        steps = [{"name": name, "handler": f"{slug}.{name}"} for name in ("read", "work")]
        if slug in SPECIAL_QUEUE:
            steps[1]["queue"] = SPECIAL_QUEUE[slug]
        spec = {
            "slug": slug, "entry": ["read"], "steps": steps,
            "transitions": [{"source": "read", "to": ["work"], "on": ["succeeded", "skipped"]}],
        }  # fmt: skip
        flow = FlowDefinition.objects.create(slug=slug, title=slug.capitalize())
        versions = [
            FlowVersion.objects.create(flow=flow, number=number, fingerprint=f"{slug} {number}", spec=spec)
            for number in (1, 2)
        ]
        made[slug] = (flow, versions[0])
    return made


def fill(count: int) -> dict[str, FlowDefinition]:
    """Fill the tables with `count` runs of the last 30 days; returns the flows by slug."""
    stored_versions.ensure_queues(["default", *SPECIAL_QUEUE.values()])
    made = flows()
    lows, highs, low = [], [], 0
    for share in SHARES.values():
        lows.append(low if share else -1)
        highs.append(low + share - 1 if share else -1)
        low += share
    with connection.cursor() as cursor:
        cursor.execute(
            RUNS,
            {
                "count": count, "lows": lows, "highs": highs,
                "flows": [flow.pk for flow, _ in made.values()],
                "versions": [version.pk for _, version in made.values()],
            },
        )  # fmt: skip
        cursor.execute(REST, [max(3, count // 100)])
        if not connection.in_atomic_block:
            cursor.execute(ANALYZE)
    return {slug: flow for slug, (flow, _) in made.items()}
