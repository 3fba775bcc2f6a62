"""Sets of days, for rules to leave out or to keep to: ``rule - weekdays("sat", "sun")``.

Certain dates, days of the week, public holidays (``public_holidays``), and any of these together
with ``|``. A set of days is no trigger: it has no instants. Days are numbered from 1970-01-01, and
a day is a date by the wall clock of ``tz``: where the set names no zone, that of the rule.
"""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from kalends.errors import PayloadTooLarge, ValidationFailed, did_you_mean
from kalends.refusals import checking
from kalends.triggers.value import Value
from kalends.triggers.zone import zone

__all__ = [
    "MOST_SETS", "WEEKDAY_NAMES", "Dates", "Days", "DaysUnion", "Weekdays", "date_text", "dates",
    "day_number", "weekday_number", "weekdays",
]  # fmt: skip

WEEKDAY_NAMES = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_EPOCH = dt.date(1970, 1, 1)

_FAR = 4_000_000
"""A day beyond all that there are, either way."""

_MOST_DATES = 10_000
MOST_SETS = 100
"""Sets of days that may be joined, at most."""


class Days(Value):
    """An immutable set of days; equal to another of the same kind and values."""

    __slots__ = ("tz",)
    noun = "a set of days"
    tz: str | None

    @abstractmethod
    def has(self, day: int) -> bool:
        """Whether ``day`` belongs to the set."""

    @abstractmethod
    def until(self, day: int) -> int:
        """A later day up to which (not included) all belong, or all do not, as ``day`` does."""

    @abstractmethod
    def since(self, day: int) -> int:
        """A day, not later, from which on all up to ``day`` belong, or all do not."""

    @abstractmethod
    def describe(self) -> str:
        """The days in words, to go behind "except on" or "only on"."""

    def name(self, day: int) -> str:
        """What ``day``, one of the set, is called in it: its date, or what it is the day of."""
        return date_text(day)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The set as JSON values, with ``v`` and ``type``."""

    def __or__(self, other: Days) -> Days:
        if not isinstance(other, Days):
            return NotImplemented
        return DaysUnion((*members(self), *members(other)))

    def _reader(self) -> Callable[[dict[str, Any]], Any]:
        from kalends.triggers.days_codec import days_of

        return days_of

    def _set_zone(self, tz: str | None) -> None:
        if tz is not None:
            zone(tz)
        self._set(tz=tz)

    def _zone_word(self) -> str:
        return "" if self.tz is None else f", tz={self.tz!r}"


@checking
def dates(*days: dt.date | str, tz: str | None = None) -> Dates:
    """Certain days, each a ``datetime.date`` or text such as ``"2026-12-24"``."""
    return Dates(days, tz)


@checking
def weekdays(*names: str, tz: str | None = None) -> Weekdays:
    """Days of the week by name: ``weekdays("sat", "sun")``."""
    return Weekdays(names, tz)


class Dates(Days):
    """Certain days. Made by ``dates``."""

    __slots__ = ("days",)
    days: tuple[int, ...]

    def __init__(self, days: tuple[dt.date | str, ...], tz: str | None) -> None:
        if not days:
            raise ValidationFailed("dates() needs at least one date", path="dates")
        if len(days) > _MOST_DATES:
            raise PayloadTooLarge(
                f"dates() takes at most {_MOST_DATES} dates", path="dates", size=len(days),
                limit=_MOST_DATES,
            )  # fmt: skip
        self._set(days=tuple(sorted({day_number(day, "dates") for day in days})))
        self._set_zone(tz)

    def has(self, day: int) -> bool:
        at = bisect_left(self.days, day)
        return at < len(self.days) and self.days[at] == day

    def until(self, day: int) -> int:
        at = bisect_left(self.days, day)
        if at < len(self.days) and self.days[at] == day:
            return day + 1
        return self.days[at] if at < len(self.days) else _FAR

    def since(self, day: int) -> int:
        at = bisect_right(self.days, day) - 1
        if at >= 0 and self.days[at] == day:
            return day
        return self.days[at] + 1 if at >= 0 else -_FAR

    def describe(self) -> str:
        shown = [date_text(day) for day in self.days[:8]]
        rest = len(self.days) - len(shown)
        if rest:
            return f"{', '.join(shown)} and {rest} more days"
        return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

    def to_json(self) -> dict[str, Any]:
        days = [date_text(day) for day in self.days]
        return {"v": 1, "type": "dates", "dates": days, "tz": self.tz}

    def _key(self) -> tuple[object, ...]:
        return (self.days, self.tz)

    def __repr__(self) -> str:
        return f"dates({', '.join(repr(date_text(day)) for day in self.days)}{self._zone_word()})"


class Weekdays(Days):
    """Days of the week, numbered from Sunday = 0. Made by ``weekdays``."""

    __slots__ = ("numbers",)
    numbers: tuple[int, ...]

    def __init__(self, names: tuple[str, ...], tz: str | None) -> None:
        numbers = {weekday_number(name, "weekdays") for name in names}
        if not 1 <= len(numbers) <= 6:
            raise ValidationFailed(
                "weekdays() needs one to six different days of the week", path="weekdays"
            )
        self._set(numbers=tuple(sorted(numbers, key=lambda number: (number - 1) % 7)))
        self._set_zone(tz)

    def has(self, day: int) -> bool:
        return (day + 4) % 7 in self.numbers

    def until(self, day: int) -> int:
        has, later = self.has(day), day + 1
        while self.has(later) == has:
            later += 1
        return later

    def since(self, day: int) -> int:
        has = self.has(day)
        while self.has(day - 1) == has:
            day -= 1
        return day

    def describe(self) -> str:
        names = [f"{WEEKDAY_NAMES[number].title()}s" for number in self.numbers]
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

    def name(self, day: int) -> str:
        return WEEKDAY_NAMES[(day + 4) % 7].title()

    def to_json(self) -> dict[str, Any]:
        names = [WEEKDAY_NAMES[number] for number in self.numbers]
        return {"v": 1, "type": "weekdays", "weekdays": names, "tz": self.tz}

    def _key(self) -> tuple[object, ...]:
        return (self.numbers, self.tz)

    def __repr__(self) -> str:
        names = ", ".join(repr(WEEKDAY_NAMES[number][:3]) for number in self.numbers)
        return f"weekdays({names}{self._zone_word()})"


class DaysUnion(Days):
    """The days of any of ``sets``. Made by ``|``."""

    __slots__ = ("sets",)
    sets: tuple[Days, ...]

    def __init__(self, sets: tuple[Days, ...]) -> None:
        if not 1 <= len(sets) <= MOST_SETS:
            raise ValidationFailed(f"at most {MOST_SETS} sets of days may be joined", path="days")
        zones = {one.tz for one in sets if one.tz is not None}
        if len(zones) > 1:
            raise ValidationFailed(
                f"days of different time zones cannot be joined: {', '.join(sorted(zones))}",
                path="tz",
            )
        self._set(sets=sets, tz=next(iter(zones), None))

    def has(self, day: int) -> bool:
        return any(one.has(day) for one in self.sets)

    def until(self, day: int) -> int:
        if self.has(day):  # the days of one set alone may go on longest
            return max(one.until(day) for one in self.sets if one.has(day))
        return min(one.until(day) for one in self.sets)

    def since(self, day: int) -> int:
        if self.has(day):
            return min(one.since(day) for one in self.sets if one.has(day))
        return max(one.since(day) for one in self.sets)

    def describe(self) -> str:
        return " or ".join(one.describe() for one in self.sets)

    def name(self, day: int) -> str:
        return " and ".join(one.name(day) for one in self.sets if one.has(day))

    def to_json(self) -> dict[str, Any]:
        return {"v": 1, "type": "days", "sets": [one.to_json() for one in self.sets]}

    def _key(self) -> tuple[object, ...]:
        return self.sets

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.sets))


def weekday_number(name: object, path: str) -> int:
    """The number of a weekday given by its English name or the first three letters of it; Sunday
    is 0."""
    if isinstance(name, str):
        word = name.strip().lower()
        for number, known in enumerate(WEEKDAY_NAMES):
            if word in (known, known[:3]):
                return number
    raise ValidationFailed(
        f"{path}: {str(name)[:40]!r} is no day of the week{did_you_mean(name, WEEKDAY_NAMES)}",
        path=path,
    )


def day_number(value: object, path: str) -> int:
    """The number of a day given as a date (not a datetime) or as text such as ``2026-12-24``."""
    if isinstance(value, str):
        text = value[:40]
        try:
            value = dt.date.fromisoformat(value)
        except ValueError:
            raise ValidationFailed(
                f"{path}: {text!r} is no date such as '2026-12-24'", path=path
            ) from None
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise ValidationFailed(
            f"{path} must be dates or text such as '2026-12-24', not {type(value).__name__}",
            path=path,
        )
    return value.toordinal() - _EPOCH.toordinal()


def members(days: Days) -> tuple[Days, ...]:
    """The sets that ``days`` is joined of; itself alone where it is not."""
    return days.sets if isinstance(days, DaysUnion) else (days,)


def date_text(day: int) -> str:
    return (_EPOCH + dt.timedelta(days=day)).isoformat()
