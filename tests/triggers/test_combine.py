"""Rules made of rules, against sets of instants."""

from __future__ import annotations

import datetime as dt
import random
import time
import zoneinfo
from bisect import bisect_left, bisect_right
from typing import Any

import pendulum
import pytest

from kalends.clock import MAX_US, MIN_US, US, from_us, to_us
from kalends.errors import KalendsError, ValidationFailed
from kalends.triggers import (
    Days,
    Trigger,
    Union,
    cron,
    dates,
    every,
    from_json,
    once,
    transitions,
    weekdays,
)

T0 = pendulum.datetime(2026, 3, 20)
BEGIN, END = to_us(T0), to_us(T0.add(days=16))
NAMES = {
    "cron": cron, "dates": dates, "every": every, "once": once, "pendulum": pendulum,
    "weekdays": weekdays,
}  # fmt: skip

RULES: list[Trigger] = [
    cron("*/30 * * * *"),
    cron("*/20 1-4 * * *", tz="Europe/Oslo"),
    cron("*/15 */2 * * 1-5", tz="Europe/Oslo"),
    cron("30 2 * * *", tz="Europe/Oslo"),
    cron("15 * * * *", tz="America/New_York"),
    every(minutes=20, anchor=T0),
    every(minutes=45, anchor=T0.add(minutes=15)),
    every(hours=7, anchor=T0),
    once(T0.add(days=3)),
    cron("0 * * * *").between(T0.add(days=2), T0.add(days=9)),
    cron("*/10 * * * *").jitter(5),
    every(minutes=30, anchor=T0).limit(100, anchor=T0),
]
DAYS: list[Days] = [
    weekdays("sat", "sun", tz="Europe/Oslo"),
    weekdays("mon", tz="America/New_York"),
    dates("2026-03-29", "2026-03-24", dt.date(2026, 3, 25), tz="Europe/Oslo"),
    weekdays("sun", tz="UTC") | dates("2026-03-23") | dates("2026-03-28"),
]

SEEDS = [*range(8), *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(8, 70))]


def draw_rule(draw: random.Random, deep: int) -> tuple[Trigger, set[int]]:
    """A rule, and its instants in the window as a set."""
    if deep == 0:
        rule = draw.choice(RULES)
        return rule, set(rule.between_us(BEGIN, END))
    one, instants = draw_rule(draw, deep - 1)
    kind = draw.choice("| & - days days".split())
    if kind == "days":
        days, keep = draw.choice(DAYS), draw.random() < 0.5
        tz = zoneinfo.ZoneInfo(days.tz or "UTC")
        epoch = dt.date(1970, 1, 1).toordinal()
        on = {
            at for at in instants if days.has(from_us(at).astimezone(tz).date().toordinal() - epoch)
        }
        return (one & days, on) if keep else (one - days, instants - on)
    other, others = draw_rule(draw, draw.randrange(deep))
    if kind == "|":
        return one | other, instants | others
    return (one & other, instants & others) if kind == "&" else (one - other, instants - others)


def check(rule: Trigger, due: list[int], draw: random.Random) -> None:
    assert list(rule.between_us(BEGIN, END)) == due
    assert rule.count_us(BEGIN, END) == len(due)
    points = [draw.randrange(BEGIN, END) for _ in range(6)]
    points += [at + by for at in draw.sample(due, min(4, len(due))) for by in (-1, 0, 1)]
    for at in points:
        after, before = bisect_right(due, at), bisect_left(due, at)
        following, earlier = rule.next_us(at), rule.previous_us(at)
        if after < len(due):
            assert following == due[after]
        else:
            assert following is None or following >= END
        if before:
            assert earlier == due[before - 1]
        else:
            assert earlier is None or earlier < BEGIN
        assert rule.count_us(BEGIN, at) == before
        assert rule.count_us(at, END) == len(due) - before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rule_of_rules_agrees_with_sets_of_instants(seed: int) -> None:
    draw = random.Random(seed)
    try:
        rule, instants = draw_rule(draw, draw.choice((1, 1, 2, 3)))
    except ValidationFailed as refusal:
        assert "never be due" in refusal.message or "steps" in refusal.message  # noqa: PT017
        return
    check(rule, sorted(instants), draw)
    assert from_json(rule.to_json()) == rule
    again = eval(repr(rule), dict(NAMES))  # noqa: S307  (its own text, no stranger's)
    assert again == rule
    assert repr(again) == repr(rule)
    assert rule.describe()
    assert rule.anchored(5) is rule or rule.needs_anchor


