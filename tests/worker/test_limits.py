"""A run that multiplies without end, on a real worker: it ends at its limit, and everybody else goes on."""

from __future__ import annotations

import pytest

from django_workflow import Flow, db, get_run_status
from django_workflow.models import Task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DIAMONDS = 20
#: A fifth of the default: it ends as it does there, sooner.
LIMIT = 8_000


@pytest.fixture
def diamonds(unique) -> Flow:
    """Diamonds without joins in a row: the last one would run 2 ** 20 times."""
    flow = Flow(unique("diamonds"))
    for number in range(DIAMONDS):
        flow.step(name=f"top{number}", next=[f"left{number}", f"right{number}"])(lambda: None)
        for side in ("left", "right"):
            flow.step(name=f"{side}{number}", next=f"top{number + 1}")(lambda: None)
    flow.step(name=f"top{DIAMONDS}")(lambda: None)
    return flow


def test_diamonds_without_joins_end_at_the_limit_of_tasks_and_the_database_stays_usable(
    diamonds, unique, work, settings
):
    settings.DJANGO_WORKFLOW = {"MAX_TASKS": LIMIT}
    run = diamonds.start()
    work(drain=True).join(800)
    made = Task.objects.filter(run_id=run.id).count()
    assert (run.status, run.result().error["class"]) == ("failed", "LimitExceeded")
    assert run.result().error["message"].startswith(f"MAX_TASKS is {LIMIT:,}; step '")
    assert LIMIT * 0.95 < made <= LIMIT
    assert not Task.objects.filter(run_id=run.id).unsettled().exists()

    other = Flow(unique("other"))
    other.step(name="only")(lambda: 1)
    handle = other.start()
    work(drain=True).join()
    assert handle.result().output == {"only": 1}
    assert get_run_status(run).status == "failed"
    assert db.rows("SELECT count(*) FROM pgmq.q_wfq_default")[0][0] == 0
