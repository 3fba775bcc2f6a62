"""``rule.between(start, end)``: another rule, from one instant to another.

The start is included and the end is not. Either may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pendulum

from kalends.clock import MAX_US, MIN_US, check_range, from_us
from kalends.errors import ValidationFailed
from kalends.triggers.base import (
    Trigger,
    check_depth,
    datetime_call,
    iso,
    operand,
    phrase,
)

__all__ = ["Bounded"]


class Bounded(Trigger):
    """The instants ``t`` of ``rule`` with ``start <= t < end``; iterable. Made by
    ``Trigger.between``."""

    __slots__ = ("end_us", "rule", "start_us")
    end_us: int | None
    rule: Trigger
    start_us: int | None

    def __init__(self, rule: Trigger, start_us: int | None, end_us: int | None) -> None:
        if start_us is None and end_us is None:
            raise ValidationFailed("between() needs a start, an end or both", path="start")
        if start_us is not None:
            check_range(start_us, "start")
        if end_us is not None:
            check_range(end_us, "end")
        if start_us is not None and end_us is not None and end_us <= start_us:
            raise ValidationFailed("the end of between() must lie after its start", path="end")
        check_depth(rule)
        self._set(rule=rule, start_us=start_us, end_us=end_us)

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return (self.rule,)

    @property
    def origin_us(self) -> int | None:
        return self.rule.origin_us if self.start_us is None else self.start_us

    def delay_us(self, instant_us: int, seed: str) -> int:
        return self.rule.delay_us(instant_us, seed)

    def anchored(self, at_us: int) -> Trigger:
        rule = self.rule.anchored(at_us)
        return self if rule is self.rule else Bounded(rule, self.start_us, self.end_us)

    def next_us(self, after_us: int) -> int | None:
        if self.start_us is not None and after_us < self.start_us:
            after_us = self.start_us - 1
        if self.end_us is not None and after_us >= self.end_us - 1:
            return None
        due = self.rule.next_us(after_us)
        return None if due is None or (self.end_us is not None and due >= self.end_us) else due

    def previous_us(self, before_us: int) -> int | None:
        if self.end_us is not None and before_us > self.end_us:
            before_us = self.end_us
        if self.start_us is not None and before_us <= self.start_us:
            return None
        due = self.rule.previous_us(before_us)
        return None if due is None or (self.start_us is not None and due < self.start_us) else due

    def count_us(self, a: int, b: int) -> int:
        a = a if self.start_us is None else max(a, self.start_us)
        b = b if self.end_us is None else min(b, self.end_us)
        return self.rule.count_us(a, b) if a < b else 0

    def __iter__(self) -> Iterator[pendulum.DateTime]:
        start = MIN_US if self.start_us is None else self.start_us
        end = MAX_US + 1 if self.end_us is None else self.end_us
        return map(from_us, self.rule.between_us(start, end))

    def describe(self) -> str:
        text = phrase(self.rule)
        if self.start_us is not None:
            text += f", from {iso(self.start_us)}"
        if self.end_us is not None:
            text += f", until before {iso(self.end_us)}"
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "between",
            "rule": self.rule.to_json(),
            "start": None if self.start_us is None else iso(self.start_us),
            "end": None if self.end_us is None else iso(self.end_us),
        }

    def _key(self) -> tuple[object, ...]:
        return (self.rule, self.start_us, self.end_us)

    def __repr__(self) -> str:
        bounds = {"start": self.start_us, "end": self.end_us}
        words = [f"{name}={datetime_call(us)}" for name, us in bounds.items() if us is not None]
        return f"{operand(self.rule)}.between({', '.join(words)})"
