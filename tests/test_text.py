"""Text that is no exact `str`, or that PostgreSQL refuses: stored safely, or refused before anything is written."""

from __future__ import annotations

import uuid
from datetime import timedelta
from enum import Enum

import pytest
from django.db import transaction
from django.utils.functional import lazystr
from django.utils.safestring import SafeString

import django_workflow
from django_workflow import (
    Fail,
    Flow,
    FlowBuilder,
    InvalidArgument,
    Retry,
    RetryAfter,
    Skip,
    WorkflowError,
    handler,
    list_runs,
    testing,
    text,
)
from django_workflow.models import Attempt, Dismissal, Event, Message, Run, StepRun, Task

ODD = {
    "a NUL": "a\x00b",
    "half of a pair": "a\ud800b",
    "long": "é" * 100_000,
    "many lines": 'a\n"b\\"\r\x1b[2K',
    "bytes": b"a",
    "a number": 7,
    "none of them": None,
}
SAFE = "a{,}\"b\\c', NULL"


class Word(str, Enum):  # noqa: UP042  the kind that `str()` tells otherwise
    DEFAULT = "default"
    NAME = "name"
    SAID = SAFE


KINDS = {"a member": lambda word: word, "safe": lambda word: SafeString(word.value)}


def test_a_text_is_its_own_whatever_class_it_has():
    for value in (Word.SAID, SafeString(SAFE), lazystr(SAFE), SAFE):
        assert text.plain(value, "x") == SAFE
        assert type(text.plain(value, "x")) is str


@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b", "long"])
def test_what_is_said_can_be_stored_and_what_names_is_refused(value):
    assert text.said(value, "x", 3) in ("a�b", "a?b", "lon")
    with pytest.raises(InvalidArgument):
        text.exact(value, "x", 3)


@pytest.fixture
def failed(flow, db):
    """A run that failed, with a dead letter."""
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda input: 1 / 0)
    flow.execute()
    return Run.objects.get()


