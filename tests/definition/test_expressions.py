"""Conditions as text: what they can say, and what they can never do."""

import ast
import copy
import json
import sys
import threading
import time
import warnings
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow.definition.elements import Condition
from django_workflow.definition.expressions import functions, native
from django_workflow.definition.expressions.language import Lazy, Native
from django_workflow.definition.expressions.native import evaluate
from django_workflow.definition.expressions.syntax import MAX_LENGTH, check
from django_workflow.definition.validation.readable import CONDITION_NAMES
from django_workflow.exceptions import ExpressionError

DATA = {
    "input": {"customer": {"country": "DE", "vip": False}, "note": None, "pop": 1, "lines": list(range(1_000))},
    "outputs": {"reserve": {"total": 12.5, "items": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 3}]}, "empty": []},
    "vars": {},
}


def refused(expression, names=DATA):
    with pytest.raises(ExpressionError) as caught:
        evaluate(expression, names)
    assert caught.value.expression == expression
    return caught.value.message


# --- the language


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("outputs.reserve.total > 10", True),
        ('outputs["reserve"]["total"] > 10', True),
        ("outputs.reserve.items[0].sku == 'a'", True),
        ("outputs.reserve.items[-1].qty", 3),
        ("len(outputs.reserve.items) == 2 and not input.customer.vip", True),
        ("input.customer.country in ['DE', 'AT']", True),
        ("'country' in input.customer", True),
        ("'missing' not in input", True),
        ("input.note is None", True),
        ("input.note == null and true != false", True),
        ("any(line.qty > 2 for line in outputs.reserve.items)", True),
        ("[line.sku for line in outputs.reserve.items if line.qty > 2]", ["b"]),
        ("{line.sku: line.qty for line in outputs.reserve.items}", {"a": 2, "b": 3}),
        ("sum(line.qty for line in outputs.reserve.items)", 5),
        ("max(outputs.empty, default=0)", 0),
        ("'big' if outputs.reserve.total > 100 else 'small'", "small"),
        ("lower(input.customer.country) + '-' + str(round(2.6))", "de-3"),
        ("round(2.345, 1)", 2.3),
        ("(7 // 2) ** 2 % 5 - -1", 5),
        ("1 < 2 <= 2 != 3", True),
        ("1 > 2 > undefined_is_not_reached", False),
        ("false_is_a_name or True", None),
        ("outputs.empty or 'nothing'", "nothing"),
        ("input.customer.country[:1] == 'D'", True),
        ("input.pop", 1),
        ("  1 + 1 ", 2),
        ("[{'class': 1}.class, [{'from': {'in': 2}}][0].from.in]", [1, 2]),
        ("'.class' + \"input.from\"", ".classinput.from"),
        ("(1, 2)", [1, 2]),
        ("{2, 1, 2, 1.0}", [2, 1]),
        ("[name for name in input.customer]", ["country", "vip"]),
        ("[a + b + c for a, (b, c) in [[1, [2, 3]], [4, [5, 6]]]]", [6, 15]),
        ("1 is True or 1 is not 1.0", False),
        ("input.customer is input.customer", True),
        ("'\\d' + r'\\d' + '\\n'", "\\d\\d\n"),
    ],
)
def test_an_expression_says(expression, value):
    if value is None:
        refused(expression)
    else:
        assert evaluate(expression, DATA) == value


def test_a_comprehension_reads_ten_thousands_of_elements():
    assert evaluate("all(n < 50000 for n in input)", {"input": list(range(50_000))}) is True


def test_names_are_read_only_when_the_expression_mentions_them():
    class Unreadable(dict):
        def __getitem__(self, name):
            raise AssertionError(name)

    assert evaluate("input == 1", {"input": 1, "outputs": Unreadable(reserve=1)}) is True


