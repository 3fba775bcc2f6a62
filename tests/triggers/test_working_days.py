"""Working days of the month: the last one, the first, the third; whatever is closed."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.errors import ValidationFailed
from kalends.triggers import cron, dates, from_json, weekdays, why, working_day
from kalends.triggers.day_sets import Days

WEEKEND = weekdays("sat", "sun")
EPOCH = dt.date(1970, 1, 1)


def months(rule: Any, year: int) -> list[str]:
    """The days of a year on which the rule is due, as month and day."""
    found = rule.between(pendulum.datetime(year, 1, 1), pendulum.datetime(year + 1, 1, 1))
    return [at.format("MM-DD") for at in found]


def test_the_last_working_day_comes_before_a_weekend_and_a_holiday() -> None:
    closed = WEEKEND | dates("2027-12-31", "2027-03-31")
    rule = cron("0 18 * * *", tz="Europe/Oslo") & working_day(-1, closed=closed)
    assert months(rule, 2027) == [
        "01-29", "02-26", "03-30", "04-30", "05-31", "06-30",
        "07-30", "08-31", "09-30", "10-29", "11-30", "12-30",
    ]  # fmt: skip
    year = pendulum.datetime(2027, 1, 1), pendulum.datetime(2028, 1, 1)
    assert rule.count(*year) == 12
    assert rule.previous(pendulum.datetime(2027, 4, 30)) == pendulum.datetime(2027, 3, 30, 16)


def test_public_holidays_move_the_last_working_day() -> None:
    pytest.importorskip("holidays")
    from kalends.triggers import holidays

    # Good Friday was 29 March, and Maundy Thursday is a public holiday in Norway, too.
    rule = cron("0 12 * * *", tz="Europe/Oslo") & working_day(-1, closed=WEEKEND | holidays("NO"))
    assert months(rule, 2024)[2] == "03-27"


def test_days_are_left_out_as_well_as_kept() -> None:
    rule = cron("0 8 * * *") - WEEKEND - working_day(1, -1, closed=WEEKEND)
    found = months(rule, 2027)
    assert found[:2] == ["01-04", "01-05"]
    assert "01-29" not in found
    assert "01-28" in found


@given(
    numbers=st.sets(st.integers(-31, 31).filter(bool), min_size=1, max_size=4),
    closed=st.one_of(
        st.sets(st.sampled_from(["sun", "mon", "tue", "wed", "thu", "fri", "sat"]), min_size=1)
        .filter(lambda names: len(names) < 7)
        .map(lambda names: weekdays(*sorted(names))),
        st.sets(st.dates(dt.date(2027, 1, 1), dt.date(2027, 12, 31)), min_size=1, max_size=40).map(
            lambda found: dates(*found) | WEEKEND
        ),
    ),
    year=st.integers(1990, 2060),
)
def test_they_are_those_of_a_slow_count(numbers: set[int], closed: Days, year: int) -> None:
    days = working_day(*numbers, closed=closed)
    wanted: set[int] = set()
    for month in range(1, 13):
        length = calendar.monthrange(year, month)[1]
        working = [
            number
            for day in range(1, length + 1)
            if not closed.has(number := (dt.date(year, month, day) - EPOCH).days)
        ]
        wanted |= {working[n - 1 if n > 0 else n] for n in numbers if abs(n) <= len(working)}
    first = (dt.date(year, 1, 1) - EPOCH).days
    whole = range(first, (dt.date(year + 1, 1, 1) - EPOCH).days)
    assert {day for day in whole if days.has(day)} == wanted
    for day in whole:
        later, earlier = days.until(day), days.since(day)
        assert earlier <= day < later
        assert {days.has(one) for one in range(earlier, later)} == {days.has(day)}


def test_they_are_values() -> None:
    days = working_day(-1, 2, -2, closed=WEEKEND | dates("2027-05-17"))
    assert repr(days) == (
        "working_day(-2, -1, 2, closed=weekdays('sat', 'sun') | dates('2027-05-17'))"
    )
    names = {"working_day": working_day, "weekdays": weekdays, "dates": dates}
    assert eval(repr(days), names) == days  # noqa: S307  (its own text)
    assert days != working_day(-1, closed=WEEKEND)
    rule = cron("0 9 * * *", tz="Europe/Oslo") & days
    assert from_json(rule.to_json()) == rule
    assert eval(repr(rule), {"cron": cron, **names}) == rule  # noqa: S307  (its own text)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-1,), "the last working day of the month (closed on Saturdays and Sundays)"),
        ((1, 2), "the first and 2nd working days of the month (closed on Saturdays and Sundays)"),
        ((3,), "the 3rd working day of the month (closed on Saturdays and Sundays)"),
        ((-12,), "the 12th last working day of the month (closed on Saturdays and Sundays)"),
        ((21,), "the 21st working day of the month (closed on Saturdays and Sundays)"),
    ],
)
def test_they_are_described(numbers: tuple[int, ...], words: str) -> None:
    assert working_day(*numbers, closed=WEEKEND).describe() == words


def test_why_says_which_day_was_asked_for() -> None:
    rule = cron("0 18 * * *") & working_day(-1, closed=WEEKEND)
    told = why(rule, pendulum.datetime(2027, 1, 31, 18))
    assert not told.due
    assert "last working day of the month" in told.words


def test_they_join_with_other_days() -> None:
    closed = WEEKEND | dates("2027-01-01")
    rule = cron("0 9 * * *") & (working_day(1, closed=closed) | dates("2027-01-20"))
    assert months(rule, 2027)[:3] == ["01-04", "01-20", "02-01"]
    assert from_json(rule.to_json()) == rule


def test_the_zone_is_that_of_the_closed_days() -> None:
    closed = weekdays("sat", "sun", tz="Asia/Tokyo")
    rule = cron("0 20 * * *") & working_day(1, closed=closed)
    # 20:00 UTC is the next morning in Tokyo.
    assert months(rule, 2027)[:2] == ["01-31", "02-28"]


@pytest.mark.parametrize(
    ("numbers", "closed", "path"),
    [
        ((), WEEKEND, "numbers"),
        ((0,), WEEKEND, "numbers"),
        ((32,), WEEKEND, "numbers"),
        ((True,), WEEKEND, "numbers"),
        ((1.0,), WEEKEND, "numbers"),
        (("last",), WEEKEND, "numbers"),
        ((1,), "sat", "closed"),
        ((1,), working_day(1, closed=WEEKEND), "closed"),
        ((1,), working_day(1, closed=WEEKEND) | WEEKEND, "closed"),
    ],
)
def test_what_is_no_working_day_is_refused(numbers: Any, closed: Any, path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        working_day(*numbers, closed=closed)
    assert caught.value.details["path"] == path


def test_a_month_never_has_so_many() -> None:
    with pytest.raises(ValidationFailed, match="never"):
        cron("0 9 * * *") & working_day(24, closed=WEEKEND)


def test_nested_json_is_refused() -> None:
    closed: dict[str, Any] = WEEKEND.to_json()
    for _ in range(5_000):
        closed = {"v": 1, "type": "working_day", "numbers": [1], "closed": closed}
    rule = {**(cron("0 9 * * *") & WEEKEND).to_json(), "days": closed}
    with pytest.raises(ValidationFailed, match="no set of days is of type 'working_day'"):
        from_json(rule)
