"""``rule.jitter(seconds)``: the same instants, each execution begun a little late.

The instant that was due stays the execution's key and what the accounts speak of; the delay is
drawn from the event's id and the instant alone, so that every node, every restart and every
question finds the same one, and events that share a rule spread out. A delay is shorter than
``seconds``, and where the next instant is nearer than that, the execution still begins before it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from kalends.clock import MAX_US, US
from kalends.errors import ValidationFailed
from kalends.triggers.base import Trigger, check_depth, operand, phrase

__all__ = ["Jittered", "jitter_us"]

_LONGEST_S = 31 * 86_400


def jitter_us(seconds: object) -> int:
    """``seconds`` in microseconds: more than none, 31 days at most."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValidationFailed(
            f"jitter must be a number of seconds, not {type(seconds).__name__}", path="jitter"
        )
    if not (math.isfinite(seconds) if isinstance(seconds, float) else True):
        raise ValidationFailed(f"jitter must be a finite number, not {seconds!r}", path="jitter")
    if not 0 < seconds <= _LONGEST_S:
        raise ValidationFailed(
            f"jitter must be more than 0 and at most {_LONGEST_S} seconds (31 days)", path="jitter"
        )
    return max(round(seconds * US), 1)


class Jittered(Trigger):
    """The instants of ``rule``, with a delay of less than ``width_us``. Made by
    ``Trigger.jitter``."""

    __slots__ = ("rule", "width_us")
    rule: Trigger
    width_us: int

    def __init__(self, rule: Trigger, width_us: int) -> None:
        check_depth(rule)
        self._set(rule=rule, width_us=width_us)

    @property
    def rules(self) -> tuple[Trigger, ...]:
        return (self.rule,)

    @property
    def origin_us(self) -> int | None:
        return self.rule.origin_us

    def anchored(self, at_us: int) -> Trigger:
        rule = self.rule.anchored(at_us)
        return self if rule is self.rule else Jittered(rule, self.width_us)

    def next_us(self, after_us: int) -> int | None:
        return self.rule.next_us(after_us)

    def previous_us(self, before_us: int) -> int | None:
        return self.rule.previous_us(before_us)

    def count_us(self, a: int, b: int) -> int:
        return self.rule.count_us(a, b)

    def delay_us(self, instant_us: int, seed: str) -> int:
        following = self.rule.next_us(instant_us)
        room = MAX_US + 1 if following is None else following
        width = min(self.width_us, room - instant_us)
        drawn = hashlib.blake2b(f"{seed}\n{instant_us}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn, "big") * width >> 64

    def describe(self) -> str:
        return f"{phrase(self.rule)}, each begun up to {self._seconds:g} seconds late"

    def to_json(self) -> dict[str, Any]:
        return {"v": 1, "type": "jitter", "rule": self.rule.to_json(), "seconds": self._seconds}

    @property
    def _seconds(self) -> float:
        whole, rest = divmod(self.width_us, US)
        return self.width_us / US if rest else whole

    def _key(self) -> tuple[object, ...]:
        return (self.rule, self.width_us)

    def __repr__(self) -> str:
        return f"{operand(self.rule)}.jitter({self._seconds!r})"