# --- mistakes are told, with the expression and what there is


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("outputs.reserv.total > 1", "no key 'reserv'; there are: empty, reserve"),
        ('outputs["reserv"]', "no key 'reserv'; there are: empty, reserve"),
        ("outputs.reserve.items.sku", ".sku needs an object, not a list"),
        ("input.note.text", ".text needs an object, not null"),
        ("total > 1", "there is no 'total', only input, outputs, vars"),
        ("vars.x", "no key 'x'; there are: none"),
        ("input.customer > 3", "'>' not supported between instances of 'dict' and 'int'"),
        ("outputs.empty[0]", "[0] of 0 elements"),
        ("input.note[0]", "[…] needs an object, a list or text, not null"),
        ("input[0]", "the keys of an object are text, not a number"),
        ("{1: 2}", "the keys of an object are text, not a number"),
        ("{n: 2 for n in [null]}", "the keys of an object are text, not null"),
        ("[x for x in 5]", "a list is needed, not a number"),
        ("[b for a, b in [[1, 2], [3]]]", "(a, b) takes a list of length 2, not one of length 1"),
        ("[a for a, b in [[1, 2, 3]]]", "(a, b) takes a list of length 2, not one of length 3"),
        ("[a for a, b in ['xy']]", "(a, b) takes a list of length 2, not text"),
        ("[a for a, b in [input.customer]]", "(a, b) takes a list of length 2, not an object"),
        ("[a for a, b in [1]]", "(a, b) takes a list of length 2, not a number"),
        ("{a: c for a, [b, c] in [['x', [1, 2]], ['y', [3]]]}", "[b, c] takes a list of length 2, not one of length 1"),
        ("1 in 5", "'in' needs a list, an object or text, not a number"),
        ("1 in '15'", "text is needed, not a number"),
        ("'a' + 1", "to text text can be added, not a number"),
        ("(-8) ** 0.5", "a negative number has no such power"),
        ("-input.customer", "a number is needed, not an object"),
        ("len(null)", "a list, an object or text is needed, not null"),
        ("lower(7)", "text is needed, not a number"),
        ("keys([])", "an object is needed, not a list"),
        ("int([])", "text or a number is needed, not a list"),
        ("join([[]])", "text is needed, not a list"),
        ("split('a', '')", "empty separator"),
        ("sorted([1, 'a'])", "'<' not supported between instances of 'str' and 'int'"),
        ("1 / 0", "division by zero"),
        ("'5' * 3", "a number is needed, not text"),
        ("sum(['a'])", "a number is needed, not text"),
    ],
)
def test_a_mistake_names_the_expression_and_the_reason(expression, reason):
    assert refused(expression) == f"Expression {expression!r} failed: {reason}"


def test_a_long_reason_is_cut():
    assert len(refused("float(input)", {"input": "x" * 10_000})) < 600


def test_an_error_leaves_the_next_evaluation_alone():
    refused("[x.y for x in [1, 2]]")
    assert evaluate("[x for x in [1, 2]]", {}) == [1, 2]
    refused("x")


# --- functions


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("len('abc') + len([1]) + len({'a': 1})", 5),
        ("[min([2, 1]), max(2, 3, 1), max([], default=null), min('ba')]", [1, 3, None, "a"]),
        ("[sum([]), abs(-2), round(2.345, 2), round(2.5)]", [0, 2, 2.35, 2]),
        ("[any([]), all([]), any([0, 1]), all([0, 1])]", [False, True, True, False]),
        ("[int('7'), int(7.9), float('2.5')]", [7, 7, 2.5]),
        ("[str('a'), str(1.5), str(null), str(true)]", ["a", "1.5", "null", "true"]),
        ("str({'ä': [1, (2,)]})", '{"ä": [1, [2]]}'),
        ("upper('a') + lower('B') + strip('  c ')", "Abc"),
        ("[startswith('abc', 'ab'), endswith('abc', 'ab')]", [True, False]),
        ("split('a b  c') + split('a,b', ',')", ["a", "b", "c", "a", "b"]),
        ("join(['a', 1, 2.5], '-') + join([])", "a-1-2.5"),
        ("get({'a': 1}, 'a')", 1),
        ("[get({'a': 1}, 'b'), get({'a': null}, 'a', 7), get(null, 'b', 7)]", [None, None, 7]),
        ("[get([5, 6], 1), get([5, 6], -1), get([5, 6], 2, 0)]", [6, 6, 0]),
        ("[keys({'b': 1, 'a': 2}), values({'b': 1, 'a': 2})]", [["a", "b"], [2, 1]]),
        ("sorted([3, 1, 2]) + sorted({'b': 1, 'a': 1})", [1, 2, 3, "a", "b"]),
        ("[row[1] for row in sorted([[2, 'x'], [1, 'y']])]", ["y", "x"]),
        ("unique([3, 1, 3.0, true, [1], {'a': [1.0]}, [1], {'a': [1]}, 1])", [3, 1, True, [1], {"a": [1.0]}]),
        ("[matches('order-17', '-[0-9]+$'), matches('order', '^[0-9]')]", [True, False]),
    ],
)
def test_a_function_gives(expression, value):
    assert repr(evaluate(expression, {})) == repr(value)


def test_now_is_the_time_in_utc_as_times_in_json_are_written(monkeypatch):
    moment = datetime(2026, 5, 1, 12, 30, 5, 7000, tzinfo=timezone(timedelta(hours=2)))
    monkeypatch.setattr(functions, "clock", lambda: moment)
    assert evaluate("now()", {}) == "2026-05-01T10:30:05.007Z"
    assert evaluate("now() > vars.begin", {"vars": {"begin": "2026-05-01T10:30:05.006Z"}})


