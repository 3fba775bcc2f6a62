"""Cron in words, beside another package's words, where both can be read back.

The texts differ; what they must agree on is what they speak of: the times of day, the weekdays and
the months, and no others.
"""

from __future__ import annotations

import random
import re

import pytest
from cron_descriptor import Options, get_description

from kalends.triggers import cron

_WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
_MONTHS = (
    "January February March April May June July August September October November December".split()
)


def theirs(expr: str) -> str:
    options = Options()
    options.use_24hour_time_format = True
    return str(get_description(expr, options))


def spoken(text: str, words: list[str]) -> set[int]:
    """The numbers of the ``words`` that the text names, ranges spelled out."""
    names = "|".join(words)
    found: set[int] = set()
    for first, last in re.findall(rf"({names})s?(?: (?:through|to) ({names}))?", text):
        begin = words.index(first)
        end = words.index(last) if last else begin
        found.update(range(begin, end + 1))
    return found


def times(text: str) -> set[str]:
    return set(re.findall(r"\b\d\d:\d\d\b", text))


def _sample(draw: random.Random, low: int, high: int) -> str:
    match draw.choice("one list range".split()):
        case "one":
            return str(draw.randint(low, high))
        case "list":
            return ",".join(map(str, sorted(draw.sample(range(low, high + 1), 3))))
        case _:
            start = draw.randint(low, high - 2)
            return f"{start}-{draw.randint(start + 2, high)}"


@pytest.mark.parametrize("seed", range(60))
def test_both_speak_of_the_same_weekdays_months_and_times(seed: int) -> None:
    draw = random.Random(seed)
    weekday = _sample(draw, 0, 6) if draw.random() < 0.5 else "*"
    month = _sample(draw, 1, 12) if draw.random() < 0.5 else "*"
    expr = f"{draw.randint(0, 59)} {draw.randint(0, 23)} * {month} {weekday}"
    rule = cron(expr)
    mine, other = rule.describe(), theirs(expr)
    assert times(mine) == times(other)
    assert spoken(mine, _MONTHS) == spoken(other, _MONTHS)
    days = spoken(mine.replace("weekdays", "Monday to Friday"), _WEEKDAYS)
    assert days == spoken(other, _WEEKDAYS)


@pytest.mark.parametrize(
    ("expr", "mine", "other"),
    [
        ("* * * * *", "every minute", "Every minute"),
        ("*/5 * * * *", "every 5 minutes", "Every 5 minutes"),
        ("0 * * * *", "every hour, on the hour", "Every hour"),
        ("30 11 * * 1-5", "at 11:30 on weekdays, UTC", "At 11:30, Monday through Friday"),
        ("0 0 1 * *", "at 00:00 on day 1 of the month, UTC", "At 00:00, on day 1 of the month"),
        (
            "0 0 * * 5L",
            "at 00:00 on the last Friday of the month, UTC",
            "At 00:00, on the last Friday of the month",
        ),
        (
            "0 0 * * 1#2",
            "at 00:00 on the second Monday of the month, UTC",
            "At 00:00, on the second Monday of the month",
        ),
        (
            "0 0 L * *",
            "at 00:00 on the last day of the month, UTC",
            "At 00:00, on the last day of the month",
        ),
    ],
)
def test_common_rules_read_alike(expr: str, mine: str, other: str) -> None:
    assert cron(expr).describe() == mine
    assert theirs(expr) == other


def theirs_of_quartz(expr: str) -> str:
    options = Options()
    options.use_24hour_time_format = True
    options.day_of_week_start_index_zero = False
    return str(get_description(expr, options))


@pytest.mark.parametrize("seed", range(60))
def test_both_speak_of_the_same_days_of_a_quartz_rule(seed: int) -> None:
    draw = random.Random(seed)
    by_week = draw.random() < 0.5
    day, weekday = ("?", _sample(draw, 1, 7)) if by_week else (_sample(draw, 1, 28), "?")
    month = _sample(draw, 1, 12) if draw.random() < 0.5 else "*"
    second, minute, hour = draw.randint(1, 59), draw.randint(0, 59), draw.randint(0, 23)
    expr = f"{second} {minute} {hour} {day} {month} {weekday}"
    mine, other = cron(expr, dialect="quartz").describe(), theirs_of_quartz(expr)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    assert clock in mine
    assert clock in other
    assert spoken(mine, _MONTHS) == spoken(other, _MONTHS)
    named = spoken(mine.replace("weekdays", "Monday to Friday"), _WEEKDAYS)
    assert named == spoken(other, _WEEKDAYS)
    if not by_week:
        assert month_days(mine) == month_days(other)


def month_days(text: str) -> set[int]:
    """The days of the month that a text speaks of, ranges spelled out."""
    found: set[int] = set()
    plain = re.sub(r"between day (\d+) and (\d+)", r"day \1 to \2", text)
    spoken_of = re.search(r"days? ([\d, ]+(?:(?:and|to) [\d, ]+)*)", plain)
    assert spoken_of is not None
    words = spoken_of[1]
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", words):
        found.update(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize(
    ("expr", "mine", "other"),
    [
        ("0 30 9 ? * MON-FRI", "at 09:30 on weekdays, UTC", "At 09:30, Monday through Friday"),
        ("0 0 6 ? * 6#3", "the third Friday of the month", "the third Friday of the month"),
        ("0 0 6 ? * 6L", "the last Friday of the month", "the last Friday of the month"),
        ("0 0 6 L * ?", "on the last day of the month", "on the last day of the month"),
        ("0 0 6 LW * ?", "the last weekday", "the last weekday of the month"),
        ("0 0 6 15W * ?", "nearest to day 15 of the month", "nearest day 15 of the month"),
        ("0 0 6 L-3 * ?", "3 days before the last day of the month",
         "3 days before the last day of the month"),
        ("*/10 * * * * ?", "every 10 seconds", "Every 10 seconds"),
        ("0 0 6 1 1 ? 2030", "in January, in 2030", "only in January, only in 2030"),
    ],
)  # fmt: skip
def test_what_only_quartz_has_reads_alike(expr: str, mine: str, other: str) -> None:
    assert mine in cron(expr, dialect="quartz").describe()
    assert other in theirs_of_quartz(expr)
