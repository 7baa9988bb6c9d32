"""The only place that opens a cursor: statements, transactions, sessions, notifications, drawn ids."""

from django_workflow.db.arrays import array
from django_workflow.db.batches import (
    Statement,
    add,
    after_commit,
    batch,
    execute,
    flush,
    has_written,
    lock_timeout,
    notify,
    notify_after_commit,
    rows,
    then,
    without_waiting_for_flush,
)
from django_workflow.db.channels import RUN_CHANNEL, is_run_id
from django_workflow.db.columns import Columns, select
from django_workflow.db.drawing import draw_ids, draw_next, forget_drawn_ids, with_fresh_ids
from django_workflow.db.errors import (
    for_logs,
    is_for_good,
    is_lock_timeout,
    is_of_connection,
    is_of_memory,
    is_of_schema,
    is_retryable,
    sqlstate,
)
from django_workflow.db.guarding import guarded
from django_workflow.db.listener import Listener, listen
from django_workflow.db.scope import number_of_schema, schema, scoped, tag
from django_workflow.db.sessions import (
    Bell,
    allows_migrate,
    close,
    connection,
    end_worker,
    on_own_connection,
    serve_worker,
)
from django_workflow.db.statements import atomic, has_failed, in_test_transaction, in_transaction, run_script
from django_workflow.db.wire import Row

__all__ = [
    "RUN_CHANNEL",
    "Bell",
    "Columns",
    "Listener",
    "Row",
    "Statement",
    "add",
    "after_commit",
    "allows_migrate",
    "array",
    "atomic",
    "batch",
    "close",
    "connection",
    "draw_ids",
    "draw_next",
    "end_worker",
    "execute",
    "flush",
    "for_logs",
    "forget_drawn_ids",
    "guarded",
    "has_failed",
    "has_written",
    "in_test_transaction",
    "in_transaction",
    "is_for_good",
    "is_lock_timeout",
    "is_of_connection",
    "is_of_memory",
    "is_of_schema",
    "is_retryable",
    "is_run_id",
    "listen",
    "lock_timeout",
    "notify",
    "notify_after_commit",
    "number_of_schema",
    "on_own_connection",
    "rows",
    "run_script",
    "schema",
    "scoped",
    "select",
    "serve_worker",
    "sqlstate",
    "tag",
    "then",
    "with_fresh_ids",
    "without_waiting_for_flush",
]
