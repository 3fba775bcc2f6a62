"""``rrule("FREQ=MONTHLY;BYDAY=-1FR", start=...)``: the recurrence rules of iCalendar (RFC 5545).

The rule is read by the wall clock of ``tz`` and begins with ``start`` (the RFC's DTSTART): what the
rule leaves open (the time of day, the day of the month) is taken from there, and nothing is due
before it. ``start`` itself is due if it matches. A start without a zone and a rule without ``tz``
are floating, which is read as UTC; without a start, a rule begins at the instant it is anchored at
(an event: its creation).

Daylight saving, as section 3.3.5 of the RFC has it: a time that a gap skips runs later by the
length of the gap, and a time that a fold repeats runs the first time; ``gap`` and ``fold`` say
otherwise. ``COUNT`` counts wall-clock times. A rule whose dates never exist (30 February) is not
wrong to the RFC but empty, and so it is here.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from kalends.clock import US, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import checking
from kalends.triggers.local import DAY_US
from kalends.triggers.moments import Moments, NoMoments
from kalends.triggers.periods import date_of
from kalends.triggers.rrule_moments import Clipped, recurring
from kalends.triggers.rrule_parts import RuleParts, parse_rrule
from kalends.triggers.rrule_words import describe_rrule
from kalends.triggers.search import nth
from kalends.triggers.zone import zone
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["RRule", "rrule"]

_ZERO = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (a wall-clock moment, which has no zone)

_LAST_MOMENT = 253_402_300_800 * US + 2 * DAY_US


@checking
def rrule(
    rule: str,
    *,
    start: dt.datetime | str | None = None,
    tz: str | None = None,
    gap: str | None = None,
    fold: str | None = None,
) -> RRule:
    """Due as the recurrence rule says; see ``rrule_parts`` for what it may contain.

    ``start`` is an aware datetime, or a wall-clock time: a naive datetime, or text such as
    ``"2027-01-01T09:00:00"``. ``tz`` is an IANA name; without it, the zone of an aware start, or
    UTC.
    """
    if tz is None:
        tz = _own_zone(start)
    return RRule(rule, None if start is None else _moment(start, tz), tz, gap, fold)


class RRule(ZonedTrigger):
    """A recurrence rule. Made by ``rrule``."""

    __slots__ = ("parts", "rule", "start_moment")
    parts: RuleParts
    rule: str
    start_moment: int | None
    """The start by the wall clock, in microseconds since 1970-01-01 00:00; None: not anchored."""

    def __init__(
        self, rule: str, start_moment: int | None, tz: str, gap: str | None, fold: str | None
    ) -> None:
        self._set(parts=parse_rrule(rule), rule=rule, start_moment=start_moment)
        zone(tz)
        moments: Moments = NoMoments(self, "start")
        if start_moment is not None:
            none = self.parts.count == 0
            found = None if none else recurring(self.completed, start_moment)
            moments = Clipped(found, start_moment, lambda: self._last(found))
        self._begin(moments, tz, gap, fold, ("shift", "first"))

    @property
    def completed(self) -> RuleParts:
        """The parts, with what they leave open taken from the start."""
        start = self.start_moment
        return self.parts if start is None else _completed(self.parts, start)

    @property
    def needs_anchor(self) -> bool:
        return self.start_moment is None

    @property
    def origin_us(self) -> int | None:
        if self.start_moment is None:
            return None
        # The earliest that the start can be, whatever the wall clock does there.
        spans = self.zone.until(self.start_moment + DAY_US)
        near = [spans.index(self.start_moment + by) for by in (-DAY_US, DAY_US)]
        offsets = spans.offsets[near[0] : near[1] + 1]
        return self.start_moment - max(offsets)

    def anchored(self, at_us: int) -> RRule:
        if self.start_moment is not None:
            return self
        spans = self.zone.until(at_us)
        moment = at_us + spans.offsets[spans.index(at_us)]
        start = -(-moment // US) * US  # a whole second, not in the past
        return RRule(self.rule, start, self.tz, self.gap, self.fold)

    def next_us(self, after_us: int) -> int | None:
        due = super().next_us(after_us)
        end = self.until_us
        return None if due is None or (end is not None and due > end) else due

    def previous_us(self, before_us: int) -> int | None:
        end = self.until_us
        return super().previous_us(before_us if end is None else min(before_us, end + 1))

    def count_us(self, a: int, b: int) -> int:
        end = self.until_us
        return super().count_us(a, b if end is None else min(b, end + 1))

    @property
    def last_moment(self) -> int | None:
        """The last wall-clock moment by ``COUNT`` or by an ``UNTIL`` without a zone; None for no
        such end."""
        return self.moments.last if isinstance(self.moments, Clipped) else None

    @property
    def until_us(self) -> int | None:
        """The instant of an ``UNTIL`` that is one."""
        until = self.parts.until
        return None if until is None or until.tzinfo is None else to_us(until)

    def _last(self, found: Moments | None) -> int | None:
        """The last moment, by a floating ``UNTIL`` or by ``COUNT``."""
        parts, start = self.parts, self.start_moment
        if parts.until is not None and parts.until.tzinfo is None:
            return _naive_us(parts.until)
        if parts.count is None or found is None or start is None:
            return None
        first = found.at_or_after(start)
        return nth(parts.count, first, found.at_or_after, found.count, _LAST_MOMENT)

    def describe(self) -> str:
        start = None if self.start_moment is None else _text(self.start_moment)
        return describe_rrule(self, start)

    def to_json(self) -> dict[str, Any]:
        # "anchor", as in every rule that may be given its beginning when it is stored.
        start = None if self.start_moment is None else _text(self.start_moment)
        stored = {"v": 1, "type": "rrule", "rule": self.rule, "anchor": start, "tz": self.tz}
        return stored | self._choices()

    def _choices(self) -> dict[str, str]:
        choices = {"gap": self.gap, "fold": self.fold}
        return {key: value for key, value in choices.items() if value is not None}

    def _key(self) -> tuple[object, ...]:
        return (self.rule, self.start_moment, self.tz, self.gap, self.fold)

    def __repr__(self) -> str:
        words = [repr(self.rule)]
        if self.start_moment is not None:
            words.append(f"start={_text(self.start_moment)!r}")
        if self.tz != "UTC":
            words.append(f"tz={self.tz!r}")
        words += [f"{key}={value!r}" for key, value in self._choices().items()]
        return f"rrule({', '.join(words)})"


def _completed(parts: RuleParts, start: int) -> RuleParts:
    """The parts, with what they leave open taken from the start."""
    date = date_of(start // DAY_US)
    seconds = start % DAY_US // US
    new: dict[str, Any] = {}
    if not (parts.by_weekno or parts.by_yearday or parts.by_monthday or parts.by_day):
        if parts.freq == "YEARLY" and not parts.by_month:
            new["by_month"] = (date.month,)
        if parts.freq in ("YEARLY", "MONTHLY"):
            new["by_monthday"] = (date.day,)
        if parts.freq == "WEEKLY":
            new["by_day"] = ((0, date.weekday()),)
    sub_daily = ("HOURLY", "MINUTELY", "SECONDLY")
    if not parts.by_hour and parts.freq not in sub_daily:
        new["by_hour"] = (seconds // 3_600,)
    if not parts.by_minute and parts.freq not in sub_daily[1:]:
        new["by_minute"] = (seconds // 60 % 60,)
    if not parts.by_second and parts.freq != "SECONDLY":
        new["by_second"] = (seconds % 60,)
    return msgspec.structs.replace(parts, **new)


def _own_zone(start: object) -> str:
    """The IANA name of an aware datetime's zone where it has one, or UTC."""
    name = getattr(getattr(start, "tzinfo", None), "key", None)
    if name is None:
        name = getattr(getattr(start, "tzinfo", None), "name", None)
    return name if isinstance(name, str) and name[:1].isalpha() else "UTC"


def _moment(start: object, tz: str) -> int:
    """The wall-clock moment of a start in ``tz``, without its fraction of a second."""
    if isinstance(start, str):
        text = start[:40]
        try:
            start = dt.datetime.fromisoformat(start)
        except ValueError:
            raise ValidationFailed(
                f"start: {text!r} is no time such as '2027-01-01T09:00:00'", path="start"
            ) from None
    if isinstance(start, dt.datetime) and start.tzinfo is None:
        return _naive_us(start) // US * US
    at = to_us(start, "start")
    spans = zone(tz).until(at)
    return (at + spans.offsets[spans.index(at)]) // US * US


def _naive_us(wall: dt.datetime) -> int:
    since = wall.replace(tzinfo=None) - _ZERO
    return (since.days * 86_400 + since.seconds) * US + since.microseconds


def _text(moment: int) -> str:
    return (_ZERO + dt.timedelta(microseconds=moment)).isoformat()
