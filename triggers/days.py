"""Which days a rule matches, as bits: one integer a year.

A Gregorian year is one of fourteen kinds (leap or not, by the weekday of its first day), so a rule
over days of the month, days of the week and months has at most fourteen year masks: bit ``n``
stands for day ``n`` of the year, counted from 0. Every question (next, previous, how many, ever at
all) is an operation on those integers, and "ever at all" is exact: each kind occurs in the 400-year
cycle. Days are numbered from 1970-01-01, weekdays from Sunday = 0, and years are unbounded, so
nothing overflows at the ends of the calendar.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import msgspec

__all__ = ["DayPlan", "DayRule", "DayTable", "day_table", "is_leap", "year_of", "year_start"]

_FAR_YEAR = 100_000
"""Beyond every year that is asked for."""

_CYCLE_DAYS = 146_097
"""Days in 400 Gregorian years."""

_WEEKLY = sum(1 << (7 * week) for week in range(5))
"""The first weekday of a month, five times."""

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class DayRule(msgspec.Struct, frozen=True):
    """The day fields of a calendar rule, normalised: what ``day_table`` is made from."""

    months: tuple[int, ...] = tuple(range(1, 13))
    days: tuple[int, ...] = tuple(range(1, 32))
    """Days of the month, 1 to 31."""
    last_day: bool = False
    last_weekday: bool = False
    """The last Monday-to-Friday day of the month."""
    weekdays: tuple[int, ...] = tuple(range(7))
    """0 is Sunday."""
    last: tuple[int, ...] = ()
    """Weekdays of which only the month's last counts."""
    nth: tuple[tuple[int, int], ...] = ()
    """(weekday, which one in the month, from 1, or from its end: -1)."""
    both: bool = True
    """Whether day of month and day of week must both match, or either."""
    before_last: tuple[int, ...] = ()
    """How many days before the month's last."""
    nearest: tuple[int, ...] = ()
    """Days of the month, each moved to the nearest Monday-to-Friday day of that month."""
    nearest_last: tuple[int, ...] = ()
    """How many days before the month's last, each moved so."""
    years: tuple[int, ...] = ()
    """The years that count, sorted; empty for all."""


def year_start(year: int) -> int:
    """The number of the first day of ``year``."""
    before = year - 1
    return 365 * before + before // 4 - before // 100 + before // 400 - 719_162


def year_of(day: int) -> int:
    """The year that ``day`` belongs to."""
    year = 1970 + day * 400 // _CYCLE_DAYS
    if year_start(year) > day:
        return year - 1
    return year + 1 if year_start(year + 1) <= day else year


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


class DayPlan(ABC):
    """A set of days, by its year masks: every question about days is asked of this."""

    __slots__ = ()

    @abstractmethod
    def mask(self, year: int, start: int) -> int:
        """The mask of ``year``, whose first day is ``start``."""

    @property
    def reach(self) -> tuple[int, int]:
        """Years outside of which no day matches, first and last."""
        return -_FAR_YEAR, _FAR_YEAR

    @property
    def possible(self) -> bool:
        """Whether any day matches, ever."""
        return self.next_day(year_start(0), 10_000) is not None

    def next_day(self, day: int, last_year: int) -> int | None:
        """The first matching day on or after ``day``, up to the end of ``last_year``."""
        low, high = self.reach
        day = max(day, year_start(low))
        year = year_of(day)
        start = year_start(year)
        mask = self.mask(year, start) >> (day - start)
        if mask:
            return day + (mask & -mask).bit_length() - 1
        while year < min(last_year, high):
            start += 366 if is_leap(year) else 365
            year += 1
            mask = self.mask(year, start)
            if mask:
                return start + (mask & -mask).bit_length() - 1
        return None

    def previous_day(self, day: int, first_year: int) -> int | None:
        """The last matching day before ``day``, down to the start of ``first_year``."""
        low, high = self.reach
        day = min(day, year_start(high + 1))
        year = year_of(day)
        start = year_start(year)
        mask = self.mask(year, start) & ((1 << (day - start)) - 1)
        while not mask:
            if year <= max(first_year, low):
                return None
            year -= 1
            start -= 366 if is_leap(year) else 365
            mask = self.mask(year, start)
        return start + mask.bit_length() - 1

    def count_days(self, first: int, end: int) -> int:
        """How many days match from ``first`` to before ``end``."""
        low, high = self.reach
        first, end = max(first, year_start(low)), min(end, year_start(high + 1))
        if end <= first:
            return 0
        year = year_of(first)
        start = year_start(year)
        total = self._count_years(year, start, end)
        return total - (self.mask(year, start) & ((1 << (first - start)) - 1)).bit_count()

    def _count_years(self, year: int, start: int, end: int) -> int:
        total = 0
        while True:
            mask = self.mask(year, start)
            following = start + (366 if is_leap(year) else 365)
            if following > end:
                return total + (mask & ((1 << (end - start)) - 1)).bit_count()
            total += mask.bit_count()
            year, start = year + 1, following