def test_now_is_now():
    assert evaluate("now()", {})[:4] >= "2026"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("len()", "len: missing a required argument: 'value'"),
        ("lower('a', 'b')", "lower: too many positional arguments"),
        ("max([1], key=1)", "max: got an unexpected keyword argument 'key'"),
        ("matches(input, '(')", "matches: pattern '(', character 2: ) is missing"),
        ("matches(input, pattern='*')", "matches: pattern '*', character 2: there is nothing to repeat before *"),
        ("join(values=[], spend=1)", "join: got an unexpected keyword argument 'spend'"),
    ],
)
def test_a_wrong_call_is_found_before_anything_runs(expression, problem):
    assert check(expression) == f"Expression {expression!r} is not valid: {problem}"


# --- what comes out


def test_what_comes_out_shares_nothing_with_the_data():
    data = json.loads(json.dumps(DATA))
    value = evaluate("{'all': outputs, 'one': outputs.reserve.items[0], 'kept': [input.customer]}", data)
    value["all"]["reserve"]["items"].clear()
    value["one"]["sku"] = value["kept"][0]["vip"] = "changed"
    assert data == DATA


def test_parts_that_stand_twice_in_a_value_are_two():
    value = evaluate("[part for part in [input] for _ in [1, 2]]", {"input": {"a": []}})
    value[0]["a"].append(1)
    assert value == [{"a": [1]}, {"a": []}]


def test_a_mapping_that_reads_its_values_comes_out_as_an_object():
    value = evaluate("[outputs]", {"outputs": Lazy({"a": 1}, b=lambda: [2])})
    assert type(value[0]) is dict
    assert value == [{"a": 1, "b": [2]}]


@pytest.mark.parametrize("expression", ["1e308 * 10", "float('nan')", "[float('-inf')]", "1e999", "'\\0'", "'\\ud800'"])
def test_what_json_does_not_have_does_not_come_out(expression):
    assert "JSON" in refused(expression)


def test_an_error_of_whoever_reads_the_data_is_no_mistake_of_the_author():
    def unreachable():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        evaluate("vars.a", Lazy({}, vars=unreachable))
    assert evaluate("1 + 1", {}) == 2


# --- decisions do not parse


def test_an_expression_is_parsed_once_whoever_asks_and_however_often(monkeypatch):
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda text, **options: parsed.append(text) or parse(text, **options))
    condition = Condition(expression="input.asked_once == 1")
    assert check(condition.expression) is None
    for number in range(5):
        assert Native().holds(condition, {"input": {"asked_once": number}}) == (number == 1)
    assert parsed == [condition.expression]


def test_backslashes_of_patterns_are_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(r"""matches('a 1', '\w\s\d') and matches("1", "\d") and '\\d' == r'\d'""", {})


# --- nothing but the data


ESCAPES = [
    "().__class__.__base__.__subclasses__()",
    "input.__class__",
    "''.join(['a'])",
    "'{0.__class__}'.format(input)",
    "f'{input.__class__}'",
    "f'{1:>{10 ** 9}}'",
    "'%s' % input",
    "__import__('os')",
    "open('/etc/passwd')",
    "eval('1')",
    "getattr(input, 'x')",
    "len.__self__",
    "[len][0](input)",
    "{'f': len}.f([1])",
    "max([1], key=len)",
    "(lambda: 1)()",
    "(x := 1)",
    "[*input]",
    "len(*[[1]])",
    "max(**{})",
    "{**input, **input}[...]",
    "b'bytes'",
    "1j",
    "{x for x in [1]}",
    "[x async for x in [1]]",
    "[1 for x.y in [1]]",
    "[1 for x['y'] in [1]]",
    "[1 for null in [1]]",
    "[1 for (x, *y) in [[1]]]",
    "await input",
    "(yield)",
    "1 @ 2",
    "1 << 10000",
    "~1",
    "print(1)",
    "rand()",
    "list(input)",
    "int('10', 36)",
    "str(b'a', 'utf-8')",
]


@pytest.mark.parametrize("expression", ESCAPES)
def test_nothing_leads_out_of_the_data(expression):
    refused(expression)


@pytest.mark.parametrize(
    "expression",
    ["input.lines.pop()", "input.clear()", "outputs.empty.append(1)", "input.customer.update(vip=True)", "input.pop()"],
)
def test_nothing_changes_the_data(expression):
    before = copy.deepcopy(DATA)
    refused(expression)
    assert before == DATA


