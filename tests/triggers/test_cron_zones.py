"""Cron in every time zone there is, against a walk that is too simple to be wrong.

The reference knows nothing of spans, masks or marks: it looks at the wall clock again and again, as
a cron daemon does, and remembers how far the clock has ever got. Its rules are drawn as text and as
sets side by side, so that neither the reader of expressions nor the calendar is used to check
itself.
"""

from __future__ import annotations

import calendar
import datetime as dt
import os
import random
import zoneinfo
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kalends.clock import US
from kalends.triggers import Cron, cron
from kalends.triggers.tzif import ZoneData, load
from kalends.triggers.zone import Zone, zone

# Without those that stand for the zone of the machine, which are refused.
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
DISTINCT = sorted({load(name): name for name in reversed(ZONES)}.values())
"""One name for each zone that differs from the others; the rest are links to these."""

DAY = 86_400
YEARS = int(os.environ.get("TEST_YEARS", "2"))
"""How many zones and transitions get a whole year, which takes seconds each. Where it is set, more
transitions of each zone are tried too (``tox -e full``)."""

THOROUGH = "TEST_YEARS" in os.environ

_NOW = 1_800_000_000
"""Transitions are sought up to here: January 2027."""


@dataclass
class Rule:
    """A drawn rule: its text, and the values each field stands for."""

    text: str
    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    last_day: bool

    def matches(self, at: dt.datetime) -> bool:
        if at.minute not in self.minutes or at.hour not in self.hours or at.second:
            return False
        if at.month not in self.months:
            return False
        by_day = at.day in self.days or (
            self.last_day and at.day == calendar.monthrange(at.year, at.month)[1]
        )
        by_weekday = at.isoweekday() % 7 in {number % 7 for number in self.weekdays}
        _, _, day, _, weekday = self.text.split()
        if day.startswith("*") or weekday.startswith("*"):
            return by_day and by_weekday
        return by_day or by_weekday

    @property
    def fixed(self) -> bool:
        minute, hour, *_ = self.text.split()
        return not minute.startswith("*") and not hour.startswith("*")


