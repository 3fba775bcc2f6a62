"""Which part of a recurrence rule said no to a wall-clock moment.

Each BY part is asked by itself, with what the rule leaves open taken from its start. Where all of
them agree and the moment still does not match, ``BYSETPOS`` has chosen others.
"""

from __future__ import annotations

from kalends.clock import US
from kalends.triggers.base import iso
from kalends.triggers.cron_words import MONTH_NAMES, WEEKDAYS, runs
from kalends.triggers.days import year_start
from kalends.triggers.local import DAY_US
from kalends.triggers.periods import PeriodDays
from kalends.triggers.rrule import RRule
from kalends.triggers.rrule_days import ByDays
from kalends.triggers.rrule_moments import SECONDS, UNITS
from kalends.triggers.rrule_parts import RuleParts
from kalends.triggers.rrule_words import counted, weekday_words
from kalends.triggers.verdicts import Cause, CauseKind
from kalends.triggers.wall import Wall, wall_of

__all__ = ["rrule_causes"]

_EVERY_MONTH = tuple(range(1, 13))


def rrule_causes(rule: RRule, wall: Wall, at: int) -> list[Cause]:
    """The parts that do not have what the wall clock shows, ``at`` that instant; none where the
    moment matches."""
    parts, start = rule.completed, rule.start_moment
    assert start is not None  # a rule without a beginning is not asked
    ends = _ends(rule, wall, at)
    if wall.microsecond:
        words = f"Second: {wall.time} is not a whole second, and nothing else is due."
        return [*ends, Cause(CauseKind.FIELD, words, "BYSECOND", wall.time, "whole seconds")]
    causes = [*_times(rule, parts, wall), *_days(rule, parts, wall), *_period(parts, wall, start)]
    if not causes and not ends and not rule.moments.count(wall.moment, wall.moment + 1):
        chosen = counted("moment", parts.by_setpos)
        words = (
            f"BYSETPOS: {wall.text} is not {chosen} of those that the other parts allow in its "
            f"{_unit(parts)}."
        )
        allowed = ",".join(map(str, parts.by_setpos))
        causes.append(Cause(CauseKind.FIELD, words, "BYSETPOS", wall.text, allowed))
    return [*ends, *causes]


def _ends(rule: RRule, wall: Wall, at: int) -> list[Cause]:
    if rule.parts.count == 0:
        return [Cause(CauseKind.END, "The rule is due 0 times (COUNT).", "COUNT", wall.text, "0")]
    start = wall_of(rule.start_moment or 0)
    if wall.moment < start.moment:
        words = f"The rule begins at {start.text}, which is later."
        return [Cause(CauseKind.START, words, "DTSTART", wall.text, start.text)]
    last, until = rule.last_moment, rule.until_us
    if until is not None and at > until:
        words = f"The rule ends at {iso(until)} (UNTIL), which is earlier."
        return [Cause(CauseKind.END, words, "UNTIL", wall.text, iso(until))]
    if last is None or wall.moment <= last:
        return []
    if rule.parts.count is None:
        words = f"The rule ends at {wall_of(last).text} (UNTIL), which is earlier."
        return [Cause(CauseKind.END, words, "UNTIL", wall.text, wall_of(last).text)]
    count = str(rule.parts.count)
    words = f"The rule is due {count} times (COUNT), and the last of them is {wall_of(last).text}."
    return [Cause(CauseKind.END, words, "COUNT", wall.text, count)]


def _times(rule: RRule, parts: RuleParts, wall: Wall) -> list[Cause]:
    causes = []
    for name, key, shown in (
        ("BYHOUR", "hour", wall.hour),
        ("BYMINUTE", "minute", wall.minute),
        ("BYSECOND", "second", wall.second),
    ):
        allowed: tuple[int, ...] = getattr(parts, f"by_{key}")
        if allowed and shown not in allowed:
            implied = not getattr(rule.parts, f"by_{key}")
            causes.append(_cause(name, str(shown), runs(allowed, str), implied))
    return causes


def _days(rule: RRule, parts: RuleParts, wall: Wall) -> list[Cause]:
    given = rule.parts
    causes = []

    def ask(name: str, only: RuleParts, shown: str, allowed: str, implied: bool) -> None:
        start = year_start(wall.year)
        if not ByDays(only).mask(wall.year, start) >> (wall.day_number - start) & 1:
            causes.append(_cause(name, shown, allowed, implied))

    freq, weekday = parts.freq, WEEKDAYS[wall.weekday]
    if parts.by_month:
        months = runs(parts.by_month, lambda month: MONTH_NAMES[month - 1])
        only = RuleParts(freq=freq, by_month=parts.by_month)
        ask("BYMONTH", only, MONTH_NAMES[wall.month - 1], months, not given.by_month)
    if parts.by_monthday:
        only = RuleParts(freq=freq, by_monthday=parts.by_monthday)
        allowed = f"{counted('day', parts.by_monthday)} of the month"
        ask("BYMONTHDAY", only, wall.date, allowed, not given.by_monthday)
    if parts.by_yearday:
        only = RuleParts(freq=freq, by_yearday=parts.by_yearday)
        ask("BYYEARDAY", only, wall.date, f"{counted('day', parts.by_yearday)} of the year", False)
    if parts.by_weekno:
        only = RuleParts(freq=freq, by_weekno=parts.by_weekno, week_start=parts.week_start)
        ask("BYWEEKNO", only, wall.date, f"in {counted('week', parts.by_weekno)}", False)
    if parts.by_day:
        # A numbered weekday counts in its month, wherever BYMONTH is given.
        months_ = _EVERY_MONTH if parts.by_month else ()
        only = RuleParts(freq=freq, by_day=parts.by_day, by_month=months_)
        ask("BYDAY", only, f"{weekday} {wall.date}", weekday_words(parts), not given.by_day)
    return causes


def _period(parts: RuleParts, wall: Wall, start: int) -> list[Cause]:
    """The cause, if ``INTERVAL`` passes over the period of ``wall``."""
    if parts.interval == 1:
        return []
    if parts.freq in SECONDS:
        unit_us = SECONDS[parts.freq] * US
        counts = (wall.moment // unit_us - start // unit_us) % parts.interval == 0
    else:
        any_day, unit = ByDays(RuleParts(parts.freq)), UNITS[parts.freq]
        plan = PeriodDays(any_day, unit, parts.interval, start // DAY_US, parts.week_start)
        counts = plan.counts(wall.day_number)
    if counts:
        return []
    unit = _unit(parts)
    every = f"one in every {parts.interval} {unit}s, counted from that of {wall_of(start).text}"
    a_unit = f"a{'n' if unit == 'hour' else ''} {unit}"
    words = f"INTERVAL: {wall.text} lies in {a_unit} that is passed over; due is {every}."
    return [Cause(CauseKind.FIELD, words, "INTERVAL", wall.text, every)]


def _unit(parts: RuleParts) -> str:
    return {"DAILY": "day"}.get(parts.freq, parts.freq.removesuffix("LY").lower())


def _cause(name: str, value: str, allowed: str, implied: bool) -> Cause:
    more = ", which the rule has from its start" if implied else ""
    words = f"{name}: {value} is not {allowed}{more}."
    return Cause(CauseKind.FIELD, words, name, value, allowed)
