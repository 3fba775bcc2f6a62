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
    search,
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


_WORDS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{0,9}Z?)?", fullmatch=True),
    st.sampled_from(["18:00", "mon", "friday", "2027-02-29", "2027-02-28", "NO", "24:00", "१२:००"]),
)
_ANY = st.one_of(_WORDS, st.integers(), st.floats(), st.none(), st.lists(_WORDS, max_size=3))


@given(word=_ANY, other=_ANY, which=st.integers(0, 9))
def test_any_word_in_any_place_is_sound_or_refused(word: Any, other: Any, which: int) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: calendar(days=1, at=word),
        lambda: calendar(months=1, day=word, at=other),
        lambda: calendar(years=1, month=word, day=other),
        lambda: calendar(months=1, weekday=word, nth=other),
        lambda: calendar(weeks=word, weekday=other, anchor=T0),
        lambda: calendar(days=1, tz=word, gap=other),
        lambda: cron("0 6 * * *") - dates(word, other),
        lambda: cron("0 6 * * *") - weekdays(word, other),
        lambda: rrule("FREQ=DAILY", start=word, tz=other),
        lambda: cron("0 6 * * *", fold=word, gap=other),
    ]
    try:
        rule = makers[which]()
    except KalendsError:
        return
    assert from_json(rule.to_json()) == rule
    assert rule.describe()
    if not rule.needs_anchor:
        rule.next(T0)


def _nested(deep: int) -> dict[str, Any]:
    stored: dict[str, Any] = once(T0).to_json()
    for _ in range(deep):
        stored = {"v": 1, "type": "jitter", "rule": stored, "seconds": 1}
    return stored


def _never(number: int) -> dict[str, Any]:
    """A rule whose search is long, and each time for other rules."""
    nine = cron("0 9 * * *").to_json()
    late = every(days=1, anchor=T0.add(hours=1, seconds=number)).to_json()
    return {"v": 1, "type": "intersection", "rules": [nine, late]}


_HUGE: list[Any] = [
    [[]] * 20_000,
    {"v": 1, "type": "union", "rules": [once(T0).to_json()] * 2_000},
    {"v": 1, "type": "union", "rules": [_nested(20)] * 200},
    _nested(900),
    {str(number): None for number in range(20_000)} | {"v": 1, "type": "once"},
    {"v": 1, "type": "cron", "expr": "* " * 50_000, "tz": "UTC", "dialect": "vixie"},
    {"v": 1, "type": "rrule", "rule": "BYDAY=MO;" * 10_000, "tz": "UTC"},
    {"v": 1, "type": "calendar", "days": 1, "at": ["00:00"] * 10_000},
    {"v": 1, "type": "every", "seconds": 10**400},
    {
        "v": 1, "type": "except_days", "rule": cron("0 9 * * *").to_json(),
        "days": {"v": 1, "type": "dates", "dates": ["2027-01-01"] * 10_001, "tz": None},
    },
    {"v": 1, "type": "union", "rules": [_never(number) for number in range(99)]},
]  # fmt: skip


@pytest.mark.parametrize("stored", _HUGE, ids=range(len(_HUGE)))
def test_json_of_a_hundred_kilobytes_is_refused_soon(stored: Any) -> None:
    begin = time.process_time()
    with pytest.raises(ValidationFailed):
        from_json(stored)
    assert time.process_time() - begin < 15


def test_all_the_searches_of_one_json_share_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these is found after hundreds of steps; a hundred of them must not take as many."""
    nine = cron("0 9 * * *")
    rules = [nine - nine.between(end=pendulum.datetime(2001, 1, 1 + day)) for day in range(30)]
    both = (rules[0] | rules[1]).to_json()
    many = {"v": 1, "type": "union", "rules": [rule.to_json() for rule in rules]}
    monkeypatch.setattr(search, "STEPS", 1_000)
    assert from_json(both) == rules[0] | rules[1]
    with pytest.raises(ValidationFailed, match="steps"):
        from_json(many)
