"""Corners of Orquesta documents, each as Orquesta itself behaves: its conductor was asked."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_workflow import Flow, cancel
from django_workflow.contrib.orquesta import ActionFailed


def echo(**inputs):
    return inputs


def fail(message="no luck"):
    raise RuntimeError(message)


ACTIONS = {"echo": echo, "fail": fail}


class TestStatusesInInputs:
    def test_a_task_sees_how_the_others_ended_and_how_it_ended_itself_before(self, unique, run):
        text = """
        vars: [{passes: 0}, {seen: []}]
        tasks:
          a:
            action: fail
            next: [{when: <% failed() %>, do: b}]
          b:
            action: echo
            input:
              others: [<% task_status(a) %>, "{{ task_status('never') }}"]
              own: <% task_status(b) %>
            next:
              - when: <% ctx(passes) < 1 %>
                publish: [{passes: <% ctx(passes) + 1 %>}, {seen: <% ctx(seen) + list(result()) %>}]
                do: b
              - when: <% ctx(passes) = 1 and succeeded() %>
                publish: [{seen: <% ctx(seen) + list(result()) %>}]
                do: noop
              - when: <% failed() %>
                do: never
          never: {action: echo}
        output: [{seen: <% ctx(seen) %>}]
        """
        result = run(Flow.from_orquesta(text, actions=ACTIONS, slug=unique()))
        assert result.status == "succeeded", result.errors
        first, second = result.output["seen"]
        assert (first, second) == (
            {"others": ["failed", "null"], "own": "null"},
            {"others": ["failed", "null"], "own": "succeeded"},
        )

    def test_items_their_actions_and_retries_see_them_too(self, unique, run):
        text = """
        vars: [{seen: null}]
        tasks:
          a:
            action: echo
            next: [{do: each}]
          each:
            with: x in <% list(task_status(a), 2) %>
            action: <% switch(task_status(a) = succeeded => echo) %>
            input: {item: <% item(x) %>, a: <% task_status(a) %>}
            retry:
              count: <% switch(task_status(a) = succeeded => 1) %>
              when: <% task_status(each) != succeeded %>
            next: [{publish: [{seen: <% result() %>}], do: noop}]
        output: [{seen: <% ctx(seen) %>}]
        """
        result = run(Flow.from_orquesta(text, actions=ACTIONS, slug=unique()))
        assert result.status == "succeeded", result.errors
        assert result.output == {"seen": [{"item": "succeeded", "a": "succeeded"}, {"item": 2, "a": "succeeded"}]}


@pytest.mark.parametrize("failed_with", [{"code": 2, "lines": [None, 0]}, [], 0, None, "a text"])
def test_results_of_items_tell_with_what_one_failed(unique, run, failed_with):
    def act(item):
        if item == 3:
            raise ActionFailed(failed_with)
        return item

    text = """
    vars: [{seen: null}]
    tasks:
      each:
        with: <% list(1, 2, 3) %>
        action: act item=<% item() %>
        next:
          - when: <% failed() %>
            publish: [{seen: <% result() %>}]
            do: noop
    output: [{seen: <% ctx(seen) %>}]
    """
    result = run(Flow.from_orquesta(text, actions={"act": act}, slug=unique()))
    assert (result.status, result.output) == ("succeeded", {"seen": [1, 2, failed_with]})


def test_result_of_an_item_that_raised_is_its_message(unique, run):
    text = """
    vars: [{seen: null}]
    tasks:
      each:
        with: [only]
        action: fail message=<% "bad " + item() %>
        next: [{when: <% failed() %>, publish: [{seen: <% result() %>}], do: noop}]
    output: [{seen: <% ctx(seen) %>}]
    """.replace("with: [only]", "with: <% list(only) %>")
    result = run(Flow.from_orquesta(text, actions=ACTIONS, slug=unique()))
    assert result.output == {"seen": ["bad only"]}


WRONG = {
    "input": "action: echo\n        input: {x: <% ctx(q).x.y %>}",
    "input in Jinja": "action: echo\n        input: {x: \"{{ ctx('q').x.y }}\"}",
    "action": "action: <% ctx(q).x.y %>",
    "items": "with: <% ctx(q).x.y %>\n        action: echo",
    "input of an item": "with: <% list(1) %>\n        action: echo\n        input: {x: <% ctx(q).x.y %>}",
    "condition of a retry": "action: echo\n        retry: {count: 1, when: '<% ctx(q).x.y %>'}",
    "condition of a retry after a failure": "action: fail\n        retry: {count: 1, when: '<% ctx(q).x.y %>'}",
    "count of a retry": "action: fail\n        retry: {count: '<% ctx(q).x.y %>'}",
    "delay": "action: echo\n        delay: <% ctx(q).x.y %>",
}


@pytest.mark.parametrize("place", WRONG)
def test_an_expression_that_fails_is_no_failure_of_the_task(unique, run, place):
    cleaned = []
    text = f"""
    vars: [{{q: 1}}]
    tasks:
      a:
        {WRONG[place]}
        next: [{{when: <% failed() %>, do: cleanup}}, {{when: <% succeeded() %>, do: cleanup}}]
      cleanup: {{action: clean}}
    """
    actions = ACTIONS | {"clean": lambda: cleaned.append(1)}
    result = run(Flow.from_orquesta(text, actions=actions, slug=unique()))
    assert (result.status, cleaned) == ("failed", [])
    assert result.error["class"].endswith("ExpressionError")
    assert "'a'" in result.error["message"]


CUT = """
    vars: [{x: 0}, {y: 0}]
    tasks:
      a:
        action: echo
        next: [{publish: [{x: 1}], do: [b, c]}]
      b:
        action: echo
        next: [{publish: [{y: 2}], do: d}]
      c: {action: echo}
      d:
        action: stops
        next: [{publish: [{y: 3}], do: noop}]
    output:
      - x: <% ctx(x) %>
      - y: <% ctx(y) %>
      - d: <% task_status(d) %>
      - bad: <% ctx(x).y.z %>
"""


def test_a_cancelled_run_has_the_output_that_can_be_evaluated(unique, run):
    flow = Flow.from_orquesta(
        CUT, actions={"echo": echo, "stops": lambda ctx: cancel(ctx.run_id).status}, slug=unique()
    )
    result = run(flow)
    assert result.status == "cancelled"
    assert result.output == {"x": 1, "y": 2, "d": "running"}


def test_a_run_that_takes_too_long_has_it_too(unique, db):
    def stops():
        while True:
            time.sleep(0.001)  # a thread is stopped between two bytecodes

    flow = Flow.from_orquesta(CUT, actions={"echo": echo, "stops": stops}, slug=unique())
    result = flow.execute(timeout=timedelta(seconds=2))
    assert (result.status, result.output) == ("timed_out", {"x": 1, "y": 2, "d": "running"})


def test_a_cancelled_run_without_an_output_has_none(unique, run):
    text = "tasks: {d: {action: stops}}"
    result = run(Flow.from_orquesta(text, actions={"stops": lambda ctx: cancel(ctx.run_id).status}, slug=unique()))
    assert (result.status, result.output) == ("cancelled", None)