# --- limits


def doubled(levels):
    """A value that refers twice to one that refers twice to one that …"""
    names = [f"v{number}" for number in range(levels)]
    binds = " ".join(f"for {new} in [[{old}, {old}]]" for old, new in zip(["1", *names], names, strict=False))
    return f"[{names[-1]} {binds}]"


HUGE = {
    "power": "9**9**9",
    "power of variables": "[n ** n ** n for n in [99]]",
    "repeated text": "'x' * 10 ** 10",
    "repeated list": "[0] * 10 ** 10",
    "repeated list in a loop": "[[0] * 100000 for n in input.lines]",
    "shift": "1 << 10 ** 10",
    "rounding": "round(5, -(10 ** 10))",
    "squares of squares": "[h for a in [9**999] for b in [a*a] for c in [b*b] for d in [c*c] for h in [d*d]]",
    "long number": "int('9' * 10 ** 6)",
    "loops in loops": "[0 for a in input.lines for b in input.lines for c in input.lines]",
    "loops around lists": "[[a for a in input.lines] for b in input.lines for c in input.lines]",
    "lists added": "[input.lines + input.lines for a in input.lines for b in input.lines]",
    "lists cut": "[input.lines[1:] for a in input.lines for b in input.lines]",
    "lists compared": "[input == outputs for a in input.lines for b in input.lines]",
    "equal lists compared": "[input.lines == input.lines for a in input.lines for b in input.lines]",
    "lists searched": "[-1 in input.lines for a in input.lines for b in input.lines]",
    "lists searched for lists": "[[a] in [input.lines, input.lines] for a in input.lines for b in input.lines]",
    "lists joined": "[join(input.lines, 'xxxxxxxxxxxxxxxx') for a in input.lines for b in input.lines]",
    "a long separator": "join(input.lines, join(input.lines, join(input.lines, '----------')))",
    "lists sorted": "[sorted(input.lines) for a in input.lines]",
    "lists without repeats": "[unique(input.lines) for a in input.lines]",
    "long texts compared": "[a == b for a in [join(input.lines)] for b in [join(input.lines)] for c in input.lines]",
    "long texts matched": "[matches(a, '(a|b|ab)*c') for a in [join(input.lines)] for c in input.lines]",
    "patterns": "[matches('', '((a{9}){9}){9}' + str(a)) for a in input.lines]",
    "data as text": "[str(input) for a in input.lines for b in input.lines]",
    "doubled text": "[t for a in ['xxxxxxxx'] "
    + " ".join(f"for {'a' * (n + 1)} in [{'a' * n} + {'a' * n}]" for n in range(1, 31))
    + " for t in [1]]",
    "doubled references": doubled(40),
    "doubled references as text": f"str({doubled(40)})",
    "doubled references compared": f"{doubled(40)} == {doubled(40)}",
}


@pytest.mark.parametrize("expression", HUGE.values(), ids=HUGE)
def test_an_expression_that_would_take_for_ever_or_fill_the_memory_is_refused(expression, monkeypatch):
    monkeypatch.setattr(native, "MAX_WORK", 50_000)
    assert len(expression) <= MAX_LENGTH
    message = refused(expression)
    assert any(limit in message for limit in ("more than", "a number is needed", "is not possible", "round to")), (
        message
    )


@pytest.mark.parametrize(
    "expression",
    [
        "[input.wide for n in input.lines]",
        "len(unique([input.wide for n in input.lines]))",
        "[len({input.wide}) for n in input.lines]",
        "[len(str(input.wide)) for n in input.lines]",
        "[input.wide == input.same for n in input.lines]",
        "[input.key in input.wide for n in input.lines]",
        "[input.wide[input.key] for n in input.lines]",
        "[get(input.wide, input.key) for n in input.lines]",
        "[0 for n in input.lines for key in input.wide if false]",
        "len({input.key: n for n in input.lines})",
        "[len({input.key: n}) for n in input.lines]",
    ],
)
def test_keys_cost_what_texts_of_their_length_cost(expression, monkeypatch):
    key = "k" * 1_000
    wide = {"wide": {key: 1}, "same": {key: 1}, "key": key, "lines": list(range(1_000))}
    monkeypatch.setattr(native, "MAX_WORK", 60_000)
    assert "more than" in refused(expression, {"input": wide})
    evaluate(expression, {"input": wide | {"wide": {"k": 1}, "same": {"k": 1}, "key": "k"}})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal lists compared", "lists without repeats"])
def test_the_work_that_is_allowed_takes_a_second_or_two_at_most(name):
    before = time.thread_time()
    refused(HUGE[name])
    assert time.thread_time() - before < 5


