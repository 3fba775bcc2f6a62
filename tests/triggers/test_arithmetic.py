"""Answers come from arithmetic, not from walks: what is bounded here is the number of calls made,
which no machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import Trigger, calendar, cron, every, rrule, search, weekdays

T0 = pendulum.datetime(2027, 1, 1)
YEAR = (T0, T0.add(years=1))
DECADE = (T0, T0.add(years=10))
OSLO = "Europe/Oslo"


def calls(ask: Callable[[], Any]) -> int:
    """How many calls of Python functions an answer takes, once it was asked for before: tables
    that are made when they are first needed are made by then."""
    ask()
    made = 0

    def tell(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal made
        made += event == "call"

    before = sys.getprofile()
    sys.setprofile(tell)
    try:
        ask()
    finally:
        sys.setprofile(before)
    return made


DENSE: list[Trigger] = [
    cron("* * * * * *"),
    cron("* * * * * *", tz=OSLO),
    cron("*/7 * 3,9 * * 1-5", tz=OSLO),
    cron("*/5 * * * *", tz=OSLO, gap="shift", fold="last"),
    every(seconds=1, anchor=T0),
    calendar(days=1, at=[f"{hour:02}:00" for hour in range(24)], tz=OSLO),
    rrule("FREQ=MINUTELY", start="2000-01-01T00:00:00", tz=OSLO),
    cron("* * * * * *").between(T0, T0.add(years=20)).jitter(1),
]
SPARSE: list[Trigger] = [
    cron("0 0 29 2 *", tz=OSLO),
    cron("0 0 13 * 5"),
    calendar(years=4, month=2, day=29, anchor=T0.add(years=1)),
    rrule("FREQ=MONTHLY;BYDAY=-1FR", start="2000-01-01T00:00:00", tz=OSLO),
]


@pytest.mark.parametrize("rule", DENSE, ids=repr)
def test_a_year_of_seconds_is_counted_in_a_few_hundred_calls(rule: Trigger) -> None:
    assert rule.count(*YEAR) > 1_000
    assert calls(lambda: rule.count(*YEAR)) < 300
    assert calls(lambda: rule.count(*DECADE)) < 2_000


@pytest.mark.parametrize("rule", DENSE + SPARSE, ids=repr)
def test_a_jump_of_ten_years_costs_what_a_step_costs(rule: Trigger) -> None:
    far = to_us(DECADE[1]) + 123
    for ask in (rule.next_us, rule.previous_us):
        assert calls(lambda ask=ask: ask(far)) < 150  # type: ignore[misc]  # a default, to bind it
    due = rule.previous_us(far)
    assert due is not None
    assert rule.next_us(due - 1) == due


def test_what_lies_between_is_walked_only_as_far_as_it_is_asked_for() -> None:
    rule = cron("* * * * * *", tz=OSLO).between(*DECADE)
    assert calls(lambda: next(iter(rule))) < 200


def test_the_end_of_a_limit_is_found_by_counting() -> None:
    limited = cron("* * * * * *", tz=OSLO).limit(10**9, anchor=T0)
    made = calls(lambda: cron("* * * * * *", tz=OSLO).limit(10**9, anchor=T0).next_us(MAX_US - 1))
    assert made < 25_000  # 10^9 seconds are 32 years
    assert limited.count_us(MIN_US, MAX_US) == 10**9


def test_days_are_left_out_in_runs() -> None:
    working = cron("* * * * * *", tz=OSLO) - weekdays("sat", "sun")
    assert working.count(*YEAR) == 261 * 86_400 - 3_600  # Oslo's Friday began an hour before
    assert calls(lambda: working.count(*YEAR)) < 53 * 120
    assert calls(lambda: working.next_us(to_us(DECADE[1]))) < 200


def test_two_rules_of_one_clock_are_counted_as_one() -> None:
    both = cron("*/2 * * * * *") & cron("*/3 * * * * *")
    assert both.count(*YEAR) == 365 * 86_400 // 6
    assert calls(lambda: both.count(*YEAR)) < 300
    meeting = every(seconds=4, anchor=T0) & every(seconds=6, anchor=T0)
    assert meeting.count(*YEAR) == 365 * 86_400 // 12
    assert calls(lambda: meeting.count(*YEAR)) < 50


def test_counting_that_has_to_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    both = cron("* * * * *") & cron("* * * * *", tz=OSLO)
    either = cron("* * * * *") | cron("*/2 * * * *", tz=OSLO)
    less = cron("* * * * *") - cron("*/2 * * * *", tz=OSLO)
    day = (T0, T0.add(days=1))
    assert [rule.count(*day) for rule in (both, either, less)] == [1_440, 1_440, 720]
    monkeypatch.setattr(search, "COUNTED", 700)
    for rule in (both, either, less):
        with pytest.raises(ValidationFailed, match="steps"):
            rule.count(*day)
        assert rule.next(T0) is not None


def test_a_search_inside_a_search_takes_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise two that are nested may take the product of what each of them may."""
    nine = cron("0 9 * * *", tz=OSLO)
    late = nine - nine.between(T0, T0.add(days=40))  # 40 steps
    nested = (late | cron("0 8 * * *", tz=OSLO)) & cron("0 9 * * *", tz="Europe/Berlin")  # 40 more
    monkeypatch.setattr(search, "STEPS", 60)
    with pytest.raises(ValidationFailed, match="steps"):
        nested.next_us(to_us(T0))
    monkeypatch.setattr(search, "STEPS", 100)
    assert nested.next_us(to_us(T0)) == late.next_us(to_us(T0))
    monkeypatch.setattr(search, "STEPS", 60)
    alone = nine - nine.between(T0, T0.add(days=40))
    assert alone.next_us(to_us(T0)) == nine.next_us(to_us(T0.add(days=40)) - 1)
