"""``rule.limit(n)``: the first ``n`` instants of a rule and no more.

They are counted from the rule's own beginning where it has one (``between(start)``, ``once``, a
recurrence rule), otherwise from just after the instant it is anchored at, which for an event is its
creation.
"""

from __future__ import annotations

from typing import Any

from kalends.clock import MAX_US, MIN_US, check_range
from kalends.errors import ValidationFailed
from kalends.triggers.base import (
    Trigger,
    check_depth,
    datetime_call,
    iso,
    operand,
    phrase,
)
from kalends.triggers.search import nth

__all__ = ["Limited"]

_MOST = 1_000_000_000


class Limited(Trigger):
    """The first ``n`` instants of ``rule``, after ``anchor_us`` if that is given. Made by
    ``Trigger.limit``."""

    __slots__ = ("_end", "anchor_us", "n", "rule")
    _end: int | None
    anchor_us: int | None
    n: int
    rule: Trigger

    def __init__(self, rule: Trigger, n: int, anchor_us: int | None) -> None:
        if isinstance(n, bool) or not isinstance(n, int):
            raise ValidationFailed(
                f"limit() takes a whole number, not {type(n).__name__}", path="limit"
            )
        if not 1 <= n <= _MOST:
            raise ValidationFailed(f"limit() takes a number from 1 to {_MOST}", path="limit")
        check_depth(rule)
        if anchor_us is not None:
            check_range(anchor_us, "anchor")
        self._set(rule=rule, n=n, anchor_us=anchor_us, _end=None)

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return (self.rule,)

    @property
    def needs_anchor(self) -> bool:
        return self.rule.needs_anchor or self.origin_us is None

    @property
    def origin_us(self) -> int | None:
        origin = self.rule.origin_us
        if self.anchor_us is None:
            return origin
        return self.anchor_us + 1 if origin is None else max(origin, self.anchor_us + 1)

    def anchored(self, at_us: int) -> Trigger:
        rule = self.rule.anchored(at_us)
        anchor = self.anchor_us
        if anchor is None and rule.origin_us is None:
            anchor = at_us
        if rule is self.rule and anchor == self.anchor_us:
            return self
        return Limited(rule, self.n, anchor)

    def next_us(self, after_us: int) -> int | None:
        start, end = self.bounds_us
        if after_us >= end:
            return None
        due = self.rule.next_us(max(after_us, start - 1))
        return None if due is None or due > end else due

    def previous_us(self, before_us: int) -> int | None:
        start, end = self.bounds_us
        due = self.rule.previous_us(min(before_us, end + 1))
        return None if due is None or due < start else due

    def count_us(self, a: int, b: int) -> int:
        start, end = self.bounds_us
        a, b = max(a, start), min(b, end + 1)
        return self.rule.count_us(a, b) if a < b else 0

    def delay_us(self, instant_us: int, seed: str) -> int:
        return self.rule.delay_us(instant_us, seed)

    @property
    def bounds_us(self) -> tuple[int, int]:
        """The first instant that may count, and the last that does."""
        start = self.origin_us
        if start is None:
            raise ValidationFailed(
                f"{self!r} has no beginning to count from: give anchor=, or ask "
                "anchored(at_us) for a rule that counts from that instant",
                path="limit",
            )
        end = self._end
        if end is None:
            rule, first = self.rule, self.rule.next_us(max(start, MIN_US) - 1)
            last = nth(self.n, first, lambda at: rule.next_us(at - 1), rule.count_us, MAX_US + 1)
            end = MAX_US if last is None else last
            self._set(_end=end)
        return start, end

    def describe(self) -> str:
        times = "once only" if self.n == 1 else f"{self.n} times"
        since = "" if self.anchor_us is None else f", counted from {iso(self.anchor_us)}"
        return f"{phrase(self.rule)}, {times}{since}"

    def to_json(self) -> dict[str, Any]:
        anchor = None if self.anchor_us is None else iso(self.anchor_us)
        rule = self.rule.to_json()
        return {"v": 1, "type": "limit", "rule": rule, "n": self.n, "anchor": anchor}

    def _key(self) -> tuple[object, ...]:
        return (self.rule, self.n, self.anchor_us)

    def __repr__(self) -> str:
        since = "" if self.anchor_us is None else f", anchor={datetime_call(self.anchor_us)}"
        return f"{operand(self.rule)}.limit({self.n}{since})"
