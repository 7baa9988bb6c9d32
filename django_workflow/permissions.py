"""Who may do what: Django's permissions, the site's rules per flow, and the roles that most sites need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.module_loading import import_string

from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator, text_of
from django_workflow.exceptions import WorkflowError
from django_workflow.models import FlowDefinition, Run
from django_workflow.models.querysets import RunQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

    User = AbstractUser | AnonymousUser

APP: Final = "django_workflow"
VIEW: Final = "view_run"
START: Final = "start_run"
PAUSE: Final = "pause_run"
CANCEL: Final = "cancel_run"
RETRY: Final = "retry_run"
SIGNAL: Final = "signal_run"
APPROVE: Final = "approve_step"
VIEW_PAYLOAD: Final = "view_payload"
VIEW_LOGS: Final = "view_logs"

#: Every permission that belongs to runs, with what it allows.
PERMISSIONS: Final = (VIEW, START, PAUSE, CANCEL, RETRY, SIGNAL, APPROVE, VIEW_PAYLOAD, VIEW_LOGS)
#: What `manage.py workflow_roles` makes groups of: who looks, and who acts. A viewer sees
#: neither payloads nor log lines, which may hold personal data.
ROLES: Final[dict[str, tuple[str, ...]]] = {"viewer": (VIEW,), "operator": PERMISSIONS}


def may(user: User | Any, permission: str, flow: FlowDefinition | None = None) -> bool:
    """Say whether a user has a permission, for one flow or, without one, at all.

    permission: a codename, as "cancel_run". flow: whose runs are meant; then the site's
    `OBJECT_PERMISSION` has to agree. Without `view_run` nothing is allowed.
    """
    if not user.is_active or not all(user.has_perm(f"{APP}.{name}") for name in {VIEW, permission}):
        return False
    rule = object_rule()
    return flow is None or rule is None or all(_agrees(rule, user, name, flow) for name in {VIEW, permission})


def _agrees(rule: Any, user: User | Any, permission: str, flow: FlowDefinition) -> bool:
    """Ask the site's rule; what it raises ends the request, and never the server that asks."""
    try:
        return bool(rule(user, permission, flow))
    except Exception:
        raise
    except BaseException as error:
        leave_to_operator(error)
        raise WorkflowError(f"OBJECT_PERMISSION raised {type(error).__name__}: {text_of(error)}") from error


def object_rule() -> Any:
    """Return the site's rule per flow, or None."""
    rule = conf.OBJECT_PERMISSION
    return import_string(rule) if isinstance(rule, str) else rule


def visible_flows(user: User | Any, permission: str = VIEW) -> list[FlowDefinition] | None:
    """Return the flows on which a user has a permission; None where the site has no rules, for these are all.

    A user without the permission sees none.
    """
    if not may(user, permission):
        return []
    if object_rule() is None:
        return None
    flows = FlowDefinition.objects.using(conf.DATABASE).defer("draft")
    return [flow for flow in flows if may(user, permission, flow)]


def visible_runs(user: User | Any) -> RunQuerySet:
    """Return the runs that a user may see."""
    runs: RunQuerySet = Run.objects.using(conf.DATABASE)
    flows = visible_flows(user)
    return runs if flows is None else runs.filter(flow__in=[flow.pk for flow in flows])
