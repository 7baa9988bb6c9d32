"""`python -m example_project.serve`: a site with live pages, a worker, and runs that keep going."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from example_project import endings


def main() -> int:
    """Serve until stopped and return the exit code."""
    options = read_arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    os.environ["EXAMPLE_PACE"] = str(options.pace)
    # A character that the terminal cannot show is no reason to stop; and lines show when they are written.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    endings.obey()
    try:
        return tell(options.port)
    except endings.Stopped as stopped:
        print("Stopped. The runs stay in the database; the next worker goes on with them.")
        # a service that is told to stop has done so
        return stopped.code if stopped.number == signal.SIGINT else 0


def tell(port: int) -> int:
    """Set Django up and serve; ends by `Stopped`, or by what is in the way."""
    import django  # noqa: PLC0415  it takes a while, in which Ctrl-C may come
    from django.db import DatabaseError  # noqa: PLC0415

    django.setup()
    from example_project.demo.output import DemoFailed  # noqa: PLC0415
    from example_project.serve.story import serve  # noqa: PLC0415  models need Django to be set up

    try:
        serve(port)
    except (DemoFailed, DatabaseError) as error:
        print(f"\nserve: {error}", file=sys.stderr)
        return 1
    return 0


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="run.py serve",
        description="Serve the example's live pages on this machine, with a worker and runs that keep going.",
    )
    parser.add_argument("--port", type=port, default=8000, help="Where to listen on 127.0.0.1 (default: 8000; 0: any).")
    parser.add_argument(
        "--pace", type=pace, default=1.0, metavar="SECONDS", help="How long a step about takes (default: 1)."
    )
    return parser.parse_args()


def port(text: str) -> int:
    """Read a port's number."""
    number = int(text)
    if not 0 <= number <= 65_535:
        raise ValueError(text)
    return number


def pace(text: str) -> float:
    """Read a number of seconds."""
    seconds = float(text)
    if not 0 <= seconds <= 60:
        raise ValueError(text)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
