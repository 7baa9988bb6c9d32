"""What is said about arguments that cannot be meant."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--queues", "Bad-Name"], "'Bad-Name' is not a queue name: 1 to 40 lower-case letters"),
        (["--concurrency", "0"], "--concurrency and --processes must be at least 1"),
        (["--prefetch", "-1"], "--prefetch at least 0"),
        (["--processes", "0"], "must be at least 1"),
        (["--lease", "0.5"], "--lease must be at least 1 second"),
        (["--lease", "0"], "--lease must be at least 1 second"),
        (["--grace", "-1"], "--grace"),
        (["--executor", "nonsense"], "no executor 'nonsense'; known: thread, async, process"),
        (["--lease", "soon"], "invalid"),
        (["--concurrency", "many"], "invalid int value: 'many'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_worker_refuses_what_makes_no_sense(arguments, told):
    with pytest.raises(CommandError) as caught:
        call_command("run_workflow_worker", *arguments)
    assert told in str(caught.value)
