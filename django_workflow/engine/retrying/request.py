"""How a run is to be retried: what an operator asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django_workflow import text
from django_workflow.exceptions import InvalidArgument

#: What a retry repeats: what failed and what follows it, or everything.
FAILED_STEPS, ALL_STEPS = "failed", "all"
LATEST = "latest"


class _Kept:
    def __repr__(self) -> str:
        return "<as it was>"


#: Stands for an input that is not edited, as None is an input.
KEPT: Final = _Kept()


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """How a run is to be retried; see `retry`.

    hides_input: whoever asks may not see the run's input, nor learn it by trying: another one counts as edited, also
    where it is the same.
    since: a retry that was made since then is the one that is asked for, as is one that has not settled.
    """

    mode: str = FAILED_STEPS
    from_step: str | None = None
    input: Any = KEPT
    version: int | str | None = None
    reason: str = ""
    by: str = ""
    hides_input: bool = False
    since: datetime | None = None

    def __post_init__(self) -> None:
        # frozen: what people say is made storable before anybody reads it
        reason, by = text.remarks(self.reason, self.by)
        object.__setattr__(self, "reason", reason)
        object.__setattr__(self, "by", by)
        if self.from_step is not None:
            object.__setattr__(self, "from_step", text.plain(self.from_step, "from_step="))
        if self.mode not in (FAILED_STEPS, ALL_STEPS):
            raise InvalidArgument(f"mode is {FAILED_STEPS!r} or {ALL_STEPS!r}, not {text.shown(self.mode)}")
        if self.mode == ALL_STEPS and self.from_step is not None:
            raise InvalidArgument("a retry of all steps begins with the first; give from_step= without mode='all'")
        if self.version is not None and self.version != LATEST and not _is_number(self.version):
            raise InvalidArgument(f"version is a number or {LATEST!r}, not {text.shown(self.version)}")


def _is_number(version: Any) -> bool:
    return isinstance(version, int) and not isinstance(version, bool)
