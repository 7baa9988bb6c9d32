"""What expressions come to, and what they cannot do."""

from __future__ import annotations

import contextlib
import copy
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_workflow.contrib.orquesta.expressions import texts
from django_workflow.exceptions import ExpressionError

NAMES = {
    "vars": {"a": 1, "xs": [3, 1, 2], "who": {"name": "Ann", "items": 5}, "text": "<% ctx(a) %>", "many": ["x"] * 2000},
    "status": "succeeded",
    "result": {"code": 200},
    "error": None,
    "item": ["h", "c"],
    "item_names": ("host", "command"),
    "statuses": {"first": "failed"},
}


LISTS_TWICE = "".join(
    f"{{% set {x} = ({x}, {x}) %}}" if n else f"{{% set {x} = (0,) %}}" for n in range(41) for x in "ab"
)
TWICE_IN_JINJA = [
    *(
        "{{ a is eq(b) }}",
        "{{ a == b }}",
        "{{ a in [b] }}",
        "{{ [a].index(b) }}",
        "{{ [a, b] | sort }}",
        "{{ {a: 1} }}",
    ),
    *("{{ {}[a] }}", "{{ dict([(a, 1)]) }}", "{{ a | string | length }}", "{{ a | tojson }}", "{{ a | upper }}"),
    *("{{ '{}'.format(a) }}", "{{ '%s' % (a,) }}", "{{ '%s' | format(a) }}", "{{ [a] | join }}", "{{ a ~ b }}"),
    *("{{ [a] | map('string') | list }}", "{{ [a, b] | unique | list }}", "{{ ctx(a) }}", "{{ a }}", "a is {{ a }}"),
]
LETS_TWICE = "let(a => [0], b => [0]) -> " + "let(a => [$a, $a], b => [$b, $b]) -> " * 40
TWICE_IN_YAQL = [
    *(
        "len(str($a))",
        "$a = $b",
        "$a != $b",
        "$a in [$b]",
        "{$a => 1}",
        "set($a)",
        "[$a].contains($b)",
        "$a",
        "{}.get($a)",
    ),
    *("[$a, $b].distinct()", "[$a].indexOf($b)", "$a.flatten()", "[$a, $b].groupBy($)", "[$a].toDict($)"),
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("<% ctx(a) %>", 1),
        ("<% ctx('a') + ctx().a %>", 2),
        ("<% ctx().who.name %>", "Ann"),
        ("<% ctx(a) %>\n", 1),
        ("<% ctx(a) %> ", "1 "),
        ("a is <% ctx(a) %>, xs are <% ctx(xs) %>", "a is 1, xs are [3, 1, 2]"),
        ("<% succeeded() and not failed() and completed() %>", True),
        ("<% result().code = 200 %>", True),
        ("<% item() %>", {"host": "h", "command": "c"}),
        ("<% item(command) %>", "c"),
        ("<% task_status(first) %>", "failed"),
        ("<% task_status(second) %>", "null"),
        ("<% zip([1, 2], [a]) %>", [[1, "a"], [2, None]]),
        ("<% zip([1], [2, 3], pad => 0) %>", [[1, 2], [0, 3]]),
        ("<% json('[1, {\"a\": null}]') %>", [1, {"a": None}]),
        ("<% set(1, 1) %>", [1]),
        ("<% {1 => a} %>", {"1": "a"}),
        ("<% ctx(text) %>", "<% ctx(a) %>"),
        ("say <% ctx(text) %>", "say <% ctx(a) %>"),
        ("{{ ctx('a') }}", 1),
        ("{{ ctx().who.items }}", 5),
        ("{{ ctx().who['name'] | upper }}!", "ANN!"),
        ("{{ {'a': {'b': ctx().a}} }}", {"a": {"b": 1}}),
        ("{{ ctx().xs | select('odd') }}", [3, 1]),
        ("{{ ctx().text }}", "<% ctx(a) %>"),
        ("{{ item('host') }}", "h"),
        ("{% if ctx().a == 1 %}one{% else %}more{% endif %}", "one"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{% for x in ctx().xs %}{{ loop.index }}:{{ x }} {% endfor %}", "1:3 2:1 3:2 "),
        ("{{ 'a-{}'.format(1) }} {{ '%s' % 2 }} {{ 'x'.center(3) }}", "a-1 2  x "),
        ("{{ 'abcdef'[1:3] }} {{ [1, 2, 3][::-1] }}", "bc [3, 2, 1]"),
        ("{{ [{'n': {'x': 1}}, {'n': {'x': 2}}] | sum('n.x') }}", 3),
        ("{{ {'a': [1, '<']} | tojson }} {{ [1] | tojson(indent=1) }}", '{"a": [1, "\\u003c"]} [\n 1\n]'),
        ("{{ ' a ' | trim }}{{ 'xbx' | trim('x') }}{{ 'a b' | wordwrap(1) }}", "aba\nb"),
        ("{% for a, b in [(1, 2)] %}{{ a + b }}{{ b is even }}{% endfor %}", "3True"),
        ("{{ [1, 2, 3] | batch(2) | map('sum') | list }}", [3, 3]),
        ("<% [1] * 2 + 2 * [2] %>", [1, 1, 2, 2]),
        ("<% 'ab' * 2 + 2 * 'c' %>", "ababcc"),
        ("<% {a => [1, 2, 1].distinct()}.set(b, 'x'.toUpper()) %>", {"a": [1, 2], "b": "X"}),
        ("<% regex('(\\d{1,3}\\.){3}\\d{1,3}').matches('10.0.0.1') %>", True),
    ],
)
def test_text_comes_to_its_value(text, value):
    assert texts.evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<% ctx(lost) %>", "there is no variable 'lost', only a, many"),
        ("<% ctx().lost %>", "there is no variable 'lost'"),
        ("<% ctx().who.age %>", "there is no 'age'"),
        ("<% now() %>", "it gives a datetime, which is no JSON value; make it a text with str()"),
        ("<% 1 / 0 %>", "ZeroDivisionError"),
        ("{{ ctx().lost }}", "no attribute 'lost'"),
        ("{{ lost }}", "'lost' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("<% item(port) %>", "there is no 'port' in the item, only command, host"),
    ],
)
def test_an_error_names_the_expression_and_the_reason(text, reason):
    with pytest.raises(ExpressionError) as caught:
        texts.evaluate(text, NAMES)
    assert caught.value.expression == text
    assert repr(text) in caught.value.message or text in caught.value.message
    assert reason in caught.value.message


