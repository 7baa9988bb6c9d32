"""Every argument of the public face that is none is refused before anything is stored, by an error that says so."""

from __future__ import annotations

import inspect
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import django_workflow as dw
from django_workflow import (
    DefinitionError,
    FlowBuilder,
    InvalidArgument,
    NotSupported,
    Otherwise,
    Retry,
    RetryAfter,
    RunHandle,
    To,
    When,
    WorkflowError,
    handler,
    testing,
)
from django_workflow.conf import conf
from django_workflow.engine.removal import retention
from django_workflow.models import Event, FlowDefinition, FlowVersion, Message, Queue, Run, Task

HOUR = timedelta(hours=1)
REFUSED = WorkflowError


@pytest.fixture
def world(flow, unique, db):
    """A flow of each kind, a run, and one that has ended."""
    flow.step(name="one")(lambda input: input)
    handler("one")(lambda input: input)
    stored = FlowBuilder.create_flow(unique("stored"))
    FlowBuilder.add_step(stored, "one")
    FlowBuilder.publish(stored)
    return {"flow": flow, "stored": stored, "run": flow.start(1), "ended": flow.execute(1).run_id, "new": unique("new")}


def rows():
    return [model.objects.count() for model in (Event, FlowDefinition, FlowVersion, Message, Queue, Run, Task)]


