"""Days that recur every so many days, weeks, months or years.

A plan of ``by`` days (which days of any month or year match) in every ``interval``-th period,
counted from the period that a certain day lies in, before it as well as after. Weeks begin on
``week_start`` (0 is Monday).
"""

from __future__ import annotations

import datetime as dt

from kalends.triggers.days import DayPlan, is_leap, year_of, year_start

__all__ = ["UNITS", "PeriodDays", "date_of"]

UNITS = ("years", "months", "weeks", "days")
"""The units of a period."""

_KEPT = 4_096
"""Year masks that one plan remembers."""

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_WEEK = 0b111_1111


class PeriodDays(DayPlan):
    """The days of ``by`` in every ``interval``-th period from that of day ``origin``."""

    __slots__ = ("_by", "_masks", "_week_start", "interval", "origin", "unit")

    def __init__(
        self, by: DayPlan, unit: str, interval: int, origin: int, week_start: int = 0
    ) -> None:
        self._by = by
        self.unit, self.interval, self.origin = unit, interval, origin
        self._week_start = week_start
        self._masks: dict[int, int] = {}

    def counts(self, day: int) -> bool:
        """Whether ``day`` lies in a period that counts."""
        year = year_of(day)
        start = year_start(year)
        return bool(self.periods(year, start) >> (day - start) & 1)

    def periods(self, year: int, start: int) -> int:
        """The days of ``year``, whose first is ``start``, that lie in a period that counts."""
        interval, length = self.interval, 366 if is_leap(year) else 365
        whole = (1 << length) - 1
        if interval == 1:
            return whole
        if self.unit == "years":
            return whole if (year - year_of(self.origin)) % interval == 0 else 0
        mask = 0
        if self.unit == "days":
            for day in range((self.origin - start) % interval, length, interval):
                mask |= 1 << day
            return mask
        if self.unit == "weeks":
            first = (start + 3 - self._week_start) // 7
            origin = (self.origin + 3 - self._week_start) // 7
            begin = first + (origin - first) % interval
            for week in range(begin, first + 54, interval):
                at = week * 7 - 3 + self._week_start - start
                mask |= _WEEK << at if at >= 0 else _WEEK >> -at
            return mask & whole
        shift, origin_month = 0, _month_index(self.origin)
        for month, days in enumerate(_LENGTHS):
            days += month == 1 and is_leap(year)
            if (year * 12 + month - origin_month) % interval == 0:
                mask |= ((1 << days) - 1) << shift
            shift += days
        return mask

    def mask(self, year: int, start: int) -> int:
        mask = self._masks.get(year)
        if mask is None:
            mask = self.periods(year, start)
            if mask:
                mask &= self._by.mask(year, start)
            if len(self._masks) >= _KEPT:
                self._masks = {}
            self._masks[year] = mask
        return mask


def date_of(day: int) -> dt.date:
    """The date of a day from the year 1 to 9999."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)


def _month_index(day: int) -> int:
    date = date_of(min(max(day, year_start(1)), year_start(10_000) - 1))
    return date.year * 12 + date.month - 1
