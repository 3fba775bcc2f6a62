"""Hourly and shorter recurrence rules as steps on an endless line of hours, minutes or seconds.

A step of ``interval`` units comes to unit ``u`` of day ``d`` exactly if ``d * per_day + u`` less
``origin`` is a multiple of the interval, so the days of one unit are a fixed number of days apart:
its *turns*. With the turns of all units sorted, the next day that has a step and the number of
steps in a span of days are a bisection each, however rare the steps and however long the span.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import gcd

from kalends.triggers.days import year_start
from kalends.triggers.local import DAY_US
from kalends.triggers.rrule_days import ByDays

__all__ = ["Steps"]

_LOOKS = 150_000
"""Days that one search looks at: 400 years of them."""

_FIRST_DAY, _END_DAY = year_start(1) - 366, year_start(10_001)


class Steps:
    """Every ``interval``-th of the units of ``unit_us`` on the endless line, counted from unit
    ``origin``, if its day is in ``days`` and it is one of the day's ``allowed``; each stands for
    the moments ``within`` it.

    ``allowed`` is the range of all units of a day, or a list of units that steps come to.
    """

    __slots__ = (
        "_by_rest", "_cycle", "_days", "_interval", "_origin", "_per_day", "_turns", "_unit_us",
        "_within",
    )  # fmt: skip

    def __init__(
        self,
        days: ByDays,
        unit_us: int,
        interval: int,
        origin: int,
        allowed: Sequence[int],
        within: list[int],
    ) -> None:
        self._days, self._unit_us, self._interval, self._origin = days, unit_us, interval, origin
        self._within, self._per_day = within, DAY_US // unit_us
        shared = gcd(interval, self._per_day)
        self._cycle = interval // shared
        self._by_rest: dict[int, list[int]] | None = None
        self._turns: list[int] = []
        if not isinstance(allowed, range):
            self._by_rest = {}
            for unit in allowed:
                self._by_rest.setdefault(unit % interval, []).append(unit)
            turn = pow(self._per_day // shared, -1, self._cycle)
            self._turns = sorted((origin - unit) // shared * turn % self._cycle for unit in allowed)

    def at_or_after(self, moment: int) -> int | None:
        """The first matching moment that is not before ``moment``."""
        day = max(moment // DAY_US, _FIRST_DAY)
        for _ in range(_LOOKS):
            found = self._days.next_day(day, 10_000)
            if found is None or found >= _END_DAY:
                return None
            units = self._units(found)
            low = moment - found * DAY_US
            for unit in units:
                if unit * self._unit_us + self._within[-1] >= low:
                    at = bisect_left(self._within, low - unit * self._unit_us)
                    return found * DAY_US + unit * self._unit_us + self._within[at]
            day = found + 1 if units else self._day_from(found)
        return None

    def before(self, moment: int) -> int | None:
        """The last matching moment before ``moment``."""
        day = min(moment // DAY_US, _END_DAY)
        for _ in range(_LOOKS):
            found = self._days.previous_day(day + 1, 0)
            if found is None or found < _FIRST_DAY:
                return None
            units = self._units(found)
            low = moment - found * DAY_US
            for unit in reversed(units):
                at = bisect_left(self._within, low - unit * self._unit_us)
                if at:
                    return found * DAY_US + unit * self._unit_us + self._within[at - 1]
            day = found - 1 if units else self._day_up_to(found)
        return None

    def count(self, a: int, b: int) -> int:
        """How many matching moments ``m`` have ``a <= m < b``."""
        if b <= a:
            return 0
        first, last = a // DAY_US, b // DAY_US
        total = self._count_before(last, b) - self._count_before(first, a)
        return total + self._count_days(first, last) * len(self._within)

    def _count_before(self, day: int, moment: int) -> int:
        """How many moments of ``day`` are before ``moment``."""
        if not self._days.count_days(day, day + 1):
            return 0
        low = moment - day * DAY_US
        return sum(
            bisect_left(self._within, low - unit * self._unit_us)
            for unit in self._units(day)
            if unit * self._unit_us < low
        )

    def _count_days(self, first: int, end: int) -> int:
        """How many steps there are on the days from ``first`` to before ``end``."""
        if self._days.every_day:
            return self._steps_before(end) - self._steps_before(first)
        total, day = 0, first
        while (found := self._days.next_day(day, 10_000)) is not None and found < end:
            units = self._units(found)
            total += len(units)
            day = found + 1 if units else self._day_from(found)
        return total

    def _steps_before(self, day: int) -> int:
        """How many steps at allowed units lie before ``day``, from one day that is always the
        same."""
        if self._by_rest is None:
            return -((self._origin - day * self._per_day) // self._interval)
        cycles, rest = divmod(day, self._cycle)
        return cycles * len(self._turns) + bisect_left(self._turns, rest)

    def _units(self, day: int) -> Sequence[int]:
        """The allowed units of ``day`` that steps come to."""
        rest = (self._origin - day * self._per_day) % self._interval
        if self._by_rest is None:
            return range(rest, self._per_day, self._interval)
        return self._by_rest.get(rest, ())

    def _day_from(self, day: int) -> int:
        """The first day, not before ``day``, that has a step at an allowed unit."""
        if self._by_rest is None:
            rest = (self._origin - day * self._per_day) % self._interval
            return day + rest // self._per_day
        cycles, rest = divmod(day, self._cycle)
        at = bisect_left(self._turns, rest)
        if at == len(self._turns):
            cycles, at = cycles + 1, 0
        return cycles * self._cycle + self._turns[at]

    def _day_up_to(self, day: int) -> int:
        """The last day, not after ``day``, that has a step at an allowed unit."""
        if self._by_rest is None:
            since = (day + 1) * self._per_day - 1 - self._origin
            return (self._origin + since // self._interval * self._interval) // self._per_day
        cycles, rest = divmod(day, self._cycle)
        at = bisect_right(self._turns, rest) - 1
        if at < 0:
            cycles -= 1
        return cycles * self._cycle + self._turns[at]
