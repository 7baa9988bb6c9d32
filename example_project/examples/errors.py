"""What happens when a handler fails: five small flows, five answers.

Outcomes are values (`Skip`, `Fail`, `RetryAfter`), exceptions are for the unexpected; both end up in
the history of the run, with every attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django_workflow import Flow, Retry, RetryAfter
from example_project import text
from example_project.history import history

if TYPE_CHECKING:
    from django_workflow import RunResult
    from django_workflow.worker.jobs.context import Context

SOON = timedelta(milliseconds=20)

# 1. Retry: an exception is tried again, by default three times in all, with growing pauses. ---------------

retried = Flow("errors_retried", title="Fails twice, then works")


@retried.step(retry=Retry(max_attempts=3, base=SOON))
def connect(ctx: Context) -> str:
    """Reach a server that is up at the third attempt."""
    if ctx.attempt < 3:
        raise ConnectionError("connection refused")
    return "connected"


@retried.step
def ask(connect: str, ctx: Context) -> RetryAfter | str:
    """Ask a server that says itself when to come back: `RetryAfter` is an outcome, not an exception."""
    return RetryAfter(SOON, "busy; asked us to come back") if ctx.attempt == 1 else f"{connect}, and answered"


# 2. Giving up: some errors do not go away by trying again. The run fails at once. --------------------------

given_up = Flow("errors_given_up", title="Fails for good")


@given_up.step(retry=Retry(max_attempts=5, base=SOON, give_up_on=(ValueError,)))
def parse(input: dict[str, Any]) -> int:
    """Read a number; what is none at the first attempt is none at the fifth."""
    return int(input["amount"])


@given_up.step
def book(parse: int) -> int:
    """Never runs: a failed step ends its run, unless it says otherwise."""
    return parse


# 3. Going on without: a step that is nice to have is skipped when it fails. ---------------------------------

skipped = Flow("errors_skipped", title="Goes on without a failed step")


@skipped.step(on_exhausted="skip", retry=Retry(max_attempts=2, base=SOON))
def weather() -> str:
    """Ask for something that is not there today."""
    raise ConnectionError("no route to host")


@skipped.step
def greeting(weather: str | None = None) -> str:
    """Run all the same; the output of a skipped step arrives as the parameter's default."""
    return f"Good morning! {weather or 'We know nothing about the weather.'}"


# 4. Skipping a branch: what depends on the failed step is skipped too, the other branch is not. -------------

branch = Flow("errors_branch", title="Skips the branch of a failed step")


@branch.step(on_exhausted="skip_cascade", retry=Retry(max_attempts=1))
def preview() -> str:
    """Fail, and take along what needs this."""
    raise OSError("no space left on device")


@branch.step
def thumbnail(preview: str) -> str:
    """Is skipped, for there is no preview to make it from."""
    return f"small {preview}"


@branch.step
def original() -> str:
    """Depends on nothing, and is not concerned."""
    return "stored"


# 5. Timeout: an attempt that takes too long is stopped and counts as failed. ---------------------------------

slow = Flow("errors_slow", title="Too slow at the first attempt")


@slow.step(timeout=timedelta(seconds=0.2), retry=Retry(max_attempts=2, base=SOON))
def compute(ctx: Context) -> str:
    """Hang at the first attempt; a loop that may take long looks at `ctx.cancelled`."""
    while ctx.attempt == 1 and not ctx.cancelled:
        time.sleep(0.01)  # stands for a server that does not answer: this example is about the timeout
    return f"done at attempt {ctx.attempt}"


def run(say: Callable[[str], object]) -> None:
    """Execute all of them here and tell the history of each."""
    for flow, value in (
        (retried, None),
        (given_up, {"amount": "12 apples"}),
        (skipped, None),
        (branch, None),
        (slow, None),
    ):
        result = flow.execute(value)
        say(f"{flow.title}: the run {result.status}, output {result.output}")
        say(told(result) + "\n")


def told(result: RunResult) -> str:
    """Return the history of a run as a table."""
    return text.table(
        ("step", ">attempt", "outcome", "why"),
        [(entry.step, entry.attempt, entry.outcome, entry.note) for entry in history(result.run_id)],
    )
