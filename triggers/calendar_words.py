"""A calendar rule in plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalends.triggers.base import iso
from kalends.triggers.cron_words import MONTH_NAMES, ORDINALS, join
from kalends.triggers.day_sets import WEEKDAY_NAMES

if TYPE_CHECKING:
    from kalends.triggers.calendar import Calendar

__all__ = ["day_words", "describe_calendar"]


def describe_calendar(rule: Calendar) -> str:
    """Such as ``at 18:00 on the last day of every month, Europe/Oslo time``."""
    unit = rule.unit[:-1]
    period = f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {rule.unit}"
    days = _days(rule)
    where = f" on {days} of {period}" if days else f" {period}"
    if rule.unit == "weeks" and rule.interval == 1:
        where = f" on {days} of every week"
    since = "" if rule.anchor_us is None else f", counted from {iso(rule.anchor_us)}"
    zone = "UTC" if rule.tz == "UTC" else f"{rule.tz} time"
    return f"at {join(rule.at)}{where}{since}, {zone}"


def _days(rule: Calendar) -> str:
    days = day_words(rule)
    if rule.unit == "years":
        days += f" of {join([MONTH_NAMES[month - 1] for month in rule.month or (1,)])}"
    return days


def day_words(rule: Calendar) -> str:
    """The days of a week or month that count, such as ``day 1 and the last day``; empty for periods
    of days."""
    if rule.unit == "days":
        return ""
    if rule.unit == "weeks":
        numbers = sorted(rule.weekday or (1,), key=lambda number: (number - 1) % 7)
        return join([WEEKDAY_NAMES[number].title() for number in numbers])
    if rule.nth is not None:
        names = [WEEKDAY_NAMES[number].title() for number in rule.weekday]
        which = ORDINALS[rule.nth] if rule.nth > 0 else _from_end(-rule.nth)
        return f"the {which} {join(names)}"
    return join([_day(number) for number in rule.day or (1,)])


def _day(number: int) -> str:
    return f"day {number}" if number > 0 else f"the {_from_end(-number)} day"


def _from_end(number: int) -> str:
    if number == 1:
        return "last"
    known = number < len(ORDINALS)
    return f"{ORDINALS[number]} last" if known else f"{number}th last"
