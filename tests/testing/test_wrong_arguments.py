"""What ``kalends.testing`` is handed wrongly is refused, with its path, and moves no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from kalends import ValidationFailed
from kalends.testing import ManualClock, VirtualScheduler, World, simulate, sleep

START = pendulum.datetime(2027, 1, 1, tz="UTC")
ENDS = "the clock ends at the years 1 and 9999"
NUMBERS: list[Any] = [None, "x", float("nan"), True, object()]


@pytest.mark.parametrize("seconds", [float("inf"), 1e13, 10**400])
@pytest.mark.parametrize("kind", [ManualClock, World, VirtualScheduler])
def test_no_time_passes_on_the_way_to_beyond_its_end(kind: Any, seconds: float) -> None:
    made = kind()
    if isinstance(made, VirtualScheduler):
        made.start()
    before = made.now_us() if isinstance(made, ManualClock) else made.now
    with pytest.raises(ValidationFailed, match=ENDS) as refusal:
        made.advance(seconds)
    assert refusal.value.details["path"] == "seconds"
    assert before == (made.now_us() if isinstance(made, ManualClock) else made.now)


@pytest.mark.parametrize("seconds", [float("inf"), -float("inf"), 1e13, -1e13])
def test_neither_a_jump_nor_a_suspension_leaves_the_clock(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValidationFailed, match=ENDS):
        clock.jump(seconds)
    with pytest.raises(ValidationFailed, match=ENDS):
        clock.suspend(abs(seconds))
    assert (clock.now_us(), clock.slept()) == (0, 0.0)


@pytest.mark.parametrize("seconds", NUMBERS, ids=repr)
def test_seconds_that_are_no_number_are_called_that(seconds: Any) -> None:
    clock = ManualClock()
    for move in (
        clock.advance, clock.jump, clock.suspend, VirtualScheduler(clock=clock).advance, sleep,
    ):  # fmt: skip
        with pytest.raises(ValidationFailed, match="seconds must be a number, not") as refusal:
            move(seconds)
        assert refusal.value.details["path"] == "seconds"


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda: VirtualScheduler(clock=5), "clock"),  # type: ignore[arg-type]
        (lambda: VirtualScheduler(world=5), "world"),  # type: ignore[arg-type]
        (lambda: VirtualScheduler(start=""), "start"),  # type: ignore[arg-type]
        (lambda: World(clock=5), "clock"),  # type: ignore[arg-type]
        (lambda: ManualClock(10**30), "start"),
        (lambda: simulate(5, START, START.add(days=1)), "events"),  # type: ignore[arg-type]
        (lambda: simulate([], START, START.add(days=1), outages=5), "outages"),  # type: ignore[arg-type]
        (lambda: VirtualScheduler().start().wait_until(list, timeout="x"), "timeout"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_no_clock_world_or_list_is_refused_with_its_path(
    call: Callable[[], object], path: str
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        call()
    assert refusal.value.details["path"] == path
