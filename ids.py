"""Identifiers that sort by time: UUID version 7 (RFC 9562, section 5.7), as 36-character strings.

The 48 bits of milliseconds come from the injected clock; the 12 bits after the version are a
counter that keeps ids of one source strictly increasing within a millisecond and across a clock
that steps back (RFC 9562, section 6.2, method 1); the rest is random."""

from __future__ import annotations

import random
import re

from kalends.clock import Clock
from kalends.errors import ValidationFailed
from kalends.native import allocate_lock

__all__ = ["IdSource", "check_id", "short_form"]

_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class IdSource:
    """Makes ids; safe to share between threads.

    ``rng`` decides the random bits (default: the system's).
    """

    def __init__(self, clock: Clock, rng: random.Random | None = None) -> None:
        self._clock = clock
        # Seeded once from the system: ids must not collide, they need not be secret.
        self._rng = rng or random.Random(random.SystemRandom().getrandbits(128))
        self._lock = allocate_lock()
        self._stamp = 0
        self._millisecond = 0
        self._head = "00000000-0000-7"
        """What all ids of this millisecond begin with."""

    def __call__(self) -> str:
        """The next id."""
        with self._lock:
            return self._next(self._clock.now_us() // 1000 << 12)

    def several(self, count: int) -> list[str]:
        """The next ``count`` ids."""
        with self._lock:
            first = self._clock.now_us() // 1000 << 12
            return [self._next(first) for _ in range(count)]

    def _next(self, earliest: int) -> str:
        """The next id, not before the stamp ``earliest``; the lock is held."""
        stamp = self._stamp = max(self._stamp + 1, earliest)
        if stamp >> 12 != self._millisecond:
            self._millisecond = stamp >> 12
            bits = f"{self._millisecond:012x}"
            self._head = f"{bits[:8]}-{bits[8:]}-7"
        tail = f"{self._rng.getrandbits(62) | 0x8000000000000000:x}"
        return f"{self._head}{stamp & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"


def short_form(event_id: str) -> str:
    """What tells an id from all others, in half the length: most of its time, and random bits.

    Like the ids it grows with time, over two years.
    """
    return f"{event_id[3:8]}{event_id[9:13]}{event_id[15:18]}{event_id[-6:]}"


def check_id(value: object, path: str) -> str:
    """``value`` if it has the form of an id. Raises ``ValidationFailed`` naming ``path``."""
    if not isinstance(value, str) or not _PATTERN.match(value):
        shown = repr(value)[:80]
        raise ValidationFailed(
            f"{path} must be an id such as '01890a5d-ac96-774b-bcce-b302099a8057', not {shown}",
            path=path,
        )
    return value
