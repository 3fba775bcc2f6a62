"""A cron expression in plain English.

Correct before pretty: what has no short name is listed value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kalends.triggers.cron_fields import CronFields
from kalends.triggers.days import DayRule

__all__ = [
    "MONTH_NAMES", "ORDINALS", "WEEKDAYS", "describe_cron", "dst_words", "join", "listed", "runs",
]  # fmt: skip

MONTH_NAMES = (
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
ORDINALS = ("", "first", "second", "third", "fourth", "fifth")

_AT_MOST = 6
"""Up to so many times of day are listed as such."""


def describe_cron(fields: CronFields, tz: str) -> str:
    """The rule as one phrase, such as ``at 06:00 on weekdays, Europe/Oslo time``."""
    time, clock = _time(fields)
    day = _day(fields.days)
    if not day and clock:
        day = "every day"
    if len(fields.days.months) < 12:
        months = runs(fields.days.months, lambda month: MONTH_NAMES[month - 1])
        both_named = " and also " in day or ", but only " in day
        day = f"{day}{',' if both_named else ''} in {months}".strip()
    if fields.days.years:
        day = f"{day}{',' if day else ''} in {runs(fields.days.years, str)}".strip()
    zone = "UTC" if tz == "UTC" else f"{tz} time"
    text = f"{time} {day}".strip()
    return text if not day and tz == "UTC" else f"{text}, {zone}"


_GAP_WORDS = {
    "edge": "times that daylight saving skips run once, right after the gap",
    "shift": "times that daylight saving skips run later by the length of the gap",
    "skip": "times that daylight saving skips do not run",
}
_FOLD_WORDS = {
    "first": "times that it repeats run the first time only",
    "last": "times that it repeats run the last time only",
    "both": "times that it repeats run both times",
}


def dst_words(gap: str | None, fold: str | None) -> str:
    """What was chosen for daylight saving, to go behind a rule's words; empty where nothing
    was."""
    parts = [_GAP_WORDS[gap]] if gap else []
    if fold:
        words = _FOLD_WORDS[fold]
        parts.append(words if gap else words.replace(" it ", " daylight saving "))
    return f" ({'; '.join(parts)})" if parts else ""


def _time(fields: CronFields) -> tuple[str, bool]:
    """The time of day in words, and whether those are certain times of the day."""
    seconds, minutes, hours = fields.seconds, fields.minutes, fields.hours
    times = len(hours) * len(minutes) * len(seconds)
    if times <= _AT_MOST:
        pattern = "{:02}:{:02}" if seconds == (0,) else "{:02}:{:02}:{:02}"
        clock = [pattern.format(h, m, s) for h in hours for m in minutes for s in seconds]
        return f"at {join(clock)}", True
    all_hours = len(hours) == 24
    if seconds == (0,):
        return _minutes(minutes, hours), not all_hours
    if len(minutes) == 60 and all_hours:
        every = _every(seconds, 60, "second")
        return every or f"at {listed('second', seconds)} of every minute", False
    second = _every(seconds, 60, "second") or f"at {listed('second', seconds)}"
    minute = "every minute" if len(minutes) == 60 else listed("minute", minutes)
    hour = "every hour" if all_hours else listed("hour", hours)
    return f"{second} of {minute} of {hour}", not all_hours


def _minutes(minutes: tuple[int, ...], hours: tuple[int, ...]) -> str:
    every = _every(minutes, 60, "minute")
    if len(hours) == 24:
        if minutes == (0,):
            return "every hour, on the hour"
        return every or f"at {listed('minute', minutes)} of every hour"
    in_a_row = hours[-1] - hours[0] == len(hours) - 1
    if minutes == (0,):
        if in_a_row:
            return f"every hour from {hours[0]:02}:00 to {hours[-1]:02}:00"
        if even := _every(hours, 24, "hour"):
            return f"{even} from 00:00"
        return f"at {join([f'{hour:02}:00' for hour in hours])}"
    if every and in_a_row:
        return f"{every} from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return f"{every or 'at ' + listed('minute', minutes)} of {listed('hour', hours)}"


def _every(values: Sequence[int], size: int, unit: str) -> str:
    """``every 5 minutes`` where ``values`` divide ``size`` evenly from 0, or empty."""
    if len(values) == size:
        return f"every {unit}"
    step = size // len(values)
    if len(values) > 1 and tuple(values) == tuple(range(0, size, step)):
        return f"every {step} {unit}s"
    return ""


def _day(rule: DayRule) -> str:
    """The days in words, months left out; empty where every day matches."""
    days = _month_days(rule)
    weekdays = _week_days(rule)
    if rule.both:
        return f"{days}, but only {weekdays}" if days and weekdays else days or weekdays
    return f"{days} and also {weekdays}" if days and weekdays else ""


def _month_days(rule: DayRule) -> str:
    if len(rule.days) == 31:
        return ""
    parts = [listed("day", rule.days)] if rule.days else []
    if rule.last_day:
        parts.append("the last day")
    parts += [f"{_before(before)} the last day" for before in rule.before_last]
    if rule.last_weekday:
        parts.append("the last weekday (Monday to Friday)")
    near = [f"day {number}" for number in rule.nearest]
    near += [f"{_before(before)} the last day" for before in rule.nearest_last]
    parts += [f"the weekday (Monday to Friday) nearest to {day}" for day in near]
    return f"on {join(parts)} of the month"


def _before(days: int) -> str:
    return "the day before" if days == 1 else f"{days} days before"


def _week_days(rule: DayRule) -> str:
    if len(rule.weekdays) == 7:
        return ""
    parts = []
    if rule.weekdays == (1, 2, 3, 4, 5):
        parts.append("weekdays")
    elif rule.weekdays:
        order = sorted(rule.weekdays, key=lambda number: (number - 1) % 7)
        parts += [f"{WEEKDAYS[number]}s" for number in order]
    special = [f"the {ORDINALS[which]} {WEEKDAYS[number]}" for number, which in rule.nth]
    special += [f"the last {WEEKDAYS[number]}" for number in rule.last]
    if special:
        parts.append(f"{join(special)} of the month")
    return f"on {join(parts)}"


def listed(unit: str, values: Sequence[int]) -> str:
    """``minute 5``, or ``minutes 5 to 7 and 9``."""
    return f"{unit}{'s' if len(values) > 1 else ''} {runs(values, str)}"


def runs(values: Sequence[int], name: Callable[[int], str]) -> str:
    """The values as a list in which three or more in a row are a range: ``1 to 7, 9 and 11``."""
    parts: list[str] = []
    at = 0
    while at < len(values):
        end = at
        while end + 1 < len(values) and values[end + 1] == values[end] + 1:
            end += 1
        if end - at >= 2:
            parts.append(f"{name(values[at])} to {name(values[end])}")
        else:
            parts += [name(value) for value in values[at : end + 1]]
        at = end + 1
    return join(parts)


def join(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
