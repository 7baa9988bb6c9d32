"""The NOTIFY channel that several layers speak of; the others stand where they are used."""

from __future__ import annotations

#: On which pages, waiters and followers hear that a run changed; the payload is its id.
RUN_CHANNEL = "django_workflow_run"
