"""Wall-clock arithmetic without zones: the matching moments of a calendar rule on an endless naive
time line.

A moment is an ``int`` of microseconds since 1970-01-01 00:00 by the wall clock. Each matching day
holds the same times of day, so the rule is a set of days times a sorted sequence of times, and
next, previous and count are a bisection each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import overload

from kalends.clock import US
from kalends.triggers.days import DayPlan

__all__ = ["DAY_US", "LocalRule", "day_times"]

DAY_US = 86_400 * US

_FLAT = 1_440
"""Up to so many times of day are kept as a list; more are worked out from their parts."""

_FIRST_YEAR, _LAST_YEAR = 0, 10_000
"""One year beyond the instants there are: a zone may be a day off UTC."""


class _Product(Sequence[int]):
    """The sorted times of day of ``minutes`` times ``seconds``, not spelled out (it may be
    86,400)."""

    __slots__ = ("_minutes", "_seconds")

    def __init__(self, minutes: Sequence[int], seconds: Sequence[int]) -> None:
        self._minutes = minutes
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._minutes) * len(self._seconds)

    def __iter__(self) -> Iterator[int]:
        return (minute + second for minute in self._minutes for second in self._seconds)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        minute, second = divmod(index % len(self), len(self._seconds))
        return self._minutes[minute] + self._seconds[second]


@lru_cache(maxsize=128)
def day_times(
    hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]
) -> Sequence[int]:
    """The sorted times of day, microseconds since midnight, of sorted hours, minutes and
    seconds."""
    whole = [(hour * 60 + minute) * 60 * US for hour in hours for minute in minutes]
    if len(whole) * len(seconds) <= _FLAT:
        return [minute + second * US for minute in whole for second in seconds]
    step = seconds[1] - seconds[0]
    if len(whole) == _FLAT and 60 % step == 0 and seconds == tuple(range(0, 60, step)):
        return range(0, DAY_US, step * US)
    return _Product(whole, [second * US for second in seconds])


class LocalRule:
    """The moments of ``days`` at ``times`` (sorted, at least one): immutable."""

    __slots__ = ("days", "first", "last", "per_day", "times")

    def __init__(self, days: DayPlan, times: Sequence[int]) -> None:
        self.days = days
        self.times = times
        self.per_day = len(times)
        self.first = times[0]
        self.last = times[len(times) - 1]

    def at_or_after(self, moment: int) -> int | None:
        """The first matching moment that is not before ``moment``."""
        day, rest = divmod(moment, DAY_US)
        found = self.days.next_day(day if rest <= self.last else day + 1, _LAST_YEAR)
        if found is None:
            return None
        if found > day:
            return found * DAY_US + self.first
        return day * DAY_US + self.times[bisect_left(self.times, rest)]

    def before(self, moment: int) -> int | None:
        """The last matching moment before ``moment``."""
        day, rest = divmod(moment, DAY_US)
        found = self.days.previous_day(day + 1 if rest > self.first else day, _FIRST_YEAR)
        if found is None:
            return None
        if found < day:
            return found * DAY_US + self.last
        return day * DAY_US + self.times[bisect_left(self.times, rest) - 1]

    def count(self, a: int, b: int) -> int:
        """How many matching moments ``m`` have ``a <= m < b``."""
        if b <= a:
            return 0
        first, first_rest = divmod(a, DAY_US)
        final, final_rest = divmod(b, DAY_US)
        total = self.days.count_days(first, final) * self.per_day
        if final_rest and self.days.count_days(final, final + 1):
            total += bisect_left(self.times, final_rest)
        if first_rest and self.days.count_days(first, first + 1):
            total -= bisect_left(self.times, first_rest)
        return total
