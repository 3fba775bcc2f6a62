"""The named choices for daylight saving, against a reading of the clock that knows no spans."""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pendulum
import pytest

from kalends.clock import US, from_us, to_us
from kalends.errors import ValidationFailed
from kalends.triggers import Cron, cron, every, from_json, once, transitions
from kalends.triggers.zone import zone
from kalends.triggers.zoned import FOLDS, GAPS

PAIRS = [(gap, fold) for gap in GAPS for fold in FOLDS]
PLACES = [
    ("Europe/Oslo", "2026-03-29"),
    ("Europe/Oslo", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2025-10-05"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Antarctica/Troll", "2025-03-30"),
    ("America/Santiago", "2026-09-06"),
    ("America/Havana", "2025-11-02"),
    ("America/Nuuk", "2024-03-31"),
    ("Pacific/Apia", "2011-12-30"),
    ("Africa/Casablanca", "2025-02-23"),
]
RULES = [
    "30 2 * * *",
    "15,45 1-3 * * *",
    "0 0 * * *",
    "* * * * *",
    "*/20 * * * *",
    "0 * * * *",
    "59 23 * * *",
    "0 3 * * *",
    "0,30 0 30,31 * *",
    "7 */2 * * 0",
]


def read_clock(name: str, begin: int, end: int) -> list[tuple[int, dt.datetime]]:
    """What the wall clock shows at every minute."""
    tz = zoneinfo.ZoneInfo(name)
    return [
        (at, dt.datetime.fromtimestamp(at, tz).replace(tzinfo=None, fold=0))
        for at in range(begin, end, 60)
    ]


def minutes_shown(clock: list[tuple[int, dt.datetime]]) -> dict[dt.datetime, list[int]]:
    """The seconds at which each wall-clock minute is shown."""
    shown: dict[dt.datetime, list[int]] = defaultdict(list)
    for at, wall in clock:
        shown[wall].append(at)
    return shown


def expected(
    clock: list[tuple[int, dt.datetime]],
    shown: dict[dt.datetime, list[int]],
    wanted: set[dt.datetime],
    gap: str,
    fold: str,
) -> list[int]:
    """The seconds at which the ``wanted`` wall-clock minutes run."""
    runs: set[int] = set()
    for wall in wanted & shown.keys():
        seconds = shown[wall]
        runs.update({"first": seconds[:1], "last": seconds[-1:], "both": seconds}[fold])
    minute = dt.timedelta(minutes=1)
    for (_, before), (at, after) in pairwise(clock):
        missing = before + minute
        while missing < after and missing not in shown:
            if gap != "skip" and missing in wanted:
                later = (missing - before - minute) // minute * 60
                runs.add(at if gap == "edge" else at + later)
            missing += minute
    return sorted(runs)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "day"), PLACES)
def test_every_choice_agrees_with_a_reading_of_the_clock(name: str, day: str) -> None:
    middle = int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
    begin, end = middle - 2 * 86_400, middle + 2 * 86_400
    clock = read_clock(name, begin - 2 * 86_400, end + 2 * 86_400)
    wide = [to_us(clock[at][1].replace(tzinfo=dt.UTC)) for at in (0, -1)]
    shown = minutes_shown(clock)
    draw = random.Random(name)
    for expr in RULES:
        matching = cron(expr).between_us(wide[0], wide[1] + 1)
        wanted: set[dt.datetime] = {from_us(us).naive() for us in matching}
        for gap, fold in PAIRS:
            if draw.random() < 0.25:
                runs = expected(clock, shown, wanted, gap, fold)
                due = [at * US for at in runs if begin <= at < end]
                check(cron(expr, tz=name, gap=gap, fold=fold), due, begin * US, end * US)


def check(trigger: Cron, due: list[int], begin: int, end: int) -> None:
    assert list(trigger.between_us(begin, end)) == due
    assert trigger.count_us(begin, end) == len(due)
    back = []
    at = trigger.previous_us(end)
    while at is not None and at >= begin:
        back.append(at)
        at = trigger.previous_us(at)
    assert back[::-1] == due
    step = len(due) // 60 + 1
    for number in range(0, len(due), step):
        assert trigger.count_us(begin, due[number]) == number
        assert trigger.count_us(begin, due[number] + 1) == number + 1
    fresh = cron(trigger.expr, tz=trigger.tz, gap=trigger.gap, fold=trigger.fold)
    for number in range(len(due) - 1, 0, -step):
        assert fresh.next_us(due[number] - 1) == due[number]
        assert fresh.next_us(due[number - 1]) == due[number]


@pytest.mark.parametrize(
    ("expr", "pair"),
    [
        ("*/7 1-3 * * *", ("skip", "both")),
        ("30 2 * * *", ("edge", "first")),
        ("*/10 * * * * *", ("skip", "both")),
    ],
)
def test_the_usual_choice_may_be_named(expr: str, pair: tuple[str, str]) -> None:
    usual = cron(expr, tz="Europe/Oslo")
    named = cron(expr, tz="Europe/Oslo", gap=pair[0], fold=pair[1])
    assert usual.dst == named.dst == pair
    for day in (pendulum.datetime(2026, 3, 29), pendulum.datetime(2026, 10, 25)):
        night = to_us(day), to_us(day.add(hours=4))
        assert list(named.between_us(*night)) == list(usual.between_us(*night))


