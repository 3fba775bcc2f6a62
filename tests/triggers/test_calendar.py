"""Certain days of recurring periods, against a walk through all days."""

from __future__ import annotations

import calendar as months_of
import datetime as dt
import random
from typing import Any

import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US, US, to_us
from kalends.errors import KalendsError, ValidationFailed
from kalends.triggers import calendar, from_json
from kalends.triggers.calendar import Calendar

T0 = pendulum.datetime(2026, 1, 14, 12)
DAY_US = 86_400 * US
NAMES = "monday tuesday wednesday thursday friday saturday sunday".split()

SEEDS = [*range(15), *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(15, 80))]


def matches(words: dict[str, Any], anchor: dt.date, day: dt.date) -> bool:
    """Whether a day is one of the rule's, looked at alone."""
    length = months_of.monthrange(day.year, day.month)[1]
    unit = next(unit for unit in ("years", "months", "weeks", "days") if unit in words)
    apart = {
        "days": (day - anchor).days,
        "weeks": (day - dt.timedelta(day.weekday()) - anchor + dt.timedelta(anchor.weekday())).days
        // 7,
        "months": (day.year - anchor.year) * 12 + day.month - anchor.month,
        "years": day.year - anchor.year,
    }[unit]
    if apart % words[unit]:
        return False
    if unit == "days":
        return True
    wanted = words.get("weekday", ["monday"] if unit == "weeks" else [])
    if unit == "weeks":
        return NAMES[day.weekday()] in wanted
    if unit == "years" and day.month not in words.get("month", [1]):
        return False
    if wanted:
        nth = words["nth"]
        which = (day.day - 1) // 7 + 1 if nth > 0 else -((length - day.day) // 7 + 1)
        return NAMES[day.weekday()] in wanted and which == nth
    return any(
        day.day == (number if number > 0 else length + 1 + number)
        for number in words.get("day", [1])
    )


