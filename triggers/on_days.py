"""``rule - days`` and ``rule & days``: a rule that leaves out a set of days, or keeps to it.

The day of an instant is the date that the wall clock of a zone shows then: the zone the set names,
or else the rule's own. Whole runs of days are passed over at a time, and counting adds up the runs
that are kept.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from kalends.clock import MAX_US, MIN_US
from kalends.errors import ValidationFailed
from kalends.triggers.base import Trigger, check_depth, operand, phrase
from kalends.triggers.day_sets import Days, DaysUnion
from kalends.triggers.local import DAY_US
from kalends.triggers.search import Search, Searching, check_possible, step
from kalends.triggers.zone import Zone, zone
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["OnDays", "is_days"]


def is_days(value: object) -> TypeGuard[Days]:
    """Whether ``value`` is a set of days."""
    return isinstance(value, Days)


class OnDays(Searching):
    """The instants of ``rule`` on ``days`` (``keep``) or on all others. Made by ``&`` and
    ``-``."""

    __slots__ = ("_zone", "days", "keep", "rule")
    compound = True
    _zone: Zone
    days: Days
    keep: bool
    rule: Trigger

    def __init__(self, rule: Trigger, days: Days, keep: bool) -> None:
        check_depth(rule)
        self._set(rule=rule, days=days, keep=keep, _zone=zone(days.tz or _zone_name(rule)))
        self._forget()
        check_possible(self)

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return (self.rule,)

    @property
    def origin_us(self) -> int | None:
        return self.rule.origin_us

    def anchored(self, at_us: int) -> Trigger:
        rule = self.rule.anchored(at_us)
        return self if rule is self.rule else OnDays(rule, self.days, self.keep)

    def day_of(self, at: int) -> int:
        """The day of an instant, by the clock that this rule tells days by."""
        spans = self._zone.until(at)
        return (at + spans.offsets[spans.index(at)]) // DAY_US

    def _search_next(self, after_us: int) -> int | None:
        search = Search(self)
        due = self.rule.next_us(max(after_us, MIN_US - 1))
        while due is not None and search.goes_on(due):
            begin, end = self._run(due)
            if begin <= due < end:
                return due
            due = self.rule.next_us(end - 1)
        return None

    def _search_previous(self, before_us: int) -> int | None:
        search = Search(self)
        due = self.rule.previous_us(min(before_us, MAX_US + 1))
        while due is not None and search.goes_on(due):
            spans = self._zone.until(due)
            span = spans.index(due)
            offset = spans.offsets[span]
            day = (due + offset) // DAY_US
            if self.days.has(day) == self.keep:
                return due
            start = max(self.days.since(day) * DAY_US, spans.begins[span]) - offset
            due = self.rule.previous_us(start)
        return None

    def _counted(self, a: int, b: int) -> int:
        a, b = max(a, MIN_US), min(b, MAX_US + 1)
        total = 0
        due = self.rule.next_us(a - 1)
        while due is not None and due < b:
            step(self)
            begin, end = self._run(due)
            total += self.rule.count_us(begin, min(end, b))
            due = self.rule.next_us(end - 1)
        return total

    def delay_us(self, instant_us: int, seed: str) -> int:
        return self.rule.delay_us(instant_us, seed)

    def _run(self, at: int) -> tuple[int, int]:
        """The instants from ``at`` on that the days say one thing of: (from, to) if they are kept,
        and (to, to), which is nothing, if not."""
        spans = self._zone.until(at)
        span = spans.index(at)
        offset = spans.offsets[span]
        day = (at + offset) // DAY_US
        end = min(self.days.until(day) * DAY_US, spans.ends[span]) - offset
        return (at if self.days.has(day) == self.keep else end), end

    def describe(self) -> str:
        return f"{phrase(self.rule)}; {'only' if self.keep else 'except'} on {self.days.describe()}"

    def to_json(self) -> dict[str, Any]:
        kind = "only_days" if self.keep else "except_days"
        return {"v": 1, "type": kind, "rule": self.rule.to_json(), "days": self.days.to_json()}

    def _key(self) -> tuple[object, ...]:
        return (self.rule, self.days, self.keep)

    def __repr__(self) -> str:
        joined = isinstance(self.days, DaysUnion)
        days = f"({self.days!r})" if joined else repr(self.days)
        return f"{operand(self.rule)} {'&' if self.keep else '-'} {days}"


def _zone_name(rule: Trigger) -> str:
    zones = _zones(rule)
    if len(zones) > 1:
        raise ValidationFailed(
            f"the rule goes by the clocks of {' and '.join(sorted(zones))}: say by which of them "
            'days are to be told, as in weekdays("sat", tz="UTC")',
            path="tz",
        )
    return zones.pop() if zones else "UTC"


def _zones(rule: Trigger) -> set[str]:
    own = {rule.tz} if isinstance(rule, ZonedTrigger) else set()
    return own.union(*map(_zones, rule.rules))
