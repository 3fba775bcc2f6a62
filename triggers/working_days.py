"""``working_day(-1, closed=...)``: the last day of each month that is not closed, or the third, ...

A set of days that is made of another one. Where the last day of a month is a Sunday or a holiday,
the last working day comes before it: leaving out the holidays alone would lose that month. Days are
counted from the month's start (1 is its first working day) or from its end (-1); a month with too
few has none. It has the time zone of the days that are closed.
"""

from __future__ import annotations

from typing import Any

from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.day_sets import Days, members
from kalends.triggers.days import is_leap, year_of, year_start

__all__ = ["WorkingDays", "working_day"]

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MOST = 31


@checking
def working_day(*numbers: int, closed: Days) -> WorkingDays:
    """The n-th day of each month that is not in ``closed``: 1 is the first, -1 the last.

    ``closed`` is a set of days, such as ``weekdays("sat", "sun") | holidays("NO")``.
    """
    return WorkingDays(numbers, closed)


class WorkingDays(Days):
    """Certain working days of each month. Made by ``working_day``."""

    __slots__ = ("_months", "closed", "numbers")
    _months: dict[int, tuple[int, ...]]
    closed: Days
    numbers: tuple[int, ...]

    def __init__(self, numbers: tuple[int, ...], closed: Days) -> None:
        if not isinstance(closed, Days):
            raise ValidationFailed(
                "closed must be a set of days, such as weekdays('sat', 'sun'), "
                f"not {type(closed).__name__}",
                path="closed",
            )
        if any(isinstance(one, WorkingDays) for one in members(closed)):
            raise ValidationFailed("closed cannot be made of working days itself", path="closed")
        if not numbers:
            raise ValidationFailed("working_day() needs at least one number", path="numbers")
        for number in numbers:
            if type(number) is not int or not 1 <= abs(number) <= _MOST:
                raise ValidationFailed(
                    f"numbers must lie in 1 to {_MOST} or -1 to -{_MOST}, not {number!r:.40}",
                    path="numbers",
                )
        self._set(numbers=tuple(sorted(set(numbers))), closed=closed, tz=closed.tz, _months={})

    def has(self, day: int) -> bool:
        return day in self._of(_month_of(day))

    def until(self, day: int) -> int:
        month = _month_of(day)
        if day in self._of(month):
            return day + 1
        return next((one for one in self._of(month) if one > day), _month_start(month + 1))

    def since(self, day: int) -> int:
        month = _month_of(day)
        if day in self._of(month):
            return day
        earlier = [one for one in self._of(month) if one < day]
        return earlier[-1] + 1 if earlier else _month_start(month)

    def _of(self, month: int) -> tuple[int, ...]:
        """The days of a month that belong, sorted."""
        found = self._months.get(month)
        if found is None:
            days = range(_month_start(month), _month_start(month + 1))
            working = [day for day in days if not self.closed.has(day)]
            places = (number - 1 if number > 0 else number for number in self.numbers)
            chosen = {working[at] for at in places if -len(working) <= at < len(working)}
            found = self._months[month] = tuple(sorted(chosen))
        return found

    def describe(self) -> str:
        names = [_ordinal(number) for number in self.numbers]
        which = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        day = "day" if len(names) == 1 else "days"
        return f"the {which} working {day} of the month (closed on {self.closed.describe()})"

    def to_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "working_day",
            "numbers": list(self.numbers),
            "closed": self.closed.to_json(),
        }

    def _key(self) -> tuple[object, ...]:
        return (self.numbers, self.closed)

    def __repr__(self) -> str:
        return f"working_day({', '.join(map(str, self.numbers))}, closed={self.closed!r})"


def _month_of(day: int) -> int:
    """The month that ``day`` belongs to, counted from January of the year 0."""
    year = year_of(day)
    month, rest = 0, day - year_start(year)
    while rest >= (length := _length(year, month)):
        rest -= length
        month += 1
    return 12 * year + month


def _month_start(number: int) -> int:
    """The number of the first day of a month."""
    year, month = divmod(number, 12)
    return year_start(year) + sum(_length(year, earlier) for earlier in range(month))


def _length(year: int, month: int) -> int:
    return _LENGTHS[month] + (month == 1 and is_leap(year))


def _ordinal(number: int) -> str:
    """``first``, ``3rd``, ``last``, ``4th last``."""
    place = abs(number)
    if place == 1:
        return "first" if number > 0 else "last"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if place in (11, 12, 13) else place % 10, "th")
    return f"{place}{ending}" if number > 0 else f"{place}{ending} last"
