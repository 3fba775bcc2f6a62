"""The quartz dialect: what it accepts, refuses and means."""

from __future__ import annotations

import calendar
import datetime as dt

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import MAX_US, MIN_US
from kalends.errors import PayloadTooLarge, ValidationFailed
from kalends.triggers import Cron, cron, from_json


def quartz(expr: str, tz: str = "UTC") -> Cron:
    return cron(expr, tz=tz, dialect="quartz")


def days(expr: str, number: int, start: str = "2026-01-01") -> list[str]:
    """The next matching days at midnight."""
    after = pendulum.parse(start)
    assert isinstance(after, pendulum.DateTime)
    rule = quartz(f"0 0 0 {expr}")
    found: list[str] = []
    due = rule.next(after.subtract(microseconds=1))
    while due is not None and len(found) < number:
        found.append(due.format("MM-DD" if due.year == after.year else "YYYY-MM-DD"))
        due = rule.next(due)
    return found


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("L * ?", ["01-31", "02-28", "03-31"]),
        ("L-3 * ?", ["01-28", "02-25", "03-28"]),
        ("L-30 * ?", ["01-01", "03-01", "05-01"]),  # where the month is long enough
        ("LW * ?", ["01-30", "02-27", "03-31"]),
        ("L-1W * ?", ["01-30", "02-27", "03-30"]),
        ("15W * ?", ["01-15", "02-16", "03-16"]),
        ("1W * ?", ["01-01", "02-02", "03-02"]),
        ("1W 8 ?", ["08-03"]),  # Saturday the 1st does not go back to July
        ("31W * ?", ["01-30", "03-31", "05-29"]),
        ("1,L * ?", ["01-01", "01-31", "02-01"]),
        ("? * 1", ["01-04", "01-11"]),
        ("? * SUN", ["01-04", "01-11"]),
        ("? * 7", ["01-03", "01-10"]),
        ("? * L", ["01-03", "01-10"]),
        ("? * 6L", ["01-30", "02-27"]),
        ("? * FRIL", ["01-30", "02-27"]),
        ("? * 6#3", ["01-16", "02-20"]),
        ("? * fri#3", ["01-16", "02-20"]),
        ("? * 2#5", ["03-30", "06-29"]),
        ("? * FRI-MON", ["01-02", "01-03", "01-04", "01-05", "01-09"]),
        ("30-2 * ?", ["01-01", "01-02", "01-30", "01-31", "02-01"]),
        ("1 NOV-FEB ?", ["01-01", "02-01", "11-01", "12-01"]),
        ("1 11-2/2 ?", ["01-01", "11-01", "2027-01-01"]),
        ("? * 2/2", ["01-02", "01-05", "01-07", "01-09"]),
        ("1/10 * ?", ["01-01", "01-11", "01-21", "01-31", "02-01"]),
        ("/10 * ?", ["01-01", "01-11", "01-21", "01-31", "02-01"]),
        ("1 1 ? 2027,2029-2030", ["2027-01-01", "2029-01-01", "2030-01-01"]),
        ("29 2 ? 2000/1", ["2028-02-29", "2032-02-29"]),
        ("1 1 ? 2099", ["2099-01-01"]),
        ("1 1 ? 1999", []),
    ],
)
def test_days_are_matched_as_quartz_does(expr: str, expected: list[str]) -> None:
    assert days(expr, max(len(expected), 1)) == expected


def test_hours_and_seconds_wrap_around() -> None:
    assert quartz("0 0 22-2 * * ?").fields.hours == (0, 1, 2, 22, 23)
    assert quartz("55-5/5 0 0 * * ?").fields.seconds == (0, 5, 55)
    assert quartz("/20 * * * * ?").fields.seconds == (0, 20, 40)


def test_the_nearest_weekday_agrees_with_a_search() -> None:
    for number in range(1, 32):
        rule = quartz(f"0 0 0 {number}W * ?")
        found = {
            at.date() for at in rule.between(*(pendulum.datetime(y, 1, 1) for y in (2024, 2030)))
        }
        expected = set()
        for year in range(2024, 2030):
            for month in range(1, 13):
                length = calendar.monthrange(year, month)[1]
                if number <= length:
                    inside = [dt.date(year, month, day) for day in range(1, length + 1)]
                    work = [day for day in inside if day.isoweekday() < 6]
                    expected.add(min(work, key=lambda day: abs(day.day - number)))
        assert found == expected


