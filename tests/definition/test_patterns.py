"""Patterns: what the standard library's `re` says of them, in a time that no pattern makes explode."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_workflow.definition.schemas.patterns import MAX_LENGTH, MAX_PARTS, PatternError, compiled

ATOMS = [
    *"abc1 _.",
    r"\d",
    r"\w",
    r"\s",
    r"\D",
    r"\W",
    r"\S",
    "^",
    "$",
    r"\b",
    "[ab]",
    "[^a]",
    "[a-c1]",
    r"[\w-]",
    "[]a]",
]
TIMES = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,1}", "{2,}", "{,2}"]


def found(pattern, text, spend=lambda amount: None):
    return compiled(pattern).is_in(text, spend)


def refused(pattern):
    with pytest.raises(PatternError) as caught:
        compiled(pattern)
    return str(caught.value)


patterns = st.recursive(
    st.sampled_from(ATOMS),
    lambda part: st.one_of(
        st.lists(part, max_size=3).map("".join),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(part, st.sampled_from(TIMES)).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=8,
)


@given(patterns, st.lists(st.text("abc1 _-\n", max_size=7), max_size=10))
@settings(max_examples=150, deadline=None)
def test_it_is_what_re_says(pattern, texts):
    # in `re` a $ also matches before a last line feed
    known = re.compile(pattern.replace("$", r"\Z"))
    assert [found(pattern, text) for text in texts] == [known.search(text) is not None for text in texts]


@pytest.mark.parametrize("kind", "dDwWsS")
def test_kinds_of_characters_are_those_of_re(kind):
    characters = [chr(number) for number in range(0x3000)]
    known = re.compile(rf"\{kind}")
    automaton = compiled(rf"\{kind}")
    assert [c for c in characters if automaton.is_in(c, lambda amount: None)] == [
        c for c in characters if known.match(c)
    ]


def test_the_end_is_the_end_and_a_dot_is_no_line_feed():
    assert not found("a$", "a\n")
    assert not found("a.b", "a\nb")


def test_what_is_escaped_stands_for_itself():
    assert found(r"\.\*\(\)\[\]\\\$\{\n[\]\-]", ".*()[]\\${\n-")


#: Each takes `re` minutes or for ever on a text of forty letters or of some thousands.
EXPLOSIVE = [
    "(a+)+b",
    "(a|a)*b",
    "(a|aa)+b",
    "(a*)*b",
    "a*a*a*a*a*b",
    "(a?){40}a{40}b",
    "([a-z]+)*=",
    "(.*,){20}P",
    "(x+x+)+y",
]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_no_pattern_explodes(pattern):
    spent = []
    for length in (1_000, 2_000):
        counted = []
        assert not found(pattern, "a" * length, counted.append)
        spent.append(sum(counted))
    assert spent[1] <= spent[0] * 2.1
    assert spent[1] <= 2_001 * (1 + 3 * len(compiled(pattern).states))


APART = "".join(f"{chr(number)}-{chr(number)}" for number in range(0x1000, 0x1140, 2))


@pytest.mark.parametrize(
    "pattern", ["(a|b|ab)*c", f"[{APART}]", f"[{APART[:300]}][^{APART[:100]}]", "[" + r"\d" * 240 + "]", r"(\B\B)+c"]
)
def test_what_it_spends_bounds_the_time(pattern):
    before = time.thread_time()
    counted = []
    assert not found(pattern, "ab" * 20_000, counted.append)
    assert (time.thread_time() - before) / sum(counted) < 3e-6  # 0.4 to 1 µs here


def test_ranges_of_a_set_may_overlap_and_stand_in_any_order():
    letters = "abcdefghijklmnopqrstuvwxyz-"
    for pattern in ("[x-zb-ca-e]", "[^x-zb-ca-e]", "[a-cb-dd-d]", "[a-ab-bx-xa-c]", "[b-xc-d-]"):
        known = re.compile(pattern)
        assert [sign for sign in letters if found(pattern, sign)] == known.findall(letters), pattern


@pytest.mark.parametrize(
    "pattern", ["((((a{9}){99}){99}){99}){99}", "(?:){999999}", "a{99999}", "(?:(?:(?:){99}){99}){99}", "(a|b{900}){3}"]
)
def test_repetitions_that_would_fill_the_memory_are_refused_at_once(pattern):
    before = time.thread_time()
    assert f"more than {MAX_PARTS:,} parts" in refused(pattern)
    assert time.thread_time() - before < 1


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(a", "character 3: ) is missing"),
        ("a)", "character 2: there is no ( for this )"),
        ("[a", "character 3: ] is missing"),
        ("[b-a]", "character 5: a range goes from a lower character to a higher one"),
        (r"[a-\d]", "character 6: a range goes from a lower character to a higher one"),
        ("*a", "character 2: there is nothing to repeat before *"),
        ("a**", "character 4: a repetition of a repetition needs a group"),
        ("a{x}", "a { itself is \\{"),
        ("a{", "character 3: } is missing"),
        ("a{3,2}", "3 times at least is more than 2 at most"),
        ("a\\", "a character after \\ is missing"),
        (r"(a)\1", r"\1 has no meaning here"),
        (r"\p{L}", r"\p has no meaning here"),
        ("(?=a)", "of groups with ? there is only (?:…)"),
        ("(?P<n>a)", "of groups with ? there is only (?:…)"),
        ("(?i)a", "of groups with ? there is only (?:…)"),
        ("\bword", "write the pattern with an r before the quote"),
        ("(" * 30 + ")" * 30, "more than 20 groups in each other"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(pattern, problem):
    message = refused(pattern)
    assert message.startswith(f"pattern {pattern!r}")
    assert problem in message


def test_a_long_pattern_is_refused():
    assert refused("a" * (MAX_LENGTH + 1)) == "a pattern of 501 characters; 500 are allowed"


@given(st.text(r"()[]{}*+?|\^$.,-ab09:", max_size=25))
@settings(max_examples=250, deadline=None)
def test_whatever_the_text_it_is_a_pattern_or_refused(pattern):
    try:
        automaton = compiled(pattern)
    except PatternError:
        return
    assert automaton.is_in("ab09", lambda amount: None) in (True, False)
