"""One native thread with a gevent hub of its own: where a scheduler's actors live as greenlets.

Promises: nothing is patched; the host's own hubs, loops and threads are never used or blocked;
whatever a greenlet raises, ``SystemExit`` included, ends at that greenlet; timers never fire before
their deadline and follow the injected clock; a watchdog thread notices when something holds the
hub, and logs the stack that does.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import gevent
import gevent.hub

from kalends.clock import Clock
from kalends.futures import DEADLINES, DEFAULT_TIMEOUT, Deadlines, Future, current_pid
from kalends.logs import get_log
from kalends.native import NativeThread, allocate_lock, get_ident, hold_open
from kalends.watchdog import Watchdog

__all__ = ["Hub", "Timer"]

_log = get_log()
_LONGEST_SLEEP = 60.0


class Timer:
    """A callback armed for a monotonic deadline on the hub.

    ``cancel`` may be called at any time, on the hub.
    """

    __slots__ = ("_cancelled", "callback", "deadline")

    def __init__(
        self, deadline: float, callback: Callable[[], None], cancelled: Callable[[], None]
    ) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback
        self._cancelled = cancelled

    def cancel(self) -> None:
        """Never call back, if it has not happened yet."""
        if self.callback is not None:
            self.callback = None
            self._cancelled()

    def fire(self) -> None:
        """Call back, once, unless cancelled. The hub's business."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class Hub:
    """The thread, its loop and its timers.

    ``start`` once, ``stop`` once; the rest from the hub or any thread.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        stall_after: float = 1.0,
        ask_timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """``ask_timeout``: the usual length of a wait here; such waits share one timer."""
        self.name = name
        self.clock = clock
        self.pid = current_pid()
        self.ident = 0
        self.loop: Any = None
        self._ask_timeout = ask_timeout
        self._thread = NativeThread(self._run, name)
        self._watchdog = Watchdog(name, self._ask, lambda: self.ident, stall_after)
        self._ready: Future[None] = Future()
        self._main_waiter: Any = None
        self._stopping = allocate_lock()
        self._cancelled = 0
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self._armed: Any = None
        self._armed_for = float("inf")
        self._unsubscribe: Callable[[], None] = lambda: None

    # -- life ----------------------------------------------------------------------------------

    def start(self, timeout: float = 10.0) -> None:
        """Start the thread and wait until its loop runs."""
        self._thread.start()
        self._ready.get(timeout=timeout)
        self._watchdog.start()
        self._unsubscribe = self.clock.on_change(lambda: self.call(self._fire_timers))

    def stop(self, timeout: float) -> bool:
        """End loop, thread and watchdog, ``timeout`` seconds each; True when all have ended."""
        if self._main_waiter is not None and self._stopping.acquire(blocking=False):
            self._unsubscribe()
            self._watchdog.stop()
            self.call(self._main_waiter.switch, None)
        return self._thread.join(timeout) and self._watchdog.join(timeout)

    def _run(self) -> None:
        hub: Any = gevent.get_hub()
        self.ident = get_ident()
        self.loop = hub.loop
        # Whatever a callback raises ends there: gevent would throw SystemExit at this thread's main
        # greenlet.
        hub.handle_error = self._report
        deadlines = Deadlines(self.loop, self._ask_timeout)
        setattr(hub, DEADLINES, deadlines)
        self._main_waiter = gevent.hub.Waiter(hub)
        self._armed = self.loop.timer(_LONGEST_SLEEP)
        keep_alive = self.loop.async_()
        keep_alive.start(lambda: None)
        hold_open(self.loop)
        self._ready.resolve(None)
        try:
            self._main_waiter.get()
        finally:
            for watcher in (keep_alive, self._armed):
                watcher.stop()
                watcher.close()
            deadlines.close()
            self.ident = 0

    def _report(self, context: object, kind: type, error: BaseException, _tb: object) -> None:
        if not issubclass(kind, gevent.GreenletExit):
            _log.error("hub_callback_failed", hub=self.name, context=repr(context), exc_info=error)

    @property
    def here(self) -> bool:
        """True on the hub's own thread."""
        return get_ident() == self.ident

    @property
    def stalls(self) -> int:
        """How often it has given no sign of life."""
        return self._watchdog.stalls

    def _ask(self, answer: Callable[[], None]) -> bool:
        self.call(self._live, answer)
        return True

    def _live(self, answer: Callable[[], None]) -> None:
        hold_open(self.loop)
        answer()

    # -- work ----------------------------------------------------------------------------------

    future: Callable[[float], Future[Any]] = staticmethod(Future)
    """The answer to somebody who asks an actor here, and waits for it up to so many seconds."""

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` soon as a callback of the hub, from any thread. It must not wait.

        After ``stop`` it does nothing: nobody is left to run it.
        """
        try:
            if get_ident() == self.ident:
                self.loop.run_callback(function, *args)
            else:
                self.loop.run_callback_threadsafe(function, *args)
        except ValueError:
            return

    def spawn(self, function: Callable[[], None]) -> gevent.Greenlet[..., Any]:
        """Start a greenlet, from the hub's thread.

        What ``function`` raises is logged and goes no further.
        """
        return gevent.spawn(function)

    def run(self, function: Callable[[], Any], timeout: float) -> Any:
        """Run ``function`` in a greenlet of the hub and wait for its value, from any thread."""
        answer: Future[Any] = Future(timeout)

        def body() -> None:
            try:
                answer.resolve(function())
            except BaseException as error:  # noqa: BLE001  (the asker's to handle)
                answer.resolve(None, error)

        self.call(self.spawn, body)
        return answer.get(timeout=timeout)

    # -- timers --------------------------------------------------------------------------------

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back in ``seconds`` of the clock's monotonic time; on and from the hub's thread."""
        self._sweep()
        timer = Timer(self._deadline(max(0.0, seconds)), callback, self._count_cancelled)
        heapq.heappush(self._timers, (timer.deadline, next(self._serial), timer))
        if timer.deadline < self._armed_for:
            self._arm()
        return timer

    def _deadline(self, seconds: float) -> float:
        return self.clock.monotonic() + seconds

    def _count_cancelled(self) -> None:
        self._cancelled += 1

    def _sweep(self) -> None:
        """Forget cancelled timers once they are the majority: far deadlines would keep them for
        long.
        """
        if self._cancelled > 64 and self._cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _arm(self) -> None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        self._armed.stop()
        self._armed.close()
        self._armed_for = float("inf")
        if self._timers:
            self._armed_for = self._timers[0][0]
            left = self._armed_for - self.clock.monotonic()
            # What is due already does not wait for a clock that stands still.
            wait = self.clock.real_seconds(left) if left > 0.0 else 0.0
            if wait is not None:
                self._armed = self.loop.timer(min(wait, _LONGEST_SLEEP))
                # update=True: with a stale loop time gevent's timers fire up to 10 ms early.
                self._armed.start(self._fire_timers, update=True)

    def _fire_timers(self) -> None:
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            # Through the loop: one callback that raises must not cost the others their turn.
            self.loop.run_callback(heapq.heappop(self._timers)[2].fire)
        self._arm()