#: Functions with arguments that are right, which are replaced one by one; the world's things by their names.
CALLS = {
    "start": lambda w: (w["flow"].start, {}),
    "start stored": lambda w: (w["stored"].start, {}),
    "start_many": lambda w: (w["flow"].start_many, {"inputs": [1]}),
    "execute": lambda w: (w["flow"].execute, {}),
    "execute_dynamic": lambda w: (dw.execute_dynamic, {"flow": w["stored"]}),
    "create_flow": lambda w: (FlowBuilder.create_flow, {"slug": w["new"]}),
    "add_step": lambda w: (FlowBuilder.add_step, {"flow": w["stored"], "name": "two"}),
    "add_steps": lambda w: (FlowBuilder.add_steps, {"flow": w["stored"], "steps": [{"name": "two"}]}),
    "add_map_step": lambda w: (FlowBuilder.add_map_step, {"flow": w["stored"], "name": "two", "count": 2}),
    "get_flow": lambda w: (FlowBuilder.get_flow, {"slug": w["stored"].slug}),
    "delete_flow": lambda w: (FlowBuilder.delete_flow, {"flow": w["stored"]}),
    "publish": lambda w: (FlowBuilder.publish, {"flow": w["stored"]}),
    "import_flow": lambda w: (FlowBuilder.import_flow, {"text": f"slug: {w['new']}\nsteps:\n  one: {{}}\n"}),
    "wait": lambda w: (dw.wait, {"run": w["ended"]}),
    "cancel": lambda w: (dw.cancel, {"run": w["run"]}),
    "pause": lambda w: (dw.pause, {"run": w["run"]}),
    "resume": lambda w: (dw.resume, {"run": w["run"]}),
    "retry": lambda w: (dw.retry, {"run": w["ended"]}),
    "skip_step": lambda w: (dw.skip_step, {"run": w["run"], "step": "one"}),
    "complete_step": lambda w: (dw.complete_step, {"run": w["run"], "step": "one"}),
    "erase": lambda w: (dw.erase, {"run": w["ended"]}),
    "get_run_status": lambda w: (dw.get_run_status, {"run": w["run"]}),
    "list_runs": lambda w: (dw.list_runs, {}),
    "dead_letters": lambda w: (dw.dead_letters, {}),
    "retry_dead_letters": lambda w: (dw.retry_dead_letters, {"task_ids": []}),
    "dismiss_dead_letters": lambda w: (dw.dismiss_dead_letters, {"task_ids": [], "reason": "no"}),
    "pause_flow": lambda w: (dw.pause_flow, {"slug": w["flow"].slug}),
    "resume_flow": lambda w: (dw.resume_flow, {"slug": w["flow"].slug}),
    "pause_queue": lambda w: (dw.pause_queue, {"name": "default"}),
    "resume_queue": lambda w: (dw.resume_queue, {"name": "default"}),
    "send_with_notify": lambda w: (dw.send_with_notify, {"channel": "news", "message": 1}),
    "notify_only": lambda w: (dw.notify_only, {"channel": "news", "message": 1}),
    "recent_messages": lambda w: (dw.recent_messages, {"channel": "news"}),
    "listen": lambda w: (dw.listen, {"channel": "news"}),
    "unlisten": lambda w: (dw.unlisten, {"channel": "news"}),
    "follow": lambda w: (dw.follow, {}),
    "run_until_idle": lambda w: (testing.run_until_idle, {}),
    "advance": lambda w: (testing.advance, {"time": HOUR}),
    "assert_settled": lambda w: (testing.assert_settled, {"run": w["ended"]}),
    "statuses_of": lambda w: (testing.statuses_of, {"run": w["ended"]}),
}
#: Yes or no: whatever is true is a yes. A status that a test expects is compared, whatever it is.
ANY = {
    ("erase", "payloads_only"),
    ("execute_dynamic", "workers"),
    ("assert_settled", "status"),
    ("assert_settled", "steps"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_argument_of_another_type_is_refused_before_anything_is_stored(name, world):
    function, right = CALLS[name](world)
    before = rows()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or (name, parameter.name) in ANY:
            continue
        for wrong in (object(), 5.5, {"a": {1, 2}}, lambda: 1):
            if wrong == 5.5 and parameter.name in ("input", "value", "message", "timeout"):
                continue
            with pytest.raises(REFUSED) as caught:
                function(**(right | {parameter.name: wrong}))
            assert not isinstance(caught.value, UnicodeError), (parameter.name, wrong)
            assert rows() == before, (parameter.name, wrong)


def test_the_walk_leaves_no_public_function_out():
    verbs = {name for name in dw.__all__ if inspect.isfunction(getattr(dw, name)) and not name.startswith("a")}
    assert verbs - {"condition", "handler"} <= set(CALLS)


TIMES = {
    "delay of a start": lambda w: w["flow"].start(delay=30),
    "delay of many": lambda w: w["flow"].start_many([1], delay=30.0),
    "timeout of an execution": lambda w: w["flow"].execute(timeout=30),
    "timeout of a dynamic one": lambda w: dw.execute_dynamic(w["stored"], timeout=30),
    "negative delay": lambda w: w["flow"].start(delay=-HOUR),
    "negative timeout": lambda w: w["flow"].execute(timeout=-HOUR),
    "date": lambda w: w["flow"].start(at=date(2030, 1, 1)),
    "naive": lambda w: w["flow"].start(at=datetime(2030, 1, 1)),  # noqa: DTZ001
    "number as a time": lambda w: w["flow"].start(at=1_900_000_000),
    "text as a wait": lambda w: w["run"].wait("30"),
    "truth as a wait": lambda w: w["run"].wait(True),
    "no number as a wait": lambda w: w["run"].wait(float("nan")),
    "retry after": lambda w: RetryAfter(30),
    "negative retry after": lambda w: RetryAfter(-HOUR),
    "advance": lambda w: testing.advance(30),
    "text as inputs": lambda w: w["flow"].start_many("abc"),
    "object as inputs": lambda w: w["flow"].start_many({"a": 1}),
    "text as keys": lambda w: w["flow"].start_many([1, 2], idempotency_keys="ab"),
    "timeout of a run of workers": lambda w: dw.execute_dynamic(w["stored"], workers=True, timeout=HOUR),
    "functions as handlers": lambda w: w["flow"].execute(handlers={"one": lambda: 1}),
}


@pytest.mark.parametrize("call", TIMES.values(), ids=TIMES)
def test_what_would_be_swallowed_or_explode_late_is_refused(call, world):
    before = rows()
    with pytest.raises((InvalidArgument, NotSupported)):
        call(world)
    assert rows() == before


DECLARED = {
    "timeout of a step": ({}, {"timeout": 30}, "step 'one': timeout must be a timedelta, not 30"),
    "delay of a step": ({}, {"delay": 0.5}, "step 'one': delay must be a timedelta, not 0.5"),
    "base": ({}, {"retry": Retry(base=5)}, "step 'one': retry: base must be a timedelta, not 5"),
    "cap": ({}, {"retry": Retry(cap=5)}, "step 'one': retry: cap must be a timedelta, not 5"),
    "delay of a way": ({}, {"next": [To("two", delay=5)]}, "next, transition 1: delay must be a timedelta, not 5"),
    "another's": ({}, {"next": Otherwise("two", delay=5)}, "next, transition 1: delay must be a timedelta, not 5"),
    "timeout of the flow": ({"timeout": 30}, {}, "flow: timeout must be a timedelta, not 30"),
    "retry of the flow": ({"retry": Retry(base=5)}, {}, "flow: retry: base must be a timedelta, not 5"),
    "duration of the flow": ({"max_duration": 30}, {}, "flow: max_duration must be a timedelta, not 30"),
    "names as an object": ({}, {"next": {"two": 1}}, "next must be a list of When, To, Otherwise or steps"),
    "endless delay": ({"max_duration": HOUR}, {"delay": HOUR}, "delay is 3600 s, but a run lasts 3600 s at most"),
    "endless way": ({"max_duration": HOUR}, {"next": To("two", delay=2 * HOUR)}, "delay of 'two' is 7200 s"),
}


@pytest.mark.parametrize(("options", "step", "told"), DECLARED.values(), ids=DECLARED)
def test_times_in_a_definition_are_timedeltas(make_flow, unique, options, step, told, db):
    declared = make_flow(**options)
    declared.step(name="one", **step)(lambda: 1)
    if "next" in step:
        declared.step(name="two")(lambda: 2)
    with pytest.raises(DefinitionError) as caught:
        declared.start()
    assert [problem for problem in caught.value.problems if told in problem]
    assert not FlowVersion.objects.filter(flow__slug=declared.slug).exists()

    handler("one")(lambda: 1)
    handler("two")(lambda: 2)

    def build():
        stored = FlowBuilder.create_flow(unique("stored"), **options)
        FlowBuilder.add_step(stored, "one", **step)
        if "next" in step:
            FlowBuilder.add_step(stored, "two")
        FlowBuilder.publish(stored)

    with pytest.raises(DefinitionError, match=told.replace("step 'one': ", "")):
        build()


def test_what_can_be_gone_through_only_once_is_read_once(make_flow, unique, db):
    def ways():
        yield When("result > 0", to="two")
        yield Otherwise(to="three")

    flow = make_flow(entry=(name for name in ["one"]))
    flow.step(name="one", next=ways())(lambda input: input)
    flow.step(name="two")(lambda: 2)
    flow.step(name="three")(lambda: 3)
    flow.step(name="four", depends_on=(name for name in ["two"]))(lambda: 4)
    assert flow.execute(1).output == {"four": 4}
    assert flow.execute(0).output == {"three": 3}
    for name in ("one", "two", "three"):
        handler(name)(lambda: 1)
    stored = FlowBuilder.create_flow(unique("stored"), entry=(name for name in ["one"]))
    FlowBuilder.add_step(stored, "one", next=ways())
    FlowBuilder.add_step(stored, "two")
    FlowBuilder.add_step(stored, "three", depends_on=(name for name in ["two"]))
    assert len(FlowBuilder.get_flow(stored.slug).steps[0]["next"]) == 2
    keys = (f"key {number}" for number in range(2))
    runs = flow.start_many((number for number in range(2)), idempotency_keys=keys)
    assert [run.run.input for run in runs] == [0, 1]
    FlowBuilder.publish(stored)


def test_a_time_that_is_long_over_leaves_the_run_its_whole_duration(make_flow, db):
    flow = make_flow(max_duration=HOUR)
    flow.step(name="one")(lambda: 1)
    run = flow.start(at=datetime(2001, 1, 1, tzinfo=UTC))
    testing.run_until_idle()
    assert run.wait(0).is_success
    assert run.run.deadline_at - run.run.created_at > HOUR * 0.99


def test_a_wait_may_be_as_long_as_one_likes(flow, db):
    flow.step(name="one")(lambda: 1)
    for forever in (None, float("inf"), 10**400, timedelta.max):
        assert RunHandle(flow.execute().run_id).wait(forever).is_success
    assert flow.execute(timeout=timedelta.max).is_success


@pytest.mark.parametrize(("name", "value"), [("LEASE", 30), ("TIMEOUT", 30), ("CONCURRENCY", "16"), ("LEASE", None)])
def test_a_setting_of_another_type_is_told_where_it_is_read(name, value):
    with override_settings(DJANGO_WORKFLOW={name: value}), pytest.raises(ImproperlyConfigured, match=name):
        getattr(conf, name)


def test_a_run_that_is_none_is_refused(db):
    for run in (5, None, uuid.uuid4().hex[:5], [uuid.uuid4()]):
        with pytest.raises(InvalidArgument):
            dw.wait(run)


@pytest.mark.parametrize("option", ["arguments", "over", "resources"])
def test_an_option_of_a_stored_step_that_is_no_json_is_refused_before_the_draft_is_written(option, world):
    wrong = {"arguments": {"input": HOUR}, "over": HOUR, "resources": {"GPU": HOUR}}[option]
    add = FlowBuilder.add_map_step if option == "over" else FlowBuilder.add_step
    with pytest.raises(DefinitionError, match=f"step 'two': {option}="):
        add(world["stored"], "two", **{option: wrong})
    assert [step["name"] for step in FlowBuilder.get_flow(world["stored"].slug).steps] == ["one"]


def test_a_retry_policy_that_is_told_as_a_mapping_has_times_in_seconds(flow, world):
    flow.step(name="two", retry={"base": HOUR})(lambda: 1)
    FlowBuilder.add_step(world["stored"], "two", handler="one", retry={"base": HOUR})
    assert flow.spec.steps["two"].retry == {"base": 3600.0}
    assert FlowBuilder.get_flow(world["stored"].slug).steps[-1]["retry"] == {"base": 3600.0}


@pytest.mark.parametrize("wrong", [{"older_than": 90}, {"older_than": -HOUR}, {"older_than": HOUR, "limit": 0}])
def test_what_prunes_takes_a_time_and_a_limit(wrong, db):
    for prune in (retention.prune, retention.prune_messages):
        with pytest.raises(InvalidArgument):
            prune(**wrong)
