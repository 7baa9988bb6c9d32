"""What the database refuses whoever writes: illegal moves, changed history, impossible counts."""

from __future__ import annotations

import itertools
import uuid

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from django_workflow import statuses
from django_workflow.models import Arrival, Event, FlowDefinition, FlowVersion, Run, StepRun, Task

MACHINES = {
    Run: (statuses.RUN_STATUSES, statuses.RUN_MOVES),
    StepRun: (statuses.STEP_RUN_STATUSES, statuses.STEP_RUN_MOVES),
    Task: (statuses.TASK_STATUSES, statuses.TASK_MOVES),
}


@pytest.fixture
def result(flow, db):
    flow.step(name="only")(lambda: None)
    return flow.execute()


def make(model, status, flow_version):
    """Insert one row with this status."""
    run_id = uuid.uuid4()
    match model.__name__:
        case "Run":
            return Run.objects.create(flow_id=flow_version.flow_id, version=flow_version, status=status)
        case "StepRun":
            return StepRun.objects.create(run_id=run_id, step="x", status=status)
        case _:
            return Task.objects.create(
                run_id=run_id, step_run_id=uuid.uuid4().int >> 66, status=status, queue="default"
            )


@pytest.mark.parametrize("model", MACHINES, ids=lambda model: model.__name__)
def test_exactly_the_moves_of_the_table_are_legal(model, result):
    known, moves = MACHINES[model]
    version = result.run.version
    for old, new in itertools.product(known, known):
        row = make(model, old, version)
        change = model.objects.filter(pk=row.pk)
        if old == new or new in moves.get(old, ()):
            change.update(status=new)
        else:
            with pytest.raises(IntegrityError, match=rf"change, {row.pk}: {old} -> {new}"), transaction.atomic():
                change.update(status=new)


def test_one_illegal_move_refuses_a_whole_statement(result):
    rows = [make(Task, "queued", result.run.version) for _ in range(3)]
    Task.objects.filter(pk=rows[1].pk).update(status="failed")
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk__in=[row.pk for row in rows]).update(status="running")
    assert Task.objects.get(pk=rows[0].pk).status == "queued"


@pytest.mark.parametrize(
    ("model", "change"), [(FlowVersion, {"number": 7}), (FlowVersion, {"spec": {}}), (Event, {"type": "other"})]
)
def test_history_is_never_changed(model, change, result):
    with pytest.raises(DatabaseError, match="is never changed"), transaction.atomic():
        model.objects.update(**change)


@pytest.mark.parametrize("model", [FlowVersion, Event])
def test_history_is_deleted_by_retention_only(model, result):
    with pytest.raises(DatabaseError, match="is deleted by retention only"), transaction.atomic():
        model.objects.all().delete()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('django_workflow.retention', 'on', true)")
        assert model.objects.all().delete()[0]


def test_flow_with_versions_cannot_be_deleted_by_hand(result):
    with pytest.raises(DatabaseError, match="by retention only"), transaction.atomic():
        FlowDefinition.objects.all().delete()


@pytest.mark.parametrize(
    ("model", "change", "constraint"),
    [
        (Run, {"open_steps": -1}, "open_steps_never_negative"),
        (StepRun, {"open_tasks": -1}, "open_tasks_never_negative"),
    ],
)
def test_counters_are_never_negative(model, change, constraint, result):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        model.objects.update(**change)


def test_rows_that_may_exist_once_exist_once(result):
    step, task = StepRun.objects.get(), Task.objects.get()
    twins = [
        (lambda: StepRun.objects.create(run_id=step.run_id, step="only", status="running"), "step_run_is_unique"),
        (
            lambda: Task.objects.create(
                run_id=step.run_id, step_run=step, index=task.index, status="queued", queue="q"
            ),
            "task_index_is_unique",
        ),
        (lambda: [Arrival.objects.create(run_id=step.run_id, step="a", source="b") for _ in "ab"], "arrives_once"),
        (lambda: Event.objects.create(run_id=step.run_id, number=1, type="again"), "events_of_a_run_are_numbered"),
    ]
    for make_twin, constraint in twins:
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            make_twin()
