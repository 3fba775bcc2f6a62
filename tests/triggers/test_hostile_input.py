"""Whatever a stranger passes: refused in time with the right class, or a sound rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.errors import KalendsError, ValidationFailed
from kalends.triggers import (
    Trigger,
    calendar,
    cron,
    dates,
    every,
    from_json,
    once,
    rrule,
    weekdays,
)

T0 = pendulum.datetime(2026, 1, 1)
_BIG = [
    "0," * 50_000,
    "*" * 100_000,
    "1-" * 50_000,
    "L" * 100_000,
    " " * 100_000,
    "\ud800" * 100_000,
]
_READERS: list[Callable[[str], Any]] = [
    cron,
    lambda text: cron(text, dialect="quartz"),
    lambda text: cron("* * * * *", tz=text),
    lambda text: cron("* * * * *", dialect=text),
    lambda text: cron("* * * * *", gap=text),
    rrule,
    lambda text: rrule("FREQ=DAILY", start=text),
    lambda text: calendar(days=1, at=text),
    lambda text: calendar(weeks=1, weekday=text),
    weekdays,
    dates,
    lambda text: from_json({"v": 1, "type": text}),
    lambda text: from_json({"v": 1, "type": "once", "at": text}),
]


@pytest.mark.parametrize("reader", _READERS)
def test_a_hundred_kilobytes_are_refused_at_once(reader: Callable[[str], Any]) -> None:
    for text in _BIG:
        begin = time.process_time()
        with pytest.raises(ValidationFailed) as caught:
            reader(text)
        assert time.process_time() - begin < 0.5
        assert len(caught.value.message) < 500


EACH: list[Trigger] = [
    once(T0),
    every(minutes=5, anchor=T0).limit(3),
    cron("0 6 * * 1-5", tz="Europe/Oslo", gap="shift", fold="last").jitter(5),
    cron("0 0 6 ? * 6#3 2030", dialect="quartz"),
    cron("0 6 * * *") - (weekdays("sat") | dates("2026-12-24")),
    (cron("0 6 * * *") | cron("0 7 * * *")) & weekdays("mon"),
    cron("0 6 * * *") & every(days=2, anchor=T0.add(hours=6)),
    calendar(months=3, day=[1, -1], at=["06:00", "18:00"], anchor=T0),
    rrule("FREQ=MONTHLY;BYDAY=-1FR", start="2026-01-01T09:00:00", tz="Europe/Oslo"),
    cron("0 6 * * *").between(T0),
]

_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10),
        st.sampled_from(["once", "cron", "UTC", "2026-01-01T00:00:00Z", 1]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


@given(which=st.integers(0, len(EACH) - 1), place=st.integers(0, 50), other=_JSON)
def test_json_with_anything_anywhere_is_sound_or_refused(
    which: int, place: int, other: Any
) -> None:
    stored = EACH[which].to_json()
    places = _places(stored)
    container, key = places[place % len(places)]
    container[key] = other
    try:
        rule = from_json(stored)
    except KalendsError:
        return
    assert from_json(rule.to_json()) == rule
    assert rule.describe()
    assert repr(rule)


@pytest.mark.parametrize("rule", EACH, ids=repr)
def test_every_kind_of_rule_comes_back_from_its_text_and_its_json(rule: Trigger) -> None:
    names = {
        "calendar": calendar, "cron": cron, "dates": dates, "every": every, "once": once,
        "pendulum": pendulum, "rrule": rrule, "weekdays": weekdays,
    }  # fmt: skip
    again = eval(repr(rule), names)  # noqa: S307  (its own text, no stranger's)
    assert again == rule
    assert repr(again) == repr(rule)
    assert from_json(rule.to_json()) == rule
    assert hash(from_json(rule.to_json())) == hash(rule)
