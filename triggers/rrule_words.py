"""A recurrence rule in plain English.

Correct before pretty: each part that the rule has is one phrase, in an order that reads well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kalends.triggers.cron_words import MONTH_NAMES, ORDINALS, dst_words, join, listed, runs
from kalends.triggers.rrule_parts import RuleParts

if TYPE_CHECKING:
    from kalends.triggers.rrule import RRule

__all__ = ["counted", "describe_rrule", "weekday_words"]

_UNITS = {
    "YEARLY": "year",
    "MONTHLY": "month",
    "WEEKLY": "week",
    "DAILY": "day",
    "HOURLY": "hour",
    "MINUTELY": "minute",
    "SECONDLY": "second",
}
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def describe_rrule(rule: RRule, start: str | None) -> str:
    """Such as ``every 2 weeks, on Tuesday and Thursday, from 1997-09-02T09:00:00, UTC``."""
    parts = rule.parts
    unit = _UNITS[parts.freq]
    words = [f"every {unit}" if parts.interval == 1 else f"every {parts.interval} {unit}s"]
    words += _days(parts)
    words += _times(parts)
    if parts.by_setpos:
        chosen = join([_ordinal(number) for number in parts.by_setpos])
        words.append(f"only the {chosen} of these in each {unit}")
    if start is not None:
        words.append(f"from {start}")
    if parts.until is not None:
        words.append(f"until {parts.until.isoformat().replace('+00:00', 'Z')}")
    if parts.count is not None:
        words.append("once only" if parts.count == 1 else f"{parts.count} times")
    words.append("UTC" if rule.tz == "UTC" else f"{rule.tz} time")
    return ", ".join(words) + dst_words(rule.gap, rule.fold)


def _days(parts: RuleParts) -> list[str]:
    words = []
    if parts.by_month:
        words.append(f"in {runs(parts.by_month, lambda month: MONTH_NAMES[month - 1])}")
    if parts.by_weekno:
        words.append(f"in {counted('week', parts.by_weekno)} of the year")
    if parts.by_yearday:
        words.append(f"on {counted('day', parts.by_yearday)} of the year")
    if parts.by_monthday:
        words.append(f"on {counted('day', parts.by_monthday)} of the month")
    if parts.by_day:
        words.append(f"on {weekday_words(parts)}")
    return words


def weekday_words(parts: RuleParts) -> str:
    """The weekdays that ``BYDAY`` has, such as ``the first Monday of the month``."""
    days = [
        f"the {_ordinal(which)} {_WEEKDAYS[day]}" if which else _WEEKDAYS[day]
        for which, day in parts.by_day
    ]
    scope = ""
    if any(which for which, _ in parts.by_day):
        yearly = parts.freq == "YEARLY" and not parts.by_month
        scope = f" of the {'year' if yearly else 'month'}"
    return f"{join(days)}{scope}"


def _times(parts: RuleParts) -> list[str]:
    given = (("hour", parts.by_hour), ("minute", parts.by_minute), ("second", parts.by_second))
    named = [listed(name, values) for name, values in given if values]
    return [f"at {join(named)}"] if named else []


def counted(unit: str, numbers: Sequence[int]) -> str:
    """``days 1 and 2 and the last day``, for numbers of which those below zero count from the
    end."""
    ahead = [number for number in numbers if number > 0]
    words = [listed(unit, ahead)] if ahead else []
    words += [f"the {_ordinal(number)} {unit}" for number in numbers if number < 0]
    return join(words)


def _ordinal(number: int) -> str:
    size = abs(number)
    if size < len(ORDINALS):
        name = ORDINALS[size]
    else:
        ends = {1: "st", 2: "nd", 3: "rd"}
        name = f"{size}{'th' if size % 100 in (11, 12, 13) else ends.get(size % 10, 'th')}"
    if number > 0:
        return name
    return "last" if size == 1 else f"{name} last"
