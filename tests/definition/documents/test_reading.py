"""Reading documents: all problems at once, each with its line and place; YAML and JSON alike."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import pytest

from django_workflow import DefinitionError, NotSupported, condition, handler
from django_workflow.definition import documents
from django_workflow.definition.documents import nodes
from django_workflow.definition.problems import Problem
from django_workflow.definition.written.transitions import Otherwise, To, When


@pytest.fixture(autouse=True)
def _handlers():
    for name in ("one", "two", "three"):
        handler(name)(lambda **given: given)


def problems_in(text, format=None):
    with pytest.raises(DefinitionError) as caught:
        documents.parse(text, format).compile()
    return caught.value.problems


def told(text, format=None):
    """The lines, places and messages of all problems."""
    return [(problem.line, problem.place, problem.message) for problem in problems_in(text, format)]


def only(text, format=None):
    (problem,) = told(text, format)
    return problem


def flow(body):
    return f"slug: shop\nsteps:\n  one:\n    {body}\n  two: {{}}\n"


def test_everything_a_declaration_says_can_be_written():
    condition("is_big")(lambda result: True)
    draft = documents.read(
        """
        slug: shop
        title: A shop
        entry: one
        vars: {count: 0, name: "'x'"}
        output: {count: vars.count}
        input_schema: {type: object}
        max_duration: 1h30m
        max_tasks: 10
        max_iterations: 20
        retry: {max_attempts: 5, strategy: linear, base: 2s, cap: 1m, factor: 3, jitter: false, retry_on: ValueError}
        timeout: 30
        queue: slow
        executor: thread
        steps:
          one:
            title: First
            match: first
            next:
              - {when: result.big, to: [two, three], publish: {count: vars.count + 1}, merge: {m: result}}
              - {when: {callable: is_big}, to: two, delay: 1.5}
              - {to: fail, on: failed}
              - three
              - {otherwise: one, delay: input.pause}
          two: {handler: other, depends_on: [one], join: null, when: input.x == 1, on_unmet: fail, atomic: true}
          three:
            map: {over: one.items, max_parallel: 3, tolerate: 0.5}
            join: 1
            delay: 7d
            arguments: {x: item, y: {z: 1}}
            on_exhausted: skip
            resources: {GPU: 1, memory: 2.5}
        """
    ).draft
    one, two, three = draft.steps
    assert draft.slug == "shop"
    assert draft.options.max_duration == timedelta(hours=1.5)
    assert (draft.options.entry, draft.options.max_tasks, draft.options.max_iterations) == (["one"], 10, 20)
    assert list(draft.options.vars) == ["count", "name"]
    assert draft.defaults["timeout"] == 30
    assert draft.defaults["retry"] == {
        "max_attempts": 5,
        "strategy": "linear",
        "base": 2,
        "cap": 60,
        "factor": 3,
        "jitter": False,
        "retry_on": ["ValueError"],
    }
    ways = one.options["next"]
    assert ways[0] == When("result.big", ["two", "three"], "succeeded", {"count": "vars.count + 1"}, {"m": "result"})
    assert ways[1].when.callable == "is_big"
    assert ways[1].delay == timedelta(seconds=1.5)
    assert ways[2:] == [To("fail", on="failed"), To("three"), Otherwise("one", delay="input.pause")]
    assert (two.handler, two.depends_on, two.options["join"]) == ("other", ("one",), None)
    assert three.kind == "map"
    assert three.options["delay"] == timedelta(days=7)
    assert three.options["resources"] == {"GPU": 1, "memory": 2.5}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("5s", 5), ("2m", 120), ("2min", 120), ("1h30m", 5400), ("1h 30m", 5400), ("7d", 604800), ("1w", 604800),
        ("250ms", 0.25), ("1.5h", 5400), ("90", 90), ("0.25", 0.25),
    ],
)  # fmt: skip
def test_times_are_readable(text, time):
    document = documents.read(flow(f"timeout: {text}"))
    assert document.draft.steps[0].options["timeout"] == time


@pytest.mark.parametrize("text", ["5 parsecs", "soon", "-5s", "1h-", "s", "''", "[1]", "true"])
def test_what_is_no_time_is_told(text):
    line, place, message = only(flow(f"timeout: {text}"))
    assert (line, place) == (4, "step 'one'")
    assert message.startswith("timeout must be a time such as 5s, 2m, 1h30m or 7d, or a number of seconds, not")


@pytest.mark.parametrize(
    ("delay", "problem"),
    [
        ("5 sec", "delay must be a time such as"),
        ("999999999999d", "more than a time can be"),
        ("-5", "delay must be positive"),
        ("nonsense +", "is not valid"),
        ("item.x", "there is no 'item'"),
    ],
)
def test_delay_is_a_time_or_an_expression(delay, problem):
    line, place, message = only(flow(f"next:\n      - to: two\n        delay: {delay}"))
    assert (line, place) == (6, "step 'one': next, transition 1")
    assert problem in message


def test_all_problems_are_told_at_once_in_the_order_of_lines():
    text = """\