@pytest.mark.parametrize(
    ("gap", "fold", "spring", "autumn"),
    [
        (None, None, ["03:00 +02:00"], ["02:30 +02:00"]),
        ("edge", "first", ["03:00 +02:00"], ["02:30 +02:00"]),
        ("shift", "last", ["03:30 +02:00"], ["02:30 +01:00"]),
        ("skip", "both", [], ["02:30 +02:00", "02:30 +01:00"]),
    ],
)
def test_a_choice_decides_what_a_night_does(
    gap: str | None, fold: str | None, spring: list[str], autumn: list[str]
) -> None:
    rule = cron("30 2 * * *", tz="Europe/Oslo", gap=gap, fold=fold)

    def night(day: str) -> list[str]:
        start = pendulum.parse(day, tz="Europe/Oslo")
        assert isinstance(start, pendulum.DateTime)
        runs = rule.between(start, start.add(days=1))
        return [at.in_timezone("Europe/Oslo").format("HH:mm Z") for at in runs]

    assert night("2026-03-29") == spring
    assert night("2026-10-25") == autumn


def test_two_ways_of_counting_agree_in_every_zone() -> None:
    """What ``edge`` with ``first`` answers by arithmetic, the parts of each span answer too."""
    for name in sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})[
        ::7
    ]:
        for expr, chosen in (("13,50 0-5 * * *", ("edge", "first")), ("*/9 * * * *", None)):
            quick, slow = cron(expr, tz=name), cron(expr, tz=name)
            assert chosen is None or quick.dst == chosen
            object.__setattr__(slow, "_plain", "")
            at = to_us(pendulum.datetime(1975, 1, 1))
            for start in zone(name).spans.starts[-40:]:
                for by in (-90_000, 0, 4_000):
                    at = start + by * US
                    assert quick.next_us(at) == slow.next_us(at)
                    assert quick.previous_us(at) == slow.previous_us(at)
                    assert quick.count_us(at - 10**12, at) == slow.count_us(at - 10**12, at)


def test_a_choice_prints_back_and_is_stored() -> None:
    rule = cron("30 2 * * *", tz="Europe/Oslo", gap="shift", fold="last")
    assert repr(rule) == "cron('30 2 * * *', tz='Europe/Oslo', gap='shift', fold='last')"
    assert from_json(rule.to_json()) == rule
    assert rule != cron("30 2 * * *", tz="Europe/Oslo")
    assert "gap" not in cron("30 2 * * *").to_json()
    assert rule.describe() == (
        "at 02:30 every day, Europe/Oslo time (times that daylight saving skips run later by the "
        "length of the gap; times that it repeats run the last time only)"
    )
    only = cron("30 2 * * *", fold="both").describe()
    assert only.endswith("(times that daylight saving repeats run both times)")


@pytest.mark.parametrize("value", ["edges", "", 5, True, ["edge"]])
def test_an_unknown_choice_is_refused(value: Any) -> None:
    for name in ("gap", "fold"):
        with pytest.raises(ValidationFailed) as caught:
            cron("0 0 * * *", **{name: value})
        assert caught.value.details["path"] == name
        with pytest.raises(ValidationFailed):
            from_json({**cron("0 0 * * *").to_json(), name: value})


def test_the_transitions_a_rule_meets_are_told_with_what_will_happen() -> None:
    year = pendulum.datetime(2026, 1, 1), pendulum.datetime(2027, 1, 1)
    met = transitions(cron("30 2 * * *", tz="Europe/Oslo"), *year)
    assert [(str(one.at), one.kind, one.choice, one.times) for one in met] == [
        ("2026-03-29 01:00:00+00:00", "gap", "edge", 1),
        ("2026-10-25 01:00:00+00:00", "fold", "first", 1),
    ]
    assert [one.words for one in met] == [
        "On 2026-03-29 the clock of Europe/Oslo skips 02:00 to 03:00: "
        "the time due in it (02:30) runs once, at 03:00.",
        "On 2026-10-25 the clock of Europe/Oslo repeats 02:00 to 03:00: "
        "the time due in it (02:30) runs the first time only.",
    ]
    spring = met[0]
    assert (spring.first, spring.end) == ("2026-03-29T02:00:00", "2026-03-29T03:00:00")
    shifted = transitions(cron("0,30 2 * * *", tz="Europe/Oslo", gap="shift", fold="both"), *year)
    assert [one.words.split(": ")[1] for one in shifted] == [
        "2 times in it run 1 hour later.",
        "2 times in it run both times.",
    ]
    skipped = transitions(cron("0 2 * * *", tz="Europe/Oslo", gap="skip"), *year)
    assert skipped[0].words.endswith("(02:00) does not run.")


def test_only_transitions_that_are_met_are_told() -> None:
    year = pendulum.datetime(2026, 1, 1), pendulum.datetime(2027, 1, 1)
    oslo = cron("30 2 * * *", tz="Europe/Oslo")
    assert transitions(cron("30 4 * * *", tz="Europe/Oslo"), *year) == []
    assert transitions(cron("30 2 * * *"), *year) == []
    assert transitions(every(hours=1), *year) == transitions(once(year[0]), *year) == []
    summer = oslo.between(pendulum.datetime(2026, 5, 1), pendulum.datetime(2026, 9, 1))
    assert transitions(summer, *year) == []
    autumn = oslo.between(start=pendulum.datetime(2026, 5, 1))
    assert [one.kind for one in transitions(autumn, *year)] == ["fold"]
    change = from_us(transitions(oslo, *year)[0].at_us)
    assert len(transitions(oslo, change, change.add(seconds=1))) == 1
    assert transitions(oslo, change.add(seconds=1), change.add(days=1)) == []
    assert transitions(oslo, change, change) == []