def test_what_belongs_to_a_task_that_ended_can_be_asked_only_there():
    with pytest.raises(ExpressionError, match=r"result\(\) can be asked only after a task, in next and retry"):
        texts.evaluate("<% result() %>", {"vars": {}})


def test_result_of_a_failure_is_its_message_or_what_the_action_failed_with():
    failed = {"status": "failed", "result": None, "error": {"class": "ValueError", "message": "no luck"}}
    assert texts.evaluate("<% result() %>", failed) == "no luck"
    failed["error"] = {"class": "django_workflow.contrib.orquesta.ActionFailed", "message": '{"code": 3}'}
    assert texts.evaluate("<% result().code %>", failed) == 3


@pytest.mark.parametrize(
    "text",
    [
        # looks into Python
        "<% ctx().a.__class__ %>",
        "<% ''.format(1) %>",
        "{{ ''.__class__ }}",
        "{{ ctx.__globals__ }}",
        "{{ ctx().xs.__class__.__mro__ }}",
        "{{ ctx().xs['__class__'] }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%s' | format(1) | attr('__class__') }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ dict.__mro__ }}",
        "{{ self.__init__ }}",
        "{{ range.__self__ }}",
        "{{ ctx().xs.append.__self__ }}",
        "{% for x in ctx().xs %}{{ loop._iterator }}{% endfor %}",
        "{% macro f() %}{% endmacro %}{{ f.__globals__ }}",
        "{% include 'x' %}",
        "{% set ns = namespace() %}",
        # changes data
        "{{ ctx().xs.append(4) }}",
        "{{ ctx().who.update({'a': 1}) }}",
        "{{ ctx().who.pop('name') }}",
        "{% set ctx().a = 2 %}",
        # takes forever, or all memory
        "<% range(100000).select(range(100000).sum()).sum() %>",
        "<% def(f, f($) + f($)) -> f(1) %>",
        "<% pow(10, 10000000) %>",
        "<% 'x' * 1000000000 %>",
        "<% shiftBitsLeft(1, 10000000) %>",
        "<% ctx(many).where($ in ctx(many).where($ in ctx(many))) %>",
        "<% generate(1, true, $ + 1) %>",
        "<% ctx(many).join('x' * 1000000) %>",
        "<% ('x' * 1000).replace('', 'y' * 10000) %>",
        "<% regex('(a+)+$').search('a' * 40000 + 'b') %>",
        "<% ('a' * 40000 + 'b') =~ '(a+)+$' %>",
        "{{ 'x' * 1000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ range(1000000000) | list }}",
        "{{ 'x' | indent(1000000000) }}",
        "{{ ('x' * 1000).replace('', 'y' * 10000) }}",
        "{{ ctx().many | slice(1000000000) | list }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% set a = 'x' * 1000 %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
        "{% for a in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
        "{{ lipsum(1000000) }}",
        # holds the same part so often that nobody can look at it
        *(LISTS_TWICE + look for look in TWICE_IN_JINJA),
        *(f"<% {LETS_TWICE}{look} %>" for look in TWICE_IN_YAQL),
        # goes past what one step may cost
        "{% set s = 'x' * 999999 %}{{ [" + "s[1:]," * 2400 + "] | length }}",
        "{{ ('x' * 1900000) | wordwrap(1) }}",
        "{{ ('<!---->' * 250000) | striptags }}",
        "{{ range(100000) | batch(1) | sum(start=[]) }}",
        "{{ ('a' * 1000000).strip('b' * 900000 + 'a') }}",
        "{{ ('a' * 1000000) | trim('b' * 900000 + 'a') }}",
        "{{ [1] | tojson(indent=100000000) }}",
        "{{ '%1000000000d' is odd }}",
        "{{ 'ab' * 1000001 }}",
        "{% set s = 'x' * 999999 %}{{ s }}{{ s }}{{ s }}",
        "<% 'ab' * 3000000 %>",
        "<% 1000001 * 'ab' %>",
        "<% ('x' * 1500000) + ('x' * 1500000) %>",
        "<% ('x' * 999999).replace('x', 'xxx') %>",
        "<% ctx(xs) * 100000000 %>",
        "<% 100000000 * ctx(xs) %>",
        "<% ('a' * 1000000).trim('b' * 900000 + 'a') %>",
        "<% regex('(?:' * 30 + 'a' + '{1,60})' * 30).matches('aaaa') %>",
        "<% regex('(?:' * 60 + 'a' + ')+' * 60).matches('aaaa') %>",
        "<% regex('(?:a|b){1000000}').matches('aaaa') %>",
        "<% 'aaaa' =~ '(?x)' + '(?:' * 13 + 'a' + ') {2}' * 13 %>",
    ],
)
def test_what_an_expression_cannot_do(text):
    before, begin = copy.deepcopy(NAMES), time.thread_time()
    with pytest.raises(ExpressionError):
        texts.evaluate(text, NAMES)
    assert time.thread_time() - begin < 5
    assert before == NAMES


