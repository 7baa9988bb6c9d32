"""`python -m tests.perf [name …]`: measure ours and the peers in turn, and print what must be reached.

Without a name everything is measured, which takes about half an hour. The peers are installed under
`.bench/venvs`, the PostgreSQL of the benchmarks lives under `.bench/postgres`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import nullcontext

from . import against, benches
from .contenders import OURS, Contender
from .measures import ROUNDS, Measure, Row, play_rounds, table
from .servers import postgres
from .stage import RoundFailed, Stage, open_stage


def main() -> int:
    """Run the benchmarks that the command line names; 1 if a bound was missed."""
    options = parse()
    measures = benches.select(options.names)
    with against.checkout(options.against) if options.against else nullcontext() as other:
        if other is not None:
            measures = against.compared(measures, other)
        if options.no_peers:
            measures = [without_peers(measure) for measure in measures]
        contenders = contenders_of(measures)
        versions = {each.name: each.versions() for each in contenders if each.requirements}
        rows: list[Row] = []
        with postgres() as server, open_stage(server, contenders) as stage:
            failures = [error for measure in measures if (error := play(stage, measure, options.rounds, rows))]
    report(rows, versions, as_json=options.json)
    sys.stderr.writelines(failures)
    return int(bool(failures) or any(row.verdict == "MISS" for row in rows))


def play(stage: Stage, measure: Measure, rounds: int, rows: list[Row]) -> str:
    """Play one measure and add its rows; return what went wrong, so that the others are still played."""
    try:
        rows += play_rounds(stage, measure, rounds)
    except RoundFailed as error:
        return f"\n{measure.name} failed: {error}\n"
    return ""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    known = "\n".join(f"{measure.name}: {measure.title}" for measure in benches.MEASURES)
    parser.add_argument("names", nargs="*", metavar="name", help=known)
    parser.add_argument("--json", action="store_true", help="print every value of every round as JSON")
    parser.add_argument("--against", metavar="REF", help="compare with another commit instead of the peers")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds (default {ROUNDS})")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    return parser.parse_args()


def without_peers(measure: Measure) -> Measure:
    """The measure without the systems that have to be installed."""
    kept = tuple(peer for peer in measure.peers if not peer.contender.requirements)
    return Measure(**{**vars(measure), "peers": kept})


def contenders_of(measures: list[Measure]) -> list[Contender]:
    """Everybody who takes part."""
    everybody = [OURS, *(peer.contender for measure in measures for peer in measure.peers)]
    return list({contender.name: contender for contender in everybody}.values())


def report(rows: list[Row], versions: dict[str, str], *, as_json: bool) -> None:
    """Print the result."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    if as_json:
        document = {"machine": machine, "versions": versions, "rows": [row.as_json() for row in rows]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    sys.stdout.write(f"\n{table(rows)}\n\n{machine}; {'; '.join(versions.values())}\n")
    sys.stdout.write("A ratio is ours / theirs, round by round: the median and its 95 % bootstrap interval.\n")


if __name__ == "__main__":
    raise SystemExit(main())
