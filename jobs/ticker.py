"""The thread that waits for the next due instant: ``kalends-ticker``.

Promises: ``fire`` is called as soon as the expected instant is reached, never because of an instant
still ahead; no sleep is longer than a second while something is expected, so a jump of the wall
clock is noticed within that; while nothing is expected nothing wakes the processor. With a clock
that is moved by hand it waits to be told instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kalends.clock import US, Clock
from kalends.logs import get_log
from kalends.native import NativeThread, allocate_lock

__all__ = ["Ticker", "Waker"]

_log = get_log()

_LONGEST_SLEEP = 1.0
_EARLY_US = 120
"""A timed wait on a lock ends 80 to 150 us late (Linux timer slack and wake-up): sleep shorter,
then watch the clock.
"""


class Waker(Protocol):
    """What a runner has called when its next claim is due: a ``Ticker``, or a test's own."""

    def start(self) -> None:
        """Begin to call."""

    def stop(self) -> None:
        """Call no more."""

    def expect(self, instant: int | None) -> None:
        """Call by ``instant`` at the latest; None: now."""


class Ticker:
    """Calls ``fire()``, which returns the next instant to wait for or None, on its own thread."""

    def __init__(self, clock: Clock, fire: Callable[[], int | None]) -> None:
        self._clock = clock
        self._fire = fire
        self._lock = allocate_lock()
        self._latch = allocate_lock()
        self._latch.acquire()
        self._asleep_until: float | None = None
        """While asleep: the instant it waits for (inf: none). None: awake, and about to look."""
        self._look_again = False
        self._stopped = False
        self._thread: NativeThread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start the thread. Call once."""
        self._thread = NativeThread(self._run, "kalends-ticker")
        self._unsubscribe = self._clock.on_change(lambda: self.expect(None))
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it holds nothing for longer than one call of ``fire``."""
        self._unsubscribe()
        with self._lock:
            self._stopped = True
        self.expect(None)
        if self._thread is not None:
            self._thread.join(10.0)

    def expect(self, instant: int | None) -> None:
        """Something is due at ``instant`` (microseconds): wake in time. None: look now, whatever is
        expected.
        """
        with self._lock:
            if self._asleep_until is None:
                self._look_again = True
            elif instant is None or instant < self._asleep_until:
                self._asleep_until = None
                self._latch.release()

    def _run(self) -> None:
        while not self._stopped:
            try:
                following = self._fire()
            except Exception:  # noqa: BLE001 - logged
                # A bug here must not stop time; it is tried again within a second.
                _log.exception("ticker_failed")
                following = self._clock.now_us() + US
            self._sleep(following)

    def _sleep(self, until: int | None) -> None:
        left = None if until is None else until - self._clock.now_us()
        if left is not None and left <= 0:
            return
        with self._lock:
            if self._look_again or self._stopped:
                self._look_again = False
                return
            self._asleep_until = float("inf") if until is None else until
        if not self._latch.acquire(timeout=self._patience(left)):
            with self._lock:
                if self._asleep_until is None:
                    # Woken at the last moment: the latch has just been released.
                    self._latch.acquire()
                self._asleep_until = None
            if until is not None:
                self._watch(until)

    def _patience(self, left: int | None) -> float:
        """How long to wait for the latch, in seconds; -1: for ever."""
        if left is None:
            return -1.0
        real = self._clock.real_seconds(left / US)
        if real is None:
            return -1.0
        return max(0.0, min(real, _LONGEST_SLEEP) - _EARLY_US / US)

    def _watch(self, until: int) -> None:
        """Pass the last moments before ``until`` awake; returns at once where more than moments are
        left.
        """
        clock = self._clock
        while 0 < until - clock.now_us() <= _EARLY_US:
            pass
