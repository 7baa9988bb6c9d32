"""Flows from documents have the face of flows in code."""

from __future__ import annotations

import time

import pytest

from django_workflow import DefinitionError, Flow, testing
from django_workflow.contrib.orquesta import ActionFailed
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import FlowDefinition

TEXT = """
version: 1.0
description: Greets
input:
  - name: world
tasks:
  Greet:
    action: greet name=<% ctx(name) %>
    next:
      - when: <% succeeded() %>
        publish: said=<% result() %>
        do: shout, log
      - when: <% failed() %>
        do: fail
  shout:
    action: shout text=<% ctx(said) %>
    next:
      - publish: said=<% result() %>
  log: {}
output:
  - said: <% ctx(said) %>
"""


class Actions:
    """Answers to names, and nothing more."""

    def __init__(self, **functions):
        self.functions = functions

    def __contains__(self, name):
        return name in self.functions

    def __getitem__(self, name):
        return self.functions[name]


async def shout(text):
    return text.upper()


@pytest.fixture
def greeter(unique):
    return Flow.from_orquesta(
        TEXT, actions=Actions(greet=lambda name: f"hello {name}", shout=shout), slug=unique("greeter")
    )


def test_document_runs_here_and_in_the_queues(greeter, run):
    result = run(greeter, {"name": "Ann"})
    assert (result.status, result.output) == ("succeeded", {"said": "HELLO ANN"})
    assert result.counts == {"Greet": 1, "shout": 1, "log": 1}


def test_input_has_defaults_and_may_be_left_out(greeter, db):
    assert greeter.execute()["said"] == "HELLO WORLD"


def test_input_that_is_no_object_fails_the_run_with_its_reason(greeter, db):
    assert "The input must be an object" in greeter.execute([1]).error["message"]


def test_definition_is_data_and_comes_back_from_it(greeter):
    assert FlowSpec.from_dict(greeter.to_dict()) == greeter.spec
    assert greeter.spec.language == "orquesta"
    assert greeter.spec.title == "Greets"


def test_definition_is_a_picture(greeter):
    assert 'Greet -->|"always: <% succeeded() %>"| shout' in greeter.to_mermaid()


def test_flow_is_known_to_the_process_with_what_it_calls(greeter):
    assert registry.flow(greeter.slug) is greeter
    assert registry.has_callable("language:orquesta")
    assert registry.handler(f"{greeter.slug}.greet") is not None
    assert registry.handler(f"{greeter.slug}.shout").is_async
    assert registry.handler(f"{greeter.slug}.core.noop") is not None


def test_action_gets_its_context_only_where_it_names_it(unique, db):
    seen = {}

    def with_context(ctx, a):
        seen.update(step=ctx.step, index=ctx.index, attempt=ctx.attempt, a=a)

    def with_anything(**given):
        return given

    text = """
    tasks:
      One:
        action: with_context a=1
        next:
          - do: two
      two:
        action: with_anything b=2
        next:
          - publish: given=<% result() %>
    output:
      - given: <% ctx(given) %>
    """
    actions = {"with_context": with_context, "with_anything": with_anything}
    result = Flow.from_orquesta(text, actions=actions, slug=unique()).execute()
    assert result.output == {"given": {"b": 2}}
    assert seen == {"step": "One", "index": 0, "attempt": 1, "a": 1}


def test_action_fails_with_a_result(unique, db):
    def call():
        raise ActionFailed({"stderr": "disk full"})

    text = """
    tasks:
      call:
        action: call
        next:
          - when: <% failed() %>
            publish: why=<% result().stderr %>
            do: noop
    output:
      - why: <% ctx(why) %>
    """
    result = Flow.from_orquesta(text, actions={"call": call}, slug=unique()).execute()
    assert (result.status, result.output) == ("succeeded", {"why": "disk full"})


def test_coroutine_behind_an_action_that_is_an_expression(unique, db):
    text = """
    tasks:
      call:
        action: <% "sh" + "out" %>
        input:
          text: quiet
        next:
          - publish: said=<% result() %>
    output:
      - said: <% ctx(said) %>
    """
    assert Flow.from_orquesta(text, actions={"shout": shout}, slug=unique()).execute().output == {"said": "QUIET"}


def test_slug_and_document_are_refused_together(unique):
    with pytest.raises(DefinitionError) as caught:
        Flow.from_orquesta("tasks:\n  a:\n    action: none", actions={}, slug="Not A Slug")
    slug, action = caught.value.problems
    assert slug.startswith("line 1: flow: a slug is 1 to 128 lower-case letters")
    assert action == "line 3: task 'a': action: there is no action 'none' in actions"


