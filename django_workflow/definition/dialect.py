"""In what flows of other languages differ to the engine, difference by difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: This package's own language: that of flows in code and of its documents.
NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a flow means beyond its graph; the defaults are those of this package's own language."""

    #: A failure that no transition handles, and `fail`, end the run at once; else once nothing runs any more.
    stops_on_fail: bool = True
    #: An expression that fails in an attempt fails the step, which may be tried again; else it ends the run.
    fails_step_on_mistake: bool = True
    #: A lost attempt counts as one that failed.
    counts_losses: bool = True
    #: A run begins with variables beside those that the flow declares.
    brings_variables: bool = False
    #: What an expression reads is known from its text.
    is_analysed: bool = True
    #: Expressions see how all steps ended last.
    sees_statuses: bool = False
    #: What a map goes through is an expression; else a path.
    maps_over_expressions: bool = False
    #: A map that failed has the results of those items that succeeded.
    keeps_partial_maps: bool = False
    #: A run without a declared output gives what its last steps gave.
    gives_last_outputs: bool = True
    #: A run that is ended from outside gives what can be evaluated of its output.
    gives_partial_output: bool = False
    #: Each item of a map counts as an execution of its step.
    counts_items: bool = True


OWN: Final = Dialect()
#: That of documents made for another engine.
FOREIGN: Final = Dialect(
    stops_on_fail=False,
    fails_step_on_mistake=False,
    counts_losses=False,
    brings_variables=True,
    is_analysed=False,
    sees_statuses=True,
    maps_over_expressions=True,
    keeps_partial_maps=True,
    gives_last_outputs=False,
    gives_partial_output=True,
    counts_items=False,
)


def dialect_of(language: str) -> Dialect:
    """Return the dialect of a language; a process may lack the language itself, and still read its runs."""
    return OWN if language == NATIVE else FOREIGN
