"""How a run is to be retried: what an operator asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

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
    """How a run is to be retried; see `retry`."""

    mode: str = FAILED_STEPS
    from_step: str | None = None
    input: Any = KEPT
    version: int | str | None = None
    reason: str = ""
    by: str = ""

    def __post_init__(self) -> None:
        if self.mode not in (FAILED_STEPS, ALL_STEPS):
            raise ValueError(f"mode is {FAILED_STEPS!r} or {ALL_STEPS!r}, not {self.mode!r}")
        if self.mode == ALL_STEPS and self.from_step is not None:
            raise ValueError("a retry of all steps begins with the first; give from_step= without mode='all'")
        if isinstance(self.version, str) and self.version != LATEST:
            raise ValueError(f"version is a number or {LATEST!r}, not {self.version!r}")
