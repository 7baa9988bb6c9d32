"""What a handler receives, what it may give back, and what a run's output is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import uuid

import pytest

from django_workflow import DefinitionError, PayloadError, Retry, Skip, When, testing
from django_workflow.definition.registry import registry
from django_workflow.models import Attempt, Run, Task

FALSY = [None, 0, "", [], {}, False, 0.0]


@dataclasses.dataclass
class Parcel:
    weight: decimal.Decimal
    at: dt.datetime
    id: uuid.UUID


def test_values_arrive_by_parameter_name(flow, run):
    seen = {}

    @flow.step
    def first(input):
        return {"from": input}

    @flow.step
    def second(ctx, first, input):
        seen.update(first=first, input=input, step=ctx.step)

    run(flow, 7)
    assert seen == {"first": {"from": 7}, "input": 7, "step": "second"}


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_falsy_values_arrive_as_they_are(flow, run, value):
    seen = []

    @flow.step
    def give(input="not given"):
        seen.append(input)
        return value

    @flow.step
    def take(give="not given"):
        seen.append(give)
        return give

    result = run(flow, value)
    assert seen == [value, value]
    assert [type(item) for item in seen] == [type(value)] * 2
    assert result["take"] == value


def test_each_handler_gets_a_copy_of_its_own(flow, run):
    @flow.step
    def source():
        return {"items": [1]}

    @flow.step
    def spoils(source, input):
        source["items"].append("spoilt")
        input.append("spoilt")

    @flow.step(depends_on=["spoils"])
    def reads(source, input):
        return [source, input]

    assert run(flow, [1])["reads"] == [{"items": [1]}, [1]]


def test_skipped_dependency_arrives_as_the_parameters_default_else_as_none(flow, run):
    @flow.step
    def skipped():
        return Skip("nothing to do")

    @flow.step
    def with_default(skipped="default"):
        return skipped

    @flow.step
    def without_default(skipped):
        return skipped

    assert run(flow).output == {"with_default": "default", "without_default": None}


def test_context_tells_skipped_from_none(flow, run):
    @flow.step
    def skipped():
        return Skip("nothing to do")

    @flow.step
    def gives_none():
        return None

    @flow.step(depends_on=["skipped", "gives_none"])
    def leaf(ctx):
        return [ctx.skipped("skipped"), ctx.skipped("gives_none"), ctx.output("skipped"), ctx.output("gives_none")]

    assert run(flow)["leaf"] == [True, False, None, None]


def test_context_reads_the_output_of_any_settled_step(flow, run):
    @flow.step
    def far():
        return "far"

    @flow.map(over="input", depends_on=["far"])
    def between(item):
        return item * 2

    @flow.step(depends_on=["between"])
    def leaf(ctx):
        return [ctx.output("far"), ctx.output("between"), ctx.output("leaf")]

    assert run(flow, [1, 2])["leaf"] == ["far", [2, 4], None]


def test_context_names_the_known_steps_when_asked_for_an_unknown_one(flow, run):
    @flow.step(retry=Retry(max_attempts=1))
    def only(ctx):
        return ctx.output("other")

    error = run(flow).error
    assert "has no step 'other'; its steps: only" in error["message"]


def test_only_the_attempts_own_dependencies_are_wired_though_claims_read_in_bulk(flow, db):
    @flow.step
    def first(input):
        return input

    @flow.step
    def second(first, input):
        return [first, input]

    handles = flow.start_many(range(20))
    testing.run_until_idle()
    assert [handle.result()["second"] for handle in handles] == [[n, n] for n in range(20)]


def test_run_output_is_that_of_succeeded_leaves(flow, run):
    @flow.step
    def root():
        return "no leaf"

    @flow.step(depends_on=["root"])
    def given():
        return "given"

    @flow.step(depends_on=["root"])
    def skipped():
        return Skip("not now")

    result = run(flow)
    assert result.status == "succeeded"
    assert result.output == {"given": "given"}


def test_output_is_stored_once_on_its_task(flow, db):
    @flow.map(over="input")
    def each(item):
        return f"out {item}"

    @flow.step
    def leaf(each):
        return each

    result = flow.execute(["a", "b"])
    assert list(Task.objects.of_run(result.run_id).values_list("item", "output")) == [
        ("a", "out a"),
        ("b", "out b"),
        (None, ["out a", "out b"]),
    ]
    stored = {
        field.name for field in Run._meta.get_fields() if getattr(field, "get_internal_type", str)() == "JSONField"
    }
    assert stored == {"labels", "input", "output", "error"}
    assert result.run.output is None, "only a declared output is stored on the run"


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (float("nan"), "its top", "nan is not a JSON number"),
        ({"a": [1, float("inf")]}, ".a[1]", "inf is not a JSON number"),
        ([-float("inf")], "[0]", "-inf is not a JSON number"),
        ({"a": {"b": "x\x00y"}}, ".a.b", "NUL"),
        (["fine", "\ud800"], "[1]", "surrogate"),
        ({"x": {1, 2}}, ".x", "set is not a JSON type"),
        ({"x": object()}, ".x", "object is not a JSON type"),
        ({(1, 2): "x"}, ".<key (1, 2)>", "tuple is no key in JSON"),
        ({"a\x00": 1}, ".<key 'a\\x00'>", "NUL"),
    ],
    ids=["nan", "infinity", "minus-infinity", "nul", "surrogate", "set", "object", "key", "nul-in-key"],
)
def test_output_that_is_not_json_fails_at_once_naming_step_and_path(flow, run, value, path, reason):
    @flow.step(retry=Retry(max_attempts=5))
    def bad():
        return value

    result = run(flow)
    assert result.status == "failed"
    assert result.error["step"] == "bad"
    assert result.error["class"].endswith("PayloadError")
    assert "The output of step 'bad'" in result.error["message"]
    assert path in result.error["message"]
    assert reason in result.error["message"]
    assert Attempt.objects.filter(run_id=result.run_id).count() == 1


def test_text_that_only_looks_like_a_nul_is_stored(flow, run):
    @flow.step
    def harmless():
        return {"text": "\\u0000", "emoji": "🎉", "high": "\U0010ffff", "quotes": "\"'{}\\"}

    assert run(flow)["harmless"] == {"text": "\\u0000", "emoji": "🎉", "high": "\U0010ffff", "quotes": "\"'{}\\"}


def test_output_over_the_limit_is_refused_with_both_sizes(flow, run, settings):
    settings.DJANGO_WORKFLOW = {"MAX_OUTPUT_BYTES": 100}

    @flow.step
    def fits():
        return "x" * 98

    @flow.step
    def large(fits):
        return "é" * 50

    result = run(flow)
    assert result.error["step"] == "large"
    assert "102 bytes of JSON; 100 are allowed" in result.error["message"]


def test_input_over_the_limit_is_refused_with_both_sizes_and_leaves_nothing(flow, db, settings):
    settings.DJANGO_WORKFLOW = {"MAX_INPUT_BYTES": 10}
    flow.step(name="only")(lambda: None)
    flow.start("x" * 8)
    with pytest.raises(PayloadError, match="11 bytes of JSON; 10 are allowed") as caught:
        flow.start("x" * 9)
    assert caught.value.size == 11
    assert Run.objects.count() == 1


def test_values_of_python_encode_as_django_encodes_them(flow, run):
    parcel = Parcel(
        decimal.Decimal("1.50"),
        dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC),
        uuid.UUID(int=5),
    )

    @flow.step
    def pack():
        return [parcel, dt.date(2024, 1, 2), dt.timedelta(hours=1)]

    assert run(flow)["pack"] == [
        {"weight": "1.50", "at": "2024-01-02T03:04:00Z", "id": "00000000-0000-0000-0000-000000000005"},
        "2024-01-02",
        "P0DT01H00M00S",
    ]


def test_context_tells_where_the_handler_is(flow, run):
    seen = []

    @flow.map(over="input", retry=Retry(max_attempts=2, base=dt.timedelta(milliseconds=1)))
    def each(ctx, item, index):
        seen.append((ctx.step, ctx.index, ctx.attempt, ctx.iteration, ctx.vars, ctx.cancelled, ctx.run_id))
        if item == "again" and ctx.attempt == 1:
            raise ValueError("once more")
        return index

    result = run(flow, ["a", "again"])
    assert seen[0] == ("each", 0, 1, 1, {}, False, result.run_id)
    assert [(index, attempt) for _, index, attempt, *_ in seen] == [(0, 1), (1, 1), (1, 2)]


def test_idempotency_key_is_stable_over_attempts_and_differs_between_tasks(flow, run):
    keys = []

    @flow.map(count=2, retry=Retry(max_attempts=3, base=dt.timedelta(milliseconds=1)))
    def each(ctx, index):
        keys.append((index, ctx.idempotency_key))
        if ctx.attempt < 3:
            raise ValueError("once more")

    run(flow)
    assert len(keys) == 6
    assert len(set(keys)) == 2


def test_context_logger_carries_stable_keys_and_no_payload(flow, run, caplog):
    @flow.step
    def tells(ctx, input):
        ctx.logger.warning("here")
        return ctx.attempt

    result = run(flow, {"secret": "word"})
    record = next(item for item in caplog.records if item.message == "here")
    assert record.run_id == str(result.run_id)
    assert (record.flow, record.step, record.attempt) == (flow.slug, "tells", 1)
    assert record.task == Task.objects.get(run_id=result.run_id).pk
    assert "word" not in str(vars(record))


def test_emitted_events_are_stored_with_the_outcome(flow, run):
    @flow.step
    def tells(ctx):
        ctx.emit("parcel.packed", {"weight": 2})

    result = run(flow)
    event = result.run.events.get(type="parcel.packed")
    assert (event.step, event.data) == ("tells", {"weight": 2})
    assert event.task_id is not None


def test_large_values_pass_between_steps(flow, run):
    @flow.step
    def gives(input):
        return input

    @flow.step
    def takes(gives, input):
        return gives == input == ["x" * 50_000] * 10

    assert run(flow, ["x" * 50_000] * 10)["takes"] is True


def test_parameter_added_by_a_deploy_arrives_as_its_default(flow, db):
    flow.step(name="only")(lambda: "old")
    handle = flow.start()

    def newer(input, added="default"):
        return added

    registry.add_handler(f"{flow.slug}.only", newer)
    testing.run_until_idle()
    assert handle.result()["only"] == "default"


def test_variables_that_grow_deeper_with_each_pass_fail_the_run_before_nobody_can_read_them(flow, db):
    again = When("iteration < 110", to="dig", publish={"box": "[vars.box]"})
    flow.step(name="dig", join=None, next=[again])(lambda: 1)
    flow.options = dataclasses.replace(flow.options, vars={"box": "0"}, entry=["dig"])
    result = flow.execute()
    assert (result.status, result.error["class"]) == ("failed", "ExpressionError")
    assert "'box' is nested deeper than 100 levels" in result.error["message"]


def test_a_flow_has_at_most_25_000_ways(flow):
    names = [f"step_{number}" for number in range(160)]
    for name in names:
        flow.step(name=name, join=None, next=names)(lambda: None)
    with pytest.raises(DefinitionError, match=r"25,600 ways lead from step to step; 25,000 are allowed"):
        flow.spec  # noqa: B018  reading it is the test
