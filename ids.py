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

__all__ = ["IdSource", "check_id"]

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
        self._head = "00000000-0000-7"
        """What all ids of one millisecond begin with."""

    def __call__(self) -> str:
        """The next id."""
        with self._lock:
            stamp = max(self._clock.now_us() // 1000 << 12, self._stamp + 1)
            if stamp >> 12 != self._stamp >> 12:
                bits = f"{stamp >> 12:012x}"
                self._head = f"{bits[:8]}-{bits[8:]}-7"
            self._stamp = stamp
            head, tail = self._head, self._rng.getrandbits(62)
        bits = f"{stamp & 0xFFF:03x}{tail | 0x8000000000000000:016x}"
        return f"{head}{bits[:3]}-{bits[3:7]}-{bits[7:]}"


def check_id(value: object, path: str) -> str:
    """``value`` if it has the form of an id. Raises ``ValidationFailed`` naming ``path``."""
    if not isinstance(value, str) or not _PATTERN.match(value):
        shown = repr(value)[:80]
        raise ValidationFailed(
            f"{path} must be an id such as '01890a5d-ac96-774b-bcce-b302099a8057', not {shown}",
            path=path,
        )
    return value
