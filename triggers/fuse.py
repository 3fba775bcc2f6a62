"""Two rules as one: what they have in common, by arithmetic instead of search.

Two periods meet in a period (the Chinese remainder theorem). Two rules by one wall clock that skip
what a gap skips and treat folds alike meet in the days and times that they share.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any

from kalends.triggers.base import Trigger
from kalends.triggers.days import DayPlan
from kalends.triggers.interval import Interval
from kalends.triggers.local import LocalRule
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["fuse"]


@lru_cache(maxsize=64)
def fuse(one: Trigger, other: Trigger) -> Trigger | None:
    """A rule due exactly when both are; None where there is no such rule that is simpler."""
    if isinstance(one, Interval) and isinstance(other, Interval):
        return _periods(one, other)
    if isinstance(one, ZonedTrigger) and isinstance(other, ZonedTrigger):
        alike = one.tz == other.tz and one.dst == other.dst and one.dst[0] == "skip"
        rules = one.moments, other.moments
        if alike and isinstance(rules[0], LocalRule) and isinstance(rules[1], LocalRule):
            return _clocks(one, rules[0], rules[1])
    return None


class _Never(Trigger):
    """A rule without instants: what two have in common that never meet."""

    __slots__ = ()

    def next_us(self, after_us: int) -> int | None:
        return None

    def previous_us(self, before_us: int) -> int | None:
        return None

    def count_us(self, a: int, b: int) -> int:
        return 0

    def describe(self) -> str:
        return "never"

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError  # never stored: it stands for two rules that are

    def _key(self) -> tuple[object, ...]:
        return ()


class _Both(ZonedTrigger):
    """The moments that two rules share."""

    __slots__ = ()

    def __init__(self, rule: LocalRule, tz: str, dst: tuple[str, str]) -> None:
        self._begin(rule, tz, None, None, dst)

    def describe(self) -> str:
        return "when both are"

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError  # never stored: it stands for two rules that are

    def _key(self) -> tuple[object, ...]:
        return (id(self),)


class _BothDays(DayPlan):
    """The days that two plans share."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: DayPlan, other: DayPlan) -> None:
        self._one, self._other = one, other

    @property
    def reach(self) -> tuple[int, int]:
        (low, high), (lowest, highest) = self._one.reach, self._other.reach
        return max(low, lowest), min(high, highest)

    def mask(self, year: int, start: int) -> int:
        return self._one.mask(year, start) & self._other.mask(year, start)


def _periods(one: Interval, other: Interval) -> Trigger | None:
    if one.anchor_us is None or other.anchor_us is None:
        return None
    step = gcd(one.period_us, other.period_us)
    apart = other.anchor_us - one.anchor_us
    if apart % step:
        return _Never()
    # anchor + k * period, with the k that meets the other rule.
    size = other.period_us // step
    k = apart // step * pow(one.period_us // step, -1, size) % size if size > 1 else 0
    return Interval.of_us(one.period_us * size, one.anchor_us + k * one.period_us)


def _clocks(rule: ZonedTrigger, one: LocalRule, other: LocalRule) -> Trigger:
    times = sorted(set(one.times) & set(other.times))
    days = _BothDays(one.days, other.days)
    low, high = days.reach
    if not times or low > high or not days.possible:
        return _Never()
    return _Both(LocalRule(days, times), rule.tz, rule.dst)