def test_operators_read_as_written() -> None:
    a, b, c = cron("0 6 * * *"), every(hours=5, anchor=T0), cron("0 0 * * *")
    assert (a | b) | c == a | b | c == a | (b | c)
    assert repr(a | b | c).count("(cron('0 6 * * *')") == 0
    assert repr((a | b) - c) == f"({a!r} | {b!r}) - {c!r}"
    assert repr((a | b).jitter(5)) == f"({a!r} | {b!r}).jitter(5)"
    assert repr(a - (weekdays("sat") | weekdays("sun"))) == (
        "cron('0 6 * * *') - (weekdays('sat') | weekdays('sun'))"
    )
    assert (a | b).describe() == (
        "at 06:00 every day, UTC; and also every 5 hours, counted from 2026-03-20T00:00:00Z"
    )
    assert (a - weekdays("sat", "sun")).describe() == (
        "at 06:00 every day, UTC; except on Saturdays and Sundays"
    )
    assert (a & dates("2026-12-24")).describe() == "at 06:00 every day, UTC; only on 2026-12-24"
    assert ((a | c) - b).describe() == (
        "[at 06:00 every day, UTC; and also at 00:00 every day, UTC]; except when that is also: "
        "every 5 hours, counted from 2026-03-20T00:00:00Z"
    )
    assert (a & b).describe() == (
        "at 06:00 every day, UTC; only when that is also: every 5 hours, counted from "
        "2026-03-20T00:00:00Z"
    )


def test_what_counts_from_its_creation_is_resolved_in_every_part() -> None:
    loose = every(minutes=10)
    for rule in (loose | cron("0 0 * * *"), loose & cron("0 0 * * *"), loose - cron("0 0 * * *")):
        assert rule.needs_anchor
        with pytest.raises(ValidationFailed, match="no anchor"):
            rule.next_us(BEGIN)
        made = rule.anchored(BEGIN)
        assert not made.needs_anchor
        assert made.next_us(BEGIN) is not None
        assert made.anchored(5) is made
    closed = (loose - weekdays("sat")).anchored(BEGIN)
    assert closed.next_us(BEGIN) == BEGIN + 600 * US


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "make",
    [
        lambda: cron("0 0 * * *") & cron("30 0 * * *"),
        lambda: cron("*/2 * * * * *") & cron("1-59/2 * * * * *"),
        lambda: every(seconds=2, anchor=T0) & every(seconds=2, anchor=T0.add(seconds=1)),
        lambda: cron("0 0 * * 6") - weekdays("sat"),
        lambda: cron("0 0 * * 1") & weekdays("sat"),
        lambda: cron("0 0 24 12 *") - cron("0 0 * * *"),
        lambda: once(T0) - once(T0),
        lambda: once(T0) & cron("1 0 * * *"),
        lambda: every(seconds=1, anchor=T0) - every(seconds=1, anchor=T0),
        lambda: cron("0 9 * * *", tz="Asia/Tokyo") & cron("0 9 * * *", tz="Asia/Kolkata"),
        lambda: cron("* * * * * *") & cron("* * * * * *").between(end=T0) & once(T0),
    ],
)
def test_a_rule_that_can_never_be_due_is_refused_within_a_bound(make: Any) -> None:
    begin = time.process_time()
    with pytest.raises(ValidationFailed):
        make()
    assert time.process_time() - begin < 5


def test_a_rule_of_rules_ends() -> None:
    rule = cron("0 0 * * *") & every(days=1, anchor=T0).between(T0, T0.add(days=3))
    assert rule.count_us(MIN_US, MAX_US + 1) == 3
    assert rule.next_us(BEGIN + 3 * 86_400 * US) is None
    assert rule.next_us(MAX_US) is None
    assert rule.previous_us(MIN_US) is None
    with_holes = cron("0 0 * * *") - weekdays("sat", "sun")
    assert with_holes.next_us(MAX_US) is None
    assert with_holes.previous_us(MIN_US) is None
    assert with_holes.next_us(MIN_US - 10**18) == MIN_US
    last = with_holes.previous_us(MAX_US + 10**18)
    assert last is not None
    assert from_us(last).date() == dt.date(9999, 12, 31)


def test_counting_what_dense_rules_share_is_arithmetic() -> None:
    begin = time.process_time()
    year = to_us(pendulum.datetime(2027, 1, 1)), to_us(pendulum.datetime(2028, 1, 1))
    seconds = cron("* * * * * *", tz="Europe/Oslo")
    third = cron("*/3 * 6-17 * * *", tz="Europe/Oslo")
    assert (seconds | third).count_us(*year) == 365 * 86_400
    assert (seconds & third).count_us(*year) == 365 * 12 * 3600 // 3
    assert (seconds - third).count_us(*year) == 365 * 86_400 - 365 * 12 * 1200
    pair = every(seconds=6, anchor=T0) & every(seconds=10, anchor=T0.add(seconds=4))
    assert pair.count_us(*year) == 365 * 86_400 // 30
    assert seconds.count_us(*year) - (seconds - weekdays("sun")).count_us(*year) == 52 * 86_400
    assert time.process_time() - begin < 1.0


def test_the_last_microsecond_of_a_day_belongs_to_it() -> None:
    last = every(days=1, anchor=pendulum.datetime(2026, 3, 20, 23, 59, 59, 999_999))
    rule = last - weekdays("sat", "sun")
    monday = pendulum.datetime(2026, 3, 23)
    assert rule.previous(monday) == pendulum.datetime(2026, 3, 20, 23, 59, 59, 999_999)
    assert rule.next(monday.subtract(days=2)) == monday.add(days=1, microseconds=-1)


