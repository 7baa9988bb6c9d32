"""Who is at the other end of a socket, and what is theirs to see; read anew as long as the socket is open."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import AnonymousUser

from django_workflow import permissions
from django_workflow.models import FlowDefinition
from django_workflow.read import find

#: Codes with which sockets are closed: refused, and no such run.
REFUSED = 4403
UNKNOWN = 4404
#: Seconds for which a look at a viewer's session, user and permissions is good enough for notices to them.
RECHECK = 5.0
#: Runs whose flow a process remembers, where a site has rules per flow.
REMEMBERED = 10_000


#: Channels' reader of a session's user, as a function of this thread.
_get_user: Any = get_user


@dataclass(frozen=True)
class Access:
    """What a viewer may see: nothing, or one run's changes, or those of the runs of many flows.

    refusal: the code with which the socket is closed.
    flow: of the one run. flows: the ids of the many; None means all.
    """

    refusal: int | None = None
    flow: FlowDefinition | None = None
    flows: AbstractSet[int] | None = None


class Viewer:
    """The user of one socket; anonymous as soon as the session has ended or the user is no longer active.

    scope: of the socket, with the user whom the session had when it was opened.
    """

    def __init__(self, scope: Any) -> None:
        self._user: Any = scope.get("user") or AnonymousUser()
        self._session: Any = scope.get("session")
        self._has_session = False
        self._looked_at: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the last look is recent enough."""
        return self._looked_at is not None and time.monotonic() - self._looked_at < RECHECK

    @database_sync_to_async
    def look(self, question: Callable[[Any], Access]) -> Access:
        """Return what the viewer may see: the answer to a question about the user.

        Session and user are read again, but for the first time: the socket has just been opened.
        """
        if self._looked_at is None:
            self._has_session = self._session is not None and SESSION_KEY in self._session
        else:
            self._user = self._read_again()
        access = question(self._user)
        self._looked_at = time.monotonic()
        return access

    def _read_again(self) -> Any:
        if self._has_session:
            # a new store: this one keeps what it has read
            session = self._session.__class__(self._session.session_key)
            return _get_user.func({"session": session})
        if self._user.pk is None:
            return self._user
        # a site's own middleware knows this user
        return get_user_model().objects.filter(pk=self._user.pk).first() or AnonymousUser()


def access_to_run(user: Any, run_id: UUID, flow: FlowDefinition | None = None) -> Access:
    """Return whether a user may see a run; one that they may not see does not exist for them, as on the pages.

    flow: the run's, where it is known.
    """
    if not permissions.may(user, permissions.VIEW):
        return Access(REFUSED)
    flow = flow or find.flow_of(run_id)
    if flow is None or not permissions.may(user, permissions.VIEW, flow):
        return Access(UNKNOWN)
    return Access(flow=flow)


def access_to_board(user: Any) -> Access:
    """Return which flows a user may see."""
    if not permissions.may(user, permissions.VIEW):
        return Access(REFUSED)
    flows = permissions.visible_flows(user)
    return Access(flows=None if flows is None else frozenset(flow.pk for flow in flows))


class FlowsOfRuns:
    """Which flow each run belongs to, which never changes; the runs that were asked for last are remembered."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = asyncio.Lock()

    async def of(self, runs: AbstractSet[str]) -> dict[str, int]:
        """Return the flow's id of each run that exists; one query for those that are not known."""
        async with self._lock:  # the sockets of a process ask for the same runs at once
            unknown = runs - self._known.keys()
            if unknown:
                self._known |= await _read_flows(list(unknown))
            flows = {run: self._known[run] for run in runs if run in self._known}
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return flows


@database_sync_to_async
def _read_flows(runs: list[str]) -> dict[str, int]:
    return {str(run): flow for run, flow in find.flow_ids_of(runs).items()}
