"""The only place that opens a cursor: statements, transactions, sessions, notifications, drawn ids."""

from django_workflow.db.channels import RUN_CHANNEL, is_run_id
from django_workflow.db.drawing import draw_ids, draw_next, forget_drawn_ids
from django_workflow.db.errors import is_lock_timeout, is_of_schema, is_retryable, sqlstate
from django_workflow.db.sessions import (
    Bell,
    Listener,
    allows_migrate,
    close,
    connection,
    listen,
    on_own_connection,
    serve_worker,
)
from django_workflow.db.statements import (
    Statement,
    after_commit,
    array,
    atomic,
    execute,
    flush,
    in_test_transaction,
    in_transaction,
    lock_timeout,
    notify,
    notify_after_commit,
    rows,
    run_script,
    together,
    without_waiting_for_flush,
)
from django_workflow.db.wire import Row

__all__ = [
    "RUN_CHANNEL",
    "Bell",
    "Listener",
    "Row",
    "Statement",
    "after_commit",
    "allows_migrate",
    "array",
    "atomic",
    "close",
    "connection",
    "draw_ids",
    "draw_next",
    "execute",
    "flush",
    "forget_drawn_ids",
    "in_test_transaction",
    "in_transaction",
    "is_lock_timeout",
    "is_of_schema",
    "is_retryable",
    "is_run_id",
    "listen",
    "lock_timeout",
    "notify",
    "notify_after_commit",
    "on_own_connection",
    "rows",
    "run_script",
    "serve_worker",
    "sqlstate",
    "together",
    "without_waiting_for_flush",
]