@pytest.mark.parametrize(
    ("expr", "field", "hint"),
    [
        ("60 0 0 * * ?", "second", "outside 0 to 59"),
        ("0 0 24 * * ?", "hour", "outside 0 to 23"),
        ("0 0 0 0 * ?", "day of month", "outside 1 to 31"),
        ("0 0 0 ? * 0", "day of week", "outside 1 to 7"),
        ("0 0 0 ? * 8", "day of week", "outside 1 to 7"),
        ("0 0 0 * * *", "day of week", "exactly one"),
        ("0 0 0 ? * ?", "day of week", "exactly one"),
        ("0 0 ? 1 * ?", "hour", "stands alone"),
        ("0 0 0 1,? * ?", "day of month", "stands alone"),
        ("0 0 0 L-31 * ?", "day of month", "30 days"),
        ("0 0 0 L3 * ?", "day of month", "L-3"),
        ("0 0 0 1-5W * ?", "day of month", "not understood"),
        ("0 0 0 32W * ?", "day of month", "outside"),
        ("0 0 0 W * ?", "day of month", "not understood"),
        ("0 0 0 ? * 6,7,L", "day of week", "stand alone"),
        ("0 0 0 ? * SAT,SUN,L", "day of week", "stand alone"),
        ("0 0 0 ? * 2#1,4#2", "day of week", "stand alone"),
        ("0 0 0 ? * 6#6", "day of week", "from 1 to 5"),
        ("0 0 0 ? * MOON", "day of week", "did you mean 'MON'"),
        ("*/60 0 0 * * ?", "second", "1 to 59"),
        ("*/0 0 0 * * ?", "second", "1 to 59"),
        ("0 0 0 1 1/13 ?", "month", "1 to 12"),
        ("0 0 0 1 * ? 2030-2020", "year", "backwards"),
        ("0 0 0 1 * ? 1969", "year", "outside 1970 to 2099"),
        ("0 0 0 1 * ? 2100", "year", "outside 1970 to 2099"),
    ],
)
def test_a_refusal_names_the_field(expr: str, field: str, hint: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        quartz(expr)
    assert caught.value.details["field"] == field
    assert hint in caught.value.message


@pytest.mark.parametrize("expr", ["", "0 0 0 * *", "0 0 0 ? * * * *", "@daily", None, 5])
def test_what_is_not_six_or_seven_fields_is_refused(expr: str) -> None:
    with pytest.raises(ValidationFailed):
        quartz(expr)


@pytest.mark.parametrize("expr", ["0 0 0 31 4 ?", "0 0 0 29 2 ? 2027", "0 0 0 30W 2 ?"])
def test_a_rule_that_can_never_be_due_is_refused(expr: str) -> None:
    with pytest.raises(ValidationFailed, match="never be due"):
        quartz(expr)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        quartz("0," * 50_000)


def test_years_end() -> None:
    rule = quartz("0 0 12 1 * ? 2026-2027")
    assert rule.count_us(MIN_US, MAX_US) == 24
    assert rule.next(pendulum.datetime(2027, 12, 2)) is None
    assert rule.previous(pendulum.datetime(2026, 1, 1)) is None
    assert rule.next(pendulum.datetime(1970, 1, 1)) == pendulum.datetime(2026, 1, 1, 12)
    assert rule.previous(pendulum.datetime(2090, 1, 1)) == pendulum.datetime(2027, 12, 1, 12)


def test_a_fixed_time_survives_the_gap() -> None:
    fixed = quartz("0 30 2 * * ?", tz="Europe/Oslo")
    assert fixed.dst == ("edge", "first")
    assert quartz("0 */10 2 * * ?").dst == quartz("/5 1 2 * * ?").dst == ("skip", "both")
    spring = fixed.next(pendulum.datetime(2026, 3, 28, 12))
    assert spring == pendulum.datetime(2026, 3, 29, 1)


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("0 0 6 ? * MON-FRI", "at 06:00 on weekdays, UTC"),
        ("0 15 10 L-2 * ?", "at 10:15 on 2 days before the last day of the month, UTC"),
        (
            "0 15 10 15W * ?",
            "at 10:15 on the weekday (Monday to Friday) nearest to day 15 of the month, UTC",
        ),
        ("0 15 10 ? * 6#3", "at 10:15 on the third Friday of the month, UTC"),
        ("0 15 10 * * ? 2005", "at 10:15 every day, in 2005, UTC"),
        (
            "0 0 12 1 1 ? 2026-2029",
            "at 12:00 on day 1 of the month in January, in 2026 to 2029, UTC",
        ),
        ("* * * * * ? 2030", "every second in 2030, UTC"),
    ],
)
def test_quartz_in_words(expr: str, words: str) -> None:
    assert quartz(expr).describe() == words


_PIECE = st.text("0123456789*/-,#LW?", min_size=1, max_size=6)
_PLAIN = st.sampled_from("* ? 0 5 1-3 22-2 /5 0/7 L LW L-3 15W 6L 6#3 MON fri-mon 2026".split())
_LIKELY = st.lists(st.one_of(_PLAIN, _PIECE), min_size=6, max_size=7).map(" ".join)


def _made(text: str) -> Cron | ValidationFailed:
    try:
        return quartz(text, tz="Europe/Oslo")
    except ValidationFailed as refusal:
        return refusal


@given(text=st.one_of(st.text(max_size=60), _LIKELY), at=st.integers(MIN_US, MAX_US))
def test_any_text_is_a_sound_rule_or_refused(text: str, at: int) -> None:
    rule = _made(text)
    if isinstance(rule, ValidationFailed):
        assert rule.details["path"] == "expr"
        return
    assert from_json(rule.to_json()) == rule
    assert rule.describe()
    due = rule.next_us(at)
    if due is not None:
        assert rule.previous_us(due + 1) == due
        assert rule.count_us(at + 1, due + 1) == 1
    earlier = rule.previous_us(at)
    if earlier is not None:
        assert rule.next_us(earlier - 1) == earlier
        assert rule.count_us(earlier, at) == 1
