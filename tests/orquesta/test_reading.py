"""Documents as text: whatever is wrong with one is told with its line."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_workflow import DefinitionError
from django_workflow.contrib.orquesta.compiling import compile_text
from tests.conformance.cases import cases

TEXTS = [case.text for case in cases("orquesta")]
BITS = [
    "<%",
    "%>",
    "{{",
    "}}",
    ": ",
    "- ",
    "\n",
    "  ",
    "*a",
    "&a ",
    "!!x ",
    "null",
    "[",
    "}",
    '"',
    "\t",
    "\0",
    "9" * 400,
]


def compiled(text):
    return compile_text(text, "flow", lambda action: action.startswith("core."))


@pytest.mark.parametrize("text", ["", "text", "- a", "5", "tasks: {}", "tasks:\n", "a: [", "tasks: !!python/none x"])
def test_what_is_no_document_is_told(text):
    with pytest.raises(DefinitionError) as caught:
        compiled(text)
    assert all(problem.startswith("line 1: ") for problem in caught.value.problems)


def test_places_of_problems_are_data_too():
    with pytest.raises(DefinitionError) as caught:
        compiled("tasks:\n  a:\n    next:\n      - when: 5\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.place) == (4, "task 'a': next, transition 1")
    assert problem.message == "when must be text, not a number"


@pytest.mark.parametrize("key", ["delay: 31536001", "retry: {count: 1, delay: 31536001}"])
def test_a_delay_is_a_year_at_most(key):
    with pytest.raises(DefinitionError) as caught:
        compiled(f"tasks:\n  a:\n    {key}\n")
    (problem,) = caught.value.problems
    assert problem.message == "delay must be at most 31536000, which is a year, not 31536001"


@pytest.mark.parametrize(
    "written",
    ["delay: X", "retry: {count: X}", "retry: {count: 1, delay: X}", "with: {items: <% 1 %>, concurrency: X}"],
)
@pytest.mark.parametrize("text", ["a<% 1 %>", "<% 1 %><% 2 %>", "{% if true %}2{% endif %}", "two"])
def test_a_number_is_written_as_one_expression(written, text):
    with pytest.raises(DefinitionError, match="must be a whole number from 0 or one expression, not"):
        compiled(f"tasks:\n  a:\n    action: core.echo\n    {written.replace('X', repr(text))}\n")


def test_a_task_without_anything_does_nothing():
    spec = compiled("tasks:\n  a: {}\n")
    assert spec.steps["a"].handler == "flow.core.noop"


def test_anchors_are_read():
    spec = compiled("""
tasks:
  a:
    action: &echo core.echo message=1
  b:
    action: *echo
""")
    assert spec.steps["a"].arguments == spec.steps["b"].arguments == {"inputs": {"message": 1}}


def test_the_same_document_is_the_same_version():
    text = "tasks:\n  a:\n    action: core.echo message=<% 1 %>\n"
    assert compiled(text).fingerprint == compiled(f"# a comment\n{text}").fingerprint


def test_ways_that_part_and_meet_again_do_not_multiply():
    ways = "[{{do: t{1}, publish: [{{a{0}: 1}}]}}, {{do: t{1}, publish: [{{b{0}: 1}}]}}]"
    tasks = "".join(f"  t{n}: {{next: {ways.format(n, n + 1)}}}\n" for n in range(40))
    begin = time.thread_time()
    with pytest.raises(DefinitionError) as caught:
        compiled(f"tasks:\n{tasks}  t40: {{action: core.echo a=<% ctx(a0) %>}}\n")
    assert time.thread_time() - begin < 5
    (problem,) = caught.value.problems
    assert problem.message == "variable 'a0' is read here, but no way that leads here has set it"


def test_at_a_join_counts_what_any_way_to_it_has_set():
    assert compiled("""
tasks:
  begin:
    next:
      - publish: a=1
        do: middle
      - publish: b=1
        do: middle
  middle:
    next:
      - do: together
  together:
    join: all
    action: core.echo a=<% ctx(a) %> b=<% ctx(b) %>
""")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_mutation_of_a_document_is_compiled_or_refused_with_lines(data):
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 20)))
        text = text[:begin] + data.draw(st.sampled_from(["", *BITS])) + text[end:]
    try:
        compiled(text)
    except DefinitionError as error:
        problems = error.problems
    else:
        problems = []
    assert all(problem.startswith("line ") for problem in problems)


MISSING = """
import sys
sys.modules["yaql"] = None
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "pgtrigger", "django_workflow"]
)
import django
django.setup()
from django_workflow import Flow, NotSupported
try:
    Flow.from_orquesta("tasks: {}", actions={}, slug="flow")
except NotSupported as error:
    print(error)
"""


def test_missing_extra_is_named():
    told = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)
    assert "Orquesta documents need yaql: install django_workflow with its extra 'orquesta'." in told.stdout, (
        told.stderr
    )
