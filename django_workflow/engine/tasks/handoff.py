"""Handing tasks on: a worker takes the tasks that its own settle makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow.definition.elements import StepSpec
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim
from django_workflow.ids import new_lease_id


@dataclass
class Taker:
    """A worker that claims tasks as they are made: its queues were empty when it last looked, and it has free slots.

    Nobody waits longer for it, for nothing waits; a chain's next step begins without a round through the
    queue. The message is sent all the same, hidden for the lease: should the worker not settle it, it appears.

    lease: seconds. queues: those it serves and found empty. slots: how many tasks it can begin at once.
    knows: whether it has the code of a step. taken: the tasks it got. opened: as for `claim`.
    """

    worker_id: int | None
    lease: float
    queues: frozenset[str]
    slots: int
    knows: Callable[[FlowSpec, StepSpec], bool]
    lease_id: int = field(default_factory=new_lease_id)
    taken: list[ClaimedTask] = field(default_factory=list)
    opened: list[OpenClaim] = field(default_factory=list)

    def afresh(self) -> Taker:
        """Return the same taker with nothing taken, for another try."""
        fresh = replace(self, lease_id=new_lease_id(), taken=[])
        self.opened.append(OpenClaim(fresh.lease_id))
        return fresh

    def wants(self, spec: FlowSpec, step: StepSpec, queue_name: str) -> bool:
        """Say whether it takes a new task of `step`."""
        return len(self.taken) < self.slots and queue_name in self.queues and self.knows(spec, step)

    def take(self, spec: FlowSpec, step: StepSpec, **columns: Any) -> None:
        """Remember a task that the caller inserts as running under this taker's lease; `columns` are its own."""
        self.opened[-1].task_ids.append(columns["id"])
        self.taken.append(
            ClaimedTask(
                **columns, spec=spec, step=step, message_id=None, lease_id=self.lease_id, attempt=1, failure_count=0,
                lost_count=0, age=0.0, is_begun=True, worker_id=self.worker_id,
            )
        )  # fmt: skip
