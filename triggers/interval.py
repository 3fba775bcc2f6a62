"""``every(...)``: a fixed period on the UTC time line.

The instants are ``anchor + k * period`` for every whole ``k``, before the anchor as well as after
it; to begin at a certain time, say ``.between(start)``. Days are 24 hours and weeks seven of them:
no zone and no daylight saving enters. A rule without an anchor is resolved by ``anchored(at)``:
made at 12:00, ``every(minutes=5)`` is first due at 12:05.
"""

from __future__ import annotations

import datetime as dt
import math
from fractions import Fraction
from typing import Any

from kalends.clock import MAX_US, MIN_US, US, check_range, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.base import Trigger, datetime_call, iso

__all__ = ["UNITS", "Interval", "every"]

UNITS: dict[str, int] = {
    "weeks": 604_800 * US,
    "days": 86_400 * US,
    "hours": 3_600 * US,
    "minutes": 60 * US,
    "seconds": US,
}
"""The keywords of ``every`` and their length in microseconds."""

_LONGEST_US = 365_250 * 86_400 * US


@checking
def every(
    *,
    weeks: float = 0,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    anchor: dt.datetime | None = None,
) -> Interval:
    """Due once in each period, the sum of what is given: at least a microsecond, at most 1000
    years.

    ``anchor`` is an aware datetime, one of the instants. Fractions are rounded to the microsecond.
    """
    given = {"weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    return Interval(given, None if anchor is None else to_us(anchor, "anchor"))


class Interval(Trigger):
    """A fixed period, with or without an anchor. Made by ``every``."""

    __slots__ = ("anchor_us", "parts", "period_us")
    anchor_us: int | None
    parts: tuple[tuple[str, float], ...]
    period_us: int

    def __init__(self, given: dict[str, float], anchor_us: int | None) -> None:
        exact = sum((_unit_us(name, value) for name, value in given.items()), Fraction(0))
        period = round(exact)
        if period < 1:
            raise ValidationFailed(
                "every() needs a period of at least one microsecond, as in every(minutes=5)",
                path="period",
            )
        if period > _LONGEST_US:
            raise ValidationFailed("every() takes a period of at most 1000 years", path="period")
        if anchor_us is not None:
            check_range(anchor_us, "anchor")
        parts = tuple((name, given[name]) for name in UNITS if given.get(name))
        self._set(period_us=period, anchor_us=anchor_us, parts=parts)

    @classmethod
    def of_us(cls, period_us: int, anchor_us: int) -> Interval:
        """The rule of a period in microseconds, exactly; longer than ``every`` takes if need be."""
        rule = cls({"seconds": 1}, anchor_us)
        rule._set(period_us=period_us, parts=(("seconds", period_us / US),))
        return rule

    @property
    def needs_anchor(self) -> bool:
        return self.anchor_us is None

    def anchored(self, at_us: int) -> Interval:
        if self.anchor_us is not None:
            return self
        rule = object.__new__(Interval)
        rule._set(
            period_us=self.period_us, anchor_us=check_range(at_us, "anchor"), parts=self.parts
        )
        return rule

    def next_us(self, after_us: int) -> int | None:
        period = self.period_us
        due = after_us + period - (after_us - self._anchor()) % period
        if due < MIN_US:
            return self.next_us(MIN_US - 1)
        return due if due <= MAX_US else None

    def previous_us(self, before_us: int) -> int | None:
        due = before_us - 1 - (before_us - 1 - self._anchor()) % self.period_us
        if due > MAX_US:
            return self.previous_us(MAX_US + 1)
        return due if due >= MIN_US else None

    def count_us(self, a: int, b: int) -> int:
        anchor = self._anchor()
        a, b = max(a, MIN_US), min(b, MAX_US + 1)
        if b <= a:
            return 0
        return (b - 1 - anchor) // self.period_us - (a - 1 - anchor) // self.period_us

    def describe(self) -> str:
        names = [_length(name, value, len(self.parts) == 1) for name, value in self.parts]
        text = "every " + (
            names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        )
        return text if self.anchor_us is None else f"{text}, counted from {iso(self.anchor_us)}"

    def to_json(self) -> dict[str, Any]:
        anchor = None if self.anchor_us is None else iso(self.anchor_us)
        return {"v": 1, "type": "every", **dict(self.parts), "anchor": anchor}

    def _anchor(self) -> int:
        if self.anchor_us is None:
            raise ValidationFailed(
                f"{self!r} has no anchor yet, so it has no instants: give anchor=, or ask "
                "anchored(at_us) for a rule that counts from that instant",
                path="anchor",
            )
        return self.anchor_us

    def _key(self) -> tuple[object, ...]:
        return (self.period_us, self.anchor_us)

    def __repr__(self) -> str:
        words = [f"{name}={value!r}" for name, value in self.parts]
        if self.anchor_us is not None:
            words.append(f"anchor={datetime_call(self.anchor_us)}")
        return f"every({', '.join(words)})"


def _unit_us(name: str, value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationFailed(f"{name} must be a number, not {type(value).__name__}", path=name)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationFailed(f"{name} must be a finite number, not {value!r}", path=name)
    if value < 0:
        raise ValidationFailed(f"{name} must not be negative", path=name)
    if value > _LONGEST_US:  # before any arithmetic or printing of a number with a million digits
        raise ValidationFailed("every() takes a period of at most 1000 years", path=name)
    return Fraction(value) * UNITS[name]


def _length(name: str, value: float, alone: bool) -> str:
    if value == 1:
        return name[:-1] if alone else f"1 {name[:-1]}"
    return f"{value} {name}"
