import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.names import RESERVED, is_name, is_queue_name, shorten


@pytest.mark.parametrize("name", ["a", "_", "pack_2", "x" * 128])
def test_lower_case_words_with_digits_and_underscores_are_names(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "2a", "Pack", "pack-it", "pack it", "pack\n", "é", "x" * 129, None, 7])
def test_anything_else_is_no_name(name):
    assert not is_name(name)


def test_a_queue_has_at_most_40_characters():
    assert is_queue_name("q" * 40)
    assert not is_queue_name("q" * 41)


def test_words_with_a_meaning_of_their_own_are_reserved():
    words = "input ctx item index run noop fail continue retry result status error vars outputs iteration"
    assert set(words.split()) == RESERVED


def test_a_short_name_is_left_alone():
    assert shorten("plan_the_trip") == "plan_the_trip"


@given(st.text("abc_", min_size=129, max_size=300), st.text("abc_", min_size=129, max_size=300))
def test_a_long_name_becomes_a_legal_one_that_stays_unique(one, other):
    assert is_name(shorten(one))
    assert (shorten(one) == shorten(other)) == (one == other)