def verbs(flow, run):
    """Every public function that takes text, by what is said: a call with one text."""
    task = Task.objects.get(run=run)
    settled = {name: getattr(django_workflow, name) for name in ("cancel", "pause", "resume", "retry")}
    calls = {
        f"{name} {word}": lambda value, do=do, word=word: do(run, **{word: value})
        for name, do in settled.items()
        for word in ("reason", "by")
    }
    for word in ("idempotency_key", "title", "by"):
        calls[f"start {word}"] = lambda value, word=word: flow.start(**{word: value})
        calls[f"execute {word}"] = lambda value, word=word: flow.execute(**{word: value})
    dismiss = django_workflow.dismiss_dead_letters
    return calls | {
        "start label": lambda value: flow.start(labels={"name": value}),
        "start label name": lambda value: flow.start(labels={value: "a"}),
        "start_many key": lambda value: flow.start_many([1], idempotency_keys=[value]),
        "start run_id": lambda value: flow.start(run_id=value or "no id"),
        "execute run_id": lambda value: flow.execute(run_id=value or "no id"),
        "retry from_step": lambda value: run_handle(run).retry(from_step=value),
        "retry version": lambda value: run_handle(run).retry(version=value if value != 7 else "7"),
        "retry mode": lambda value: run_handle(run).retry(value),
        "skip_step": lambda value: django_workflow.skip_step(run, value),
        "complete_step": lambda value: django_workflow.complete_step(run, value),
        "skip_step id": lambda value: django_workflow.skip_step(run, "only", step_run_id=value or "x"),
        "run": django_workflow.cancel,
        "status of": django_workflow.get_run_status,
        "wait": django_workflow.wait,
        "follow run": lambda value: django_workflow.follow(value or "x"),
        "follow after": lambda value: django_workflow.follow(after=value or "x"),
        "pause_flow": django_workflow.pause_flow,
        "resume_flow": django_workflow.resume_flow,
        "pause_flow reason": lambda value: django_workflow.pause_flow(flow.slug, reason=value),
        "resume_flow by": lambda value: django_workflow.resume_flow(flow.slug, by=value),
        "pause_queue": django_workflow.pause_queue,
        "resume_queue": django_workflow.resume_queue,
        "pause_queue by": lambda value: django_workflow.pause_queue("default", by=value),
        "resume_queue reason": lambda value: django_workflow.resume_queue("default", reason=value),
        "list_runs status": lambda value: list_runs(status=value or "x"),
        "list_runs flow": lambda value: list_runs(flow=value or 0),
        "list_runs labels": lambda value: list_runs(labels={"name": value}),
        "list_runs label": lambda value: list_runs(labels={value: "x"}),
        "list_runs order": lambda value: list_runs(order_by=value),
        "list_runs limit": lambda value: list_runs(limit=value if value != 7 else "7"),
        "dead letters flow": lambda value: django_workflow.dead_letters(flow=value or 0),
        "dead letters queue": lambda value: django_workflow.dead_letters(queue=value or 0),
        "dead letters limit": lambda value: django_workflow.dead_letters(limit=value if value != 7 else "7"),
        "dismiss reason": lambda value: dismiss([task.pk], value),
        "dismiss by": lambda value: dismiss([task.pk], "because", value),
        "dismiss ids": lambda value: dismiss([value if value != 7 else "7"], "because"),
        "retry letters by": lambda value: django_workflow.retry_dead_letters([task.pk], value),
        "retry letters ids": lambda value: django_workflow.retry_dead_letters([value if value != 7 else "7"]),
        "send": lambda value: django_workflow.send_with_notify(value, 1),
        "notify": lambda value: django_workflow.notify_only(value, 1),
        "listen": django_workflow.listen,
        "unlisten": django_workflow.unlisten,
        "recent": django_workflow.recent_messages,
        "recent limit": lambda value: django_workflow.recent_messages("news", value if value != 7 else "7"),
        "create_flow": FlowBuilder.create_flow,
        "create_flow title": lambda value: FlowBuilder.create_flow("stored", title=value),
        "create_flow queue": lambda value: FlowBuilder.create_flow("stored", queue=value if value is not None else 7),
        "create_flow vars": lambda value: FlowBuilder.create_flow("stored", vars={"a": [value, {1: 2, "1": 3}]}),
        "get_flow": FlowBuilder.get_flow,
        "publish": lambda value: FlowBuilder.publish(str(value)),
        "add_step": lambda value: FlowBuilder.add_step(FlowBuilder.create_flow("stored"), value),
        "add_steps": lambda value: FlowBuilder.create_flow("stored", steps=[{"name": value}]),
        "add_steps depends_on": lambda value: FlowBuilder.create_flow(
            "stored", steps=[{"name": "tell", "depends_on": [value]}]
        ),
        "add_step title": lambda value: FlowBuilder.publish(
            FlowBuilder.add_step(FlowBuilder.create_flow("stored"), "tell", title=value if value is not None else 7)
        ),
        "add_step when": lambda value: FlowBuilder.publish(
            FlowBuilder.add_step(FlowBuilder.create_flow("stored"), "tell", when=value if value is not None else 7)
        ),
    }


def run_handle(run):
    return django_workflow.RunHandle(run.pk)


#: What may be said in any way: remarks are stored safely.
REMARKS = ("reason", "by", "title")


