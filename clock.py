"""Time, injected: the only file that reads a clock, and the only one that converts instants.

An *instant* is a point on the UTC time line. Inside Kalends it is an ``int`` of microseconds since
1970-01-01T00:00:00Z; in the public API it is a ``pendulum.DateTime`` in UTC. Wall time says when
something is due; monotonic time says how long to wait. They never meet in one subtraction."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from typing import Protocol

import pendulum

from kalends.errors import ValidationFailed

__all__ = ["MAX_US", "MIN_US", "US", "Clock", "SystemClock", "check_range", "from_us", "to_us"]

US = 1_000_000
"""Microseconds in a second."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_START = pendulum.DateTime(1970, 1, 1, tzinfo=pendulum.UTC)

MIN_US = -62_135_596_800 * US
"""The first representable instant, 0001-01-01T00:00:00Z."""

MAX_US = 253_402_300_799 * US + 999_999
"""The last representable instant, 9999-12-31T23:59:59.999999Z."""


class Clock(Protocol):
    """What Kalends needs of time.

    ``SystemClock`` is the real one; ``kalends.testing`` has another.
    """

    def now_us(self) -> int:
        """Wall time: microseconds since the epoch, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back. Stops while a machine is suspended."""

    def slept(self) -> float:
        """Seconds that the machine was suspended, from an arbitrary start; 0.0 where it cannot
        tell.
        """

    def real_seconds(self, seconds: float) -> float | None:
        """How long a thread really has to wait for ``seconds`` of this clock; None: until told."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` (from any thread) whenever the clock was moved by hand; returns a
        cancel.
        """


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    monotonic = staticmethod(time.monotonic)

    def slept(self) -> float:
        if sys.platform != "linux":
            return 0.0
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)

    def real_seconds(self, seconds: float) -> float | None:
        return seconds

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def to_us(value: object, path: str = "instant") -> int:
    """Microseconds of an instant given as an aware ``datetime`` (or ``pendulum.DateTime``).

    Raises ``ValidationFailed`` for naive datetimes (no zone is guessed), for those that UTC puts
    before the year 1 or after the year 9999, and for every other type.
    """
    if not isinstance(value, dt.datetime):
        raise ValidationFailed(
            f"{path} must be an aware datetime, not {type(value).__name__}", path=path
        )
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValidationFailed(
            f"{path} has no time zone; give one, as in pendulum.datetime(2027, 1, 1, tz='UTC')",
            path=path,
        )
    # The plain subtraction: pendulum's own builds an Interval, at twenty times the cost.
    since = dt.datetime.__sub__(value, _EPOCH)
    us = (since.days * 86_400 + since.seconds) * US + since.microseconds
    return check_range(us, path)


def check_range(us: int, path: str) -> int:
    """``us`` itself, if it lies in the years 1 to 9999 of UTC."""
    if not MIN_US <= us <= MAX_US:
        raise ValidationFailed(f"{path} lies outside the years 1 to 9999 in UTC", path=path)
    return us


def from_us(us: int) -> pendulum.DateTime:
    """The UTC ``pendulum.DateTime`` of an instant in microseconds (``MIN_US`` to ``MAX_US``)."""
    # The plain addition: pendulum's own goes by calendar and zone, at ten times the cost.
    return dt.datetime.__add__(_START, dt.timedelta(microseconds=us))
