"""Which field of a cron expression said no to a wall-clock moment."""

from __future__ import annotations

from calendar import monthrange

import msgspec

from kalends.triggers.cron import Cron
from kalends.triggers.cron_fields import field_texts
from kalends.triggers.cron_words import MONTH_NAMES, WEEKDAYS, listed
from kalends.triggers.days import DayRule, day_table, year_start
from kalends.triggers.verdicts import Cause, CauseKind
from kalends.triggers.wall import Wall

__all__ = ["cron_causes", "days_in_month", "meant"]

_ALL = DayRule()


def cron_causes(rule: Cron, wall: Wall) -> list[Cause]:
    """The fields that do not have what the wall clock shows; none where the moment matches."""
    fields, texts = rule.fields, field_texts(rule.expr, rule.dialect)
    causes = []
    if wall.microsecond:
        shown = f"{wall.second}.{wall.microsecond:06}".rstrip("0")
        words = f"Second: {shown} is not a whole second, and nothing else is due."
        causes.append(Cause(CauseKind.FIELD, words, "second", shown, texts.get("second", "0")))
    elif wall.second not in fields.seconds:
        if "second" in texts:
            causes.append(_not_in("second", str(wall.second), texts["second"]))
        else:
            words = f"Second: {wall.second} is not 0, as it is for an expression of five fields."
            causes.append(Cause(CauseKind.FIELD, words, "second", str(wall.second), "0"))
    if wall.minute not in fields.minutes:
        causes.append(_not_in("minute", str(wall.minute), texts["minute"]))
    if wall.hour not in fields.hours:
        causes.append(_not_in("hour", str(wall.hour), texts["hour"]))
    causes += _day_causes(rule, wall, texts)
    if wall.month not in fields.days.months:
        month = f"{MONTH_NAMES[wall.month - 1]} ({wall.month})"
        causes.append(_not_in("month", month, texts["month"]))
    if fields.days.years and wall.year not in fields.days.years:
        causes.append(_not_in("year", str(wall.year), texts["year"]))
    return causes


def days_in_month(rule: DayRule, wall: Wall) -> list[int]:
    """The days that ``rule`` has in the month of ``wall``."""
    start = year_start(wall.year)
    first = wall.day_number - wall.day + 1 - start
    mask = day_table(rule).mask(wall.year, start) >> first
    _, length = monthrange(2000 + wall.year % 400, wall.month)
    return [day for day in range(1, length + 1) if mask >> (day - 1) & 1]


def _day_causes(rule: Cron, wall: Wall, texts: dict[str, str]) -> list[Cause]:
    """Day of month and day of week: both must match, or either (``DayRule.both``)."""
    days = rule.fields.days
    of_month = msgspec.structs.replace(
        days, months=_ALL.months, years=(), weekdays=_ALL.weekdays, last=(), nth=(), both=True
    )
    of_week = DayRule(days=_ALL.days, weekdays=days.weekdays, last=days.last, nth=days.nth)
    in_month = days_in_month(of_month, wall)
    in_week = days_in_month(of_week, wall)
    month_says, week_says = wall.day in in_month, wall.day in in_week
    if (month_says and week_says) or (not days.both and (month_says or week_says)):
        return []
    why = ""
    if not days.both:
        why = ", and the other day field does not match either"
    elif "?" not in (texts["day of month"], texts["day of week"]) and month_says != week_says:
        why = ", and the match of the other day field alone does not suffice"
        if texts["day of week" if week_says else "day of month"] == "*":
            why = ""
    causes = []
    if not month_says:
        special = any(letter in texts["day of month"].upper() for letter in "LW")
        more = (meant(in_month, wall) if special else "") + why
        causes.append(_not_in("day of month", str(wall.day), texts["day of month"], more))
    if not week_says:
        number = wall.weekday + (rule.dialect == "quartz")
        text = texts["day of week"]
        special = bool(days.last or days.nth)
        more = meant(in_week, wall) if special else ""
        if text.upper() == "L":
            more = ", which is Saturday"
        shown = f"{WEEKDAYS[wall.weekday]} {wall.date if special else f'({number})'}"
        causes.append(_not_in("day of week", shown, text, more + why))
    return causes


def meant(days: list[int], wall: Wall) -> str:
    """What a field stands for in the month of ``wall``, to go behind the field's own words."""
    month = f"{MONTH_NAMES[wall.month - 1]} {wall.year}"
    if not days:
        return f", which {month} does not have"
    return f", which in {month} {'is' if len(days) == 1 else 'are'} {listed('day', days)}"


def _not_in(field: str, value: str, text: str, more: str = "") -> Cause:
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    words = f"{field.capitalize()} field: {value} is not in {shown}{more}."
    return Cause(CauseKind.FIELD, words, field, value, text)