def is_fine(name, value):
    """Say whether a text may be taken as it is, or made storable."""
    return name.split()[-1] in REMARKS or value is None or value == ODD["many lines"] or name == "unlisten"


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_odd_text_is_stored_safely_or_refused_before_anything_is_written(value, flow, failed):
    handler("tell")(lambda: None)
    told = {}
    for name, call in verbs(flow, failed).items():
        with transaction.atomic():
            before = Run.objects.count()
            try:
                call(value)
            except WorkflowError as refusal:
                told[name] = len(str(refusal))
                assert Run.objects.count() == before, name
            else:
                assert is_fine(name, value), name
            for run in Run.objects.all():
                assert len(run.title) <= 200
                assert len(run.started_by) <= 150
            list(Event.objects.values_list("data"))
            transaction.set_rollback(True)
    assert {name: count for name, count in told.items() if count > 2_000} == {}, "an error shows a part of what is long"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_members_of_enumerations_and_safe_strings_are_their_text_everywhere(kind, db, unique):
    slug = unique("flow")
    words = Enum("words", {"SLUG": slug, "STEP": "first", "LAST": "last", "QUEUE": "default"}, type=str)
    flow = Flow(kind(words.SLUG), queue=kind(words.QUEUE))
    flow.step(name=kind(words.STEP))(lambda input: input)
    flow.step(name=kind(words.LAST), depends_on=[kind(words.STEP)])(lambda first: {kind(Word.SAID): kind(Word.SAID)})
    assert {type(name) for name in (flow.slug, *flow.spec.steps, flow.spec.steps["last"].queue)} == {str}
    said = kind(Word.SAID)
    handle = flow.start(said, idempotency_key=said, title=said, by=said, labels={said: said})
    many = flow.start_many([said, 2], idempotency_keys=[said, "other"])
    assert many[0] == handle
    testing.run_until_idle()
    assert handle.result().output == {"last": {SAFE: SAFE}}
    run = handle.run
    assert (run.input, run.idempotency_key, run.title, run.started_by, run.labels) == (*[SAFE] * 4, {SAFE: SAFE})
    assert list_runs(flow=kind(words.SLUG), status=kind(Enum("S", {"A": "succeeded"}, type=str).A), labels={said: said})
    other = flow.start(1)
    other.pause(said, said).resume(said, said)
    other.skip_step(kind(words.STEP), said, said)
    other.complete_step(kind(words.LAST), said, said, said)
    assert other.result().output == {"last": SAFE}
    assert {
        (e.data["by"], e.data.get("why", e.data.get("reason")))
        for e in Event.objects.filter(run=other.id, data__by=SAFE)
    } == {(SAFE, SAFE)}
    third = flow.start(1).cancel(said, said)
    assert third.run.error == {"step": "", "class": "cancelled", "message": SAFE, "by": SAFE}
    django_workflow.pause_flow(kind(words.SLUG), reason=said, by=said)
    django_workflow.resume_flow(kind(words.SLUG), reason=said, by=said)
    django_workflow.pause_queue(kind(Word.DEFAULT), reason=said, by=said)
    django_workflow.resume_queue(kind(Word.DEFAULT), reason=said, by=said)
    number = django_workflow.send_with_notify(kind(Word.NAME), {said: said})
    assert Message.objects.get(pk=number).channel == "name"
    assert [item.message for item in django_workflow.recent_messages(kind(Word.NAME))] == [{SAFE: SAFE}]


SPOKEN = [*ODD.values(), Word.SAID, SafeString(SAFE), lazystr(SAFE)]


@pytest.mark.parametrize("value", SPOKEN, ids=[*ODD, "a member", "safe", "lazy"])
def test_a_handlers_work_is_not_lost_for_its_words(value, flow, db):
    @flow.step
    def tell(input, ctx):
        if isinstance(value, str):
            ctx.emit(value, {"said": "ok"})
        return Skip(value)

    @flow.step(retry=Retry(max_attempts=1))
    def end(input):
        return Fail(value)

    @flow.step(retry=Retry(max_attempts=1))
    def again(input):
        return RetryAfter(timedelta(seconds=1), value)

    handle = flow.start()
    testing.run_until_idle()
    skipped = StepRun.objects.get(run=handle.id, step="tell")
    expected = value.value if isinstance(value, Word) else text.storable(str(value))[:200]
    assert (skipped.status, skipped.reason, skipped.message) == ("skipped", "handler", expected)
    assert Attempt.objects.filter(run=handle.id, error_class__in=("Fail", "RetryAfter"))
    if isinstance(value, str):
        assert Event.objects.get(run=handle.id, data__said="ok").type == expected[:40]


def test_a_cursor_or_a_number_beyond_what_the_database_holds_is_refused(flow, failed, db):
    huge = 10**30
    handle = run_handle(failed)
    for call in (
        lambda: list_runs(limit=huge),
        lambda: list_runs(offset=huge),
        lambda: list_runs(limit=-1),
        lambda: django_workflow.dead_letters(limit=-1),
        lambda: django_workflow.dead_letters(offset=-1),
        lambda: django_workflow.dead_letters(limit=huge),
        lambda: django_workflow.recent_messages("news", -1),
        lambda: django_workflow.recent_messages("news", huge),
        lambda: django_workflow.follow(after=(huge, 1)),
        lambda: django_workflow.follow(after=(1e400, 1)),
        lambda: django_workflow.listen("news", after=(1, -1)),
        lambda: django_workflow.retry_dead_letters([huge]),
        lambda: django_workflow.dismiss_dead_letters([-huge], "because"),
        lambda: handle.skip_step("only", step_run_id=huge),
        lambda: handle.retry(version=1.5),
        lambda: handle.retry(version=True),
    ):
        with pytest.raises(InvalidArgument):
            call()
    with pytest.raises(WorkflowError):
        handle.retry(version=huge)
    assert not Dismissal.objects.exists()
    with pytest.raises(WorkflowError):
        flow.start({1: "a", "1": "b"})
    with pytest.raises(InvalidArgument, match="run_id= takes a UUID"):
        flow.start(run_id="nonsense")
    known = uuid.uuid4()
    assert flow.start(run_id=str(known)).id == known
