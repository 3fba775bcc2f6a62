"""Wall-clock moments taken apart and in words, for every year that a moment may lie in.

``datetime`` ends with the year 9999, and the wall clock of the last instants is ahead of that.
"""

from __future__ import annotations

import msgspec

from kalends.clock import US
from kalends.triggers.days import year_of, year_start
from kalends.triggers.local import DAY_US
from kalends.triggers.periods import date_of

__all__ = ["Wall", "clock_words", "length_words", "wall_of"]


class Wall(msgspec.Struct, frozen=True):
    """What a wall clock and a calendar show at one moment."""

    moment: int
    """Microseconds since 1970-01-01 00:00 by the wall clock."""
    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    microsecond: int

    @property
    def day_number(self) -> int:
        """The day, numbered from 1970-01-01."""
        return self.moment // DAY_US

    @property
    def weekday(self) -> int:
        """The day of the week; 0 is Sunday."""
        return (self.day_number + 4) % 7

    @property
    def date(self) -> str:
        """Such as ``2027-03-28``."""
        return f"{self.year:04}-{self.month:02}-{self.day:02}"

    @property
    def time(self) -> str:
        """Such as ``02:30``, ``02:30:15`` or ``02:30:15.25``."""
        return clock_words(self.moment % DAY_US)

    @property
    def text(self) -> str:
        """Such as ``2027-03-28 02:30``."""
        return f"{self.date} {self.time}"


def wall_of(moment: int) -> Wall:
    """The parts of a wall-clock moment, in microseconds since 1970-01-01 00:00."""
    day, rest = divmod(moment, DAY_US)
    year = year_of(day)
    # The Gregorian calendar repeats itself after 400 years, and datetime knows these.
    date = date_of(day - year_start(year) + year_start(2000 + year % 400))
    minutes, seconds_us = divmod(rest, 60 * US)
    return Wall(
        moment=moment,
        year=year,
        month=date.month,
        day=date.day,
        hour=minutes // 60,
        minute=minutes % 60,
        second=seconds_us // US,
        microsecond=seconds_us % US,
    )


def clock_words(us: int) -> str:
    """A time of day, in microseconds since midnight: ``02:30``, or as exact as it has to be."""
    seconds, micro = divmod(us, US)
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    if second or micro:
        text += f":{second:02}"
    return f"{text}.{micro:06}".rstrip("0") if micro else text


def length_words(us: int) -> str:
    """A length of time, exactly, such as ``3 days 4 hours 0.5 seconds``; microseconds in."""
    seconds, micro = divmod(us, US)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    exact = f"{second}.{micro:06}".rstrip("0") if micro else str(second)
    parts = [(str(days), "day"), (str(hour), "hour"), (str(minute), "minute"), (exact, "second")]
    named = [f"{n} {name}{'' if n == '1' else 's'}" for n, name in parts if n != "0"]
    return " ".join(named) or "0 seconds"
