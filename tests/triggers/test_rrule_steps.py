"""Rules of hours, minutes and seconds whose interval does not divide the day: by hand, and fast."""

from __future__ import annotations

import time
from math import gcd

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.clock import US, to_us
from kalends.triggers import rrule
from kalends.triggers.local import DAY_US
from kalends.triggers.rrule_days import ByDays
from kalends.triggers.rrule_parts import RuleParts, parse_rrule
from kalends.triggers.rrule_steps import Steps

HOUR_US = 3_600 * US
SPAN = 60
"""Days on either side of 1970-01-01 that are spelled out."""

EVERY_DAY = RuleParts("HOURLY")


@st.composite
def steps(draw: st.DrawFn) -> tuple[Steps, list[int]]:
    """Steps, and their moments on the days of the span, spelled out."""
    per_day = draw(st.sampled_from([24, 48]))
    unit_us = DAY_US // per_day
    interval = draw(st.integers(1, 7 * per_day))
    origin = draw(st.integers(-10 * per_day, 10 * per_day))
    days = draw(st.sampled_from([EVERY_DAY, parse_rrule("FREQ=HOURLY;BYDAY=MO,TH")]))
    shared = gcd(interval, per_day)
    comes = [unit for unit in range(per_day) if (unit - origin) % shared == 0]
    some = st.lists(st.sampled_from(comes), min_size=1, unique=True).map(sorted)
    allowed = draw(st.one_of(st.just(range(per_day)), some))
    within = draw(st.sampled_from([[0], [0, 7 * US], [5 * US]]))
    made = Steps(ByDays(days), unit_us, interval, origin, allowed, within)
    plan = ByDays(days)
    moments = [
        unit * unit_us + more
        for unit in range(-SPAN * per_day, SPAN * per_day)
        if (unit - origin) % interval == 0
        and unit % per_day in allowed
        and plan.count_days(unit // per_day, unit // per_day + 1)
        for more in within
    ]
    return made, moments


@settings(max_examples=500)
@given(steps(), st.integers(-20 * DAY_US, 20 * DAY_US), st.integers(0, 30 * DAY_US))
def test_steps_are_those_that_are_spelled_out(
    drawn: tuple[Steps, list[int]], begin: int, length: int
) -> None:
    made, moments = drawn
    begin = begin // HOUR_US * HOUR_US  # often on a step
    ahead = [moment for moment in moments if moment >= begin]
    behind = [moment for moment in moments if moment < begin]
    if ahead:
        assert made.at_or_after(begin) == ahead[0]
    if behind:
        assert made.before(begin) == behind[-1]
    assert made.count(begin, begin + length) == sum(at < begin + length for at in ahead)


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=SECONDLY;INTERVAL=997;BYHOUR=0,12;BYMINUTE=0;COUNT=10000000",
        "FREQ=SECONDLY;INTERVAL=7;BYHOUR=3;BYMINUTE=7;COUNT=9000000",
        "FREQ=SECONDLY;INTERVAL=86401;BYHOUR=9;BYMINUTE=0;COUNT=5000",
    ],
)
def test_the_last_of_millions_of_rare_steps_is_found_without_walking(text: str) -> None:
    begin = time.process_time()
    rule = rrule(text, start="2027-01-01T00:00:00")
    assert rule.next_us(to_us(pendulum.datetime(2027, 1, 1))) is not None
    assert time.process_time() - begin < 2
