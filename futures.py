"""An answer that is on its way: awaited from anywhere without blocking what should go on.

``Future.get(timeout=…)`` works on a plain thread (that thread waits), in a greenlet of any gevent
hub (that greenlet waits, its hub goes on) and ``await future`` works under asyncio (that task
waits). Whoever resolves a future may do so from any thread, once; later attempts are refused and
change nothing. Every wait ends: without an explicit time-out it ends after ``future.timeout``
seconds with ``AskTimeout``. No call holds a lock that another could wait for: a signal handler that
interrupts one may use the same future."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

import gevent.hub
import pykka
from gevent._hub_local import get_hub_if_exists
from greenlet import getcurrent

from kalends.clock import SystemClock
from kalends.errors import AskTimeout, ForkedError, ValidationFailed
from kalends.logs import get_log
from kalends.native import allocate_lock, get_ident

__all__ = [
    "DEFAULT_TIMEOUT",
    "PROCESS",
    "Deadlines",
    "Future",
    "current_pid",
    "failed",
    "may_wait",
    "resolved",
]

T = TypeVar("T")
U = TypeVar("U")
ExcInfo = tuple[Any, Any, Any]

DEFAULT_TIMEOUT = 30.0
"""Seconds a wait lasts at most where neither the caller nor the settings say otherwise."""

_log = get_log()


class Future(pykka.Future[T], Generic[T]):
    """A value or an exception that somebody will set. Resolved at most once, readable for ever."""

    _hook: Callable[[float | None], T] | None = None
    _done = False
    _value: T | None = None
    _error: BaseException | None = None

    def __init__(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        # Not calling Pykka's __init__: it only prepares get hooks, which are kept differently here.
        self.timeout = timeout
        self._unresolved = [True]
        self._callbacks: list[Callable[[Future[T]], None]] = []
        self._pid = PROCESS.pid

    @property
    def done(self) -> bool:
        """True once the value or the exception is there."""
        return self._done

    @property
    def value(self) -> T | None:
        """The value, where the future is done and holds one."""
        return self._value

    @property
    def error(self) -> BaseException | None:
        """The exception, where the future is done and holds one."""
        return self._error

    # -- resolving -----------------------------------------------------------------------------

    def resolve(self, value: T | None, error: BaseException | None = None) -> bool:
        """Set the outcome unless there is one already; True when this call set it."""
        try:
            self._unresolved.pop()  # of any number of threads and signal handlers, one gets it
        except IndexError:
            return False
        self._value, self._error, self._done = value, error, True
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:  # taken back in this moment
                break
            try:
                callback(self)
            except BaseException:  # noqa: BLE001
                _log_failed(callback)
        return True

    def set(self, value: T | None = None) -> None:
        """Set the value. Raises ``RuntimeError`` when the future is resolved already."""
        if not self.resolve(value):
            raise RuntimeError("this future is already resolved")

    def set_exception(self, exc_info: ExcInfo | BaseException | None = None) -> None:
        """Set the exception (one, an ``exc_info`` triple, or the one being handled now)."""
        error = exc_info if isinstance(exc_info, BaseException) else (exc_info or sys.exc_info())[1]
        if not self.resolve(None, error or RuntimeError("set_exception() without an exception")):
            raise RuntimeError("this future is already resolved")

    def add_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Call ``callback(self)`` once resolved: on the resolving thread, or now if it is."""
        self._callbacks.append(callback)
        if self._done and self._take_back(callback):
            try:
                callback(self)
            except BaseException:  # noqa: BLE001
                _log_failed(callback)

    def remove_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Forget a callback that has not been called; one that is not there changes nothing."""
        self._take_back(callback)

    def _take_back(self, callback: Callable[[Future[T]], None]) -> bool:
        if not self._callbacks:  # as mostly: the resolver has had it
            return False
        try:
            self._callbacks.remove(callback)
        except ValueError:  # the resolver has it
            return False
        return True

    def then(self, change: Callable[[T], U]) -> Future[U]:
        """The future of ``change(value)``, resolved when this one is; waited for as this one is."""
        following = self._like_this()

        def settle(done: Future[T]) -> None:
            if done.error is not None:
                following.resolve(None, done.error)
                return
            try:
                following.resolve(change(cast(T, done.value)))
            except Exception as error:  # noqa: BLE001  (the waiting caller's to handle)
                following.resolve(None, error)

        self.add_done_callback(settle)
        return following

    def _like_this(self) -> Future[Any]:
        return Future(self.timeout)

    # -- waiting -------------------------------------------------------------------------------

    def get(self, *, timeout: float | None = None) -> T:
        """Wait up to ``timeout`` seconds and return the value, or raise the exception.

        Raises ``AskTimeout`` when there is no answer in time, ``ForkedError`` in a forked child and
        ``ValidationFailed`` for a time-out that is none.
        """
        wait = self.timeout if timeout is None else timeout
        if type(wait) is not float:
            wait = _seconds(wait)
        if self._hook is not None and not self._done:
            self.resolve(self._hook(wait))
        if not self._done:
            self._wait(wait)
        return self._outcome()

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Compute the value by ``func(timeout)`` at the first ``get``: what ``map`` and ``join``
        use.
        """
        if self._done:
            raise RuntimeError("this future is already resolved")
        self._hook = func

    def _outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _check_process(self) -> None:
        if PROCESS.pid != self._pid:
            raise ForkedError(
                "this future belongs to the parent process; nobody here will resolve it"
            )

    def _wait(self, timeout: float) -> None:
        if PROCESS.pid != self._pid:
            self._check_process()
        hub = get_hub_if_exists()
        if hub is None:
            answered = self._wait_in_thread(timeout)
        else:
            answered = self._wait_in_greenlet(hub, timeout)
        if not answered and not self._done:
            raise AskTimeout(f"no answer within {timeout:g} s", timeout=timeout)

    def _wait_in_thread(self, timeout: float) -> bool:
        latch = allocate_lock()
        latch.acquire()

        def wake(_: Future[T]) -> None:
            latch.release()

        self.add_done_callback(wake)
        try:
            return latch.acquire(timeout=min(max(0.0, timeout), _LONGEST_WAIT))
        finally:
            self.remove_done_callback(wake)

    def _wait_in_greenlet(self, hub: Any, timeout: float) -> bool:
        if getcurrent() is hub:
            raise RuntimeError("a hub's own callback cannot wait: it would stop every greenlet")
        waiter: Any = gevent.hub.Waiter(hub)
        loop, here, switch = hub.loop, get_ident(), waiter.switch

        def wake(_: Future[T]) -> None:
            try:
                if get_ident() == here:
                    loop.run_callback(switch, True)
                else:
                    loop.run_callback_threadsafe(switch, True)
            except ValueError:
                # That hub is gone, and whoever waited on it.
                return

        self.add_done_callback(wake)
        shared: Deadlines | None = getattr(hub, DEADLINES, None)
        try:
            if shared is None or timeout != shared.timeout:
                return _wait_alone(loop, waiter, timeout)
            shared.waiting[waiter] = _monotonic() + timeout
            if shared.timer is None:
                shared.arm(timeout)
            return bool(waiter.get())
        finally:
            if shared is not None:
                shared.waiting.pop(waiter, None)
            if self._callbacks:
                self._take_back(wake)

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        if self._hook is not None:
            return (yield from loop.run_in_executor(None, self.get).__await__())
        if not self._done:
            self._check_process()
            yield from self._bridge(loop).__await__()
        return self._outcome()

    __iter__ = __await__

    def _bridge(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        bridge: asyncio.Future[None] = loop.create_future()

        def expire() -> None:
            if not bridge.done():
                bridge.set_exception(
                    AskTimeout(f"no answer within {self.timeout:g} s", timeout=self.timeout)
                )

        timer = loop.call_later(self.timeout, expire)

        def settle() -> None:
            timer.cancel()
            if not bridge.done():
                bridge.set_result(None)

        def wake(_: Future[T]) -> None:
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(settle)
                except RuntimeError:
                    # The loop closed between the two lines above: its tasks are gone, nobody waits.
                    return

        def leave(_: asyncio.Future[None]) -> None:
            timer.cancel()
            self.remove_done_callback(wake)

        bridge.add_done_callback(leave)
        self.add_done_callback(wake)
        return bridge


def _log_failed(callback: object) -> None:
    """A callback has raised. The resolver answers for other people's futures too: one bad callback
    must not stop it, whatever it raises.
    """
    _log.exception("future_callback_failed", callback=repr(callback))


def _seconds(timeout: object) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise ValidationFailed("timeout must be a number of seconds or None", path="timeout")
    return float(timeout)


_LONGEST_WAIT = 1_000_000.0
_monotonic = SystemClock().monotonic

DEADLINES = "kalends_deadlines"
"""The attribute of a gevent hub that holds its shared ``Deadlines``.

Only Kalends' own hubs have one.
"""


class Deadlines:
    """The deadlines of all waits of one length on one hub, behind a single timer.

    Waits of equal length expire in the order they began, so a dict in order of insertion is the
    whole queue: to begin or end a wait costs one dict operation instead of a timer of its own
    (which was half of an ask). ``False`` is switched into whoever is in it past its deadline. The
    timer stays when a wait is over: the next one will most likely want it.
    """

    def __init__(self, loop: Any, timeout: float) -> None:
        self.timeout = timeout
        self._loop = loop
        self.waiting: dict[Any, float] = {}
        """Who waits, and until when by monotonic time."""
        self.timer: Any = None

    def arm(self, seconds: float) -> None:
        """Look for what is over in so many seconds."""
        # ref=False: an idle timer must not keep a loop alive.
        self.timer = self._loop.timer(max(0.0, seconds), ref=False)
        self.timer.start(self._expire, update=True)

    def _expire(self) -> None:
        self.close()
        now = _monotonic()
        for waiter, deadline in list(self.waiting.items()):
            if deadline > now:
                self.arm(deadline - now)
                return
            del self.waiting[waiter]
            self._loop.run_callback(waiter.switch, False)

    def close(self) -> None:
        """Give the timer back to the loop."""
        if self.timer is not None:
            self.timer.stop()
            self.timer.close()
            self.timer = None


def _wait_alone(loop: Any, waiter: Any, timeout: float) -> bool:
    """Let the hub run until somebody switches into ``waiter``; False where the time did."""
    timer = loop.timer(max(0.0, timeout))
    try:
        # update=True: a stale loop time lets gevent's timers fire up to 10 ms early.
        timer.start(waiter.switch, False, update=True)
        return bool(waiter.get())
    finally:
        timer.stop()
        timer.close()


class _Process:
    """The id of this process, kept up to date across forks: ``os.getpid`` is a system call."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.pid = os.getpid()


PROCESS = _Process()


def current_pid() -> int:
    """The id of this process, without a system call."""
    return PROCESS.pid


def may_wait() -> bool:
    """False in a gevent hub's own callbacks, which a signal handler of a patched process may be."""
    hub = get_hub_if_exists()
    return hub is None or getcurrent() is not hub


def resolved(value: T) -> Future[T]:
    """A future that holds ``value`` already."""
    future: Future[T] = Future()
    future.resolve(value)
    return future


def failed(error: BaseException) -> Future[Any]:
    """A future that holds ``error`` already."""
    future: Future[Any] = Future()
    future.resolve(None, error)
    return future
