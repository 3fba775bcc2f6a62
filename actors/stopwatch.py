"""What the clocks tell between two looks of the loop: jumps of the wall clock, and time in which
this process stood still.

Promises: a jump is what the wall clock moved beyond the monotonic one, a suspension of the machine
left out. A process stood still while its machine was suspended, and where it came back from a
sleep much later than asked (it was stopped by a signal, or something held the interpreter). On a
clock that is moved by hand no sleep is late, for such time passes in leaps.
"""

from __future__ import annotations

import msgspec

from kalends.clock import US, Clock

__all__ = ["Noticed", "Stopwatch", "jump_of"]

_JUMP = 1.0
"""Seconds by which wall and monotonic time may part between two looks: more is a jump."""
_STILL = 3.0
"""Seconds by which a sleep may be late: more is standing still."""


def jump_of(wall_us: int, monotonic: float) -> float | None:
    """How far (seconds) the wall clock jumped, when both clocks moved so far; None: it did not."""
    moved = wall_us / US - monotonic
    return moved if abs(moved) > _JUMP else None


class Noticed(msgspec.Struct, frozen=True):
    """What one look has found, in seconds; None: nothing."""

    jumped: float | None
    stood_still: float | None


class Stopwatch:
    """Looks at a clock again and again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_hand = clock.real_seconds(1.0) is None
        self._wall, self._monotonic, self._slept = self._read()
        self._back_at: float | None = None

    def _read(self) -> tuple[int, float, float]:
        return self._clock.now_us(), self._clock.monotonic(), self._clock.slept()

    def expect(self, seconds: float) -> None:
        """A sleep begins, to end after so many seconds at the latest."""
        self._back_at = None if self._by_hand else self._clock.monotonic() + seconds

    def look(self) -> Noticed:
        """What happened since the last look. A sleep has ended."""
        wall, monotonic, slept = self._read()
        passed, asleep = monotonic - self._monotonic, slept - self._slept
        jumped = jump_of(wall - self._wall - round(asleep * US), passed)
        late = 0.0 if self._back_at is None else max(0.0, monotonic - self._back_at)
        self._wall, self._monotonic, self._slept = wall, monotonic, slept
        self._back_at = None
        still = asleep + late
        return Noticed(jumped, still if still > _STILL else None)
