"""Delays that are drawn once, and rules that end after so many."""

from __future__ import annotations

import statistics
from typing import Any

import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US, US, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import Trigger, cron, every, from_json, once, weekdays

T0 = pendulum.datetime(2026, 1, 1)
T0_US = to_us(T0)
NAMES = {"cron": cron, "every": every, "once": once, "pendulum": pendulum}


def test_jitter_leaves_the_instants_alone() -> None:
    plain = cron("*/5 * * * *")
    late = plain.jitter(30)
    window = T0_US, T0_US + 10**10
    assert list(late.between_us(*window)) == list(plain.between_us(*window))
    assert late.count_us(*window) == plain.count_us(*window)
    assert late.previous_us(T0_US) == plain.previous_us(T0_US)
    assert plain.delay_us(T0_US, "id") == 0


def test_a_delay_is_drawn_once_and_spreads_out() -> None:
    rule = cron("*/5 * * * *").jitter(30)
    delays = [rule.delay_us(due, "event") for due in rule.between_us(T0_US, T0_US + 10**11)]
    assert delays == [rule.delay_us(due, "event") for due in rule.between_us(T0_US, T0_US + 10**11)]
    assert len(set(delays)) == len(delays)
    assert all(0 <= delay < 30 * US for delay in delays)
    assert 13 * US < statistics.mean(delays) < 17 * US
    assert rule.delay_us(T0_US, "event") != rule.delay_us(T0_US, "another")
    assert rule.delay_us(T0_US, "event") == 25_743_458  # the same in every version


def test_a_delay_never_reaches_the_next_instant() -> None:
    rule = every(seconds=1, anchor=T0).jitter(3_600)
    for due in rule.between_us(T0_US, T0_US + 500 * US):
        assert 0 <= rule.delay_us(due, "event") < US
    assert once(T0).jitter(5).delay_us(T0_US, "event") < 5 * US
    end = once(pendulum.datetime(9999, 12, 31, 23, 59, 59)).jitter(3_600)
    due_last = end.next_us(T0_US)
    assert due_last is not None
    assert due_last + end.delay_us(due_last, "event") <= MAX_US


def test_a_delay_survives_what_is_put_around_it() -> None:
    late = cron("*/5 * * * *").jitter(30)
    delay = late.delay_us(T0_US, "event")
    plain = cron("*/5 * * * *")
    for rule in (
        late.between(T0),
        late.limit(5, anchor=T0.subtract(days=1)),
        late - weekdays("sat"),
        late - once(T0.add(days=1)),
        late | plain,
        late & plain,
    ):
        assert rule.delay_us(T0_US, "event") == delay
    assert (plain | late).delay_us(T0_US, "event") == 0
    assert (plain | late).delay_us(T0_US + 1, "event") == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5", None, 10**400])
def test_an_absurd_jitter_is_refused(seconds: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron("* * * * *").jitter(seconds)
    assert caught.value.details["path"] == "jitter"


def test_a_limit_counts_from_the_beginning_of_the_rule() -> None:
    rule = cron("0 0 * * *").between(start=T0).limit(3)
    assert [at.day for at in rule.between(T0.subtract(years=1))] == [1, 2, 3]
    assert rule.count_us(MIN_US, MAX_US) == 3
    assert rule.next_us(T0_US + 2 * 86_400 * US) is None
    assert rule.previous_us(MAX_US) == T0_US + 2 * 86_400 * US
    assert rule.previous_us(T0_US) is None
    assert rule.next_us(T0_US + 86_400 * US) == T0_US + 2 * 86_400 * US
    assert rule.anchored(5) is rule


def test_a_limit_counts_from_creation_where_the_rule_has_no_beginning() -> None:
    rule = every(minutes=5).limit(2)
    assert rule.needs_anchor
    with pytest.raises(ValidationFailed):
        rule.next_us(T0_US)
    with pytest.raises(ValidationFailed, match="no beginning"):
        cron("0 0 * * *").limit(2).next_us(T0_US)
    made = rule.anchored(T0_US)
    assert list(made.between_us(MIN_US, MAX_US)) == [T0_US + 300 * US, T0_US + 600 * US]
    assert made == every(minutes=5, anchor=T0).limit(2, anchor=T0)
    assert made.anchored(5) is made
    daily = cron("0 0 * * *").limit(1).anchored(T0_US)
    assert daily.next_us(0) == T0_US + 86_400 * US
    assert daily.next_us(T0_US + 86_400 * US) is None


def test_a_large_limit_is_found_by_counting() -> None:
    rule = cron("* * * * * *").limit(10**9, anchor=T0)
    assert rule.previous_us(MAX_US) == T0_US + 10**9 * US
    assert rule.count_us(MIN_US, MAX_US) == 10**9
    few = cron("0 0 29 2 *").limit(10**6, anchor=T0)
    assert few.count_us(MIN_US, MAX_US) == cron("0 0 29 2 *").count_us(T0_US, MAX_US)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "5", None, 10**10])
def test_an_absurd_limit_is_refused(n: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        cron("* * * * *").limit(n)
    assert caught.value.details["path"] == "limit"


@pytest.mark.parametrize(
    ("rule", "text", "words"),
    [
        (
            cron("0 6 * * *").jitter(2.5),
            "cron('0 6 * * *').jitter(2.5)",
            "at 06:00 every day, UTC, each begun up to 2.5 seconds late",
        ),
        (
            cron("0 6 * * *").limit(3),
            "cron('0 6 * * *').limit(3)",
            "at 06:00 every day, UTC, 3 times",
        ),
        (
            every(hours=1).limit(1, anchor=T0),
            "every(hours=1).limit(1, anchor=pendulum.datetime(2026, 1, 1))",
            "every hour, once only, counted from 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_they_print_back_and_are_stored(rule: Trigger, text: str, words: str) -> None:
    assert repr(rule) == text
    assert eval(text, dict(NAMES)) == rule  # noqa: S307  (its own text)
    assert from_json(rule.to_json()) == rule
    assert rule.describe() == words
