"""Random graphs with the real database: whatever the graph, its run settles and its rows are as they must be."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from django_workflow import Fail, Flow, Retry, Skip, db, testing
from django_workflow.definition.elements import MAP
from django_workflow.models import Run, StepRun, Task
from django_workflow.statuses import RUN_TERMINAL
from tests.engine.interpreter import FAILS, Ends
from tests.engine.test_properties import MAX_ITERATIONS, MAX_TASKS, transition_graphs

pytestmark = pytest.mark.django_db
NUMBERS = itertools.count()

# a generation of a join: how many arrived, for how many activations they count, and whether that one waited no more
GENERATIONS = """
    SELECT a.step, a.generation, count(*), count(DISTINCT a.step_run_id), min(s.status)
    FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.step_run_id
    WHERE a.run_id = %s AND a.generation IS NOT NULL GROUP BY a.step, a.scope, a.generation
"""


def declared(drafts, options, results):
    """Return the flow of drafts, with handlers that end as the results say."""
    flow = Flow(
        f"random_{next(NUMBERS)}", retry=Retry(max_attempts=1), max_tasks=MAX_TASKS, max_iterations=MAX_ITERATIONS,
        **options,
    )  # fmt: skip
    for draft in drafts:
        declare = flow.map if draft.kind == MAP else flow.step
        handler = handler_of(results.get(draft.name), draft.kind)
        declare(name=draft.name, depends_on=draft.depends_on, **draft.options)(handler)
    return flow


def handler_of(result, kind):
    def handle(ctx):
        end = result(ctx) if result else ctx.iteration
        if not isinstance(end, Ends):
            return end
        return Fail("no") if end == FAILS or kind == MAP else Skip()

    return handle


def play_here(flow):
    return flow.execute().run_id


def play_queued(flow):
    handle = flow.start()
    for _ in range(200):
        testing.run_until_idle()
        if handle.status in RUN_TERMINAL:
            break
        testing.advance(timedelta(seconds=5))
    return handle.id


@pytest.mark.parametrize("play", [play_here, play_queued])
@given(graph=transition_graphs())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_graph_settles_and_its_joins_count_right(graph, play):
    flow = declared(*graph)
    run = Run.objects.get(id=play(flow))
    assert run.status in {"succeeded", "failed"}
    assert run.open_steps == 0
    assert not StepRun.objects.filter(run=run).unsettled().exists()
    assert not Task.objects.filter(run=run).unsettled().exists()
    assert Task.objects.filter(run=run).count() <= MAX_TASKS
    assert not StepRun.objects.filter(run=run, iteration__gt=MAX_ITERATIONS, task_count__gt=0).exists()
    for step, number, arrived, activations, status in db.rows(GENERATIONS, [run.id]):
        assert activations == 1
        if run.status == "succeeded":
            # what waited to the end was closed, and only what came later than the first generation may have waited
            is_whole = arrived >= flow.spec.join_size(step)
            assert is_whole == (status != "cancelled")
            assert is_whole or number > 1
