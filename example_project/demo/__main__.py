"""`python -m example_project.demo`: watch real workflows run on a real PostgreSQL, executed by a real worker."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import django
from django.db import DatabaseError

from example_project.demo.output import DemoFailed


def main() -> int:
    """Run the demonstration and return the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    # A character that the terminal cannot show is no reason to stop; and lines show when they are written.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _stop)
    django.setup()
    from example_project.demo.story import demonstrate  # noqa: PLC0415  models need Django to be set up

    try:
        demonstrate()
    except (DemoFailed, DatabaseError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted. Its runs stay in the database; the next worker goes on with them.", file=sys.stderr)
        return 130
    return 0


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
