"""The settings of this package: `DJANGO_WORKFLOW` in a site's settings, documented and defaulted here.

Values are read at first access and again after `override_settings`. Unknown keys are reported by a
system check (`django_workflow.checks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

SETTING = "DJANGO_WORKFLOW"


@dataclass(frozen=True)
class Defaults:
    """Every key of `DJANGO_WORKFLOW` with its default; the comment of each says what it does."""

    #: Database alias that holds the workflow tables and queues.
    DATABASE: str = "default"
    #: Alias for LISTEN connections; a session-mode one where DATABASE goes through a pooler.
    LISTEN_DATABASE: str | None = None
    #: Queue of steps that name none.
    DEFAULT_QUEUE: str = "default"
    #: Handlers one worker process runs at once.
    CONCURRENCY: int = 16
    #: Tasks a worker process claims beyond those it can run at once, while handlers are quick.
    PREFETCH: int = 200
    #: How long a claim lasts without a heartbeat; a crashed worker's tasks run again after it.
    LEASE: timedelta = timedelta(seconds=30)
    #: How long a stopping worker lets running handlers finish.
    GRACE: timedelta = timedelta(seconds=30)
    #: How long a worker may stand still in one round of its loop: then its heartbeats stop, and its process ends.
    STALL_LIMIT: timedelta = timedelta(minutes=2)
    #: How often an idle worker looks at its queues when no notification arrives.
    POLL_INTERVAL: timedelta = timedelta(seconds=2)
    #: Further executors: name -> callable that returns a `concurrent.futures.Executor` (or its dotted path).
    EXECUTORS: dict[str, Any] = field(default_factory=dict)
    #: Default retry policy of steps: a `django_workflow.Retry`.
    RETRY: Any = None
    #: Default timeout of one attempt; None is no limit.
    TIMEOUT: timedelta | None = None
    #: Longest transaction of an `atomic` step that declares no timeout.
    ATOMIC_TIMEOUT: timedelta = timedelta(seconds=60)
    #: Which engine events are stored: "run", "step" or "task".
    EVENT_LEVEL: str = "step"
    #: Most lines that one attempt's handler may log into the table of log lines; 0 turns capturing off.
    LOG_LINES: int = 1_000
    #: Least level of these lines, by name; what the site's LOGGING filters out never gets there.
    LOG_LEVEL: str = "INFO"
    #: Longest life of a run whose flow declares no `max_duration`.
    MAX_DURATION: timedelta = timedelta(days=7)
    #: Most tasks a run may create.
    MAX_TASKS: int = 100_000
    #: How often a run may activate one step, within one scope.
    MAX_ITERATIONS: int = 1_000
    #: Largest JSON value accepted as a run's input, in bytes.
    MAX_INPUT_BYTES: int = 1024 * 1024
    #: Largest JSON value accepted as a handler's output, in bytes.
    MAX_OUTPUT_BYTES: int = 1024 * 1024
    #: How long settled runs are kept; None keeps them for ever.
    RETENTION: timedelta | None = None
    #: Rules per flow: callable(user, permission, flow) -> bool (or its dotted path), asked besides the user's own
    #: permissions; `permission` is the codename, as "view_run", `flow` a FlowDefinition.
    OBJECT_PERMISSION: Any = None
    #: How long, at most, a task whose handler this process does not know is put aside for others.
    UNKNOWN_HANDLER_DELAY: timedelta = timedelta(seconds=30)
    #: After how long a task that no worker knows fails.
    UNKNOWN_HANDLER_LIMIT: timedelta = timedelta(hours=1)


KEYS = tuple(item.name for item in fields(Defaults))
_DEFAULTS = Defaults()
_KINDS = {item.name: str(item.type) for item in fields(Defaults)}


def _refuse_other_type(name: str, value: Any) -> None:
    """Raise `ImproperlyConfigured` where a time or a number is none: the system checks of a site may be silenced."""
    kind, _, optional = _KINDS[name].partition(" | ")
    expected = {"timedelta": timedelta, "int": int}.get(kind)
    if expected is not None and not isinstance(value, expected) and not (value is None and optional):
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] must be a {kind}, not {value!r}.")


class Configuration:
    """Reads the keys of `DJANGO_WORKFLOW`, or their defaults; a start asks for a dozen of them."""

    def __getattr__(self, name: str) -> Any:
        if name not in KEYS:
            raise AttributeError(f"django_workflow has no setting {name!r}; known: {', '.join(KEYS)}")
        value = getattr(django_settings, SETTING, {}).get(name, getattr(_DEFAULTS, name))
        _refuse_other_type(name, value)
        self.__dict__[name] = value
        return value

    def forget(self, *, setting: str, **kwargs: Any) -> None:
        """Receiver of `setting_changed`, which `override_settings` sends."""
        if setting == SETTING:
            self.__dict__.clear()


if TYPE_CHECKING:
    conf: Defaults
else:
    conf = Configuration()
    setting_changed.connect(conf.forget)
