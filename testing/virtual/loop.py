"""An event loop for gevent in which nothing happens by itself.

Promises: callbacks run in the order they were asked for, on the thread that pumps; a timer is due
when the clock it was given says so; nothing waits, and there is no other source of order. It has as
much of gevent's loop as greenlets, events and time-outs use.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from kalends.clock import US

__all__ = ["VirtualLoop", "whole_us"]


def whole_us(seconds: float) -> int:
    """The first whole microsecond that is not before ``seconds``, whatever these were added up of:
    virtual time stands nowhere between two.
    """
    return math.ceil(seconds * US - _ROUNDED)


_ROUNDED = 0.01
"""Microseconds by which a sum of seconds may be off, after as much as ten years of them."""


class _Callback:
    """A call that is still to be made. gevent asks whether it is pending, and may stop it."""

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., Any] | None = function
        self.args = args

    @property
    def pending(self) -> bool:
        return self.function is not None

    def __bool__(self) -> bool:
        return self.function is not None

    def stop(self) -> None:
        self.function = None

    close = stop


class _Timer:
    """A call at a time of the loop's clock: gevent's watcher, without a device to watch."""

    def __init__(self, loop: VirtualLoop, after: float) -> None:
        self._loop = loop
        self._after = after
        self._call: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    @property
    def active(self) -> bool:
        return self._call is not None

    pending = active

    def start(self, callback: Callable[..., Any], *args: Any, update: bool | None = None) -> None:
        self._call = (callback, args)
        self._loop.arm(self._after, self)

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call[0](*call[1])

    def stop(self) -> None:
        self._call = None

    close = stop

    def __enter__(self) -> _Timer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class VirtualLoop:
    """Pumped by ``switch``ing to the gevent hub that runs it; comes back when nothing is left."""

    default = False

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.error_handler: Any = None
        self.closed = False
        """True: nothing is called any more."""
        self.over = False
        """True: ``run`` is to end."""
        self.home: greenlet | None = None
        """Whoever pumps: the loop switches there when nothing is left to call."""
        self._monotonic = monotonic
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._serial = itertools.count()

    # -- what gevent calls ---------------------------------------------------------------------

    def run_callback(self, function: Callable[..., Any], *args: Any) -> _Callback:
        """Call ``function(*args)`` after what waits already; never, once closed."""
        callback = _Callback(function, args)
        if not self.closed:
            self._ready.append(callback)
        return callback

    run_callback_threadsafe = run_callback

    def timer(
        self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> _Timer:
        """A timer that is not started."""
        return _Timer(self, after)

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self._monotonic()

    def update_now(self) -> None:
        """The clock is never stale."""

    def run(self) -> None:
        """What the gevent hub does all its life: call what is ready, then go home."""
        ready = self._ready
        while not self.over:
            while ready:
                callback = ready.popleft()
                function, callback.function = callback.function, None
                if function is None:
                    continue
                try:
                    function(*callback.args)
                except BaseException:  # noqa: BLE001  (what a callback raises ends there)
                    self.error_handler.handle_error(function, *sys.exc_info())
            self.go_home()
        raise GreenletExit

    # -- what a process calls ------------------------------------------------------------------

    def go_home(self) -> None:
        """Switch to whoever pumps, until pumped again."""
        home = self.home
        assert home is not None
        assert home is not getcurrent()
        home.switch()

    def arm(self, after: float, timer: _Timer) -> None:
        """Have a timer fire ``after`` seconds from now."""
        due = whole_us(self._monotonic() + max(0.0, after)) / US
        heapq.heappush(self._timers, (due, next(self._serial), timer))

    def next_timer(self) -> float | None:
        """When the first timer is due, in seconds of the loop's clock."""
        while self._timers and not self._timers[0][2].active:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def has_work(self) -> bool:
        """Whether there is something to call now; timers that are due have become callbacks."""
        now = self._monotonic()
        while self._timers and self._timers[0][0] <= now:
            self.run_callback(heapq.heappop(self._timers)[2].fire)
        return bool(self._ready)

    def close(self) -> None:
        """Call nothing any more."""
        self.closed = True
        self._ready.clear()
        self._timers.clear()
