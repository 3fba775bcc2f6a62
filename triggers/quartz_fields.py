"""Reading cron expressions of the ``quartz`` dialect, which is the Quartz scheduler's.

Six fields, or seven with the year last: second, minute, hour, day of month, month, day of week,
year (1970 to 2099). Sunday is 1. Exactly one of day of month and day of week is ``?``. Lists,
ranges and steps in every field; a range that runs backwards wraps around (``22-2``, ``FRI-MON``),
except for years; ``/5`` is ``0/5``. Day of month knows ``L`` (the last day), ``L-3`` (the third
before it), ``15W`` (the weekday, Monday to Friday, nearest to the 15th in its month), ``LW`` and
``L-3W``; day of week knows ``L`` (Saturday), ``6L`` (the last Friday) and ``6#3`` (the third
Friday), each alone.

A rule is fixed-time, as in ``cron_fields``, if none of second, minute and hour begins with ``*`` or
``/``.
"""

from __future__ import annotations

import re

from kalends.errors import ValidationFailed
from kalends.triggers.cron_fields import (
    MONTHS,
    WEEKDAYS,
    CronFields,
    Field,
    Part,
    checked_text,
    is_number,
)
from kalends.triggers.days import DayRule

__all__ = ["parse_quartz"]

_FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS, 1),
    Field("day of week", 1, 7, WEEKDAYS, 1),
    Field("year", 1970, 2099),
)

_STEPS = {"second": 59, "minute": 59, "hour": 23, "day of month": 31, "month": 12, "day of week": 7}
"""The longest step of each field."""


def parse_quartz(expr: object) -> CronFields:
    """Read an expression; ``ValidationFailed`` says what is wrong with it."""
    text = checked_text(expr, "0 0 6 ? * 2-6")
    words = [(match[0], match.start() + 1) for match in re.finditer(r"\S+", text)]
    if len(words) not in (6, 7):
        raise ValidationFailed(
            "expr: a quartz expression has 6 fields (second, minute, hour, day of month, month, "
            f"day of week), or 7 with the year last; this one has {len(words)}",
            path="expr",
            value=text[:40],
        )
    parts = [Part(field, *word) for field, word in zip(_FIELDS, words, strict=False)]
    second, minute, hour, day, month, weekday = parts[:6]
    year = parts[6] if len(parts) == 7 else None
    if (day.text == "?") == (weekday.text == "?"):
        weekday.refuse(weekday.text, "and day of month: exactly one of the two must be ?")
    return CronFields(
        seconds=_numbers(second),
        minutes=_numbers(minute),
        hours=_numbers(hour),
        days=_days(day, month, weekday, year),
        fixed=not any(part.text[0] in "*/" for part in (second, minute, hour)),
    )


def _days(day: Part, month: Part, weekday: Part, year: Part | None) -> DayRule:
    every_year = year is None or year.text == "*"
    months, years = _numbers(month), () if every_year or year is None else _numbers(year)
    if day.text != "?":
        return _month_days(day, months, years)
    text = weekday.text.upper()
    if "," not in text:
        if text == "L":
            return DayRule(months=months, years=years, weekdays=(6,))
        if text[-1] == "L":
            last = _value(weekday, text, text[:-1]) - 1
            return DayRule(months=months, years=years, weekdays=(), last=(last,))
        if "#" in text:
            name, _, which = text.partition("#")
            if which not in ("1", "2", "3", "4", "5"):
                weekday.refuse(text, "needs a number from 1 to 5 after #, as in 6#3")
            nth = (_value(weekday, text, name) - 1, int(which))
            return DayRule(months=months, years=years, weekdays=(), nth=(nth,))
    for item in text.split(","):
        if item[-1:] == "L" or "#" in item:
            weekday.refuse(item, "cannot stand in a list: in this dialect L and # stand alone")
    found = tuple(number - 1 for number in _numbers(weekday))
    return DayRule(months=months, years=years, weekdays=found)


def _month_days(part: Part, months: tuple[int, ...], years: tuple[int, ...]) -> DayRule:
    days: set[int] = set()
    nearest: set[int] = set()
    before_last: set[int] = set()
    nearest_last: set[int] = set()
    for item in part.text.upper().split(","):
        if item[:1] == "L":
            before, weekday = _before_last(part, item)
            (nearest_last if weekday else before_last).add(before)
        elif item[-1:] == "W":
            nearest.add(_value(part, item, item[:-1]))
        else:
            days.update(_item(part, item))
    return DayRule(
        months=months,
        years=years,
        days=tuple(sorted(days)),
        last_day=0 in before_last,
        last_weekday=0 in nearest_last,
        before_last=tuple(sorted(before_last - {0})),
        nearest=tuple(sorted(nearest)),
        nearest_last=tuple(sorted(nearest_last - {0})),
    )


def _before_last(part: Part, item: str) -> tuple[int, bool]:
    """How many days before the month's last ``L``, ``L-3``, ``LW`` or ``L-3W`` stands for, and
    whether it is moved to the nearest weekday."""
    found = re.fullmatch(r"L(?:-([0-9]{1,9}))?(W?)", item)
    if found is None:
        part.refuse(item, "is not understood; known are L, L-3, LW and L-3W")
    before = int(found[1] or 0)
    if before > 30:
        part.refuse(item, "lies more than 30 days before the last day of the month")
    return before, found[2] == "W"


def _numbers(part: Part) -> tuple[int, ...]:
    found: set[int] = set()
    for item in part.text.upper().split(","):
        found.update(_item(part, item))
    return tuple(sorted(found))


def _item(part: Part, item: str) -> list[int]:
    """The values of one item of a list: ``*``, ``a``, ``a-b``, and each with a step."""
    field = part.field
    head, slash, tail = item.partition("/")
    step = _step(part, item, tail) if slash else 1
    if head == "*" or (slash and not head):
        return list(range(field.low, field.high + 1, step))
    low, dash, high = head.partition("-")
    start = _value(part, item, low)
    if not dash:
        return list(range(start, field.high + 1, step)) if slash else [start]
    end = _value(part, item, high)
    size = field.high - field.low + 1
    if end < start:
        if field.name == "year":
            part.refuse(item, f"runs backwards: {start} is after {end}")
        end += size
    return [(value - field.low) % size + field.low for value in range(start, end + 1, step)]


def _step(part: Part, item: str, text: str) -> int:
    limit = _STEPS.get(part.field.name, 129)
    if not is_number(text) or not text.strip("0") or len(text) > 9 or int(text) > limit:
        part.refuse(item, f"needs a whole number from 1 to {limit} after the slash")
    return int(text)


def _value(part: Part, item: str, text: str) -> int:
    if text == "?":
        part.refuse(item, "stands alone, for day of month or day of week")
    return part.value(item, text)
