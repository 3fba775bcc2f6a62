"""Whether another attempt follows, and when, against a reference that plays attempt by attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kalends.clock import MAX_US, US
from kalends.policies import Delivery, Policies, RetryBackoff
from kalends.retrying import Ask, RetryPlan, backoff_us, is_retried, plan_retry

NONE = RetryPlan(None)
ANYTHING = ("Oops", "app.Oops", "ValueError", "builtins.ValueError", "Exception")


def plan(policies: Policies, failures: int = 1, **more: Any) -> RetryPlan:
    values = {"execution_id": "x1", "attempt": failures, "kinds": ANYTHING, "ended": 0, **more}
    return plan_retry(policies, failures=failures, **values)


def plain(**values: Any) -> Policies:
    """Policies without jitter: delays are what the formula says."""
    return Policies(**{"retries": 100, "retry_jitter": 0.0, **values})


# -- the delay ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "seconds"),
    [
        (RetryBackoff.CONSTANT, [3, 3, 3, 3, 3, 3]),
        (RetryBackoff.LINEAR, [3, 6, 9, 12, 15, 18]),
        (RetryBackoff.EXPONENTIAL, [3, 6, 12, 24, 40, 40]),
    ],
)
def test_the_delay_grows_as_its_kind_says_up_to_the_longest(
    backoff: RetryBackoff, seconds: list[int]
) -> None:
    policies = plain(retry_delay=3.0, retry_backoff=backoff, retry_max_delay=40.0)
    delays = [backoff_us(policies, failures, "seed") for failures in range(1, 7)]
    assert delays == [second * US for second in seconds]


policy = st.builds(
    Policies,
    retries=st.integers(0, 6),
    max_attempts=st.integers(1, 6),
    retry_delay=st.floats(0, 1e7),
    retry_backoff=st.sampled_from(RetryBackoff),
    retry_max_delay=st.floats(0, 1e7),
    retry_jitter=st.floats(0, 1),
    retry_on=st.lists(st.sampled_from(["Oops", "KeyError", "Exception"]), max_size=2).map(tuple),
    give_up_on=st.lists(st.sampled_from(["app.Oops", "KeyError"]), max_size=1).map(tuple),
)


@given(policies=policy, failures=st.integers(1, 1000), seed=st.text(max_size=20))
def test_a_delay_is_shortened_by_the_jitter_at_most_and_always_the_same(
    policies: Policies, failures: int, seed: str
) -> None:
    whole = backoff_us(replace(policies, retry_jitter=0.0), failures, seed)
    drawn = backoff_us(policies, failures, seed)
    assert whole - round(whole * policies.retry_jitter) <= drawn <= whole
    assert whole <= round(policies.retry_max_delay * US)
    assert drawn == backoff_us(policies, failures, seed)


def test_full_jitter_spreads_executions_that_failed_together_over_the_whole_delay() -> None:
    policies = Policies(retries=1, retry_delay=100.0, retry_jitter=1.0)
    plans = [plan(policies, execution_id=f"x{number}") for number in range(1000)]
    drawn = [found.ready_at // (10 * US) for found in plans if found.ready_at is not None]
    assert [drawn.count(part) > 60 for part in range(10)] == [True] * 10


def test_the_attempts_of_one_execution_draw_anew() -> None:
    policies = Policies(retries=9, retry_backoff=RetryBackoff.CONSTANT, retry_jitter=1.0)
    assert len({plan(policies, failures).ready_at for failures in range(1, 10)}) == 9


def test_the_delay_of_an_execution_is_pinned() -> None:
    assert plan(Policies(retries=1), ended=1_000_000_000 * US).ready_at == 1_000_000_009_058_081


# -- the decision ------------------------------------------------------------------------------


@given(
    policies=policy,
    raised=st.lists(
        st.sampled_from([("Oops", "app.Oops", "Exception"), ("KeyError", "Exception")]), max_size=9
    ),
)
def test_failures_are_tried_again_until_a_filter_says_no_or_the_retries_are_used_up(
    policies: Policies, raised: list[tuple[str, ...]]
) -> None:
    left = policies.retries
    for failures, kinds in enumerate(raised, start=1):
        found = plan(policies, failures, kinds=kinds, ended=7)
        wanted = not set(policies.retry_on).isdisjoint(kinds) or not policies.retry_on
        if policies.retries == 0 or not wanted or set(policies.give_up_on) & set(kinds):
            assert found == NONE
            return
        if left == 0:
            assert found == RetryPlan(None, exhausted=True)
            return
        left -= 1
        assert found.ready_at == 7 + backoff_us(policies, failures, f"x1\n{failures}")


@pytest.mark.parametrize(
    ("retry_on", "give_up_on", "retried"),
    [
        ((), (), True),
        (("Oops",), (), True),
        (("app.Oops",), (), True),
        (("ValueError",), (), True),
        (("builtins.ValueError", "KeyError"), (), True),
        (("KeyError",), (), False),
        (("other.Oops",), (), False),
        (("oops",), (), False),
        ((), ("Oops",), False),
        ((), ("Exception",), False),
        (("Oops",), ("ValueError",), False),
        ((), ("KeyError",), True),
    ],
)
def test_filters_match_any_class_of_what_was_raised_and_giving_up_wins(
    retry_on: tuple[str, ...], give_up_on: tuple[str, ...], retried: bool
) -> None:
    assert is_retried(Policies(retry_on=retry_on, give_up_on=give_up_on), ANYTHING) is retried


def test_a_job_that_asks_is_tried_again_whatever_the_filters_say() -> None:
    policies = plain(retries=2, max_attempts=1, give_up_on=("Exception",), retry_delay=5.0)
    assert plan(policies, ask=Ask(True, None)).ready_at == 5 * US
    assert plan(policies, ask=Ask(True, 77)).ready_at == 77
    assert plan(policies, 2, ask=Ask(True, 77)).ready_at == 77
    assert plan(policies, 3, ask=Ask(True, 77)) == RetryPlan(None, exhausted=True)


@given(retries=st.integers(0, 8), attempts=st.integers(1, 8))
def test_asking_is_bounded_by_the_greater_of_retries_and_attempts(
    retries: int, attempts: int
) -> None:
    policies = plain(retries=retries, max_attempts=attempts)
    heard = [plan(policies, n, ask=Ask(True, 1)).ready_at is not None for n in range(1, 20)]
    assert heard == [n <= max(retries, attempts - 1) for n in range(1, 20)]


def test_snoozing_is_no_failure_and_may_go_on_for_ever() -> None:
    policies = Policies(retries=0, max_attempts=1)
    found = plan(policies, 0, attempt=10_000, ask=Ask(False, 60 * US), ended=5)
    assert found == RetryPlan(5 + 60 * US)
    assert plan(policies, 500, ask=Ask(False, 1)).ready_at == 1, "failures do not count against it"


def test_at_most_once_allows_nothing_and_says_so_to_a_job_that_asks() -> None:
    policies = Policies(delivery=Delivery.AT_MOST_ONCE)
    assert plan(policies) == NONE
    for ask in (Ask(True, None), Ask(False, 1)):
        assert plan(policies, ask=ask) == RetryPlan(None, forbidden=True)


def test_no_attempt_is_planned_beyond_the_end_of_time() -> None:
    assert plan(plain(), ended=MAX_US - 1, ask=Ask(True, 10**17)).ready_at == MAX_US


def test_a_further_attempt_is_neither_exhausted_nor_forbidden() -> None:
    found = plan(Policies(retries=1))
    assert found.ready_at is not None
    assert (found.exhausted, found.forbidden) == (False, False)
