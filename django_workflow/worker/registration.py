"""A worker's row: who serves which queues, and when it was last heard of."""

from __future__ import annotations

import json
import os
import socket

from django_workflow import db
from django_workflow.worker.options import WorkerOptions

REGISTER = """
    INSERT INTO django_workflow_worker (hostname, pid, queues, concurrency, lease_seconds)
    VALUES (%s, %s, %s::jsonb, %s, %s) RETURNING id
"""
ALIVE = """
    UPDATE django_workflow_worker
    SET heartbeat_at = clock_timestamp(), running_count = %s, settled_count = %s WHERE id = %s
"""
STOPPED = "UPDATE django_workflow_worker SET stopped_at = clock_timestamp(), running_count = 0 WHERE id = %s"


def register(options: WorkerOptions) -> int:
    """Insert this process's row and return its id."""
    values = [
        socket.gethostname(), os.getpid(), json.dumps(list(options.queues)),
        options.concurrency, options.lease.total_seconds(),
    ]  # fmt: skip
    worker_id: int = db.rows(REGISTER, values)[0][0]
    return worker_id


def tell_alive(worker_id: int | None, running: int, settled: int) -> None:
    """Write a heartbeat of the process itself."""
    if worker_id is not None:
        with db.atomic():
            db.without_waiting_for_flush()
            db.execute(ALIVE, [running, settled, worker_id])


def tell_stopped(worker_id: int) -> None:
    """Mark the process as stopped on purpose."""
    db.execute(STOPPED, [worker_id])
