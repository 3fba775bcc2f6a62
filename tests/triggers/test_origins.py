"""Where rules begin, and so where a limit counts from."""

from __future__ import annotations

import pendulum
import pytest

from kalends.clock import to_us
from kalends.triggers import Trigger, cron, every, once, rrule, weekdays

T0 = pendulum.datetime(2026, 1, 1)
EARLY, LATE = once(T0), once(T0.add(days=1))
ENDLESS = cron("0 0 * * *")
FROM_T0, FROM_LATE = ENDLESS.between(start=T0), ENDLESS.between(start=T0.add(days=1))


@pytest.mark.parametrize(
    ("rule", "origin"),
    [
        (EARLY, T0),
        (ENDLESS, None),
        (ENDLESS.between(start=T0), T0),
        (ENDLESS.between(end=T0), None),
        (ENDLESS.limit(3), None),
        (EARLY.jitter(3), T0),
        (EARLY | LATE, T0),
        (LATE | EARLY, T0),
        (EARLY | ENDLESS, None),
        (FROM_T0 & FROM_LATE, T0.add(days=1)),
        (FROM_LATE & FROM_T0, T0.add(days=1)),
        (FROM_T0 & ENDLESS, T0),
        (ENDLESS & cron("0 * * * *"), None),
        (LATE - EARLY, T0.add(days=1)),
        (EARLY & weekdays("thu"), T0),
        (rrule("FREQ=DAILY", start="2026-01-01T00:00:00"), T0),
        (rrule("FREQ=DAILY"), None),
    ],
    ids=repr,
)
def test_a_rule_begins_where_what_it_is_made_of_does(
    rule: Trigger, origin: pendulum.DateTime | None
) -> None:
    assert rule.origin_us == (None if origin is None else to_us(origin))


@pytest.mark.parametrize("rule", [EARLY & ENDLESS, ENDLESS & EARLY], ids=repr)
def test_before_one_of_two_rules_begins_they_have_nothing_in_common(rule: Trigger) -> None:
    assert rule.previous_us(to_us(T0)) is None
    assert rule.previous_us(to_us(T0) + 1) == to_us(T0)


def test_instants_a_microsecond_apart_are_told_apart() -> None:
    close = EARLY | once(T0.add(microseconds=1))
    assert list((close | LATE - close).between(T0, T0.add(days=9))) == [
        T0,
        T0.add(microseconds=1),
        T0.add(days=1),
    ]
    late = close.between(start=T0.add(microseconds=1))
    assert list(late.between(T0, T0.add(days=9))) == [T0.add(microseconds=1)]
    assert list(((close | LATE) - close).between(T0, T0.add(days=9))) == [T0.add(days=1)]


def test_a_limit_counts_from_the_later_of_its_anchor_and_the_beginning_of_its_rule() -> None:
    daily = every(days=1, anchor=T0).between(start=T0)
    assert daily.limit(2, anchor=T0.add(days=5)).origin_us == to_us(T0.add(days=5)) + 1
    assert daily.limit(2, anchor=T0.subtract(days=5)).origin_us == to_us(T0)
    assert ENDLESS.limit(2, anchor=T0).origin_us == to_us(T0) + 1


def test_a_limit_of_rules_that_begin_counts_from_there() -> None:
    both = (ENDLESS.between(start=T0) | LATE).limit(2)
    assert list(both.between(T0.subtract(days=1), T0.add(days=9))) == [T0, T0.add(days=1)]


def test_a_limit_counts_nothing_before_its_beginning_or_after_its_end() -> None:
    rule = ENDLESS.limit(2, anchor=T0)
    first, last = T0.add(days=1), T0.add(days=2)
    assert list(rule.between(T0.subtract(days=9), T0.add(days=9))) == [first, last]
    assert rule.previous_us(to_us(first)) is None
    assert rule.count_us(to_us(T0.subtract(days=9)), to_us(T0)) == 0
    assert rule.count_us(to_us(last) + 1, to_us(T0.add(days=9))) == 0
    assert FROM_T0.limit(2).previous_us(to_us(T0) + 1) == to_us(T0)
