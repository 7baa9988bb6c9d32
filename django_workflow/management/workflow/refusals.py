"""What a command refuses, as people at a shell are told it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import connections
from django.db.utils import DatabaseError, OperationalError, ProgrammingError

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.exceptions import Remedy, WorkflowError
from django_workflow.read import doctor

#: What can be done instead of a retry that is refused, as options of the command.
REMEDIES: Mapping[Remedy, str] = {
    "all": "Repeat everything with --mode all.",
    "from_step": "Repeat a part of it with --from STEP, or everything with --mode all.",
    "earlier_step": "Begin before these steps with --from STEP, or repeat everything with --mode all.",
}


@contextmanager
def _on_postgresql() -> Iterator[None]:
    """Say of another database that workflows need PostgreSQL, whatever it does not understand."""
    try:
        yield
    except (AttributeError, DatabaseError) as error:
        if connections[conf.DATABASE].vendor == "postgresql":
            raise
        raise CommandError(
            f"Database {conf.DATABASE!r} is no PostgreSQL, which workflows need. Name another one in "
            "DJANGO_WORKFLOW['DATABASE']; manage.py check tells more."
        ) from error


@contextmanager
def refusals() -> Iterator[None]:
    """Turn errors that somebody at the shell can mend into `CommandError`; a reader that has left is none."""
    try:
        with _on_postgresql():
            yield
    except WorkflowError as error:
        raise CommandError(error.worded(REMEDIES)) from error
    except OperationalError as error:
        if db.is_retryable(error) and not db.is_of_connection(error):
            raise CommandError(f"The database could not do this now: {str(error).strip()}. Try again.") from error
        remedy = f"Start the server, or mend DATABASES[{conf.DATABASE!r}]."
        raise CommandError(f"The database does not answer: {str(error).strip()}. {remedy}") from error
    except ProgrammingError as error:
        if not (db.has_failed() or doctor.has_tables()):
            raise CommandError(
                f"Database {conf.DATABASE!r} has no tables of workflows. Run manage.py migrate."
            ) from error
        raise CommandError(f"{str(error).strip()}\nIs the database up to date? manage.py migrate") from error
    except BrokenPipeError:
        # whoever read has read enough; without this Python complains when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
