"""The arithmetic of supervision: pure values, no greenlet, no clock, no chance.

Promises: every function here answers from its arguments alone. Stamps are monotonic seconds; the
share of chance is handed in as a number in [0, 1). Wrong values are refused with
``ValidationFailed`` when the value is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kalends.actors.runtime import ExitKind
from kalends.errors import ValidationFailed

__all__ = ["Backoff", "Restart", "RestartWindow", "Strategy"]


class Restart(StrEnum):
    """Which exits of a child ask for a restart."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"

    def after(self, kind: ExitKind) -> bool:
        """True when an exit of this kind asks for a restart."""
        if self is Restart.TRANSIENT:
            return kind in (ExitKind.CRASHED, ExitKind.KILLED)
        return self is Restart.PERMANENT


class Strategy(StrEnum):
    """Who is restarted along with the child that ended."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"

    def group(self, ended: int, count: int) -> range:
        """The places, in start order, of the children restarted when the one at ``ended`` is."""
        first = 0 if self is Strategy.ONE_FOR_ALL else ended
        return range(first, ended + 1 if self is Strategy.ONE_FOR_ONE else count)


@dataclass(frozen=True, slots=True)
class RestartWindow:
    """At most ``intensity`` restarts within any ``period`` seconds."""

    intensity: int = 5
    period: float = 30.0

    def __post_init__(self) -> None:
        _require(self.intensity >= 0, "window.intensity", "must not be negative")
        _require(self.period > 0, "window.period", "must be positive")

    def admit(self, stamps: tuple[float, ...], now: float) -> tuple[tuple[float, ...], bool]:
        """The stamps to keep with this restart among them, and whether it is within the window.

        As in OTP a restart exactly ``period`` seconds ago still counts.
        """
        kept = (*(stamp for stamp in stamps if now - stamp <= self.period), now)
        return kept, len(kept) <= self.intensity


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before a restart: ``first``, then ``factor`` times as long each time, never
    over ``limit``.

    ``jitter`` spreads a delay evenly by that share both ways. A child that has lived for
    ``settled`` seconds is trusted again: its next restart counts as the first in a row.
    """

    first: float = 0.05
    factor: float = 2.0
    limit: float = 10.0
    jitter: float = 0.1
    settled: float = 10.0

    def __post_init__(self) -> None:
        _require(self.first >= 0, "backoff.first", "must not be negative")
        _require(self.factor >= 1, "backoff.factor", "must be at least 1")
        _require(self.limit >= self.first, "backoff.limit", "must not be less than first")
        _require(0 <= self.jitter <= 1, "backoff.jitter", "must be between 0 and 1")
        _require(self.settled > 0, "backoff.settled", "must be positive")

    def in_a_row(self, before: int, lived: float) -> int:
        """Which restart in a row this is (1: the first), after ``before`` of them and a life of
        ``lived`` seconds.
        """
        return 1 if lived >= self.settled else before + 1

    def delay(self, restarts_in_a_row: int, chance: float) -> float:
        """Seconds before the restart with that number; ``chance`` in [0, 1) places it in its
        jitter.
        """
        try:
            plain = self.first * self.factor ** max(0, restarts_in_a_row - 1)
        except OverflowError:
            plain = self.limit
        spread = 1.0 + self.jitter * (2.0 * chance - 1.0)
        return min(self.limit, min(self.limit, plain) * spread)


def _require(holds: bool, path: str, text: str) -> None:
    if not holds:
        raise ValidationFailed(f"{path} {text}", path=path)
