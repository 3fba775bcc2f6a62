"""Triggers and sets of days are values: a copy is the value itself, a pickle brings it back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pendulum
import pytest

from kalends import triggers
from kalends.triggers import (
    Days,
    Trigger,
    calendar,
    cron,
    dates,
    every,
    holidays,
    once,
    rrule,
    weekdays,
    working_day,
)
from kalends.triggers.day_sets import DaysUnion

T0 = pendulum.datetime(2027, 1, 1, tz="UTC")
WEEKEND = weekdays("sat", "sun")
DAILY = cron("0 6 * * *", tz="Europe/Oslo")

TRIGGERS: list[Trigger] = [
    once(T0),
    every(hours=1),
    every(minutes=7, anchor=T0),
    DAILY,
    cron("0 0 6 L * ?", dialect="quartz"),
    calendar(months=1, day=-1, at=["06:00", "18:00"], tz="Asia/Tokyo"),
    calendar(weeks=2, weekday="mon", anchor=T0),
    rrule("FREQ=WEEKLY;BYDAY=MO,FR;COUNT=9", start=T0),
    DAILY.between(T0, T0.add(years=1)),
    DAILY.jitter(60),
    DAILY.limit(3, anchor=T0),
    DAILY | every(hours=5, anchor=T0),
    DAILY & every(hours=1, anchor=T0),
    DAILY - every(hours=5, anchor=T0),
    DAILY - WEEKEND,
    DAILY & (WEEKEND | dates("2027-05-17")),
]
DAYS: list[Days] = [
    dates("2026-12-24", "2026-12-25", tz="Europe/Oslo"),
    WEEKEND,
    WEEKEND | dates("2026-12-24"),
    working_day(1, -1, closed=WEEKEND | dates("2026-12-24")),
]
VALUES = [*TRIGGERS, *DAYS]


def _check_copies(value: Any) -> None:
    assert copy.copy(value) is value
    assert copy.deepcopy(value) is value
    assert copy.deepcopy([value])[0] is value
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(value, protocol))
        assert type(again) is type(value)
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_its_own_copy_and_comes_back_from_a_pickle(value: Any) -> None:
    _check_copies(value)
    with pytest.raises(AttributeError, match="does not change: cannot set 'anything'"):
        value.anything = 1
    with pytest.raises(AttributeError, match="does not change: cannot delete 'anything'"):
        del value.anything


def test_so_do_holidays() -> None:
    pytest.importorskip("holidays")
    _check_copies(holidays("NO"))
    _check_copies(DAILY - (holidays("US", subdiv="CA", tz="America/Los_Angeles") | WEEKEND))


def test_an_unpickled_trigger_is_due_when_the_pickled_one_was() -> None:
    for trigger in TRIGGERS:
        again = pickle.loads(pickle.dumps(trigger))
        after = [rule.anchored(0).next(T0.subtract(days=3)) for rule in (trigger, again)]
        assert after[0] == after[1]


def test_no_kind_of_trigger_or_of_days_is_missing_here() -> None:
    public = [getattr(triggers, name) for name in triggers.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Trigger | Days)}
    seen = {type(value) for value in VALUES}
    assert kinds - {Trigger, Days, triggers.Holidays} == seen - {DaysUnion}
