"""What whoever makes a rule is warned of: the changes of the clock within a year from then."""

from __future__ import annotations

import pendulum
import pytest

from kalends.clock import US, to_us
from kalends.triggers import Trigger, calendar, cron, every, once, rrule, search, transitions
from kalends.triggers.transitions import _in_year_from, warnings_of

NOW = pendulum.datetime(2027, 1, 1, 12)
NOW_US = to_us(NOW)
OSLO = "Europe/Oslo"
NIGHT = cron("30 2 * * *", tz=OSLO)
SPRING, AUTUMN = to_us(pendulum.datetime(2027, 3, 28, 1)), to_us(pendulum.datetime(2027, 10, 31, 1))


def changes(rule: Trigger, now: int = NOW_US) -> list[int]:
    return [met.at_us for met in warnings_of(rule, now)]


def test_a_warning_is_a_change_of_the_clock_within_a_year() -> None:
    assert changes(NIGHT) == [SPRING, AUTUMN]
    assert list(warnings_of(NIGHT, NOW_US)) == transitions(NIGHT, NOW, NOW.add(years=1))
    later = to_us(pendulum.datetime(2028, 3, 26, 1))  # less than a year after the last spring's
    assert changes(NIGHT, SPRING - 1) == [SPRING, AUTUMN, later]
    assert changes(NIGHT, SPRING) == [AUTUMN, later]
    assert changes(NIGHT, SPRING + 3_600 * US) == [AUTUMN, later]


@pytest.mark.parametrize(
    "rule",
    [
        every(hours=1), once(NOW), cron("30 2 * * *"), cron("30 2 * * *", tz="Africa/Nairobi"),
        cron("30 9 * * *", tz=OSLO), calendar(days=2, at="02:30"), rrule("FREQ=DAILY"),
    ],
    ids=repr,
)  # fmt: skip
def test_no_warning_where_no_change_is_met(rule: Trigger) -> None:
    assert changes(rule) == []


def test_a_rule_without_its_anchor_is_warned_of_as_if_made_now() -> None:
    rule = calendar(days=2, at="02:30", tz=OSLO)
    met = [
        at
        for at in (SPRING, AUTUMN)
        if rule.anchored(NOW_US).moments.count(at, at + 3 * 3_600 * US)
    ]
    assert changes(rule) == met
    assert changes(rrule("FREQ=DAILY", tz=OSLO)) == []  # at 13:00, as it was made
    assert changes(rrule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", tz=OSLO)) == [SPRING, AUTUMN]


def test_what_has_ended_by_then_is_not_warned_of() -> None:
    assert changes(NIGHT.limit(3, anchor=NOW)) == []
    assert changes(NIGHT.limit(3)) == []
    assert changes(NIGHT.limit(100)) == [SPRING]
    assert changes(NIGHT.between(pendulum.datetime(2027, 5, 1))) == [AUTUMN]
    assert changes(rrule("FREQ=DAILY;BYHOUR=2;COUNT=100", start=NOW, tz=OSLO)) == [SPRING]


def test_a_rule_that_is_taken_out_of_another_is_not_warned_of() -> None:
    hourly = every(hours=1, anchor=NOW)
    assert changes(hourly - NIGHT) == []
    assert changes(NIGHT - hourly.between(NOW, NOW.add(days=2))) == [SPRING, AUTUMN]
    assert changes((NIGHT | hourly).jitter(5)) == [SPRING, AUTUMN]


def test_a_limit_that_cannot_be_counted_hides_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = (NIGHT & cron("30 2 * * *", tz="Europe/Berlin")).limit(300, anchor=NOW)
    monkeypatch.setattr(search, "COUNTED", 10)
    assert set(changes(rule)) == {SPRING, AUTUMN}


def test_one_rule_is_looked_into_once_a_day() -> None:
    rule = cron("17 2 * * *", tz=OSLO)
    before = _in_year_from.cache_info()
    for second in range(500):
        assert len(warnings_of(cron("17 2 * * *", tz=OSLO), NOW_US + second * US)) == 2
    after = _in_year_from.cache_info()
    assert after.misses == before.misses + 1
    unzoned = _in_year_from.cache_info()
    assert changes(cron("17 2 * * *")) == []
    assert _in_year_from.cache_info() == unzoned
    assert transitions(rule, NOW, NOW.add(years=1))
