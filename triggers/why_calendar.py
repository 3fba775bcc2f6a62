"""Which keyword of a calendar rule said no to a wall-clock moment."""

from __future__ import annotations

import msgspec

from kalends.triggers.calendar import Calendar
from kalends.triggers.calendar_words import day_words
from kalends.triggers.cron_words import MONTH_NAMES, WEEKDAYS, join
from kalends.triggers.days import DayRule
from kalends.triggers.local import DAY_US, LocalRule
from kalends.triggers.periods import PeriodDays
from kalends.triggers.verdicts import Cause, CauseKind
from kalends.triggers.wall import Wall, wall_of
from kalends.triggers.why_cron import days_in_month, meant

__all__ = ["calendar_causes"]

_TIMES = 6
"""Times of day that are listed, at most."""


def calendar_causes(rule: Calendar, wall: Wall) -> list[Cause]:
    """The keywords that do not have what the wall clock shows; none where the moment matches."""
    causes = []
    if wall.time not in rule.at:
        many = len(rule.at) > _TIMES
        at = f"one of its {len(rule.at)} times of day" if many else " or ".join(rule.at)
        causes.append(_cause("at", "Time of day", wall.time, at))
    causes += _days(rule, wall)
    moments = rule.moments
    if isinstance(moments, LocalRule) and isinstance(moments.days, PeriodDays):
        causes += _passed_over(moments.days, wall)
    return causes


def _passed_over(plan: PeriodDays, wall: Wall) -> list[Cause]:
    """The cause, if ``wall`` lies in a period that does not count; else none."""
    if plan.counts(wall.day_number):
        return []
    origin = wall_of(plan.origin * DAY_US).date
    every = f"one in every {plan.interval} {plan.unit}, counted from that of {origin}"
    words = f"Period: {wall.date} lies in a {plan.unit[:-1]} that is passed over; due is {every}."
    return [Cause(CauseKind.FIELD, words, plan.unit, wall.date, every)]


def _days(rule: Calendar, wall: Wall) -> list[Cause]:
    causes = []
    days = rule.day_rule
    if wall.month not in days.months:
        months = join([MONTH_NAMES[month - 1] for month in days.months])
        causes.append(_cause("month", "Month", MONTH_NAMES[wall.month - 1], months))
    in_month = days_in_month(msgspec.structs.replace(days, months=DayRule().months), wall)
    if wall.day not in in_month:
        field = "day" if rule.unit in ("months", "years") and rule.nth is None else "weekday"
        shown = wall.date if field == "day" else f"{WEEKDAYS[wall.weekday]} {wall.date}"
        more = "" if rule.unit == "weeks" else meant(in_month, wall)
        causes.append(_cause(field, field.capitalize(), shown, day_words(rule), more))
    return causes


def _cause(field: str, name: str, value: str, allowed: str, more: str = "") -> Cause:
    words = f"{name}: {value} is not {allowed}{more}."
    return Cause(CauseKind.FIELD, words, field, value, allowed)
