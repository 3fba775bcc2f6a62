"""A clock that stands still until a test moves it.

Promises: wall and monotonic time change only through ``advance``, ``jump`` and ``move``;
``advance`` and ``move`` move both, ``jump`` the wall alone, as a correction of the system clock
would; whoever subscribed is told after each move, on the thread that moved the clock. Where a
scheduler lives in virtual time on this clock, ``advance`` lives through every instant on the way.
Every method works from any thread, where no such scheduler binds it to one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from kalends.clock import MAX_US, MIN_US, US, check_range, to_us
from kalends.errors import ValidationFailed
from kalends.native import allocate_lock
from kalends.validation import shown

__all__ = ["ManualClock", "SkewedClock", "microseconds"]

_SPAN = MAX_US - MIN_US + 1
"""Further than from one end of time to the other."""


class ManualClock:
    """A ``kalends.clock.Clock`` moved by hand.

    ``start`` is an aware datetime or microseconds since the epoch.
    """

    def __init__(self, start: dt.datetime | int = 0) -> None:
        wall = start if isinstance(start, int) else to_us(start, "start")
        self._wall = check_range(wall, "start")
        self._monotonic_us = 0
        self._slept_us = 0
        self._lock = allocate_lock()
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._jumps: dict[object, Callable[[], None]] = {}
        self._driver: Callable[[int], None] | None = None

    def now_us(self) -> int:
        """Wall time: microseconds since the epoch, UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds this clock was advanced since it was made."""
        return self._monotonic_us / US

    @property
    def monotonic_us(self) -> int:
        """The same in microseconds."""
        return self._monotonic_us

    def slept(self) -> float:
        """Seconds for which ``suspend`` has had the machine sleep."""
        return self._slept_us / US

    def real_seconds(self, seconds: float) -> float | None:
        """None: nobody needs to wait for a time that passes only when told."""
        return None

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every move, on the moving thread; returns a function that ends
        it.
        """
        return self._subscribe(self._callbacks, callback)

    def on_jump(self, callback: Callable[[], None]) -> Callable[[], None]:
        """The same, after every ``jump`` alone."""
        return self._subscribe(self._jumps, callback)

    def _subscribe(
        self, callbacks: dict[object, Callable[[], None]], callback: Callable[[], None]
    ) -> Callable[[], None]:
        key = object()
        with self._lock:
            callbacks[key] = callback

        def cancel() -> None:
            with self._lock:
                callbacks.pop(key, None)

        return cancel

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, on both clocks.

        Raises ``ValidationFailed`` for a step back in time, or beyond its end: then none passes.
        """
        step = self._step_on(seconds)
        self._check(step)
        if self._driver is None:
            self.move(step)
        else:
            self._driver(step)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back where ``seconds`` is negative. No time passes."""
        self._move(microseconds(seconds, "seconds"), monotonic=False)

    def suspend(self, seconds: float) -> None:
        """Have the machine sleep for ``seconds``: wall time passes, monotonic time does not.

        Raises ``ValidationFailed`` for a step back in time.
        """
        step = self._step_on(seconds)
        self._check(step)
        self._slept_us += step
        self._move(step, monotonic=False)

    def move(self, microseconds: int) -> None:
        """One move of both clocks, with nothing in between: what a step of ``advance`` is."""
        self._move(microseconds, monotonic=True)

    def drive(self, driver: Callable[[int], None]) -> None:
        """Have ``advance`` call ``driver(microseconds)``, which is to move so far, in steps."""
        self._driver = driver

    def _step_on(self, seconds: float) -> int:
        step = microseconds(seconds, "seconds")
        if seconds < 0:
            raise ValidationFailed("time does not go back: use jump()", path="seconds")
        return step

    def _check(self, step: int) -> None:
        if not MIN_US <= self._wall + step <= MAX_US:
            raise ValidationFailed("the clock ends at the years 1 and 9999", path="seconds")

    def _move(self, step: int, *, monotonic: bool) -> None:
        with self._lock:
            self._check(step)
            self._wall += step
            if monotonic:
                self._monotonic_us += step
            callbacks = list(self._callbacks.values())
            if not monotonic:
                callbacks += self._jumps.values()
        for callback in callbacks:
            callback()


class SkewedClock:
    """The clock of a machine whose wall clock is ``skew`` seconds ahead of the others', or behind
    them where that is negative; it moves with theirs.
    """

    def __init__(self, clock: ManualClock, skew: float) -> None:
        self._clock = clock
        self._skew_us = microseconds(skew, "skew")
        self.monotonic = clock.monotonic
        self.slept = clock.slept
        self.real_seconds = clock.real_seconds
        self.on_change = clock.on_change

    def now_us(self) -> int:
        """Wall time: microseconds since the epoch, UTC."""
        return min(max(MIN_US, self._clock.now_us() + self._skew_us), MAX_US)


def microseconds(seconds: object, path: str) -> int:
    """Seconds in microseconds; what is longer than all of time is as long as that and a bit.

    Raises ``ValidationFailed`` for what is no number.
    """
    kind = type(seconds)
    if not issubclass(kind, int | float) or kind is bool or seconds != seconds:  # noqa: PLR0124
        raise ValidationFailed(f"{path} must be a number, not {shown(seconds)}", path=path)
    assert isinstance(seconds, int | float)
    if abs(seconds) < _SPAN / US:
        return round(seconds * US)
    return _SPAN if seconds > 0 else -_SPAN
