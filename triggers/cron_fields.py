"""Reading cron expressions of the ``vixie`` dialect, which is Debian's cron.

Five fields, or six with seconds first: minute, hour, day of month, month, day of week. Lists,
ranges and steps; month and weekday names; 0 and 7 are Sunday; ``L`` and ``LW`` in day of month,
``5L`` and ``5#2`` in day of week; ``@daily`` and its like. ``a/n`` means from ``a`` to the end of
the field in steps of ``n``. Day of month and day of week must both match if either begins with
``*``; otherwise one suffices (crontab(5), Debian). Reading takes time in proportion to the text,
and the text is limited. Every refusal names the field, the value and its position, counted from 1.
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from kalends.errors import PayloadTooLarge, ValidationFailed, did_you_mean
from kalends.triggers.days import DayRule

__all__ = [
    "MACROS",
    "MAX_TEXT",
    "MONTHS",
    "WEEKDAYS",
    "CronFields",
    "Field",
    "Part",
    "checked_text",
    "field_texts",
    "is_number",
    "parse_vixie",
]

MAX_TEXT = 1_000
"""Characters in an expression, at most."""

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The words that stand for whole expressions."""

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class CronFields(msgspec.Struct, frozen=True):
    """What an expression says: sorted values a field, and how it meets daylight saving."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DayRule
    fixed: bool
    """Five fields of which neither minute nor hour begins with ``*``: Debian's "fixed-time" job,
    which runs once in a gap or fold. Every other rule follows real time."""


class Field(msgspec.Struct, frozen=True):
    """A field of an expression: its name and the values it takes."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0
    """The number of the first name."""


_FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS, 1),
    Field("day of week", 0, 7, WEEKDAYS, 0),
)


class Part(msgspec.Struct, frozen=True):
    """One field's text, and where it stands."""

    field: Field
    text: str
    position: int

    def refuse(self, value: str, why: str) -> NoReturn:
        """Raise ``ValidationFailed`` for ``value`` in this field."""
        shown = value if len(value) <= 40 else value[:40] + "…"
        raise ValidationFailed(
            f"expr: {self.field.name} field, position {self.position}: {shown!r} {why}",
            path="expr",
            field=self.field.name,
            value=shown,
            position=self.position,
        )

    def value(self, item: str, text: str) -> int:
        """The number that ``text``, which stands in ``item``, is or names."""
        field = self.field
        if text.upper() in field.names:
            return field.names.index(text.upper()) + field.first
        if not is_number(text):
            if text == "?":
                self.refuse(item, "belongs to the quartz dialect; write *")
            near = did_you_mean(text.upper(), field.names) if field.names else ""
            self.refuse(item, f"is not understood{near}")
        if len(text) > 9 or not field.low <= int(text) <= field.high:
            self.refuse(item, f"is outside {field.low} to {field.high}")
        return int(text)


def checked_text(expr: object, example: str) -> str:
    """The expression, once it is known to be text of a bearable length."""
    if not isinstance(expr, str):
        raise ValidationFailed(
            f"expr must be text such as {example!r}, not {type(expr).__name__}", path="expr"
        )
    if len(expr) > MAX_TEXT:
        raise PayloadTooLarge(
            f"expr: a cron expression has at most {MAX_TEXT} characters, not {len(expr)}",
            path="expr",
            size=len(expr),
            limit=MAX_TEXT,
        )
    return expr


def parse_vixie(expr: object) -> CronFields:
    """Read an expression; ``ValidationFailed`` says what is wrong with it."""
    text = _expanded(checked_text(expr, "0 6 * * 1-5"))
    words = [(match[0], match.start() + 1) for match in re.finditer(r"\S+", text)]
    if len(words) not in (5, 6):
        raise ValidationFailed(
            "expr: a cron expression has 5 fields (minute, hour, day of month, month, "
            f"day of week), or 6 with seconds first; this one has {len(words)}",
            path="expr",
            value=text[:40],
        )
    fields = _FIELDS[6 - len(words) :]
    parts = [Part(field, text, at) for field, (text, at) in zip(fields, words, strict=True)]
    seconds = _numbers(parts[0]) if len(parts) == 6 else (0,)
    minute, hour, day, month, weekday = parts[-5:]
    return CronFields(
        seconds=seconds,
        minutes=_numbers(minute),
        hours=_numbers(hour),
        days=_days(day, month, weekday),
        fixed=len(parts) == 5 and minute.text[0] != "*" and hour.text[0] != "*",
    )