def test_days_need_a_zone_where_the_rule_has_several() -> None:
    mixed = cron("0 0 * * *", tz="Europe/Oslo") | cron("0 0 * * *", tz="Asia/Tokyo")
    with pytest.raises(ValidationFailed, match="Asia/Tokyo and Europe/Oslo"):
        mixed - weekdays("sat")
    assert mixed - weekdays("sat", tz="UTC")
    oslo = cron("0 23 * * *", tz="America/New_York") - weekdays("sun")
    assert oslo.previous(pendulum.datetime(2026, 6, 9)) == pendulum.datetime(2026, 6, 7, 3)
    # a Sunday in UTC, a Saturday in New York


@pytest.mark.parametrize(
    "make",
    [
        weekdays,
        dates,
        lambda: weekdays("satur"),
        lambda: weekdays(6),  # type: ignore[arg-type]  # the point of the test
        lambda: weekdays("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        lambda: weekdays("sat", tz="Mars/Phobos"),
        lambda: dates("24 December"),
        lambda: dates(T0),
        lambda: dates(5),  # type: ignore[arg-type]  # the point of the test
        lambda: weekdays("sat", tz="UTC") | weekdays("sun", tz="Asia/Tokyo"),
        lambda: dates(*["2026-01-01"] * 10_001),
    ],
)
def test_days_that_are_none_are_refused(make: Any) -> None:
    with pytest.raises(ValidationFailed):
        make()


def test_days_are_values() -> None:
    days = weekdays("sunday", "SAT")
    assert days == weekdays("sat", "sun")
    assert hash(days) == hash(weekdays("sat", "sun"))
    assert days != dates("2026-01-01")
    assert repr(days) == "weekdays('sat', 'sun')"
    assert repr(dates(dt.date(2026, 1, 1), tz="UTC")) == "dates('2026-01-01', tz='UTC')"
    with pytest.raises(AttributeError):
        days.numbers = (1,)
    for name in ("+", "5", None):
        with pytest.raises(TypeError):
            cron("0 0 * * *") - name  # type: ignore[operator]  # the point of the test
        with pytest.raises(TypeError):
            days | name  # type: ignore[operator]  # the point of the test
    many = dates(*(f"2026-01-{day:02}" for day in range(1, 13)))
    assert many.describe().endswith("2026-01-08 and 4 more days")


@pytest.mark.parametrize("days", DAYS, ids=repr)
def test_runs_of_days_say_one_thing(days: Days) -> None:
    for day in range(20_520, 20_560):
        assert all(
            days.has(other) == days.has(day) for other in range(day, min(days.until(day), day + 99))
        )
        assert all(
            days.has(other) == days.has(day) for other in range(max(days.since(day), day - 99), day)
        )
        assert days.since(day) <= day < days.until(day)


def test_a_gap_met_by_any_part_is_told() -> None:
    year = pendulum.datetime(2026, 1, 1), pendulum.datetime(2027, 1, 1)
    oslo = cron("30 2 * * *", tz="Europe/Oslo")
    both = (oslo | cron("30 2 * * *", tz="America/New_York")) - weekdays("sat", tz="UTC")
    assert [one.tz for one in transitions(both, *year)] == [
        "America/New_York", "Europe/Oslo", "Europe/Oslo",
    ]  # fmt: skip


STORED = cron("0 0 * * *").to_json()
SATURDAYS = weekdays("sat").to_json()


@pytest.mark.parametrize(
    "stored",
    [
        {"v": 1, "type": "union"},
        {"v": 1, "type": "union", "rules": [STORED]},
        {"v": 1, "type": "union", "rules": "ab"},
        {"v": 1, "type": "union", "rules": [STORED] * 101},
        {"v": 1, "type": "intersection", "rules": [STORED, {}]},
        {"v": 1, "type": "difference", "rule": STORED},
        {"v": 1, "type": "except_days", "rule": STORED},
        {"v": 1, "type": "only_days", "rule": STORED, "days": STORED},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {**SATURDAYS, "v": 2}},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {**SATURDAYS, "extra": 2}},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {**SATURDAYS, "weekdays": "sat"}},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {**SATURDAYS, "weekdays": [[]]}},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {**SATURDAYS, "tz": 5}},
        {"v": 1, "type": "only_days", "rule": STORED, "days": {"v": 1, "type": "days", "sets": []}},
        {"v": 1, "type": "jitter", "rule": STORED, "seconds": "5"},
        {"v": 1, "type": "limit", "rule": STORED, "n": "5"},
        {"v": 1, "type": "limit", "rule": STORED, "n": 5, "anchor": 5},
    ],
)
def test_damaged_json_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(KalendsError):
        from_json(stored)


def test_nesting_is_bounded() -> None:
    rule: Trigger = cron("0 0 * * *")
    for _ in range(31):
        rule = rule - once(T0)
    with pytest.raises(ValidationFailed, match="32 deep"):
        rule - once(T0)
    wide = Union([cron("0 0 * * *")] * 100)
    with pytest.raises(ValidationFailed, match="2 to 100"):
        wide | cron("0 0 * * *")
