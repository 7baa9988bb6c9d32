"""`python -m example_project.demo`: watch real workflows run on a real PostgreSQL, executed by a real worker."""

from __future__ import annotations

import os
import sys

from example_project import endings


def main() -> int:
    """Run the demonstration and return the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    # A character that the terminal cannot show is no reason to stop; and lines show when they are written.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    endings.obey()
    try:
        return tell()
    except endings.Stopped as stopped:
        print("\ndemo: interrupted. Its runs stay in the database; the next worker goes on with them.", file=sys.stderr)
        return stopped.code


def tell() -> int:
    """Set Django up and demonstrate."""
    import django  # noqa: PLC0415  it takes a while, in which Ctrl-C may come
    from django.db import DatabaseError  # noqa: PLC0415

    django.setup()
    from example_project.demo.output import DemoFailed  # noqa: PLC0415
    from example_project.demo.story import demonstrate  # noqa: PLC0415  models need Django to be set up

    try:
        demonstrate()
    except (DemoFailed, DatabaseError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