def field_texts(expr: str, dialect: str) -> dict[str, str]:
    """The text of each field of an expression that was read before, by the field's name."""
    quartz = dialect == "quartz"
    words = re.findall(r"\S+", expr if quartz else _expanded(expr))
    names = [field.name for field in _FIELDS]
    if quartz:
        names.append("year")
    return dict(zip(names if quartz else names[6 - len(words) :], words, strict=False))


def _expanded(expr: str) -> str:
    word = expr.strip().lower()
    if not word.startswith("@"):
        return expr
    if word == "@reboot":
        raise ValidationFailed(
            "expr: '@reboot' is not an instant, so it cannot be scheduled; "
            "run the job when your program starts",
            path="expr",
            value="@reboot",
        )
    if word not in MACROS:
        raise ValidationFailed(
            f"expr: unknown word {word[:40]!r}{did_you_mean(word, MACROS)}; "
            f"known are {', '.join(MACROS)}",
            path="expr",
            value=word[:40],
        )
    return MACROS[word]


def _days(day: Part, month: Part, weekday: Part) -> DayRule:
    days: set[int] = set()
    last_day = last_weekday = False
    for item in day.text.split(","):
        # A step behind L or LW has nothing to step over and changes nothing.
        head, slash, step = item.partition("/")
        if head.upper() in ("L", "LW"):
            if slash:
                _step(day, item, step)
            last_day |= head.upper() == "L"
            last_weekday |= head.upper() == "LW"
        else:
            days.update(_item(day, item))
    weekdays: set[int] = set()
    last: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for item in weekday.text.split(","):
        if item[-1:] in ("L", "l"):
            if not is_number(item[:-1]):
                weekday.refuse(item, "is not a weekday number before L, as in 5L (the last Friday)")
            last.add(weekday.value(item, item[:-1]) % 7)
        elif "#" in item:
            name, _, which = item.partition("#")
            if not is_number(which) or which.lstrip("0") not in ("1", "2", "3", "4", "5"):
                weekday.refuse(
                    item, "needs a number from 1 to 5 after #, as in 1#2 (the second Monday)"
                )
            nth.add((weekday.value(item, name) % 7, int(which)))
        else:
            weekdays.update(number % 7 for number in _item(weekday, item))
    return DayRule(
        months=_numbers(month),
        days=tuple(sorted(days)),
        last_day=last_day,
        last_weekday=last_weekday,
        weekdays=tuple(sorted(weekdays)),
        last=tuple(sorted(last)),
        nth=tuple(sorted(nth)),
        both=day.text[0] == "*" or weekday.text[0] == "*",
    )


def _numbers(part: Part) -> tuple[int, ...]:
    found: set[int] = set()
    for item in part.text.split(","):
        found.update(_item(part, item))
    return tuple(sorted(found))


def _item(part: Part, item: str) -> range:
    """The values of one item of a list: ``*``, ``a``, ``a-b``, and each with a step."""
    field = part.field
    head, slash, tail = item.partition("/")
    step = _step(part, item, tail) if slash else 1
    if head == "*":
        return range(field.low, field.high + 1, step)
    low, dash, high = head.partition("-")
    start = part.value(item, low)
    if not dash:
        return range(start, field.high + 1, step) if slash else range(start, start + 1)
    end = part.value(item, high)
    if end < start:
        part.refuse(
            item, f"runs backwards: {start} is more than {end}; write two ranges with a comma"
        )
    return range(start, end + 1, step)


def _step(part: Part, item: str, text: str) -> int:
    if not is_number(text) or not text.strip("0"):
        part.refuse(item, "needs a whole number of 1 or more after the slash")
    return int(text)


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
