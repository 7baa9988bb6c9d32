"""What is measured, by name; each module holds one family."""

from __future__ import annotations

from tests.perf.measures import Measure

from . import bloat, contention, control, cost, drain, fanout, latency, lists, live, loops

MEASURES: tuple[Measure, ...] = (
    *drain.MEASURES,
    *latency.MEASURES,
    *fanout.MEASURES,
    *cost.MEASURES,
    *contention.MEASURES,
    *bloat.MEASURES,
    *control.MEASURES,
    *live.MEASURES,
    *lists.MEASURES,
    *loops.MEASURES,
)


def select(names: list[str]) -> list[Measure]:
    """The measures of these names or families (`chain`, `latency`, …); all of them when none is named."""
    families = {measure.name.split(".")[0] for measure in MEASURES}
    known = families | {measure.name for measure in MEASURES}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"No benchmark {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return [each for each in MEASURES if not names or each.name in names or each.name.split(".")[0] in names]
