"""Recurrence rules: against dateutil, by the wall clock, at the ends, and when they are hostile."""

from __future__ import annotations

import datetime as dt
import random
import time
import warnings
from itertools import islice
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import MAX_US, MIN_US, from_us, to_us
from kalends.errors import KalendsError, PayloadTooLarge, ValidationFailed
from kalends.triggers import RRule, from_json, rrule, why
from kalends.triggers.rrule_parts import FREQUENCIES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dateutil.rrule import rrulestr

START = "2026-03-02T09:15:30"
DAYS = "MO TU WE TH FR SA SU".split()

SEEDS = [*range(15), *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(15, 110))]


def draw_text(draw: random.Random) -> str:
    """A rule that dateutil reads as RFC 5545 has it."""
    freq = draw.choice(FREQUENCIES)
    parts = [f"FREQ={freq}"]
    if draw.random() < 0.5:
        parts.append(f"INTERVAL={draw.choice((2, 3, 5, 7, 25, 61, 1000))}")
    wide = freq in ("YEARLY", "MONTHLY")

    def some(name: str, low: int, high: int, chance: float, most: int = 3) -> None:
        if draw.random() < chance:
            values = draw.sample(range(low, high + 1), draw.randint(1, most))
            parts.append(f"{name}={','.join(str(value) for value in values if value) or 1}")

    some("BYMONTH", 1, 12, 0.25, 6)
    some("BYMONTHDAY", -31, 31, 0.2, 8)
    some("BYYEARDAY", -366, 366, 0.1, 40)
    by_week = freq in ("YEARLY", "DAILY") and draw.random() < 0.15
    if by_week:
        # Not 52 and 53: dateutil misses some days of January that belong to the year before.
        some("BYWEEKNO", 1, 51, 1.0, 12)
    if draw.random() < 0.35:
        days = draw.sample(DAYS, draw.randint(1, 4))
        if wide and not by_week and draw.random() < 0.6:
            days = [f"{draw.choice((1, 2, 3, -1, -2))}{day}" for day in days]
        parts.append(f"BYDAY={','.join(days)}")
    some("BYHOUR", 0, 23, 0.2)
    some("BYMINUTE", 0, 59, 0.2)
    some("BYSECOND", 0, 59, 0.2)
    if draw.random() < 0.2 and any(part.startswith("BY") for part in parts):
        parts.append(f"BYSETPOS={draw.choice(('1', '-1', '2', '1,-1', '3,-2'))}")
    if draw.random() < 0.2:
        parts.append(f"WKST={draw.choice(DAYS)}")
    if draw.random() < 0.3:
        parts.append(f"COUNT={draw.choice((1, 2, 10, 100))}")
    return ";".join(parts)


