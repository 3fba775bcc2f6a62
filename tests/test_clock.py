"""Instants: what is accepted, and that no conversion loses a microsecond."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.clock import MAX_US, MIN_US, US, SystemClock, from_us, to_us
from kalends.errors import ValidationFailed


@given(st.integers(MIN_US, MAX_US))
def test_every_instant_comes_back_as_it_went(us: int) -> None:
    at = from_us(us)
    assert to_us(at) == us
    assert isinstance(at, pendulum.DateTime)
    assert at.utcoffset() == dt.timedelta(0)


@given(st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2100, 1, 1)))  # noqa: DTZ001
def test_a_datetime_of_any_zone_is_its_instant(naive: dt.datetime) -> None:
    for zone in ("Europe/Oslo", "America/New_York", "Australia/Lord_Howe"):
        aware = naive.replace(tzinfo=zoneinfo.ZoneInfo(zone))
        whole = aware.astimezone(dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        assert to_us(aware) == whole // dt.timedelta(microseconds=1)


def test_both_sides_of_a_fold_are_different_instants() -> None:
    zone = zoneinfo.ZoneInfo("Europe/Oslo")
    first = dt.datetime(2027, 10, 31, 2, 30, tzinfo=zone, fold=0)
    assert to_us(first.replace(fold=1)) - to_us(first) == 3600 * US


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, "2027-01-01", dt.date(2027, 1, 1), b"", object(), float("nan")]
)
def test_what_is_no_datetime_is_refused_with_its_path(value: object) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        to_us(value, "since")
    assert refusal.value.details["path"] == "since"


def test_a_naive_datetime_is_refused_because_no_zone_is_guessed() -> None:
    with pytest.raises(ValidationFailed, match="no time zone"):
        to_us(dt.datetime(2027, 1, 1), "at")  # noqa: DTZ001


def test_the_system_clock_reads_the_machine_and_never_needs_telling() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    assert clock.now_us() > 1_790_000_000 * US
    assert clock.monotonic() >= before
    assert clock.real_seconds(2.5) == 2.5
    clock.on_change(lambda: None)()


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14))),
    ],
)
def test_what_utc_puts_outside_the_years_1_to_9999_is_refused(value: dt.datetime) -> None:
    with pytest.raises(ValidationFailed, match="since lies outside the years 1 to 9999 in UTC"):
        to_us(value, "since")
