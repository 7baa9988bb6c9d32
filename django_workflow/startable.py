"""What can be started: its verbs, whatever kind of flow it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django_workflow import arguments, times
from django_workflow.definition.elements import LONGEST_TIME
from django_workflow.definition.registry import Handler
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.verbs.start import StartRequest, checked_labels, start
from django_workflow.exceptions import InvalidArgument
from django_workflow.ids import uuid7
from django_workflow.runs import RunHandle, RunResult
from django_workflow.twins import twin
from django_workflow.worker.local import execute_run, local_lease


class Startable:
    """What can be started: a flow declared in code, or one stored as data."""

    slug: str

    def current_spec(self) -> FlowSpec:
        """Return the definition that a start uses now, which each kind of flow knows; raises `DefinitionError`."""
        raise NotImplementedError

    def start(
        self,
        input: Any = None,
        *,
        idempotency_key: str | None = None,
        run_id: UUID | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        title: str = "",
        by: str = "",
    ) -> RunHandle:
        """Start a run in the caller's transaction: no commit, no run.

        input: any JSON value, what handlers receive as `input`.
        idempotency_key: a second start with the same key returns the first run.
        run_id: a UUID of the caller's choice; a second start with it returns the first run.
        delay, at: start later; at most one of them.
        labels, title, by: for people; `by` is who started it.
        Raises `DefinitionError`, or `PayloadError` for an input that cannot be stored or does not fit `input_schema`.
        """
        request = StartRequest(
            input, idempotency_key, run_id, *_begin(delay, at), labels=checked_labels(labels), title=title, by=by
        )
        return RunHandle(start(self.current_spec(), [request])[0])

    def start_many(
        self,
        inputs: Iterable[Any],
        *,
        idempotency_keys: Sequence[str] | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        title: str = "",
        by: str = "",
    ) -> list[RunHandle]:
        """Start one run per input, all in one transaction, with a handful of statements.

        idempotency_keys: one per input. Further options as for `start`, the same for all.
        Returns the handles in the order of the inputs.
        """
        values = arguments.items(inputs, "inputs")
        keys: list[str | None] = [None] * len(values)
        if idempotency_keys is not None:
            keys = arguments.items(idempotency_keys, "idempotency_keys=")
        if len(keys) != len(values):
            raise ValueError(f"{len(values)} inputs need as many idempotency keys, not {len(keys)}")
        begin, checked = _begin(delay, at), checked_labels(labels)
        requests = [
            StartRequest(value, key, None, *begin, labels=checked, title=title, by=by)
            for value, key in zip(values, keys, strict=True)
        ]
        return [RunHandle(run_id) for run_id in start(self.current_spec(), requests)]

    def execute(
        self,
        input: Any = None,
        *,
        timeout: timedelta | None = None,
        idempotency_key: str | None = None,
        run_id: UUID | None = None,
        labels: Mapping[str, str] | None = None,
        title: str = "",
        by: str = "",
        handlers: Mapping[str, Handler] | None = None,
    ) -> RunResult:
        """Run the flow here and now, in this thread and on its connection, without queues or workers.

        timeout: the run ends timed out when it takes longer. Further options as for `start`.
        handlers: functions of this run alone, by the names its steps use (`execute_dynamic`).
        Returns the result; a failed run does not raise, `RunResult.raise_for_status` does.
        """
        if timeout is not None:
            arguments.duration(timeout, "timeout=")
        functions = _checked_handlers(handlers)
        chosen = uuid7() if run_id is None else arguments.uuid(run_id, "run_id=")
        request = StartRequest(
            input, idempotency_key, chosen, labels=checked_labels(labels), title=title, by=by, is_local=True
        )
        # before anybody can see the run: without its lease a keeper would take it for lost
        with local_lease(chosen):
            started = start(self.current_spec(), [request])[0]
            execute_run(started, timeout=timeout, handlers=functions)
        return RunHandle(started).result()

    astart = twin(start)
    astart_many = twin(start_many)
    aexecute = twin(execute)


def _begin(delay: timedelta | None, at: datetime | None) -> tuple[float | None, datetime | None]:
    """Return when a run begins: after so many seconds, at a time, or at once; raises `InvalidArgument`."""
    if delay is not None and at is not None:
        raise InvalidArgument("a start takes delay= or at=, not both")
    if delay is not None:
        if arguments.duration(delay, "delay=") > LONGEST_TIME:
            raise InvalidArgument(f"delay= is at most {LONGEST_TIME.days} days, not {delay}")
        return delay.total_seconds(), None
    if at is not None and not times.is_complete(arguments.moment(at, "at=")):
        raise InvalidArgument("at= needs a time zone; use django.utils.timezone")
    if at is not None and times.with_zone(at) - times.with_zone(times.now()) > LONGEST_TIME:
        raise InvalidArgument(f"at= is at most {LONGEST_TIME.days} days from now, not {at}")
    return None, at


def _checked_handlers(handlers: Mapping[str, Handler] | None) -> dict[str, Handler]:
    functions = arguments.by_name(handlers, "handlers=")
    for name, item in functions.items():
        if not isinstance(item, Handler):
            raise InvalidArgument(f"handlers= takes handlers by name, not {name!r}: {item!r}; use execute_dynamic()")
    return functions