def dateutil_says(text: str, number: int) -> list[int]:
    """The first instants, as many as there are to be found: looking for more may take hours."""
    starts = dt.datetime.fromisoformat(START)
    rule = rrulestr(text, dtstart=starts)
    return [to_us(at.replace(tzinfo=dt.UTC)) for at in islice(rule, number)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rule_agrees_with_dateutil(seed: int) -> None:
    draw = random.Random(seed)
    text = draw_text(draw)
    rule = rrule(text, start=START)
    mine: list[int] = []
    due = rule.next_us(MIN_US)
    horizon = to_us(pendulum.datetime(2045, 1, 1))
    while due is not None and due < horizon and len(mine) < 300:
        mine.append(due)
        due = rule.next_us(due)
    if not mine or ("WKST" in text and "WEEKLY" in text and "SETPOS" in text):
        return  # dateutil looks for what is never there until the year 9999
    end = mine[-1] + 1
    assert mine == dateutil_says(text, len(mine))
    assert rule.count_us(MIN_US, end) == len(mine)
    back = []
    at = rule.previous_us(end)
    while at is not None:
        back.append(at)
        at = rule.previous_us(at)
    assert back[::-1] == mine
    for number in range(0, len(mine), len(mine) // 12 + 1):
        assert rule.count_us(MIN_US, mine[number]) == number
        assert rule.next_us(mine[number] - 1) == mine[number]
    assert from_json(rule.to_json()) == rule
    again = eval(repr(rule), {"rrule": rrule})  # noqa: S307  (its own text, no stranger's)
    assert again == rule
    assert repr(again) == repr(rule)
    assert rule.describe()


def local(rule: RRule, number: int) -> list[str]:
    found: list[str] = []
    due = rule.next_us(MIN_US)
    while due is not None and len(found) < number:
        found.append(from_us(due).in_timezone(rule.tz).format("MM-DD HH:mm Z"))
        due = rule.next_us(due)
    return found


def test_days_of_january_may_belong_to_the_last_week_of_the_year_before() -> None:
    rule = rrule("FREQ=YEARLY;BYWEEKNO=52;WKST=TU;BYMONTH=1", start="2034-01-01T00:00:00")
    assert local(rule, 2) == ["01-01 00:00 +00:00", "01-02 00:00 +00:00"]  # from 27 December on


def test_a_rule_goes_by_the_wall_clock_of_its_zone() -> None:
    rule = rrule("FREQ=DAILY;COUNT=3", start="2026-03-28T02:30:00", tz="Europe/Oslo")
    assert local(rule, 9) == ["03-28 02:30 +01:00", "03-29 03:30 +02:00", "03-30 02:30 +02:00"]
    autumn = rrule("FREQ=DAILY;COUNT=2", start="2026-10-25T02:30:00", tz="Europe/Oslo")
    assert local(autumn, 9) == ["10-25 02:30 +02:00", "10-26 02:30 +01:00"]
    skipped = rrule("FREQ=DAILY;COUNT=3", start="2026-03-28T02:30:00", tz="Europe/Oslo", gap="skip")
    assert local(skipped, 9) == ["03-28 02:30 +01:00", "03-30 02:30 +02:00"]
    both = rrule("FREQ=DAILY;COUNT=1", start="2026-10-25T02:30:00", tz="Europe/Oslo", fold="both")
    assert local(both, 9) == ["10-25 02:30 +02:00", "10-25 02:30 +01:00"]


def test_a_start_says_its_zone_or_is_floating() -> None:
    aware = pendulum.datetime(2026, 7, 1, 9, tz="Europe/Oslo")
    assert rrule("FREQ=DAILY", start=aware).tz == "Europe/Oslo"
    assert rrule("FREQ=DAILY", start=aware).next_us(MIN_US) == to_us(aware)
    tokyo = rrule("FREQ=DAILY", start=aware, tz="Asia/Tokyo")
    assert repr(tokyo) == "rrule('FREQ=DAILY', start='2026-07-01T16:00:00', tz='Asia/Tokyo')"
    assert rrule("FREQ=DAILY", start=dt.datetime(2026, 7, 1, 9)).tz == "UTC"  # noqa: DTZ001
    fixed = dt.datetime(2026, 7, 1, 9, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert rrule("FREQ=DAILY", start=fixed).next_us(MIN_US) == to_us(fixed)
    part = rrule("FREQ=DAILY", start=dt.datetime(2026, 7, 1, 9, 0, 0, 999_999))  # noqa: DTZ001
    assert part == rrule("freq=daily".upper(), start="2026-07-01T09:00:00")


def test_until_is_an_instant_or_a_wall_clock_time() -> None:
    words = {"start": "2026-07-01T09:00:00", "tz": "Europe/Oslo"}
    assert len(local(rrule("FREQ=DAILY;UNTIL=20260703T070000Z", **words), 9)) == 3
    assert len(local(rrule("FREQ=DAILY;UNTIL=20260703T065959Z", **words), 9)) == 2
    assert len(local(rrule("FREQ=DAILY;UNTIL=20260703T090000", **words), 9)) == 3
    assert len(local(rrule("FREQ=DAILY;UNTIL=20260703", **words), 9)) == 2
    until = rrule("FREQ=DAILY;UNTIL=20260703T070000Z", **words)
    assert until.count_us(MIN_US, MAX_US) == 3
    last = until.previous_us(MAX_US)
    assert last == to_us(pendulum.datetime(2026, 7, 3, 7))
    assert until.next_us(last) is None
    before = rrule("FREQ=DAILY;UNTIL=20260630", **words)
    assert before.next_us(MIN_US) is before.previous_us(MAX_US) is None
    assert before.count_us(MIN_US, MAX_US) == 0


def test_a_rule_without_a_start_begins_when_it_is_made() -> None:
    rule = rrule("FREQ=HOURLY", tz="Europe/Oslo")
    assert rule.needs_anchor
    assert rule.origin_us is None
    for ask in (rule.next_us, rule.previous_us, lambda at: rule.count_us(at, at + 1)):
        with pytest.raises(ValidationFailed, match="no start yet"):
            ask(0)
    made = rule.anchored(to_us(pendulum.datetime(2026, 7, 1, 7)) - 1)
    assert made == rrule("FREQ=HOURLY", start="2026-07-01T09:00:00", tz="Europe/Oslo")
    assert made.anchored(5) is made
    assert from_json(rule.to_json()) == rule
    assert made.limit(2).count_us(MIN_US, MAX_US) == 2


def test_a_far_instant_is_reached_without_a_walk() -> None:
    begin = time.process_time()
    far = to_us(pendulum.datetime(2526, 1, 1))
    for text in (
        "FREQ=SECONDLY",
        "FREQ=SECONDLY;INTERVAL=7",
        "FREQ=MINUTELY;INTERVAL=1501",
        "FREQ=HOURLY;INTERVAL=769",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR",
        "FREQ=MONTHLY;BYSETPOS=-1;BYDAY=MO,TU,WE,TH,FR",
    ):
        rule = rrule(text, start="1970-01-01T00:00:00")
        due, earlier = rule.next_us(far), rule.previous_us(far)
        assert due is not None
        assert earlier is not None
        assert earlier < far < due
    assert time.process_time() - begin < 1.0


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "text",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=1;BYYEARDAY=200",
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
        "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=3;BYMINUTE=0;BYSECOND=0;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=3",
        "FREQ=MINUTELY;INTERVAL=1440;BYMINUTE=3",
        "FREQ=HOURLY;INTERVAL=36;BYHOUR=3",
        "FREQ=MONTHLY;BYSETPOS=32;BYMONTHDAY=1,2",
        "FREQ=WEEKLY;BYSETPOS=300;BYDAY=MO",
        "FREQ=DAILY;BYSETPOS=2;BYHOUR=3",
        "FREQ=SECONDLY;BYSETPOS=2;BYHOUR=3",
        "FREQ=YEARLY;INTERVAL=1000000000;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=SECONDLY;INTERVAL=1000000000;BYHOUR=3;BYMINUTE=4;BYSECOND=5;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYSETPOS=1",
    ],
)
def test_a_hostile_rule_is_answered_in_time(text: str) -> None:
    begin = time.process_time()
    rule = rrule(text, start="2026-01-31T00:00:01")
    due = rule.next_us(to_us(pendulum.datetime(2026, 2, 1)))
    if due is None:
        assert rule.previous_us(MAX_US) in (None, to_us(pendulum.datetime(2026, 1, 31, 0, 0, 1)))
    assert time.process_time() - begin < 3


def test_every_position_of_a_dense_period_is_found_without_spelling_it_out() -> None:
    every = ",".join(map(str, range(60)))
    hours = ",".join(map(str, range(24)))
    dense = (
        f"FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={hours};BYMINUTE={every};BYSECOND={every}"
    )
    rule = rrule(f"{dense};BYSETPOS=-1", start="2026-01-01T00:00:00")
    assert local(rule, 2) == ["12-31 23:59 +00:00", "12-31 23:59 +00:00"]


def test_the_ends_of_time() -> None:
    for text in ("FREQ=YEARLY", "FREQ=SECONDLY;INTERVAL=7", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1"):
        rule = rrule(text, start="0001-01-01T00:00:00")
        assert rule.next_us(MAX_US) is None
        assert rule.previous_us(MIN_US) is None
        first, last = rule.next_us(MIN_US - 10**18), rule.previous_us(MAX_US + 10**18)
        assert first is not None
        assert last is not None
        assert MIN_US <= first < last <= MAX_US
    late = rrule("FREQ=YEARLY;COUNT=10", start="9998-12-31T23:59:59", tz="Pacific/Niue")
    assert late.count_us(MIN_US, MAX_US + 1) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "NAME=VALUE"),
        ("DAILY", "NAME=VALUE"),
        ("FREQ=", "NAME=VALUE"),
        ("COUNT=3", "FREQ"),
        ("FREQ=DAYLY", "did you mean 'DAILY'"),
        ("FREQ=DAILY;BYDAYS=MO", "did you mean 'BYDAY'"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"),
        ("FREQ=DAILY;INTERVAL=0", "from 1 to"),
        ("FREQ=DAILY;INTERVAL=-1", "from 1 to"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "from 1 to"),
        ("FREQ=DAILY;COUNT=-1", "from 0 to"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "beside COUNT"),
        ("FREQ=DAILY;UNTIL=tomorrow", "20271224T180000Z"),
        ("FREQ=DAILY;UNTIL=20270230", "20271224T180000Z"),
        ("FREQ=DAILY;UNTIL=20270101T250000Z", "20271224T180000Z"),
        ("FREQ=DAILY;WKST=XX", "MO, TU"),
        ("FREQ=DAILY;BYDAY=XX", "MO, TU"),
        ("FREQ=DAILY;BYDAY=MON", "1MO"),
        ("FREQ=YEARLY;BYDAY=54MO", "1MO"),
        ("FREQ=YEARLY;BYDAY=0MO", "1MO"),
        ("FREQ=WEEKLY;BYDAY=1MO", "YEARLY or MONTHLY"),
        ("FREQ=YEARLY;BYWEEKNO=3;BYDAY=1MO", "BYWEEKNO"),
        ("FREQ=DAILY;BYHOUR=24", "from 0 to 23"),
        ("FREQ=DAILY;BYSECOND=61", "from 0 to 60"),
        ("FREQ=DAILY;BYMONTHDAY=0", "counts from 1"),
        ("FREQ=DAILY;BYMONTHDAY=32", "from -31 to 31"),
        ("FREQ=DAILY;BYMONTH=1,", "from 1 to 12"),
        ("FREQ=DAILY;BYMONTH=٣", "from 1 to 12"),
        ("FREQ=DAILY;BYSETPOS=1", "another BY part"),
        ("FREQ=DAILY;BYEASTER=0", "not part of a rule"),
    ],
)
def test_a_text_that_is_no_rule_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        rrule(text, start=START)
    assert hint in caught.value.message
    assert caught.value.details["path"] == "rule"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"start": 5}, "start"),
        ({"start": "soon"}, "start"),
        ({"start": START, "tz": "Mars/Phobos"}, "tz"),
        ({"tz": 5}, "tz"),
        ({"gap": "leap"}, "gap"),
        ({"rule": 5}, "rule"),
    ],
)
def test_other_words_are_checked(words: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        rrule(**{"rule": "FREQ=DAILY", **words})
    assert caught.value.details["path"] == path


@pytest.mark.parametrize(
    "change", [{"rule": 5}, {"tz": None}, {"anchor": 5}, {"extra": 1}, {"gap": 5}]
)
def test_damaged_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(KalendsError):
        from_json({**rrule("FREQ=DAILY", start=START).to_json(), **change})


def test_a_text_that_is_too_long_is_refused_at_once() -> None:
    begin = time.process_time()
    with pytest.raises(PayloadTooLarge):
        rrule("FREQ=DAILY;BYHOUR=" + "1," * 50_000)
    assert time.process_time() - begin < 0.1


_VALUE = st.one_of(
    st.sampled_from(FREQUENCIES),
    st.sampled_from("MO 1MO -1FR TU,TH 1 -1 1,2,3 53 0 366 20270101 20270101T000000Z".split()),
    st.text("0123456789,-+TZMOFR", max_size=8),
)
_NAMES = (
    "FREQ INTERVAL COUNT UNTIL WKST BYDAY BYMONTH BYMONTHDAY BYYEARDAY BYWEEKNO BYHOUR BYSETPOS"
)
_PIECE = st.tuples(st.sampled_from(_NAMES.split()), _VALUE).map("=".join)
_RULE = st.tuples(st.sampled_from(FREQUENCIES), st.lists(_PIECE, max_size=3)).map(
    lambda drawn: ";".join([f"FREQ={drawn[0]}", *drawn[1]])
)


def _made(text: str) -> RRule | ValidationFailed:
    try:
        return rrule(text, start=START, tz="Europe/Oslo")
    except ValidationFailed as refusal:
        return refusal


@given(text=st.one_of(_RULE, st.text(max_size=60)), at=st.integers(0, 4 * 10**15))
def test_any_text_is_a_sound_rule_or_refused(text: str, at: int) -> None:
    rule = _made(text)
    if isinstance(rule, ValidationFailed):
        assert rule.details["path"] == "rule"
        return
    assert from_json(rule.to_json()) == rule
    assert rule.describe()
    due = rule.next_us(at)
    if due is not None:
        assert due > at
        assert rule.previous_us(due + 1) == due
        assert rule.count_us(at + 1, due + 1) == 1


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=WEEKLY;BYMONTH=3,1;BYDAY=MO;BYSETPOS=2;COUNT=100",
        "FREQ=WEEKLY;BYDAY=MO,TU;BYMONTHDAY=1;BYSETPOS=2;COUNT=100",
        "FREQ=MONTHLY;INTERVAL=3;BYMONTH=11;BYSETPOS=1;COUNT=1",
        "FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=14;BYSETPOS=2;COUNT=10",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=3",
        "FREQ=SECONDLY;INTERVAL=7;BYMONTH=2;BYMONTHDAY=30;COUNT=3",
    ],
)
@pytest.mark.parametrize("tz", ["UTC", "Europe/Oslo"])
@pytest.mark.timeout(60)  # it took minutes
def test_a_rule_without_instants_is_searched_once_and_not_for_long(text: str, tz: str) -> None:
    rule = rrule(text, start=START, tz=tz)
    assert rule.next_us(MIN_US) is None
    assert rule.previous_us(MAX_US) is None
    assert rule.count_us(MIN_US, MAX_US) == 0


def test_a_rule_that_is_due_zero_times_is_empty() -> None:
    rule = rrule("FREQ=DAILY;COUNT=0", start="2027-01-01T09:00:00")
    assert rule.next_us(MIN_US) is None
    assert rule.previous_us(MAX_US) is None
    assert rule.count_us(MIN_US, MAX_US) == 0
    assert rule.describe() == "every day, from 2027-01-01T09:00:00, 0 times, UTC"
    causes = why(rule, pendulum.datetime(2027, 1, 2, 9)).causes
    assert [cause.field for cause in causes] == ["COUNT"]


def test_the_sixtieth_second_is_read_as_the_one_before_it() -> None:
    rule = rrule("FREQ=MINUTELY;BYSECOND=60,0,59;COUNT=3", start="2027-01-01T09:00:00")
    assert rule.rule.startswith("FREQ=MINUTELY;BYSECOND=60,0,59")
    due = [str(at)[11:19] for at in rule.between(pendulum.datetime(2027, 1, 1))]
    assert due == ["09:00:00", "09:00:59", "09:01:00"]
