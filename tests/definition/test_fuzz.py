"""No expression, however hostile, gets at anything but the data, changes it, or runs away.

`DJANGO_WORKFLOW_FUZZ` is how many are tried (default 10,000); `DJANGO_WORKFLOW_FUZZ_SEED` which ones, by default
others each time. A failure tells the seed and the expression.
"""

import json
import os
import random
import sys
import time
import warnings
from pathlib import Path

import pytest

from django_workflow.definition.expressions.native import MAX_WORK, evaluate
from django_workflow.definition.expressions.syntax import MAX_LENGTH, check
from django_workflow.exceptions import ExpressionError
from tests.definition.fuzz import NAMES, Author

COUNT = int(os.environ.get("DJANGO_WORKFLOW_FUZZ", "10000"))
SEED = int(os.environ.get("DJANGO_WORKFLOW_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
SECRET = "a value that only an attribute holds"
#: Far above the slowest one here (0.6 s): other processes may have the computer as well.
LONGEST = 20.0
#: What a value of so many elements and characters can have as JSON at most: each an escape of six characters.
LARGEST = MAX_WORK * 12 * 6


class Object(dict):
    """An object that would tell: its attributes hold a secret."""

    secret = a = total = SECRET


class Array(list):
    """A list that would tell."""

    secret = a = total = sku = SECRET


def sentinels():
    """Return data of all kinds, in which a key may be called like a method."""
    return {
        "input": Object(customer=Object(country="DE", vip=False), note=None, pop=1, clear="c", lines=Array(range(60))),
        "result": Array([Object(sku="a", qty=2), Object(sku="b", qty=3.5)]),
        "status": "succeeded",
        "error": None,
        "vars": Object(a=[1, [2, [3]]], country="ä😀", text="a" * 200),
        "outputs": Object(reserve=Object(total=12.5, items=Array([Object(sku="a", qty=2)])), missing=None),
        "iteration": 3,
        "item": Object(a="1"),
        "index": 0,
    }


#: What parsing, and looking at a syntax tree, ask for.
HARMLESS = ("compile", "builtins.id")


class Audit:
    """Notes what the interpreter is asked for outside of computing, such as opening, importing, executing."""

    def __init__(self):
        self.is_on = False
        self.events = []
        # hooks cannot be taken away again
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        if self.is_on and event not in HARMLESS:
            self.events.append((event, str(arguments)[:200]))


def problem_of(expression, data, untouched, audit):
    """Return what is wrong with what happens to one expression, or nothing."""
    audit.is_on = True
    before = time.thread_time()
    told = check(expression, NAMES)
    failure = value = None
    try:
        value = evaluate(expression, data)
    except ExpressionError as error:
        failure = error
    finally:
        taken = time.thread_time() - before
        audit.is_on = False
    if audit.events:
        return f"the interpreter was asked for {audit.events}"
    if taken > LONGEST:
        return f"it took {taken:.1f} s"
    if data != untouched:
        return "the data have changed"
    if failure is None:
        return problem_of_value(value)
    quoted = repr(expression if len(expression) <= MAX_LENGTH else f"{expression[:60]}…")
    is_named = failure.expression == expression and quoted in failure.message
    return "" if is_named and (told is None or quoted in told) else f"its error does not name it: {failure}, {told}"


def problem_of_value(value):
    if found := next((type(part) for part in parts(value) if type(part) not in JSON), None):
        return f"{found} came out"
    text = json.dumps(value, allow_nan=False)
    if SECRET in text or "\\u0000" in text or text == "\\ud83d":
        return f"{text[:200]} came out"
    if len(text) > LARGEST:
        return f"{len(text):,} characters came out"
    json.dumps(value, ensure_ascii=False).encode()  # raises on a lone surrogate
    return "" if json.loads(text) == value else "it is another value after a way through JSON"


JSON = (dict, list, str, int, float, bool, type(None))


def parts(value):
    pending = [value]
    while pending:
        item = pending.pop()
        yield item
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_is_written_nothing_escapes_changes_or_runs_away():
    author, audit = Author(SEED), Audit()
    data, untouched = sentinels(), sentinels()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser, about numbers and escapes
        for number in range(COUNT):
            expression = author.expression()
            problem = problem_of(expression, data, untouched, audit)
            assert not problem, f"seed {SEED}, number {number}: {expression!r}: {problem}"


def test_the_sentinels_would_tell():
    assert sentinels()["input"].secret == SECRET
    assert "came out" in problem_of_value([sentinels()["input"]])
    assert "came out" in problem_of_value({"a": SECRET})
    assert "came out" in problem_of_value([(1,)])
    audit = Audit()
    audit.is_on = True
    with Path(os.devnull).open():
        audit.is_on = False
    assert audit.events[0][0] == "open"
