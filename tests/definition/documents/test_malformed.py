"""Whatever a document holds: it is a flow, or it is refused, with a line and a place for each problem."""

from __future__ import annotations

import json
import os
import time

import pytest

from django_workflow import DefinitionError
from django_workflow.definition import documents
from django_workflow.definition.problems import Problem
from tests.definition.documents.mutations import texts
from tests.definition.documents.round_trips import check_round_trips

COUNT = int(os.environ.get("DJANGO_WORKFLOW_FUZZ_DOCUMENTS", "3000"))
#: Seconds for one document; the largest that is read at all takes a tenth of it.
LONGEST = 5


def check(count, seed):
    """Read so many broken documents and return how many were refused; of those that are flows each tenth is written."""
    refused = 0
    for number, text in enumerate(texts(count, seed)):
        began = time.thread_time()
        document = documents.parse(text)
        try:
            spec = document.compile()
        except DefinitionError as error:
            refused += 1
            check_places(text, error.problems)
        else:
            if number % 10 == 0:
                check_round_trips(document.draft, spec)
        assert time.thread_time() - began < LONGEST, text
    return refused


def check_places(text, problems):
    """Each problem has a line of the text, the name of a part, and says something."""
    most = len((text if isinstance(text, str) else text.decode(errors="replace")).splitlines()) + 1
    assert problems, text
    for problem in problems:
        assert isinstance(problem, Problem), (text, problem)
        assert 1 <= problem.line <= most, (text, problem)
        assert problem.place, (text, problem)
        assert problem.message, (text, problem)


def test_broken_documents_are_refused_with_places():
    assert check(500, seed=1) > 300


@pytest.mark.slow
def test_thousands_of_broken_documents_are_refused_with_places():
    assert check(COUNT, seed=2) > 0.6 * COUNT


def test_large_documents_take_a_short_time():
    step = {"handler": "text.clean", "arguments": {"text": "input"}}
    steps = {f"step_{number}": step | {"next": [f"step_{number + 1}"]} for number in range(1, 1500)}
    text = json.dumps({"slug": "large", "steps": {**steps, "step_1500": step}})
    began = time.thread_time()
    assert len(documents.parse(text).compile().steps) == 1500
    assert time.thread_time() - began < LONGEST


@pytest.mark.slow
@pytest.mark.parametrize("step", ["  s{}: {{handler: text.clean, timeuot: 1}}\n", "  's {}': 3\n"])
def test_large_documents_with_very_many_mistakes_take_a_short_time(step):
    text = "slug: large\nsteps:\n" + "".join(step.format(number) for number in range(4000))
    began = time.thread_time()
    with pytest.raises(DefinitionError) as refused:
        documents.parse(text).compile()
    assert time.thread_time() - began < LONGEST
    check_places(text, refused.value.problems)
