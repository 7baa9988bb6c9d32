"""The sessions of a site, and what kind each is of."""

from __future__ import annotations

SESSIONS = """
    SELECT pid, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def kind(query: str) -> str:
    """Say what kind of session last did this."""
    kinds = {
        "LISTEN": "listening", "pg_try_advisory": "keeper", "due_at": "keeper", "heartbeat_at": "heartbeat",
        "pgmq": "claiming or settling", "steprun": "claiming or settling", "race_effect": "a handler's",
        "tasklog": "log lines",
    }  # fmt: skip
    return next((kind for word, kind in kinds.items() if word in query), "others")