@pytest.mark.parametrize("text", ["<%" * 50_000, "{{" * 50_000, "{%x{{%}" * 15_000, "{{{%" * 25_000])
def test_signs_that_nothing_closes_are_looked_at_once(text):
    begin = time.thread_time()
    texts.is_expression(text)
    texts.problems(text)
    with contextlib.suppress(ExpressionError):
        texts.evaluate(text, NAMES)
    assert time.thread_time() - begin < 3


@pytest.mark.parametrize("text", ["{{%x%}", "{%{{}}", "<%<% 1 %>", "<%%>"])
def test_an_expression_may_begin_within_what_begins_none(text):
    assert texts.is_expression(text)


def test_a_text_without_expressions_may_be_long():
    assert texts.problems("a" * 30_000) == []
    assert texts.problems("<% 1 %>" + "a" * 30_000) == [
        "a text with expressions has at most 20,000 characters, not 30,007"
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("<% ctx().a + ctx(b) + ctx('c').d + ctx().e.f %>", {"a", "b", "c", "e"}),
        ("<% ctx().get(a) %>", set()),
        ("<% ctx(a).where($.x = ctx().b) %> and <% let(y => ctx(c)) -> $y %>", {"a", "b", "c"}),
        ("{{ ctx().a + ctx('b') + ctx()['c'] }}", {"a", "b", "c"}),
        ("{{ ctx().items() | join(ctx().d) }}", {"d"}),
        ("{% for x in ctx().xs %}{{ x }}{% endfor %}", {"xs"}),
        ("nothing", set()),
    ],
)
def test_variables_that_a_text_reads(text, names):
    assert texts.variables(text) == names


SIGNS = st.sampled_from(
    [*"()[]{}.,+-*/%<>='\"$|~:!? \n01ax_", "ctx()", "ctx(xs)", "result()", "item()", "range(9)", "select", "where",
     "__class__", "let(", "->", "=>", " and ", " in ", " if ", " else ", "{%", "%}", "for x in ", "endfor", "set ", "|"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SIGNS, max_size=25).map("".join), st.sampled_from(["<%{}%>", "{{{{{}}}}}", "{{%{}%}}", "{}"]))
def test_any_text_gives_json_or_an_expression_error(source, marks):
    text = marks.format(source) if marks != "{}" else source
    before = copy.deepcopy(NAMES)
    texts.problems(text)
    with contextlib.suppress(ExpressionError):
        json.dumps(texts.evaluate(text, NAMES), allow_nan=False)
    assert before == NAMES
