import pytest

from django_workflow.definition.names import RESERVED, is_name, is_queue_name


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