DEEP = {
    "parentheses": "(" * 900 + "1" + ")" * 900,
    "lists": "[" * 90 + "]" * 90,
    "signs": "-" * 1_900 + "1",
    "negations": "not " * 400 + "1",
    "sums": "+".join(["1"] * 900),
    "dots": "input" + ".a" * 900,
    "conditionals": "1 if 1 else " * 150 + "1",
    "calls": "str(" * 90 + "1" + ")" * 90,
    "loops": "[" * 60 + "1" + " for a in [1]]" * 60,
}


@pytest.mark.parametrize("expression", DEEP.values(), ids=DEEP)
def test_an_expression_that_is_nested_too_deep_is_refused(expression):
    assert len(expression) <= MAX_LENGTH
    assert "is not valid" in refused(expression)


def test_harmless_parentheses_do_not_count_as_depth():
    assert evaluate("(" * 100 + "1" + ")" * 100, {}) == 1


def test_many_conditions_side_by_side_are_no_depth():
    assert evaluate(" and ".join(["input.pop == 1"] * 100), DATA) is True


def test_a_long_expression_is_refused_and_quoted_in_part():
    message = refused("1 == " + "1" * MAX_LENGTH)
    assert f"more than {MAX_LENGTH:,}" in message
    assert len(message) < 200


def test_deep_data_is_no_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExpressionError):
        evaluate("input == vars", {"input": deep, "vars": copy_of_deep(deep)})


def copy_of_deep(deep):
    copied = []
    while deep:
        copied, deep = [copied], deep[0]
    return copied


def test_a_caller_near_the_recursion_limit_gets_an_expression_error():
    def sink(depth):
        return sink(depth - 1) if depth else evaluate("+".join(["1"] * 45), {})

    for depth in range(sys.getrecursionlimit() - 400, sys.getrecursionlimit(), 20):
        try:
            assert sink(depth) == 45
        except (ExpressionError, RecursionError):
            break
    assert evaluate("[x + 1 for x in [1]]", {}) == [2]


def test_threads_evaluate_apart():
    results = {}

    def work(number):
        results[number] = [
            evaluate("sum(input.n for _ in input.l)", {"input": {"n": number, "l": [1] * 99}}) for _ in range(20)
        ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [99 * number] * 20 for number in range(4)}


# --- what is checked when a flow is declared


@pytest.mark.parametrize("expression", ["ready", " ready ", "(ready)", "input"])
def test_a_bare_word_is_no_condition(expression):
    assert "bare word" in check(expression)


def test_a_name_that_will_not_be_there_is_found_before_anything_runs():
    assert "no 'result'" in check("result.ready == True", CONDITION_NAMES)
    assert check("result.ready == True") is None


def test_names_bound_by_a_comprehension_are_known():
    assert check("any(line.qty > 1 for line in outputs.reserve.items)", CONDITION_NAMES) is None


def test_the_name_of_a_function_is_no_value():
    assert "no 'len'" in check("len == 1", CONDITION_NAMES)


# --- whatever the text

LEAVES = st.sampled_from([*DATA, "x", "1", "0", "-7", "2.5", "'a'", "''", "None", "True", "[]", "{}", "9999999999"])


ENDINGS = st.sampled_from([".customer", ".lines", ".pop", "[0]", "['a']", "[1:]", ".__class__"])
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "==", "in", "and", "or", "is", ",", "|", "<<"])
CALLABLES = st.sampled_from([*functions.FUNCTIONS, "dict"])


def combined(part):
    return st.one_of(
        st.tuples(part, ENDINGS).map("".join),
        st.tuples(part, OPERATORS, part).map(" ".join),
        st.tuples(CALLABLES, part).map(lambda pair: f"{pair[0]}({pair[1]})"),
        st.tuples(part, part, part).map(lambda three: f"[{three[0]} for x in {three[1]} if {three[2]}]"),
        st.tuples(part, part, part).map(lambda three: f"({three[0]} if {three[1]} else {three[2]})"),
        st.tuples(part, part).map(lambda pair: f"{{{pair[0]}: {pair[1]}}}"),
        part.map(lambda text: f"not ({text})"),
    )


@pytest.mark.slow
@given(st.one_of(st.recursive(LEAVES, combined, max_leaves=12), st.text(max_size=40)))
@settings(max_examples=200, deadline=None)
def test_whatever_the_text_only_expression_errors_come_out_and_the_data_stay(expression):
    data = json.loads(json.dumps(DATA))
    with suppress(ExpressionError):
        evaluate(expression, data)
    assert data == DATA
    assert check(expression) is None or isinstance(check(expression), str)
