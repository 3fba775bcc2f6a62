"""The wall-clock moments of a recurrence rule, worked out without walking from its start.

Three shapes cover every rule. Daily and longer: days that recur (``PeriodDays``) times the times of
day. ``BYSETPOS`` in weeks, months or years: chosen positions among the moments of each period
(``Positions``). Hourly and shorter: steps on an endless line of hours, minutes or seconds, on the
days and at the times that are allowed (``rrule_steps``); where the steps divide the day, each day
is the same, and the rule is of the first shape. ``Clipped`` begins a rule at its start and ends it.

All searches are bounded: a rule that shows nothing for thousands of periods is taken to have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

from kalends.clock import US
from kalends.triggers.days import year_of, year_start
from kalends.triggers.local import DAY_US, LocalRule, day_times
from kalends.triggers.moments import Moments
from kalends.triggers.periods import PeriodDays, date_of
from kalends.triggers.rrule_days import ByDays
from kalends.triggers.rrule_parts import RuleParts
from kalends.triggers.rrule_steps import Steps

__all__ = ["SECONDS", "UNITS", "Clipped", "recurring"]

UNITS = {"YEARLY": "years", "MONTHLY": "months", "WEEKLY": "weeks", "DAILY": "days"}
SECONDS = {"HOURLY": 3_600, "MINUTELY": 60, "SECONDLY": 1}
"""The period of each frequency: by the calendar, or in seconds."""

_MOST_DAYS = {"years": 366, "months": 31, "weeks": 7}

_PERIODS = {"weeks": 20_872, "months": 4_801, "years": 401}
"""Periods that one search looks at: a whole cycle of the calendar, for every interval."""

_FIRST_DAY, _END_DAY = year_start(1) - 366, year_start(10_001)


def recurring(parts: RuleParts, start: int) -> Moments | None:
    """The moments of a rule whose parts are complete, counted from ``start``, before it as well as
    after; None for a rule that can have none."""
    days = ByDays(parts)
    if parts.freq in SECONDS:
        return _short(parts, days, start)
    times: Sequence[int] = day_times(parts.by_hour, parts.by_minute, parts.by_second)
    unit, origin = UNITS[parts.freq], start // DAY_US
    if parts.by_setpos:
        if unit != "days":
            most = _MOST_DAYS[unit] * len(times)
            return Positions(parts, days, times, origin) if _within(parts, most) else None
        times = [times[at] for at in _positions(parts.by_setpos, len(times))]
        if not times:
            return None
    return LocalRule(PeriodDays(days, unit, parts.interval, origin, parts.week_start), times)


def _short(parts: RuleParts, days: ByDays, start: int) -> Moments | None:
    unit = SECONDS[parts.freq]
    within: list[int] = [0]
    if parts.freq == "HOURLY":
        within = [(m * 60 + s) * US for m in parts.by_minute for s in parts.by_second]
    elif parts.freq == "MINUTELY":
        within = [s * US for s in parts.by_second]
    if parts.by_setpos:
        within = [within[at] for at in _positions(parts.by_setpos, len(within))]
    allowed: Sequence[int] = range(86_400 // unit)
    if parts.by_hour or (unit < 3_600 and parts.by_minute) or (unit < 60 and parts.by_second):
        allowed = _allowed(parts, unit)
    origin = start // (unit * US)
    # What no step ever comes to is no part of the rule.
    shared = gcd(parts.interval, 86_400 // unit)
    if not isinstance(allowed, range):
        allowed = [at for at in allowed if (at - origin) % shared == 0]
    if not within or not allowed:
        return None
    if isinstance(allowed, range) and unit == parts.interval == 1:
        return LocalRule(days, range(0, DAY_US, US))
    if (86_400 // unit) % parts.interval == 0:
        rest = origin % parts.interval
        begins = [at * unit * US for at in allowed if at % parts.interval == rest]
        times: Sequence[int] = [begin + more for begin in begins for more in within]
        return LocalRule(days, times) if times else None
    return Steps(days, unit * US, parts.interval, origin, allowed, within)


def _allowed(parts: RuleParts, unit: int) -> list[int]:
    """The units of a day that ``BYHOUR``, ``BYMINUTE`` and ``BYSECOND`` allow."""
    hours = parts.by_hour or tuple(range(24))
    if unit == 3_600:
        return list(hours)
    minutes = parts.by_minute or tuple(range(60))
    if unit == 60:
        return [hour * 60 + minute for hour in hours for minute in minutes]
    seconds = parts.by_second or tuple(range(60))
    return [(h * 60 + m) * 60 + s for h in hours for m in minutes for s in seconds]


def _within(parts: RuleParts, most: int) -> bool:
    """Whether ``BYSETPOS`` may choose anything among ``most`` moments."""
    if parts.freq == "WEEKLY" and parts.by_day:
        most = most // 7 * len({day for _, day in parts.by_day})
    return any(abs(number) <= most for number in parts.by_setpos)


def _positions(wanted: tuple[int, ...], size: int) -> list[int]:
    """The indexes that positions from 1 up, or from -1 down, stand for; sorted."""
    found = {number - 1 if number > 0 else size + number for number in wanted}
    return sorted(at for at in found if 0 <= at < size)


class Positions:
    """Chosen positions among the moments of every ``interval``-th week, month or year."""

    __slots__ = ("_days", "_parts", "_times", "_unit")

    def __init__(self, parts: RuleParts, days: ByDays, times: Sequence[int], origin: int) -> None:
        self._parts, self._times, self._unit = parts, times, UNITS[parts.freq]
        # Only the days of periods that count: the next of them says which period is next.
        self._days = PeriodDays(days, self._unit, parts.interval, origin, parts.week_start)

    def at_or_after(self, moment: int) -> int | None:
        """The first matching moment that is not before ``moment``."""
        day: int | None = self._first_day(self._period(max(moment // DAY_US, _FIRST_DAY)))
        for _ in range(_PERIODS[self._unit]):
            day = None if day is None else self._days.next_day(day, 10_000)
            if day is None or day >= _END_DAY:
                return None
            period = self._period(day)
            for found in self._moments(period):
                if found >= moment:
                    return found
            day = self._first_day(period + 1)
        return None

    def before(self, moment: int) -> int | None:
        """The last matching moment before ``moment``."""
        end = self._first_day(self._period(min(moment // DAY_US, _END_DAY)) + 1)
        for _ in range(_PERIODS[self._unit]):
            day = self._days.previous_day(end, 0)
            if day is None or day < _FIRST_DAY:
                return None
            period = self._period(day)
            for found in reversed(self._moments(period)):
                if found < moment:
                    return found
            end = self._first_day(period)
        return None

    def count(self, a: int, b: int) -> int:
        """How many matching moments ``m`` have ``a <= m < b``."""
        total = 0
        day = self._days.next_day(
            self._first_day(self._period(max(a // DAY_US, _FIRST_DAY))), 10_000
        )
        while day is not None and day * DAY_US < b:
            period = self._period(day)
            total += sum(1 for found in self._moments(period) if a <= found < b)
            day = self._days.next_day(self._first_day(period + 1), 10_000)
        return total

    def _period(self, day: int) -> int:
        """The number of the week, month or year that ``day`` lies in."""
        if self._unit == "weeks":
            return (day + 3 - self._parts.week_start) // 7
        year = year_of(day)
        if self._unit == "years":
            return year
        start = year_start(year)
        return year * 12 + date_of(day - start + year_start(2000 + year % 400)).month - 1

    def _first_day(self, period: int) -> int:
        if self._unit == "weeks":
            return period * 7 - 3 + self._parts.week_start
        if self._unit == "years":
            return year_start(period)
        year, month = divmod(period, 12)
        alike = 2000 + year % 400
        since = date_of(year_start(alike)).replace(month=month + 1).toordinal()
        return year_start(year) + since - date_of(year_start(alike)).toordinal()

    def _moments(self, period: int) -> list[int]:
        """The chosen moments of one period, sorted; only those are spelled out."""
        days = []
        end = self._first_day(period + 1)
        last_year = year_of(end - 1)
        day = self._days.next_day(self._first_day(period), last_year)
        while day is not None and day < end:
            days.append(day)
            day = self._days.next_day(day + 1, last_year)
        size = len(self._times)
        found = []
        for at in _positions(self._parts.by_setpos, len(days) * size):
            number, time = divmod(at, size)
            found.append(days[number] * DAY_US + self._times[time])
        return found


class Clipped:
    """The moments of ``rule`` from ``first`` on, up to what ``find_last`` says: the last one, or
    None for no end. Where a search found nothing more it is not made again."""

    __slots__ = ("_ended", "_find_last", "_first", "_last", "_rule")

    def __init__(
        self, rule: Moments | None, first: int, find_last: Callable[[], int | None]
    ) -> None:
        self._rule, self._first, self._find_last = rule, first, find_last
        self._last: tuple[int | None] | None = None
        self._ended: int | None = None  # from here on there is nothing

    def at_or_after(self, moment: int) -> int | None:
        """The first matching moment that is not before ``moment``."""
        if self._rule is None or (self._ended is not None and moment >= self._ended):
            return None
        last = self.last
        if last is not None and moment > last:
            return None
        found = self._rule.at_or_after(max(moment, self._first))
        if found is None:
            self._ended = moment
        return None if found is None or (last is not None and found > last) else found

    def before(self, moment: int) -> int | None:
        """The last matching moment before ``moment``."""
        if self._rule is None or moment <= self._first:
            return None
        if self._ended is not None and self._ended <= self._first:
            return None
        last = self.last
        found = self._rule.before(moment if last is None else min(moment, last + 1))
        return None if found is None or found < self._first else found

    def count(self, a: int, b: int) -> int:
        """How many matching moments ``m`` have ``a <= m < b``."""
        if self._rule is None or (self._ended is not None and a >= self._ended):
            return 0
        last = self.last
        a, b = max(a, self._first), b if last is None else min(b, last + 1)
        return self._rule.count(a, b) if a < b else 0

    @property
    def last(self) -> int | None:
        """The last moment there may be; None for no end."""
        if self._last is None:
            self._last = (self._find_last(),)
        return self._last[0]
