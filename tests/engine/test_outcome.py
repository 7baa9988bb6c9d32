"""Errors as they are recorded, and which of them count as the same."""

import pytest

from django_workflow.engine.tasks.outcome import MAX_MESSAGE, MAX_TRACEBACK, ErrorRecord


class PaymentError(Exception):
    pass


def recorded(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return ErrorRecord.of(caught.value)


def test_an_error_is_recorded_with_its_class_message_bases_and_traceback():
    record = recorded(PaymentError("declined"))
    assert (record.error_class, record.message) == (f"{__name__}.PaymentError", "declined")
    assert record.classes == (f"{__name__}.PaymentError", "Exception", "BaseException")
    assert "raise error" in record.traceback


def test_long_messages_are_cut_and_of_long_tracebacks_the_end_is_kept():
    record = recorded(ValueError("x" * 100_000 + "!"))
    assert len(record.message) == MAX_MESSAGE
    assert len(record.traceback) == MAX_TRACEBACK
    assert record.traceback.rstrip().endswith("!")


def test_what_postgresql_refuses_is_replaced():
    assert recorded(ValueError("a\x00b\ud800c")).message == "a\ufffdb?c"


SAME = {
    "numbers": ("order 17 has 3 items", "order 4711 has 20 items"),
    "addresses": ("<Client at 0x7f12ab> closed", "<Client at 0x99ff01c> closed"),
    "quoted values": ("no key 'a' in \"b\"", "no key 'other' in \"else\""),
    "later lines": ("failed\nfirst detail", "failed\nsecond detail"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_errors_that_differ_only_in_such_details_have_one_fingerprint(one, other):
    assert ErrorRecord("ValueError", one).fingerprint == ErrorRecord("ValueError", other).fingerprint


def test_errors_of_another_class_or_with_other_words_differ():
    records = [ErrorRecord("ValueError", "no"), ErrorRecord("KeyError", "no"), ErrorRecord("ValueError", "yes")]
    assert len({record.fingerprint for record in records}) == 3


def test_an_error_without_words_has_a_fingerprint():
    assert len(ErrorRecord("ValueError", "").fingerprint) == 16
