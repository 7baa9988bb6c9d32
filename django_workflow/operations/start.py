"""Starting a run of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.ids import uuid7
from django_workflow.models import Run
from django_workflow.operations.operation import Done, Operation, Unfit, Words
from django_workflow.startable import Startable


@dataclass(frozen=True, slots=True)
class StartWords(Words):
    """What a run is started with; see `Startable.start`."""

    input: Any = None
    idempotency_key: str | None = None
    run_id: UUID | None = None
    delay: timedelta | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


class Start(Operation[Startable, StartWords]):
    """Start a run of a flow."""

    name, label, permission, past = "start", "Start a run", permissions.START, "started"
    meaning = summary = "Start a run of a flow."
    noun = "flow"
    words = StartWords

    def unfit(self, target: Startable) -> Unfit | None:
        return None

    def perform(self, target: Startable, words: StartWords, by: str) -> Done:
        runs = Run.objects.using(conf.DATABASE).filter(flow__slug=target.slug)
        before = runs.filter(pk=words.run_id).first() if words.run_id else None
        chosen = words.run_id or uuid7()
        if before is None:
            handle = target.start(
                words.input, idempotency_key=words.idempotency_key, run_id=chosen, delay=words.delay,
                labels=words.labels, title=words.title, by=by,
            )  # fmt: skip
            if handle.id == chosen:
                text = (f"A run of {target.slug}", " was started.")
                return Done("".join(text), [handle.run], "Started", handle.id, ("", *text))
            chosen = handle.id
        return Done("This run was started before.", run_id=chosen, linked=("", "This run", " was started before."))
