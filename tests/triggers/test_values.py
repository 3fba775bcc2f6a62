"""Triggers as values: once, every, bounds, and what all of them share."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import MAX_US, MIN_US, US, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import Interval, Trigger, cron, every, from_json, once

T0 = pendulum.datetime(2026, 1, 1)
T0_US = to_us(T0)
NAMES = {"once": once, "every": every, "cron": cron, "pendulum": pendulum}

EACH: list[Trigger] = [
    once(T0),
    once(pendulum.datetime(2026, 3, 29, 2, 30, 0, 123456, tz="UTC")),
    every(minutes=5),
    every(minutes=5, anchor=T0),
    every(weeks=1, days=2, hours=3, minutes=4, seconds=5.5, anchor=T0),
    cron("0 6 * * 1-5", tz="Europe/Oslo"),
    cron("@daily"),
    cron("0 6 * * 1-5").between(T0, T0.add(days=7)),
    every(hours=1, anchor=T0).between(start=T0),
    once(T0).between(end=T0.add(days=1)).between(start=T0),
]


@pytest.mark.parametrize("trigger", EACH, ids=repr)
def test_a_trigger_prints_the_call_that_makes_it(trigger: Trigger) -> None:
    again = eval(repr(trigger), dict(NAMES))  # noqa: S307  (its own text, no stranger's)
    assert again == trigger
    assert repr(again) == repr(trigger)


@pytest.mark.parametrize("trigger", EACH, ids=repr)
def test_json_brings_the_same_trigger_back(trigger: Trigger) -> None:
    stored = trigger.to_json()
    assert stored["v"] == 1
    again = from_json(stored)
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert repr(again) == repr(trigger)
    assert again.to_json() == stored


def test_each_trigger_equals_itself_and_no_other() -> None:
    assert len(set(EACH)) == len(EACH)
    assert every(minutes=5) == every(seconds=300)
    assert hash(every(minutes=5)) == hash(every(seconds=300))
    assert every(minutes=5) != "every(minutes=5)"
    assert once(T0) == once(T0.in_timezone("Asia/Tokyo"))


@pytest.mark.parametrize("trigger", EACH, ids=repr)
def test_a_trigger_does_not_change(trigger: Trigger) -> None:
    with pytest.raises(AttributeError):
        trigger.anything = 1
    with pytest.raises(AttributeError):
        del trigger.anything  # type: ignore[attr-defined]  # the point of the test
    assert copy.copy(trigger) is trigger
    assert copy.deepcopy(trigger) is trigger


def test_printing_is_what_was_written() -> None:
    assert repr(cron("0 6 * * 1-5", tz="Europe/Oslo")) == "cron('0 6 * * 1-5', tz='Europe/Oslo')"
    assert repr(every(seconds=90)) == "every(seconds=90)"
    assert repr(once(T0)) == "once(pendulum.datetime(2026, 1, 1))"
    bounded = every(days=1).between(end=T0.add(hours=6))
    assert repr(bounded) == "every(days=1).between(end=pendulum.datetime(2026, 1, 1, 6))"


def test_people_ask_and_are_answered_in_utc() -> None:
    rule = cron("0 6 * * *", tz="Europe/Oslo")
    due = rule.next(pendulum.datetime(2026, 7, 1, tz="Asia/Tokyo"))
    assert isinstance(due, pendulum.DateTime)
    assert due.isoformat() == "2026-07-01T04:00:00+00:00"
    assert rule.previous(due) == due.subtract(days=1)
    assert rule.count(due, due.add(days=3)) == 3
    assert list(rule.between(due, due.add(days=2))) == [due, due.add(days=1)]
    assert once(due).next(due) is None
    assert once(due).previous(due) is None


@pytest.mark.parametrize("value", [None, 5, "2026-01-01T00:00:00Z", dt.datetime(2026, 1, 1)])  # noqa: DTZ001
def test_an_instant_must_be_an_aware_datetime(value: Any) -> None:
    rule = cron("0 6 * * *")
    wrong: Any = "x" if value is None else value  # None is no anchor, and an open bound
    for ask in (rule.next, rule.previous, lambda at: rule.count(at, T0), once):
        with pytest.raises(ValidationFailed):
            ask(value)
    with pytest.raises(ValidationFailed):
        every(minutes=1, anchor=wrong)
    with pytest.raises(ValidationFailed):
        rule.between(wrong, T0)


def test_once_is_due_once() -> None:
    rule = once(T0)
    assert rule.next_us(T0_US - 1) == T0_US
    assert rule.next_us(T0_US) is None
    assert rule.previous_us(T0_US) is None
    assert rule.previous_us(T0_US + 1) == T0_US
    assert rule.count_us(T0_US, T0_US + 1) == 1
    assert rule.count_us(T0_US - 1, T0_US) == 0
    assert rule.anchored(5) is rule


def test_every_counts_from_its_anchor_in_both_directions() -> None:
    rule = every(minutes=5, anchor=T0)
    step = 300 * US
    assert rule.next_us(T0_US) == T0_US + step
    assert rule.next_us(T0_US - 1) == T0_US
    assert rule.previous_us(T0_US) == T0_US - step
    assert rule.count_us(T0_US, T0_US + 2 * step) == 2
    assert rule.count_us(T0_US + 1, T0_US + step) == 0
    assert list(rule.between_us(T0_US, T0_US + step + 1)) == [T0_US, T0_US + step]


def test_every_without_an_anchor_begins_one_period_after_it_was_made() -> None:
    rule = every(minutes=5)
    for ask in (rule.next_us, rule.previous_us, lambda at: rule.count_us(at, at + 1)):
        with pytest.raises(ValidationFailed, match="no anchor") as caught:
            ask(T0_US)
        assert caught.value.details["path"] == "anchor"
    made = rule.anchored(T0_US)
    assert made.next_us(T0_US) == T0_US + 300 * US
    assert made.anchored(0) is made
    bounded = rule.between(start=T0).anchored(T0_US)
    assert bounded == made.between(start=T0)
    assert bounded.anchored(0) is bounded


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"seconds": 0},
        {"seconds": -1},
        {"minutes": 5, "seconds": -10},
        {"seconds": 1e-7},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": True},
        {"seconds": "5"},
        {"seconds": None},
        {"seconds": 5j},
        {"seconds": dt.timedelta(5)},
        {"weeks": 60_000},
        {"days": 365_251},
        {"seconds": 10**400},
        {"seconds": 1e300},
    ],
)
def test_an_absurd_period_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        every(**given_)
    assert caught.value.details["path"] in {"period", *given_}


def test_periods_are_whole_microseconds() -> None:
    assert every(seconds=0.1).period_us == 100_000
    assert every(seconds=1 / 3).period_us == 333_333
    assert every(weeks=1.5).period_us == 907_200 * US
    assert every(days=365_250).period_us == 365_250 * 86_400 * US


def test_every_ends_with_the_calendar() -> None:
    rule = every(days=1, anchor=T0)
    assert rule.next_us(MAX_US) is None
    assert rule.previous_us(MIN_US) is None
    assert rule.next_us(MIN_US - 10**18) == MIN_US
    assert rule.previous_us(MAX_US + 10**18) == MAX_US + 1 - 86_400 * US
    assert rule.count_us(MIN_US - 10**18, MAX_US + 10**18) == 3_652_059


@given(
    period=st.integers(1, 10**12),
    anchor=st.integers(MIN_US, MAX_US),
    a=st.integers(MIN_US, MAX_US),
    width=st.integers(0, 10**13),
)
def test_interval_arithmetic_agrees_with_itself(
    period: int, anchor: int, a: int, width: int
) -> None:
    rule = Interval({"seconds": period / US}, anchor)
    due = rule.next_us(a)
    if due is not None:
        assert due > a
        assert (due - anchor) % rule.period_us == 0
        assert due - a <= rule.period_us
        assert rule.previous_us(due + 1) == due
        before = rule.previous_us(due)
        assert before is None or before <= a
    count = rule.count_us(a, a + width)
    last = rule.previous_us(a + width)
    if last is None or last < a:
        assert count == 0
    else:
        first = rule.next_us(a - 1)
        assert first is not None
        assert count == (last - first) // rule.period_us + 1


def test_bounds_include_the_start_and_exclude_the_end() -> None:
    day = 86_400 * US
    rule = cron("0 0 * * *").between(T0, T0.add(days=3))
    assert rule.next_us(MIN_US) == T0_US
    assert rule.next_us(T0_US) == T0_US + day
    assert rule.next_us(T0_US + 2 * day - 1) == T0_US + 2 * day
    assert rule.next_us(T0_US + 2 * day) is None
    assert rule.previous_us(MAX_US) == T0_US + 2 * day
    assert rule.previous_us(T0_US + 1) == T0_US
    assert rule.previous_us(T0_US) is None
    assert rule.count_us(MIN_US, MAX_US) == 3
    assert rule.count_us(T0_US + 5 * day, T0_US + 9 * day) == 0
    assert len(list(rule)) == 3


def test_a_bound_may_be_open() -> None:
    begins = cron("0 0 * * *").between(start=T0)
    assert begins.previous_us(T0_US) is None
    assert next(iter(begins)) == T0
    ends = cron("0 0 * * *").between(end=T0)
    assert ends.next_us(T0_US - 1) is None
    assert next(iter(ends)).year == 1


def test_bounds_that_leave_nothing_are_refused() -> None:
    rule = cron("0 0 * * *")
    with pytest.raises(ValidationFailed):
        rule.between()
    with pytest.raises(ValidationFailed):
        rule.between(T0, T0)
    with pytest.raises(ValidationFailed):
        rule.between(T0.add(days=1), T0)


def test_nesting_is_bounded() -> None:
    rule: Trigger = once(T0)
    for _ in range(31):
        rule = rule.between(start=T0)
    assert rule.depth == 32
    assert from_json(rule.to_json()) == rule
    with pytest.raises(ValidationFailed, match="32 deep"):
        rule.between(start=T0)


STORED: dict[Any, Any] = {
    "v": 1,
    "type": "cron",
    "expr": "* * * * *",
    "tz": "UTC",
    "dialect": "vixie",
}


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        (None, "trigger"),
        ([], "trigger"),
        ("cron", "trigger"),
        ({}, "trigger.v"),
        ({**STORED, "v": 2}, "trigger.v"),
        ({**STORED, "v": True}, "trigger.v"),
        ({**STORED, "v": "1"}, "trigger.v"),
        ({**STORED, "type": "os:system"}, "trigger.type"),
        ({**STORED, "type": ["cron"]}, "trigger.type"),
        ({**STORED, "module": "os"}, "trigger"),
        ({**STORED, 5: "os"}, "trigger"),
        ({**STORED, "expr": 5}, "trigger.expr"),
        ({**STORED, "expr": "61 * * * *"}, "expr"),
        ({**STORED, "tz": None}, "trigger.tz"),
        ({**STORED, "tz": "Mars/Phobos"}, "tz"),
        ({**STORED, "dialect": "x"}, "dialect"),
        ({"v": 1, "type": "once"}, "trigger.at"),
        ({"v": 1, "type": "once", "at": "tomorrow"}, "trigger.at"),
        ({"v": 1, "type": "once", "at": "2026-01-01T00:00:00"}, "trigger.at"),
        ({"v": 1, "type": "once", "at": "9999-12-31T23:59:59-23:00"}, "trigger.at"),
        ({"v": 1, "type": "every"}, "period"),
        ({"v": 1, "type": "every", "minutes": "5"}, "minutes"),
        ({"v": 1, "type": "every", "minutes": 5, "anchor": 5}, "trigger.anchor"),
        ({"v": 1, "type": "between"}, "trigger.rule"),
        ({"v": 1, "type": "between", "rule": {"v": 1}, "start": None}, "trigger.rule.type"),
        ({"v": 1, "type": "between", "rule": STORED}, "start"),
        ({"v": 1, "type": "between", "rule": STORED, "end": 5}, "trigger.end"),
    ],
)
def test_damaged_json_is_refused(stored: object, path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        from_json(stored)
    assert caught.value.details["path"] == path


def test_endless_nesting_in_json_is_refused() -> None:
    stored: dict[str, Any] = {}
    stored.update(v=1, type="between", rule=stored, start="2026-01-01T00:00:00Z")
    with pytest.raises(ValidationFailed, match="32 deep"):
        from_json(stored)
