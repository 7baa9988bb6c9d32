"""NOTIFY: the channel that several layers speak of (the others stand where they are used), and how payloads are read.

Every role that may connect may notify: a payload is whatever somebody wrote.
"""

from __future__ import annotations

import re

#: On which pages, waiters and followers hear that a run changed; the payload is its id.
RUN_CHANNEL = "django_workflow_run"

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_run_id(payload: object) -> bool:
    """Say whether a payload is a run's id as this package writes it."""
    return isinstance(payload, str) and _RUN_ID.fullmatch(payload) is not None
