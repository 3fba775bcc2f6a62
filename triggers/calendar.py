"""``calendar(months=1, day=-1, at="18:00")``: certain days of every so many months, at certain
times.

The period is a number of days, weeks (which begin on Monday), months or years by the calendar of a
time zone, and the rule is due on chosen days of each period: the first, unless something else is
said. A day that a month does not have (31 in April) is not due in it; days below zero count from
the month's end, so that -1 is always the last. Periods of more than one unit are counted from the
one that ``anchor`` lies in, and without one from that of the instant the rule is anchored at (an
event: its creation); they go back before it too. Daylight saving: ``gap="edge"`` and
``fold="first"``, unless said otherwise (see ``zoned``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from kalends.clock import US, check_range, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.base import datetime_call, iso
from kalends.triggers.calendar_words import describe_calendar
from kalends.triggers.cron_words import dst_words
from kalends.triggers.day_sets import WEEKDAY_NAMES, weekday_number
from kalends.triggers.days import DayRule, day_table
from kalends.triggers.local import DAY_US, LocalRule
from kalends.triggers.moments import NoMoments
from kalends.triggers.periods import UNITS, PeriodDays
from kalends.triggers.zone import zone
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["CALENDAR_KEYS", "Calendar", "calendar"]

CALENDAR_KEYS = (*UNITS, "month", "day", "weekday", "nth", "at", "tz", "anchor", "gap", "fold")
"""The keywords of ``calendar``."""

_MOST = {"years": 1_000, "months": 12_000, "weeks": 52_000, "days": 365_000}
_MOST_TIMES = 1_440


@checking
def calendar(  # noqa: PLR0913  (keywords all, each the field's own word)
    *,
    years: int = 0,
    months: int = 0,
    weeks: int = 0,
    days: int = 0,
    month: int | Sequence[int] | None = None,
    day: int | Sequence[int] | None = None,
    weekday: str | Sequence[str] | None = None,
    nth: int | None = None,
    at: str | Sequence[str] = "00:00",
    tz: str = "UTC",
    anchor: dt.datetime | None = None,
    gap: str | None = None,
    fold: str | None = None,
) -> Calendar:
    """Due on certain days of every so many ``years``, ``months``, ``weeks`` or ``days`` (one of
    them).

    ``month``: 1 to 12, of a year. ``day``: 1 to 31 or -1 to -31, of a month. ``weekday``: by name;
    of a month, with ``nth`` (1 to 5, or -1 to -5 from its end). ``at``: ``"18:00"`` or
    ``"18:00:30"``. Each of month, day, weekday and at may be a list. ``anchor``: an aware datetime.
    """
    given = {"years": years, "months": months, "weeks": weeks, "days": days}
    chosen = {"month": month, "day": day, "weekday": weekday, "nth": nth}
    anchor_us = None if anchor is None else to_us(anchor, "anchor")
    return Calendar(given, chosen, at, tz, anchor_us, (gap, fold))


class Calendar(ZonedTrigger):
    """Certain days of recurring periods. Made by ``calendar``."""

    __slots__ = ("anchor_us", "at", "day", "interval", "month", "nth", "unit", "weekday")
    anchor_us: int | None
    at: tuple[str, ...]
    day: tuple[int, ...]
    interval: int
    month: tuple[int, ...]
    nth: int | None
    unit: str
    weekday: tuple[int, ...]

    def __init__(
        self,
        given: dict[str, int],
        chosen: dict[str, Any],
        at: str | Sequence[str],
        tz: str,
        anchor_us: int | None,
        dst: tuple[str | None, str | None],
    ) -> None:
        unit, interval = _period(given)
        month = _whole_numbers(chosen.get("month"), "month", 1, 12)
        day = _whole_numbers(chosen.get("day"), "day", -31, 31)
        names = _several(chosen.get("weekday"), "weekday", 7)
        weekday = tuple(sorted({weekday_number(name, "weekday") for name in names}))
        nth = chosen.get("nth")
        _check_fit(unit, month, day, weekday, nth)
        times = {_time(text): None for text in _several(at, "at", _MOST_TIMES)}
        if not times:
            raise ValidationFailed("at: give at least one time, as in at='18:00'", path="at")
        if anchor_us is not None:
            check_range(anchor_us, "anchor")
        self._set(unit=unit, interval=interval, month=month, day=day, weekday=weekday, nth=nth)
        self._set(at=tuple(_clock(time) for time in sorted(times)), anchor_us=anchor_us)
        by = day_table(self.day_rule)
        if not by.possible:
            raise ValidationFailed("day: no month that is chosen has such a day", path="day")
        if self.needs_anchor:
            zone(tz)
            rule: LocalRule | NoMoments = NoMoments(self, "anchor")
        else:
            origin = 0 if anchor_us is None else _local_day(tz, anchor_us)
            rule = LocalRule(PeriodDays(by, unit, interval, origin), sorted(times))
        self._begin(rule, tz, *dst, ("edge", "first"))
        if isinstance(rule, LocalRule) and not rule.days.possible:
            raise ValidationFailed("it can never be due: no period has such a day", path="day")

    @property
    def needs_anchor(self) -> bool:
        return self.interval > 1 and self.anchor_us is None

    @property
    def day_rule(self) -> DayRule:
        """The days that count in a period that counts."""
        if self.unit == "days":
            return DayRule()
        if self.unit == "weeks":
            return DayRule(weekdays=self.weekday or (1,))
        months = self.month or ((1,) if self.unit == "years" else tuple(range(1, 13)))
        if self.nth is not None:
            which = tuple((number, self.nth) for number in self.weekday)
            return DayRule(months=months, weekdays=(), nth=which)
        days = self.day or (1,)
        from_end = tuple(-number - 1 for number in days if number < 0)
        from_start = tuple(number for number in days if number > 0)
        return DayRule(months=months, days=from_start, before_last=from_end)

    def anchored(self, at_us: int) -> Calendar:
        if not self.needs_anchor:
            return self
        chosen = {"month": self.month, "day": self.day, "weekday": self._weekdays, "nth": self.nth}
        given = {self.unit: self.interval}
        return Calendar(given, chosen, self.at, self.tz, at_us, (self.gap, self.fold))

    @property
    def _weekdays(self) -> tuple[str, ...]:
        return tuple(WEEKDAY_NAMES[number] for number in self.weekday)

    def describe(self) -> str:
        return describe_calendar(self) + dst_words(self.gap, self.fold)

    def _words(self) -> dict[str, Any]:
        """The keywords that make this rule, without the anchor; those of no effect left out."""
        words: dict[str, Any] = {self.unit: self.interval}
        for key, values in (("month", self.month), ("day", self.day), ("weekday", self._weekdays)):
            if values:
                words[key] = _scalar(values)
        if self.nth is not None:
            words["nth"] = self.nth
        words["at"] = _scalar(self.at)
        if self.tz != "UTC":
            words["tz"] = self.tz
        choices = {"gap": self.gap, "fold": self.fold}
        return words | {key: value for key, value in choices.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        anchor = None if self.anchor_us is None else iso(self.anchor_us)
        return {"v": 1, "type": "calendar", **self._words(), "anchor": anchor}

    def _key(self) -> tuple[object, ...]:
        return (
            self.unit, self.interval, self.month, self.day, self.weekday, self.nth, self.at,
            self.tz, self.anchor_us, self.gap, self.fold,
        )  # fmt: skip

    def __repr__(self) -> str:
        words = [f"{key}={value!r}" for key, value in self._words().items()]
        if self.anchor_us is not None:
            words.append(f"anchor={datetime_call(self.anchor_us)}")
        return f"calendar({', '.join(words)})"


def _period(given: dict[str, int]) -> tuple[str, int]:
    for unit, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValidationFailed(
                f"{unit} must be a whole number, not {type(number).__name__}", path=unit
            )
        if not 0 <= number <= _MOST[unit]:
            raise ValidationFailed(f"{unit} must be from 1 to {_MOST[unit]}", path=unit)
    chosen = [(unit, number) for unit, number in given.items() if number]
    if len(chosen) != 1:
        raise ValidationFailed(
            "calendar() needs exactly one of years, months, weeks and days", path="period"
        )
    return chosen[0]


def _check_fit(
    unit: str, month: tuple[int, ...], day: tuple[int, ...], weekday: tuple[int, ...], nth: object
) -> None:
    """Refuse what has no meaning in a period of ``unit``."""
    if month and unit != "years":
        raise ValidationFailed("month goes with years=", path="month")
    if day and unit not in ("years", "months"):
        raise ValidationFailed("day goes with months= or years=", path="day")
    if weekday and (unit == "days" or day):
        raise ValidationFailed("weekday goes with weeks=, or in place of day", path="weekday")
    if nth is not None:
        if isinstance(nth, bool) or not isinstance(nth, int) or nth == 0 or not -5 <= nth <= 5:
            raise ValidationFailed("nth must be from 1 to 5 or from -1 to -5", path="nth")
        if not weekday or unit == "weeks":
            raise ValidationFailed("nth goes with weekday= in months or years", path="nth")
    elif weekday and unit != "weeks":
        raise ValidationFailed(
            "weekday of a month needs nth, as in weekday='friday', nth=-1", path="nth"
        )


def _several(value: Any, name: str, most: int) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        if len(value) > most:
            raise ValidationFailed(f"{name} takes at most {most} values", path=name)
        return tuple(value)
    return (value,)


def _whole_numbers(value: Any, name: str, low: int, high: int) -> tuple[int, ...]:
    found = _several(value, name, 62)
    for number in found:
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or number == 0 or not low <= number <= high:
            allowed = f"{low} to {high}" if low > 0 else f"1 to {high} or -1 to {low}"
            raise ValidationFailed(f"{name} must be a whole number, {allowed}", path=name)
    return tuple(sorted(set(found), key=lambda number: (number < 0, number)))


def _time(text: object) -> int:
    """Microseconds since midnight."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", str(text)[:20])
    if found is None or not isinstance(text, str):
        raise ValidationFailed(
            f"at: {str(text)[:40]!r} is no time of day such as '18:00' or '18:00:30'", path="at"
        )
    return (int(found[1]) * 3_600 + int(found[2]) * 60 + int(found[3] or 0)) * US


def _clock(us: int) -> str:
    minutes, second = divmod(us // US, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{second:02}" if second else text


def _local_day(tz: str, at_us: int) -> int:
    spans = zone(tz).until(at_us)
    return (at_us + spans.offsets[spans.index(at_us)]) // DAY_US


def _scalar(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)
