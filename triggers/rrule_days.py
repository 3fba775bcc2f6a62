"""The days that the BY parts of a recurrence rule allow, as year masks.

The parts narrow each other down, as RFC 5545 has it: a day counts if every part that is there
allows it. A numbered weekday (``2MO``, ``-1FR``) counts in its month or, in a yearly rule without
``BYMONTH``, in its year. Week 1 is the first week with four days or more in the year; the days of a
year that belong to a week of its neighbour are numbered with that neighbour's week.
"""

from __future__ import annotations

from collections.abc import Iterable

from kalends.triggers.days import DayPlan, is_leap, year_of, year_start
from kalends.triggers.rrule_parts import RuleParts

__all__ = ["ByDays"]

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class ByDays(DayPlan):
    """The days that ``parts`` allow, in any period."""

    __slots__ = ("_masks", "_parts")

    def __init__(self, parts: RuleParts) -> None:
        self._parts = parts
        self._masks: dict[tuple[int, ...], int] = {}

    @property
    def every_day(self) -> bool:
        """Whether no part says anything of days."""
        parts = self._parts
        by_date = parts.by_month or parts.by_monthday or parts.by_yearday
        return not (by_date or parts.by_weekno or parts.by_day)

    def mask(self, year: int, start: int) -> int:
        # A year's mask depends on its own kind, and for the numbers of weeks on its neighbours'.
        kind = ((start + 3) % 7, is_leap(year - 1), is_leap(year), is_leap(year + 1))
        mask = self._masks.get(kind)
        if mask is None:
            mask = self._masks[kind] = self._made(year, start)
        return mask

    def _made(self, year: int, start: int) -> int:
        parts, length = self._parts, 366 if is_leap(year) else 365
        mask = (1 << length) - 1
        months = _months(year)
        if parts.by_month:
            mask &= sum(((1 << days) - 1) << at for n, at, days in months if n in parts.by_month)
        if parts.by_monthday:
            mask &= _either(_bits(parts.by_monthday, days) << at for _, at, days in months)
        if parts.by_yearday:
            mask &= _bits(parts.by_yearday, length)
        if parts.by_weekno:
            mask &= self._weeks(year, start, length)
        if parts.by_day:
            mask &= self._weekdays((start + 3) % 7, length, months)
        return mask

    def _weekdays(self, first: int, length: int, months: list[tuple[int, int, int]]) -> int:
        """``first`` is the weekday of the year's first day; 0 is Monday."""
        parts = self._parts
        by_month = parts.freq == "MONTHLY" or bool(parts.by_month)
        scopes = [(at, days) for _, at, days in months] if by_month else [(0, length)]
        mask = 0
        for which, weekday in parts.by_day:
            for at, days in scopes:
                begin = (weekday - first - at) % 7
                if not which:
                    chosen = range(begin, days, 7)
                elif which > 0:
                    chosen = range(begin + 7 * (which - 1), days, 400)
                else:
                    last = begin + (days - 1 - begin) // 7 * 7
                    nth = last + 7 * (which + 1)
                    chosen = range(nth, nth + 1) if nth >= 0 else range(0)
                for day in chosen:
                    mask |= 1 << (at + day)
        return mask

    def _weeks(self, year: int, start: int, length: int) -> int:
        week_start, wanted = self._parts.week_start, self._parts.by_weekno
        mask = 0
        begin = start - (start + 3 - week_start) % 7
        while begin < start + length:
            middle = begin + 3  # the day that says which year a week belongs to
            owner = year_of(middle)
            owner_start = year_start(owner)
            number = (middle - owner_start) // 7 + 1
            first = (week_start + 3 - (owner_start + 3)) % 7
            weeks = (year_start(owner + 1) - owner_start - 1 - first) // 7 + 1
            if number in wanted or number - weeks - 1 in wanted:
                for day in range(max(begin, start), min(begin + 7, start + length)):
                    mask |= 1 << (day - start)
            begin += 7
        return mask


def _months(year: int) -> list[tuple[int, int, int]]:
    """(number, first day of the year, length) of each month."""
    found, at = [], 0
    for number, days in enumerate(_LENGTHS, 1):
        days += number == 2 and is_leap(year)
        found.append((number, at, days))
        at += days
    return found


def _bits(numbers: tuple[int, ...], length: int) -> int:
    """One bit for each number from 1 up, or from -1 down, that exists."""
    mask = 0
    for number in numbers:
        at = number - 1 if number > 0 else length + number
        if 0 <= at < length:
            mask |= 1 << at
    return mask


def _either(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found