class DayTable(DayPlan):
    """The year masks of one rule, made when first asked for; sharing it between threads is
    harmless."""

    __slots__ = ("_masks", "rule")

    def __init__(self, rule: DayRule) -> None:
        self.rule = rule
        self._masks: list[int | None] = [None] * 14

    def mask(self, year: int, start: int) -> int:
        """The mask of ``year``, whose first day is ``start``."""
        leap = is_leap(year)
        weekday = (start + 4) % 7
        kind = weekday + 7 * leap
        mask = self._masks[kind]
        if mask is None:
            mask = self._masks[kind] = _year_mask(self.rule, leap, weekday)
        return mask

    @property
    def possible(self) -> bool:
        """Whether any day matches, ever."""
        return any(self.mask(year, year_start(year)) for year in range(2000, 2028))

    def next_day(self, day: int, last_year: int) -> int | None:
        """As every plan has it.

        The loop is ``mask`` written out: a rule for 29 February passes through it three or seven
        times a step.
        """
        year = 1970 + day * 400 // _CYCLE_DAYS  # as year_of has it, keeping the starts
        start = year_start(year)
        following = year_start(year + 1)
        if start > day:
            year, start, following = year - 1, year_start(year - 1), start
        elif following <= day:
            year, start, following = year + 1, following, year_start(year + 2)
        mask = self.mask(year, start) >> (day - start)
        if mask:
            return day + (mask & -mask).bit_length() - 1
        start = following
        masks = self._masks
        while year < last_year:
            year += 1
            leap = year & 3 == 0 and (year % 100 != 0 or year % 400 == 0)
            found = masks[(start + 4) % 7 + 7 if leap else (start + 4) % 7]
            if found is None:
                found = self.mask(year, start)
            if found:
                return start + (found & -found).bit_length() - 1
            start += 366 if leap else 365
        return None

    def count_days(self, first: int, end: int) -> int:
        """How many days match from ``first`` to before ``end``."""
        if end <= first:
            return 0
        cycles = (end - first) // _CYCLE_DAYS
        if cycles:
            rest = self.count_days(first + cycles * _CYCLE_DAYS, end)
            year = year_of(first)
            start = year_start(year)
            return rest + cycles * self._count_years(year, start, start + _CYCLE_DAYS)
        return super().count_days(first, end)


class YearTable(DayPlan):
    """The days of ``table`` in some years only."""

    __slots__ = ("_years", "reach", "table")
    reach: tuple[int, int]

    def __init__(self, table: DayTable, years: tuple[int, ...]) -> None:
        self.table = table
        self.reach = (years[0], years[-1])
        self._years = frozenset(years)

    def mask(self, year: int, start: int) -> int:
        return self.table.mask(year, start) if year in self._years else 0


@lru_cache(maxsize=1024)
def day_table(rule: DayRule) -> DayPlan:
    """The days of ``rule``; rules that are equal share one plan."""
    table = DayTable(rule)
    return YearTable(table, rule.years) if rule.years else table


def _year_mask(rule: DayRule, leap: bool, weekday: int) -> int:
    mask = 0
    shift = 0
    for month, length in enumerate(_LENGTHS, 1):
        if month == 2 and leap:
            length = 29
        if month in rule.months:
            mask |= _month_mask(rule, length, (weekday + shift) % 7) << shift
        shift += length
    return mask


def _month_mask(rule: DayRule, length: int, weekday: int) -> int:
    """The matching days of a month of ``length`` days that begins on ``weekday``."""
    whole = (1 << length) - 1
    days = 0
    for number in rule.days:
        days |= 1 << (number - 1)
    if rule.last_day:
        days |= 1 << (length - 1)
    if rule.last_weekday:
        closing = (weekday + length - 1) % 7
        days |= 1 << (length - 1 - {0: 2, 6: 1}.get(closing, 0))
    for before in rule.before_last:
        days |= 1 << (length - 1 - before) if before < length else 0
    wanted = [*rule.nearest, *(length - before for before in rule.nearest_last)]
    for number in wanted:
        days |= _nearest_weekday(number, length, weekday) if 1 <= number <= length else 0
    weekdays = 0
    for number in rule.weekdays:
        weekdays |= _WEEKLY << (number - weekday) % 7
    for number in rule.last:
        first = (number - weekday) % 7
        weekdays |= 1 << (first + (length - 1 - first) // 7 * 7)
    for number, which in rule.nth:
        first = (number - weekday) % 7
        last = first + (length - 1 - first) // 7 * 7
        at = first + 7 * (which - 1) if which > 0 else last + 7 * (which + 1)
        weekdays |= 1 << at if at >= 0 else 0
    return (days & weekdays if rule.both else days | weekdays) & whole


def _nearest_weekday(number: int, length: int, weekday: int) -> int:
    """The bit of the Monday-to-Friday day nearest to day ``number``, never leaving the month."""
    falls_on = (weekday + number - 1) % 7
    if falls_on == 6:
        number += -1 if number > 1 else 2
    elif falls_on == 0:
        number += 1 if number < length else -2
    return 1 << (number - 1)
