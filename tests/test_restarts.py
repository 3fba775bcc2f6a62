"""Restart arithmetic, as pure properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.errors import ValidationFailed
from kalends.restarts import Backoff, RestartWindow, Strategy

STEPS = st.lists(st.floats(0.0, 50.0), max_size=60)


@given(STEPS, st.integers(0, 5), st.floats(0.1, 100.0))
def test_a_restart_is_refused_exactly_when_its_period_holds_more_than_the_intensity(
    steps: list[float], intensity: int, period: float
) -> None:
    window, now = RestartWindow(intensity, period), 0.0
    history: list[float] = []
    stamps: tuple[float, ...] = ()
    for step in steps:
        now += step
        history.append(now)
        stamps, allowed = window.admit(stamps, now)
        within = sum(1 for stamp in history if now - stamp <= period)
        assert allowed is (within <= intensity)
        assert len(stamps) == within


def test_a_restart_exactly_one_period_ago_still_counts() -> None:
    window = RestartWindow(1, 10.0)
    stamps, _ = window.admit((), 0.0)
    assert window.admit(stamps, 10.0)[1] is False
    assert window.admit(stamps, 10.001)[1] is True


def test_the_stamps_given_are_left_as_they_were() -> None:
    stamps = (1.0, 2.0)
    RestartWindow(5, 1.5).admit(stamps, 3.0)
    assert stamps == (1.0, 2.0)


@given(
    st.floats(0.0, 5.0),
    st.floats(1.0, 10.0),
    st.floats(5.0, 60.0),
    st.floats(0.0, 1.0),
    st.integers(1, 100_000),
    st.floats(0.0, 0.999),
)
def test_a_delay_is_never_negative_never_over_the_limit_and_within_its_jitter(
    first: float, factor: float, limit: float, jitter: float, row: int, chance: float
) -> None:
    delay = Backoff(first, factor, limit, jitter).delay(row, chance)
    plain = Backoff(first, factor, limit, 0.0).delay(row, chance)
    assert 0.0 <= delay <= limit
    assert abs(delay - plain) <= jitter * plain + 1e-9


def test_delays_grow_by_the_factor_up_to_the_limit() -> None:
    backoff = Backoff(first=0.5, factor=2.0, limit=3.0, jitter=0.0)
    assert [backoff.delay(row, 0.9) for row in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_spreads_evenly_both_ways() -> None:
    backoff = Backoff(first=1.0, jitter=0.25)
    assert [backoff.delay(1, chance) for chance in (0.0, 0.5)] == [0.75, 1.0]
    assert backoff.delay(1, 0.999999) == pytest.approx(1.25, abs=1e-5)


def test_a_row_goes_on_until_a_life_was_long_enough() -> None:
    backoff = Backoff(settled=10.0)
    assert backoff.in_a_row(0, 0.0) == 1
    assert backoff.in_a_row(4, 9.999) == 5
    assert backoff.in_a_row(4, 10.0) == 1


@pytest.mark.parametrize(
    ("strategy", "group"),
    [
        (Strategy.ONE_FOR_ONE, [1]),
        (Strategy.ONE_FOR_ALL, [0, 1, 2]),
        (Strategy.REST_FOR_ONE, [1, 2]),
    ],
)
def test_each_strategy_names_its_group(strategy: Strategy, group: list[int]) -> None:
    assert list(strategy.group(1, 3)) == group


@pytest.mark.parametrize(
    "options",
    [
        {"first": -1.0},
        {"factor": 0.5},
        {"limit": 0.01},
        {"jitter": 1.5},
        {"settled": 0.0},
        {"first": float("nan")},
    ],
)
def test_a_wrong_backoff_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        Backoff(**options)
    assert caught.value.details["path"].startswith("backoff.")


@pytest.mark.parametrize(("intensity", "period"), [(-1, 1.0), (1, 0.0), (1, float("nan"))])
def test_a_wrong_window_is_refused(intensity: int, period: float) -> None:
    with pytest.raises(ValidationFailed):
        RestartWindow(intensity, period)


def test_where_nothing_is_said_these_are_the_bounds_of_restarts() -> None:
    assert RestartWindow() == RestartWindow(intensity=5, period=30.0)
    assert Backoff() == Backoff(first=0.05, factor=2.0, limit=10.0, jitter=0.1, settled=10.0)