def _field(draw: random.Random, low: int, high: int, star: float) -> tuple[str, set[int]]:
    if draw.random() < star:
        return "*", set(range(low, high + 1))
    start = draw.randint(low, high)
    match draw.choice("one step list range ranged_step".split()):
        case "one":
            return str(start), {start}
        case "step":
            step = draw.randint(1, max(2, high // 2))
            return f"*/{step}", set(range(low, high + 1, step))
        case "list":
            values = [draw.randint(low, high) for _ in range(draw.randint(2, 5))]
            return ",".join(map(str, values)), set(values)
        case "range":
            end = draw.randint(start, high)
            return f"{start}-{end}", set(range(start, end + 1))
        case _:
            end = draw.randint(start, high)
            step = draw.randint(1, 7)
            return f"{start}-{end}/{step}", set(range(start, end + 1, step))


def draw_rule(draw: random.Random) -> Rule:
    minute, minutes = _field(draw, 0, 59, 0.15)
    hour, hours = _field(draw, 0, 23, 0.3)
    if draw.random() < 0.5:  # most transitions happen at night
        hours = {draw.randint(0, 4), draw.randint(0, 4), 23}
        hour = ",".join(map(str, hours))
    last_day = draw.random() < 0.1
    day, days = ("L", set()) if last_day else _field(draw, 1, 28, 0.8)
    if not last_day and day.startswith("*"):
        step = int(day[2:] or 1)
        days = set(range(1, 32, step))
    weekday, weekdays = _field(draw, 0, 7, 0.7)
    text = f"{minute} {hour} {day} * {weekday}"
    return Rule(text, minutes, hours, days, set(range(1, 13)), weekdays, last_day)


def wall_clock(name: str, start: int, end: int, step: int) -> list[tuple[int, dt.datetime]]:
    """What the wall clock shows, every ``step`` seconds."""
    tz = zoneinfo.ZoneInfo(name)
    return [
        (at, dt.datetime.fromtimestamp(at, tz).replace(tzinfo=None, fold=0))
        for at in range(start, end, step)
    ]


def walk(rule: Rule, clock: list[tuple[int, dt.datetime]], step: int) -> Iterator[int]:
    """The UTC seconds at which Debian's rule runs a job."""
    tick = dt.timedelta(seconds=step)
    furthest = clock[0][1] - tick
    owed = False
    for at, shown in clock:
        if not rule.fixed:
            if rule.matches(shown):
                yield at
            continue
        skipped = furthest + tick
        while skipped < shown:
            owed = owed or rule.matches(skipped)
            skipped += tick
        if shown > furthest:
            furthest = shown
            if shown.second == 0 and (owed or rule.matches(shown)):
                owed = False
                yield at


def check(trigger: Cron, expected: list[int], start: int, end: int) -> None:
    due = [second * US for second in expected]
    first, last = start * US, end * US
    assert list(trigger.between_us(first, last)) == due
    assert trigger.count_us(first, last) == len(due)
    backwards = []
    at = trigger.previous_us(last)
    while at is not None and at >= first:
        backwards.append(at)
        at = trigger.previous_us(at)
    assert backwards[::-1] == due
    for number in range(0, len(due), len(due) // 40 + 1):
        instant = due[number]
        assert trigger.next_us(instant - 1) == instant
        assert trigger.count_us(first, instant) == number
    draw = random.Random(trigger.expr)
    for at in (draw.randrange(first, last) for _ in range(20)):  # in no order: see Cron._window
        split = bisect_right(due, at)
        if split < len(due):
            assert trigger.next_us(at) == due[split]
        if split and at not in due:
            assert trigger.previous_us(at) == due[split - 1]


def _transitions(name: str) -> list[int]:
    spans = zone(name).spans
    return [start // US for start in spans.starts[1:] if start // US < _NOW]


def _whole(name: str, at: int) -> bool:
    tz = zoneinfo.ZoneInfo(name)
    offsets = [dt.datetime.fromtimestamp(at + by, tz).utcoffset() for by in (-3 * DAY, -1, 0)]
    return all(offset is not None and offset.total_seconds() % 60 == 0 for offset in offsets)


def _around(name: str, rule: Rule, at: int, before: int, after: int, step: int) -> None:
    """Compare from ``before`` seconds before ``at`` to ``after`` behind it; the walk begins a
    day earlier."""
    begin = at - before
    clock = wall_clock(name, begin - DAY, at + after, step)
    expected = [second for second in walk(rule, clock, step) if second >= begin]
    check(cron(rule.text, tz=name), expected, begin, at + after)


@pytest.mark.parametrize("name", ZONES)
def test_spans_are_what_zoneinfo_says(name: str) -> None:
    tz = zoneinfo.ZoneInfo(name)
    spans = zone(name).spans
    for index in range(1, len(spans.starts)):
        start = spans.starts[index]
        for at, offset in ((start, spans.offsets[index]), (start - US, spans.offsets[index - 1])):
            shown = dt.datetime.fromtimestamp(at // US, tz).utcoffset()
            assert shown == dt.timedelta(microseconds=offset)
    draw = random.Random(name)
    for at in (draw.randint(-4_000_000_000, 4_000_000_000) for _ in range(50)):
        shown = dt.datetime.fromtimestamp(at, tz).utcoffset()
        assert shown == dt.timedelta(microseconds=spans.offsets[spans.index(at * US)])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", DISTINCT)
def test_every_zone_agrees_with_a_walk_around_its_transitions(name: str) -> None:
    draw = random.Random(name)
    known = _transitions(name)
    latest = known[-2:]  # one way and back again
    if not THOROUGH:
        latest = draw.sample(latest, min(1, len(latest)))
    more = draw.sample(known, min(10 if THOROUGH else 1, len(known)))
    chosen = {*latest, *more} or {_NOW}
    for at in sorted(chosen):
        at -= at % 60
        if _whole(name, at):
            _around(name, draw_rule(draw), at, DAY // 2, DAY, 60)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(YEARS))
def test_a_year_around_a_transition_agrees_with_a_walk(seed: int) -> None:
    draw = random.Random(seed)
    name = draw.choice([name for name in ZONES if len(_transitions(name)) > 20])
    at = draw.choice([at for at in _transitions(name) if at % 60 == 0 and at > -800_000_000])
    rules = [draw_rule(draw) for _ in range(2)]
    begin, end = at - 183 * DAY, at + 183 * DAY
    assert _whole(name, begin), "a zone whose offset had seconds: draw later transitions"
    clock = wall_clock(name, begin - 2 * DAY, end, 60)
    for rule in rules:
        expected = [second for second in walk(rule, clock, 60) if second >= begin]
        trigger = cron(rule.text, tz=name)
        assert [due // US for due in trigger.between_us(begin * US, end * US)] == expected
        assert trigger.count_us(begin * US, end * US) == len(expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "near", "span"),
    [
        ("Africa/Monrovia", "1972-01-07", 3),  # a gap of 44 min 30 s
        ("Europe/Amsterdam", "1937-07-01", 3),  # a gap of 28 s
        ("Europe/Dublin", "1916-05-21", 3),  # from -0:25:21
        ("America/New_York", "1883-11-18", 3),  # a fold of 3 min 58 s
        ("Asia/Kolkata", "1906-01-01", 3),
        ("Asia/Manila", "1844-12-31", 26),  # a day that never was
        ("America/Juneau", "1867-10-18", 26),  # a day twice
    ],
)
def test_offsets_with_seconds_agree_with_a_walk_by_seconds(name: str, near: str, span: int) -> None:
    close = int(dt.datetime.fromisoformat(f"{near}T00:00:00+00:00").timestamp())
    at = min(_transitions(name), key=lambda at: abs(at - close))
    assert abs(at - close) < 2 * DAY
    draw = random.Random(name)
    begin, end = at - span * 3_600, at + span * 3_600
    clock = wall_clock(name, begin - 7_200, end, 1)
    hours = "0-23"
    for text, minutes in (
        ("* * * * *", set(range(60))),
        (f"0-59 {hours} * * *", set(range(60))),
        (f"1-59/2 {hours} * * *", set(range(1, 60, 2))),
        (f"0 {hours} * * *", {0}),
        (f"{draw.randint(0, 59)} {hours} * * *", set()),
    ):
        minutes = minutes or {int(text.split()[0])}
        every = set(range(32))
        rule = Rule(text, minutes, every, every, every, every, False)
        expected = [second for second in walk(rule, clock, 1) if second >= begin]
        check(cron(text, tz=name), expected, begin, end)


@pytest.mark.parametrize("name", DISTINCT)
def test_instants_strictly_increase_and_previous_undoes_next(name: str) -> None:
    draw = random.Random(f"steps {name}")
    for _ in range(3):
        rule = draw_rule(draw)
        trigger = cron(rule.text, tz=name)
        at = draw.randint(-2_000_000_000, 6_000_000_000) * US + draw.randint(0, US - 1)
        before = trigger.previous_us(at)
        for _ in range(30):
            due = trigger.next_us(at)
            assert due is not None
            assert due > at
            assert trigger.previous_us(due + 1) == due
            if before is not None:
                assert trigger.next_us(before) in (due, at)
                assert trigger.previous_us(due) in (before, at)
            before, at = due, due


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(60))
def test_a_zone_that_changes_every_few_hours_agrees_with_a_walk(seed: int) -> None:
    """Transitions closer together than any real ones, so that gaps and folds overlap."""
    draw = random.Random(seed)
    offset = draw.randrange(-12, 12) * 3_600
    start = 1_790_000_040 - 1_790_000_040 % 60
    changes: list[tuple[int, int]] = []
    at = start + 2 * DAY
    for _ in range(8):
        at += draw.randrange(4, 60) * 900
        changes.append((at, offset + draw.randrange(-12, 13) * 900))
    end = at + DAY
    clock = []
    for now in range(start, end, 60):
        east = next((value for since, value in reversed(changes) if since <= now), offset)
        clock.append((now, dt.datetime(1970, 1, 1) + dt.timedelta(seconds=now + east)))  # noqa: DTZ001
    for _ in range(3):
        rule = draw_rule(draw)
        trigger = cron(rule.text)
        made_up = Zone("Made/Up", ZoneData(offset, tuple(changes), None))
        object.__setattr__(trigger, "_zone", made_up)
        expected = [second for second in walk(rule, clock, 60) if second >= start + DAY]
        check(trigger, expected, start + DAY, end)


SPECIAL = [
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Australia/Lord_Howe", "2025-10-05"),  # half an hour
    ("Antarctica/Troll", "2025-03-30"),  # two hours
    ("America/Santiago", "2026-09-06"),  # at midnight
    ("Africa/Cairo", "2024-04-26"),
    ("America/Nuuk", "2024-03-31"),
    ("America/Nuuk", "2024-10-27"),  # from Sunday back to Saturday
    ("Europe/Dublin", "2025-10-26"),  # negative daylight saving
    ("Africa/Casablanca", "2025-02-23"),
    ("America/Sao_Paulo", "2018-11-04"),
]


@pytest.mark.parametrize(("name", "day"), SPECIAL)
def test_famous_transitions_agree_with_a_walk(name: str, day: str) -> None:
    draw = random.Random(name + day)
    at = int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
    assert min(abs(known - at) for known in _transitions(name)) < 3 * DAY
    clock = wall_clock(name, at - 5 * DAY, at + 3 * DAY, 60)
    for _ in range(6):
        rule = draw_rule(draw)
        expected = [second for second in walk(rule, clock, 60) if second >= at - 2 * DAY]
        check(cron(rule.text, tz=name), expected, at - 2 * DAY, at + 3 * DAY)