@pytest.mark.parametrize("text", [None, b"tasks: {}", 5])
def test_what_is_no_text_is_no_document(text, unique):
    with pytest.raises(DefinitionError, match=f"text must be the document as text, not {type(text).__name__}"):
        Flow.from_orquesta(text, actions={}, slug=unique())


@pytest.mark.parametrize("actions", [None, 5, [print], "core.http"])
def test_actions_are_functions_by_name(actions, unique):
    with pytest.raises(DefinitionError, match=r"actions must be functions by name, such as \{'core.http': http\}"):
        Flow.from_orquesta("tasks:\n  a: {}", actions=actions, slug=unique())


def test_what_is_no_function_is_no_action(unique):
    with pytest.raises(DefinitionError, match="action 'a': 5 is no function"):
        Flow.from_orquesta("tasks:\n  t:\n    action: a", actions={"a": 5}, slug=unique())


def test_operators_set_options_of_tasks(greeter):
    spec = greeter.compile({"Greet": {"queue": "slow", "retry": {"max_attempts": 4}}})
    assert (spec.steps["Greet"].queue, spec.steps["Greet"].retry["max_attempts"]) == ("slow", 4)
    with pytest.raises(DefinitionError) as caught:
        greeter.compile({"Greet": {"handler": "other"}})
    assert "'handler' is none of queue" in caught.value.problems[0]


def test_delays_are_kept_as_rows(unique, db):
    text = "tasks:\n  late:\n    delay: <% 60 * 60 %>\n    action: core.noop\n"
    handle = Flow.from_orquesta(text, actions={}, slug=unique()).start()
    testing.run_until_idle()
    assert handle.refresh().status == "running"


def unreachable():
    raise ConnectionError("no luck")


@pytest.mark.parametrize(
    ("retry", "reason"),
    [
        ("count: 1, delay: <% 'a' %>", "retry delay of step 'a': a number of seconds from 0 is needed, not 'a'"),
        ("count: 1, delay: <% -1 %>", "retry delay of step 'a': a number of seconds from 0 is needed, not -1"),
        ("count: 1, delay: <% 1 / 0 %>", "retry delay of step 'a': Expression '<% 1 / 0 %>' failed"),
        ("count: <% 1.5 %>", "retry count of step 'a': a whole number from 0 is needed, not 1.5"),
        ("count: <% null %>", "retry count of step 'a': a whole number from 0 is needed, not None"),
        ("count: <% 'a' %>", "retry count of step 'a': a whole number from 0 is needed, not 'a'"),
        ("count: 1, when: <% 1 / 0 %>", "retry condition of step 'a': Expression '<% 1 / 0 %>' failed"),
    ],
)
def test_retry_that_cannot_be_evaluated_fails_the_run_with_its_place(retry, reason, unique, run):
    text = f"tasks:\n  a:\n    action: call\n    retry: {{{retry}}}\n"
    result = run(Flow.from_orquesta(text, actions={"call": unreachable}, slug=unique()))
    assert result.status == "failed"
    assert reason in result.error["message"]


def test_retry_delay_that_is_null_is_none(unique, db):
    calls = []

    def call():
        calls.append(1)
        unreachable()

    text = "tasks:\n  a:\n    action: call\n    retry: {count: <% 1 %>, delay: <% null %>}\n"
    result = Flow.from_orquesta(text, actions={"call": call}, slug=unique()).execute()
    assert (result.status, len(calls)) == ("failed", 2)
    assert "no luck" in result.error["message"]


def test_output_of_a_run_that_failed_has_what_can_be_evaluated(unique, run):
    text = """
    vars:
      - q: 1
    tasks:
      a:
        action: call
    output:
      - q: <% ctx(q) %>
      - z: <% ctx(q).x %>
      - y: <% ctx(q) + 1 %>
    """
    result = run(Flow.from_orquesta(text, actions={"call": unreachable}, slug=unique()))
    assert (result.status, result.output) == ("failed", {"q": 1, "y": 2})
    assert "no luck" in result.error["message"]


def test_a_timeout_that_an_operator_sets_ends_a_task_whose_condition_decides_about_another_attempt(db, unique):
    def wait(ctx):
        for _ in range(3_000):  # a thread is stopped between two bytecodes
            time.sleep(0.01)

    text = "tasks: {a: {action: wait, retry: {count: '<% 5 %>', delay: '<% 0 %>', when: <% failed() %>}}}"
    flow = Flow.from_orquesta(text, actions={"wait": wait}, slug=unique("slow"))
    FlowDefinition.objects.create(slug=flow.slug, overrides={"a": {"timeout": 0.05}})
    result = flow.execute()
    assert (result.status, result.errors[0]["class"], result.counts) == ("failed", "TimedOut", {"a": 1})
