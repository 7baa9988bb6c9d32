"""Short forms of parameters."""

from __future__ import annotations

import re
import time

import pytest

from django_workflow.contrib.orquesta import inline


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("a=1", (("a", 1),)),
        ("a=1 b=2, c=3; d=4", (("a", 1), ("b", 2), ("c", 3), ("d", 4))),
        ("a=-1.5 b=.5", (("a", -1.5), ("b", 0.5))),
        ("a=true b=False c=null", (("a", True), ("b", False), ("c", None))),
        ("a=<% ctx().x + 1 %> b={{ ctx('y') }}", (("a", "<% ctx().x + 1 %>"), ("b", "{{ ctx('y') }}"))),
        ("""a="two words" b='it is "so"'""", (("a", "two words"), ("b", 'it is "so"'))),
        ('a="<% ctx("x") %> and more"', (("a", '<% ctx("x") %> and more'),)),
        ('a="12" b="true"', (("a", "12"), ("b", "true"))),
        ('a=[1, "x", [2]] b=[]', (("a", [1, "x", [2]]), ("b", []))),
        ("a=[<% ctx(x) %>, 1]", (("a", "[<% ctx(x) %>, 1]"),)),
        ("""a='{"k": {"l": 1}}'""", (("a", {"k": {"l": 1}}),)),
        ('a=""', (("a", ""),)),
    ],
)
def test_parameters_are_read(text, found):
    assert inline.parameters(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("word", "'word' is no parameter; write name=value"),
        ("a=word", "the value of 'a', 'word', is no number, constant or expression; quote it"),
        ("a=", "the value of 'a', '', is no number"),
        ("a=1x", "the value of 'a', '1x'"),
        ('a="open', "the value of 'a', '\"open', has no closing quote"),
        ("a=[1, [2]", "has no closing bracket"),
        ("a=<% 1 %>-b", "'-b' follows the value of 'a'; quote a value of several parts"),
    ],
)
def test_anything_else_is_told(text, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        inline.parameters(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("core.noop", ("core.noop", "")),
        ("core.echo message=1", ("core.echo", "message=1")),
        ("{{ ctx().name }}", ("{{ ctx().name }}", "")),
        ("<% ctx(pack) %>.<% ctx(name) %> a=1", ("<% ctx(pack) %>.<% ctx(name) %>", "a=1")),
    ],
)
def test_an_action_is_a_name_and_parameters(text, parts):
    assert inline.split_action(text) == parts


@pytest.mark.parametrize("text", ["<%" * 60_000, "a='" + "<%{{" * 30_000, "a=[" + "<%" * 60_000])
def test_signs_that_nothing_closes_are_looked_at_once(text):
    begin = time.thread_time()
    inline.split_action(text)
    with pytest.raises(ValueError, match=r"is no parameter|has no closing"):
        inline.parameters(text)
    assert time.thread_time() - begin < 3
