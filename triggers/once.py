"""``once(at)``: due at one instant and never again."""

from __future__ import annotations

import datetime as dt
from typing import Any

from kalends.clock import check_range, to_us
from kalends.refusals import checking
from kalends.triggers.base import Trigger, datetime_call, iso

__all__ = ["Once", "once"]


@checking
def once(at: dt.datetime) -> Once:
    """Due at ``at``, an aware datetime, exactly to the microsecond."""
    return Once(to_us(at, "at"))


class Once(Trigger):
    """One instant. Made by ``once``."""

    __slots__ = ("at_us",)
    at_us: int

    def __init__(self, at_us: int) -> None:
        self._set(at_us=check_range(at_us, "at"))

    @property
    def origin_us(self) -> int | None:
        return self.at_us

    def next_us(self, after_us: int) -> int | None:
        return self.at_us if after_us < self.at_us else None

    def previous_us(self, before_us: int) -> int | None:
        return self.at_us if self.at_us < before_us else None

    def count_us(self, a: int, b: int) -> int:
        return 1 if a <= self.at_us < b else 0

    def describe(self) -> str:
        return f"once, at {iso(self.at_us)}"

    def to_json(self) -> dict[str, Any]:
        return {"v": 1, "type": "once", "at": iso(self.at_us)}

    def _key(self) -> tuple[object, ...]:
        return (self.at_us,)

    def __repr__(self) -> str:
        return f"once({datetime_call(self.at_us)})"