def draw_words(draw: random.Random) -> dict[str, Any]:
    unit = draw.choice("days weeks months years".split())
    words: dict[str, Any] = {unit: draw.choice((1, 1, 2, 3, 5, 13))}
    if unit == "weeks" and draw.random() < 0.7:
        words["weekday"] = draw.sample(NAMES, draw.randint(1, 4))
    if unit in ("months", "years"):
        if unit == "years":
            words["month"] = draw.sample(range(1, 13), draw.randint(1, 3))
        if draw.random() < 0.4:
            words["weekday"] = draw.sample(NAMES, draw.randint(1, 2))
            words["nth"] = draw.choice((1, 2, 3, 4, -1, -2, -4))
        else:
            words["day"] = draw.sample([1, 2, 15, 28, 30, 31, -1, -2, -29], draw.randint(1, 3))
    return words


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rule_agrees_with_a_walk_through_all_days(seed: int) -> None:
    draw = random.Random(seed)
    words = draw_words(draw)
    at = draw.choice((["18:00"], ["06:30", "18:00:30"]))
    anchor = T0.add(days=draw.randrange(400))
    try:
        rule = calendar(**words, at=at, anchor=anchor)
    except ValidationFailed as refusal:
        assert "such a day" in refusal.message  # noqa: PT017
        assert 31 in words["day"] or 30 in words["day"]
        return
    begin, days = dt.date(2020, 11, 5), 3_000
    expected = []
    for number in range(days):
        day = begin + dt.timedelta(number)
        if matches(words, anchor.date(), day):
            for text in at:
                time = dt.time.fromisoformat(text)
                expected.append(to_us(dt.datetime.combine(day, time, tzinfo=dt.UTC)))
    first = to_us(dt.datetime.combine(begin, dt.time(), tzinfo=dt.UTC))
    last = first + days * DAY_US
    assert list(rule.between_us(first, last)) == expected
    assert rule.count_us(first, last) == len(expected)
    back = []
    due = rule.previous_us(last)
    while due is not None and due >= first:
        back.append(due)
        due = rule.previous_us(due)
    assert back[::-1] == expected
    for number in range(0, len(expected), len(expected) // 20 + 1):
        assert rule.count_us(first, expected[number]) == number
        assert rule.next_us(expected[number] - 1) == expected[number]
    assert from_json(rule.to_json()) == rule
    again = eval(repr(rule), {"calendar": calendar, "pendulum": pendulum})  # noqa: S307  (its own text)
    assert again == rule
    assert repr(again) == repr(rule)


def test_the_last_day_of_the_month_in_oslo() -> None:
    rule = calendar(months=1, day=-1, at="18:00", tz="Europe/Oslo")
    found = list(rule.between(T0, T0.add(months=3)))
    assert [at.to_iso8601_string() for at in found] == [
        "2026-01-31T17:00:00Z", "2026-02-28T17:00:00Z", "2026-03-31T16:00:00Z",
    ]  # fmt: skip
    assert repr(rule) == "calendar(months=1, day=-1, at='18:00', tz='Europe/Oslo')"
    assert rule.anchored(5) is rule


def test_a_gap_and_a_fold_do_what_was_chosen() -> None:
    spring = pendulum.datetime(2026, 3, 28, 12)
    usual = calendar(days=1, at="02:30", tz="Europe/Oslo")
    assert usual.next(spring) == pendulum.datetime(2026, 3, 29, 1)
    shifted = calendar(days=1, at="02:30", tz="Europe/Oslo", gap="shift", fold="last")
    assert shifted.next(spring) == pendulum.datetime(2026, 3, 29, 1, 30)
    autumn = pendulum.datetime(2026, 10, 24, 12)
    assert usual.next(autumn) == pendulum.datetime(2026, 10, 25, 0, 30)
    assert shifted.next(autumn) == pendulum.datetime(2026, 10, 25, 1, 30)
    assert from_json(shifted.to_json()) == shifted


def test_longer_periods_count_from_the_anchor_or_from_creation() -> None:
    rule = calendar(months=3, day=10, at="09:00")
    assert rule.needs_anchor
    for ask in (rule.next_us, rule.previous_us, lambda at: rule.count_us(at, at + 1)):
        with pytest.raises(ValidationFailed, match="no anchor") as caught:
            ask(0)
        assert caught.value.details["path"] == "anchor"
    made = rule.anchored(to_us(T0))
    assert made == calendar(months=3, day=10, at="09:00", anchor=T0)
    assert made.next(T0) == pendulum.datetime(2026, 4, 10, 9)
    assert made.previous(T0) == pendulum.datetime(2026, 1, 10, 9)
    assert made.anchored(5) is made
    assert from_json(rule.to_json()) == rule
    # The anchor's date is that of the rule's own zone: already the 2nd in Auckland.
    late = pendulum.datetime(2026, 1, 1, 23)
    assert calendar(days=2, tz="Pacific/Auckland", anchor=late).next(
        pendulum.datetime(2026, 1, 2)
    ) == pendulum.datetime(2026, 1, 4, tz="Pacific/Auckland")


def test_the_ends_of_time() -> None:
    for rule in (calendar(years=1), calendar(days=3, anchor=T0), calendar(months=7, anchor=T0)):
        assert rule.next_us(MAX_US) is None
        assert rule.previous_us(MIN_US) is None
        first, last = rule.next_us(MIN_US - 10**18), rule.previous_us(MAX_US + 10**18)
        assert first is not None
        assert last is not None
        assert MIN_US <= first < last <= MAX_US
    assert calendar(days=1).count_us(MIN_US, MAX_US + 1) == 3_652_059


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({}, "period"),
        ({"months": 1, "days": 1}, "period"),
        ({"months": -1}, "months"),
        ({"months": 1.5}, "months"),
        ({"months": True}, "months"),
        ({"days": 10**9}, "days"),
        ({"months": 1, "day": 0}, "day"),
        ({"months": 1, "day": 32}, "day"),
        ({"months": 1, "day": "last"}, "day"),
        ({"months": 1, "day": [1, True]}, "day"),
        ({"months": 1, "day": [1] * 63}, "day"),
        ({"weeks": 1, "day": 1}, "day"),
        ({"months": 1, "month": 2}, "month"),
        ({"years": 1, "month": 13}, "month"),
        ({"years": 1, "month": 2, "day": 30}, "day"),
        ({"years": 4, "month": 2, "day": 29, "anchor": T0}, "day"),
        ({"months": 1, "weekday": "friday"}, "nth"),
        ({"months": 1, "weekday": "friday", "nth": 6}, "nth"),
        ({"months": 1, "weekday": "friday", "nth": 0}, "nth"),
        ({"months": 1, "weekday": "friday", "nth": "1"}, "nth"),
        ({"months": 1, "nth": 1}, "nth"),
        ({"weeks": 1, "weekday": "friday", "nth": 1}, "nth"),
        ({"weeks": 1, "weekday": "fryday"}, "weekday"),
        ({"days": 1, "weekday": "friday"}, "weekday"),
        ({"months": 1, "weekday": "friday", "nth": 1, "day": 1}, "weekday"),
        ({"days": 1, "at": "24:00"}, "at"),
        ({"days": 1, "at": "6:00"}, "at"),
        ({"days": 1, "at": 18}, "at"),
        ({"days": 1, "at": []}, "at"),
        ({"days": 1, "at": ["00:00"] * 1_441}, "at"),
        ({"days": 1, "tz": "Mars/Phobos"}, "tz"),
        ({"months": 3, "tz": "Mars/Phobos"}, "tz"),
        ({"days": 1, "gap": "leap"}, "gap"),
        ({"days": 1, "anchor": "2026-01-01"}, "anchor"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        calendar(**words)
    assert caught.value.details["path"] == path


@pytest.mark.parametrize(
    "change",
    [
        {"months": "1"},
        {"extra": 1},
        {"at": None},
        {"tz": 5},
        {"anchor": 5},
        {"weekday": [[]]},
        {"day": {}},
    ],
)
def test_damaged_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(KalendsError):
        from_json({**calendar(months=1, day=3).to_json(), **change})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            calendar(months=1, day=-1, at="18:00", tz="Europe/Oslo"),
            "at 18:00 on the last day of every month, Europe/Oslo time",
        ),
        (calendar(days=1), "at 00:00 every day, UTC"),
        (
            calendar(days=10, at=["06:00", "18:00"], anchor=T0),
            "at 06:00 and 18:00 every 10 days, counted from 2026-01-14T12:00:00Z, UTC",
        ),
        (calendar(weeks=1), "at 00:00 on Monday of every week, UTC"),
        (
            calendar(weeks=2, weekday=["sun", "tue"]),
            "at 00:00 on Tuesday and Sunday of every 2 weeks, UTC",
        ),
        (
            calendar(months=1, weekday="friday", nth=-1),
            "at 00:00 on the last Friday of every month, UTC",
        ),
        (
            calendar(months=3, weekday="friday", nth=-2),
            "at 00:00 on the second last Friday of every 3 months, UTC",
        ),
        (
            calendar(years=1, month=[6, 12], day=[1, 15]),
            "at 00:00 on day 1 and day 15 of June and December of every year, UTC",
        ),
        (calendar(months=1, day=-12), "at 00:00 on the 12th last day of every month, UTC"),
    ],
)
def test_a_calendar_in_words(rule: Calendar, words: str) -> None:
    assert rule.describe() == words