slug: Bad Slug
titel: x
steps:
  one:
    needs: [two]
    timeout: -1
    retry: {max_attempts: 0, foo: 1}
    next:
      - when: result.ready
      - {to: nowhere, on: sometimes}
      - 5
      - {to: two, publish: {x: "1 +"}}
      - {when: "a", otherwise: two}
  two: 3
  three: {handler: nobody}
"""
    assert [(line, place) for line, place, _ in told(text)] == [
        (1, "flow"),
        (2, "flow"),
        (5, "step 'one'"),
        (6, "step 'one'"),
        (7, "step 'one'"),
        (7, "step 'one'"),
        (9, "step 'one': next, transition 1"),
        (10, "step 'one': next, transition 2"),
        (10, "step 'one': next, transition 2"),
        (11, "step 'one': next, transition 3"),
        (12, "step 'one': next, transition 4"),
        (13, "step 'one': next, transition 5"),
        (14, "step 'two'"),
        (15, "step 'three'"),
    ]


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("timeuot: 5s", 4, "unknown key 'timeuot'; did you mean 'timeout'?"),
        ("needs: [two]", 4, "unknown key 'needs'; did you mean 'depends_on'?"),
        ("action: x", 4, "unknown key 'action'; did you mean 'handler'?"),
        ("do: x", 4, "unknown key 'do'; known here: title, handler"),
        ("next: [{to: two, if: x}]", 4, "unknown key 'if'; did you mean 'when'?"),
        ("retry: {max_attempt: 3}", 4, "unknown key 'max_attempt'; did you mean 'max_attempts'?"),
        ("map: {over: two, concurrency: 3}", 4, "unknown key 'concurrency'; did you mean 'max_parallel'?"),
        ("<<: {timeout: 5}", 4, "merge keys (<<) have no place here"),
    ],
)
def test_unknown_key_names_the_nearest_one(body, line, message):
    found = only(flow(body))
    assert found[0] == line
    assert found[2].startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("handler: nobody", "no handler 'nobody' is registered"),
        ("when: {callable: nobody}", "no condition 'nobody' is registered"),
        ("retry: {strategy: {callable: nobody}}", "no strategy 'nobody' is registered"),
        ("when: result", "is a bare word"),
        ("join: none", "join must be all, a number of predecessors, or null"),
        ("join: 0", "join must be all, a number of predecessors, or null"),
        ("join: 3", "join=3, but only 0 steps lead to it"),
        ("depends_on: [nowhere]", "it depends on 'nowhere', which is no step"),
        ("depends_on: [one]", "it depends on itself"),
        ("next: nowhere", "it leads to 'nowhere', which is no step"),
        ("map: {over: two, count: 3}", "a map has one source"),
        ("map: {}", "a map needs over= or count="),
        ("map: {over: 3}", "over must be a name as text, not 3"),
        ("match: last", "match must be all or first, not 'last'"),
        ("on_unmet: stop", "on_unmet must be skip, skip_cascade or fail, not 'stop'"),
        ("arguments: {x: lambda}", "is not valid"),
        ("arguments: [1]", "arguments must be values by name"),
        ("atomic: 1", "atomic must be true or false, not 1"),
        ("retry: 3", "retry must be options of a Retry by name"),
        ("retry: {base: soon}", "retry: base must be a time"),
        ("queue: Fast Lane", "queue 'Fast Lane': a queue's name is"),
        ("max_parallel: 3", "unknown key 'max_parallel'"),
    ],
)
def test_what_is_wrong_with_a_step_is_told_at_its_line(body, message):
    line, place, said = only(flow(body))
    assert (line, place) == (4, "step 'one'") or place.startswith("step 'one': next")
    assert line == 4
    assert message in said


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "it is empty"),
        ("# only a comment\n", 1, "it is empty"),
        ("slug", 1, "a document is an object with slug and steps, not 'slug'"),
        ("- 1\n- 2", 1, "a document is an object with slug and steps, not [1, 2]"),
        ("steps: {one: {}}", 1, "slug is missing"),
        ("slug: shop", 1, "it has no steps"),
        ("slug: shop\nsteps: {}", 2, "it has no steps"),
        ("slug: shop\nsteps: [one]", 2, "steps must be steps by name, not"),
        ("slug: shop\nslug: shop\nsteps: {one: {}}", 2, "key 'slug' stands here a second time; the first is in line 1"),
        ("slug: shop\nsteps:\n  one: {}\n  one: {}", 4, "key 'one' stands here a second time"),
        ("slug: shop\nmax_tasks: many\nsteps: {one: {}}", 2, "max_tasks must be a whole number, not 'many'"),
        ("slug: shop\nmax_tasks: 0\nsteps: {one: {}}", 2, "max_tasks must be between 1 and"),
        ("slug: shop\nentry: [nobody]\nsteps: {one: {}}", 2, "entry names 'nobody', which is no step"),
        ("slug: shop\nvars:\n  a: 1\n  b: 1 +\nsteps: {one: {}}", 4, "vars 'b': Expression '1 +' is not valid"),
        ("slug: shop\ninput_schema: {type: thing}\nsteps: {one: {}}", 2, "input_schema at .type"),
        ("slug: shop\nsteps:\n  one: {next: two}\n  two: {next: one}", 1, "no step to begin with"),
        ("slug: shop\nsteps:\n  one: {depends_on: two}\n  two: {depends_on: one}", 3, "a cycle of dependencies"),
        ("slug: shop\nsteps: {one: {}}\n---\nslug: second", 3, "a second document begins here"),
        ("slug: !!python/object:os.system x", 1, "tags have no place here"),
        ("slug: !slug x", 1, "tag '!slug': tags have no place here"),
        ("slug: *nobody", 1, "alias *nobody: no part that has ended is called so"),
        ("slug: shop\nsteps: &a\n  one: *a", 3, "alias *a: no part that has ended is called so"),
        ("slug: shop\nsteps: {one: {}", 2, "this is no YAML"),
        ("slug: a: b", 1, "this is no YAML"),
        ("slug: shop\nsteps:\n\tone: {}", 3, "this is no YAML"),
        ("slug: sh\x07op", 1, "control character U+0007"),
        ('slug: "a\\0b"\nsteps: {one: {}}', 1, "a character that cannot be stored"),
        ("slug: shop\nmax_tasks: 1e999\nsteps: {one: {}}", 2, "this number is too large"),
        ("slug: shop\nmax_tasks: " + "9" * 5000, 2, "this number has too many digits"),
        ("[" * 100, 1, "it is nested deeper than 64 levels"),
        ("a: " * 3 + "x" * nodes.MAX_LENGTH, 1, "more than the 524,288 a document may have"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_wrong_with_the_whole_is_told(text, line, message):
    found = told(text)
    assert found[0][0] == line
    assert message in found[0][2]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('{\n "slug": "shop",\n "steps": {"one": {}},\n}', 4, 1, "a key in double quotes is missing here"),
        ('{"slug": "shop", "steps": {"one" {}}}', 1, 34, "a colon is missing"),
        ('{"slug": "shop" "steps": 1}', 1, 17, "a comma or } is missing"),
        ('{"slug": ["shop" 1]}', 1, 18, "a comma or ] is missing"),
        ('{"slug": shop}', 1, 10, "'shop' is no JSON value"),
        ('{"slug": NaN}', 1, 10, "'NaN' is no JSON value"),
        ('{"slug": }', 1, 10, "a value is missing here"),
        ('{"slug": "shop', 1, 10, "unterminated string"),
        ('{"slug": "sh\nop"}', 1, 13, "invalid control character"),
        ('{"slug": 1e999}', 1, 15, "this number is too large"),
        ('{"slug": "shop"} x', 1, 18, "there is text behind the end"),
        ("[" * 5000, 1, 65, "nested deeper than 64 levels"),
        ('{"slug": "\\ud800", "steps": {"one": {}}}', 1, 10, "a character that cannot be stored"),
    ],
)
def test_broken_json_is_told_at_its_place(text, line, column, message):
    with pytest.raises(DefinitionError) as caught:
        documents.parse(text, "json").compile()
    first = caught.value.problems[0]
    assert (first.line, first.column) == (line, column)
    assert message in first.message


def test_problems_in_json_have_lines_as_well():
    data = {"slug": "shop", "steps": {"one": {"needs": 1}, "two": {"next": [{"to": "nowhere"}]}}}
    assert [(line, place) for line, place, _ in told(json.dumps(data, indent=1))] == [
        (5, "step 'one'"),
        (10, "step 'two': next, transition 1"),
    ]


def test_json_needs_no_yaml(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert documents.read('{"slug": "shop", "steps": {"one": {}}}').compile().slug == "shop"
    with pytest.raises(NotSupported, match="pip install PyYAML"):
        documents.read("slug: shop")


def test_words_that_old_yaml_takes_for_truth_values_are_text():
    spec = documents.read(
        "slug: shop\nsteps: {one: {title: yes, next: [{to: two, on: failed}]}, two: {title: 017}}"
    ).compile()
    assert spec.steps["one"].title == "yes"
    assert spec.steps["two"].title == "017"
    assert spec.transitions[0].on == ("failed",)


def test_parts_can_be_repeated_by_aliases_within_limits():
    text = "slug: shop\nsteps:\n  one: &same {retry: &r {max_attempts: 7}}\n  two: *same\n  three: {retry: *r}"
    assert [step.retry["max_attempts"] for step in documents.read(text).compile().steps.values()] == [7, 7, 7]
    bomb = "\n".join(["vars:", "  a0: &a0 [1, 2, 3]"] + [f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)])
    assert only(bomb)[2] == "it has more than 50,000 parts"


def test_bytes_are_utf8():
    assert documents.read("\ufeffslug: shop\ntitle: Über\nsteps: {one: {}}".encode()).draft.options.title == "Über"
    assert only(b"slug: shop\ntitle: \xff")[::2] == (2, "it is not UTF-8: byte 0xff; save it in this encoding")


def test_read_does_not_ask_for_handlers():
    assert documents.read("slug: shop\nsteps: {one: {handler: nobody}}").slug == "shop"


def test_problems_are_sentences_with_parts():
    with pytest.raises(DefinitionError, match="line 4: step 'one': unknown key 'x'") as caught:
        documents.read(flow("x: 1"))
    assert caught.value.problems[0].as_data() == {
        "code": "unknown_option",
        "path": ["steps", "one", "x"],
        "line": 4,
        "column": 8,
        "place": "step 'one'",
        "message": caught.value.problems[0].message,
    }


def test_what_only_follows_from_another_problem_is_not_told():
    text = flow("next: [{too: two}]\n    join: 2") + "  three: 5\n"
    assert [line for line, _, _ in told(text)] == [4, 4, 7]


def test_very_many_problems_are_cut():
    with pytest.raises(DefinitionError) as caught:
        documents.read("slug: shop\nsteps: {one: {}}\n" + "".join(f"x{number}: 1\n" for number in range(5000)))
    assert len(caught.value.problems) == 201
    assert caught.value.problems[-1] == "line 203: document: 4,800 more problems from here on are not told"


def test_what_was_drafted_is_located_for_warnings():
    document = documents.read(flow("next: [one]\n  three: {next: [two]}"))
    (problem,) = document.located([Problem("unreachable", ("steps", "three"), "nothing leads to it")])
    assert (problem.line, problem.message) == (5, "nothing leads to it")


@pytest.mark.parametrize(
    ("path", "line", "place"),
    [
        (("steps", "one", "retry", "base"), 5, "step 'one'"),
        (("steps", "one", "next", 1, "to"), 8, "step 'one': next, transition 2"),
        (("steps", "one", "map", "over"), 3, "step 'one'"),
        (("vars", "count"), 10, "flow"),
    ],
)
def test_the_line_of_a_problem_comes_from_its_path_whatever_its_words(path, line, place):
    document = documents.parse(
        "slug: shop\nsteps:\n  one:\n    retry:\n      base: 1s\n    next:\n      - two\n      - {to: one}\n"
        "vars:\n  count: 0\n"
    )
    (problem,) = document.located([Problem("bad_value", path, "flow: step 'two': the words are not read")])
    assert (problem.line, problem.place) == (line, place)
    assert problem == f"line {line}: {place}: flow: step 'two': the words are not read"


def test_a_name_that_is_none_is_told_beside_a_key_of_its_step_that_is_unknown():
    found = problems_in("slug: shop\nsteps:\n  big one: {handler: one, x: 1}\n")
    codes = [(problem.code, problem.path) for problem in found]
    assert codes == [("bad_name", ("steps", "big one")), ("unknown_option", ("steps", "big one", "x"))]
