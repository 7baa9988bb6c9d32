#!/usr/bin/env python
"""Django's command line for the example project."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(f"{error}. `python3 run.py setup` makes .venv; then use .venv/bin/python manage.py") from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # while Django was set up
        sys.stderr.write("Interrupted.\n")
        raise SystemExit(130) from None
