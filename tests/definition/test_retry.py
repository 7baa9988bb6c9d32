from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.retry import Retry, RetryPolicy, class_names


class PaymentError(Exception):
    pass


class CardDeclined(PaymentError):
    pass


def test_a_policy_that_says_nothing_allows_three_attempts_and_backs_off_exponentially():
    assert RetryPolicy.of() == RetryPolicy(
        max_attempts=3, strategy="exponential", base=1.0, factor=2.0, cap=300.0, jitter=True
    )


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [("exponential", [1, 2, 4, 8, 10, 10]), ("linear", [1, 2, 3, 4, 5, 6]), ("constant", [1, 1, 1, 1, 1, 1])],
)
def test_delays_grow_as_the_strategy_says_up_to_the_cap(strategy, delays):
    policy = RetryPolicy(strategy=strategy, cap=10.0, jitter=False)
    assert [policy.delay(failures) for failures in range(1, 7)] == delays


@given(st.integers(1, 50))
def test_full_jitter_draws_between_zero_and_the_computed_delay(failures):
    exact = RetryPolicy(jitter=False).delay(failures)
    assert 0 <= RetryPolicy().delay(failures) <= exact


def test_jitter_spreads_the_delays():
    policy = RetryPolicy(base=100.0)
    assert len({policy.delay(1) for _ in range(20)}) > 10


@given(
    failures=st.integers(1, 10**6),
    base=st.floats(1e-3, 1e300),
    factor=st.one_of(st.integers(1, 10**30), st.floats(1e-3, 1e300)),
    strategy=st.sampled_from(["exponential", "linear", "constant"]),
)
def test_no_number_of_failures_overflows(failures, base, factor, strategy):
    policy = RetryPolicy(strategy=strategy, base=base, factor=factor, cap=60.0)
    assert 0 <= policy.delay(failures) <= 60.0


def test_a_function_as_strategy_is_taken_at_its_word():
    policy = RetryPolicy(strategy="callable:mine", cap=1.0)
    assert policy.delay(3, lambda failures: timedelta(hours=failures)) == 3 * 3600


def test_a_function_cannot_ask_for_a_delay_before_now():
    assert RetryPolicy().delay(1, lambda failures: timedelta(seconds=-5)) == 0.0


def test_any_error_is_retried_unless_said_otherwise():
    assert RetryPolicy().wants(class_names(ValueError()))


def test_retry_on_covers_subclasses_and_nothing_else():
    policy = RetryPolicy.of(Retry(retry_on=(PaymentError,)).declared())
    assert policy.wants(class_names(CardDeclined()))
    assert not policy.wants(class_names(ValueError()))


def test_give_up_on_wins_over_retry_on():
    policy = RetryPolicy.of(Retry(retry_on=(PaymentError,), give_up_on=CardDeclined).declared())
    assert policy.wants(class_names(PaymentError()))
    assert not policy.wants(class_names(CardDeclined()))


def test_each_field_of_a_policy_is_inherited_by_itself():
    settings, flow, step = (
        Retry(max_attempts=9, base=timedelta(seconds=5)),
        Retry(cap=timedelta(60)),
        Retry(jitter=False),
    )
    policy = RetryPolicy.of(settings.declared(), flow.declared(), step.declared(), {"max_attempts": 2})
    assert (policy.max_attempts, policy.base, policy.cap, policy.jitter) == (2, 5.0, 60 * 86400.0, False)


def test_a_policy_declares_only_what_it_sets_with_times_in_seconds():
    declared = Retry(max_attempts=5, base=timedelta(milliseconds=250), retry_on=[ValueError, PaymentError]).declared()
    assert declared == {"max_attempts": 5, "base": 0.25, "retry_on": ["ValueError", f"{__name__}.PaymentError"]}
