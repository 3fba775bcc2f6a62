"""Real threads and real locks, whatever the host has done to the standard library.

A host may run under ``gevent.monkey.patch_all()``, before or after it imported Kalends; there, the
names in ``threading`` make greenlets. Kalends' own threads must stay threads, so the primitives are
taken here, once, from behind any patch. Nothing in this file patches anything.
"""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import gevent.exceptions
import gevent.monkey
from gevent._hub_local import get_hub_if_exists

__all__ = [
    "BriefLock", "Lock", "NativeThread", "Thread", "allocate_lock", "get_ident", "hold_open",
    "settle_gevent", "wait_readable",
]  # fmt: skip


class Lock(Protocol):
    """A real, non-reentrant lock (``_thread.lock``)."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...


class Thread(Protocol):
    """Something that runs once, beside its maker."""

    def start(self) -> None:
        """Begin. Call once."""

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; True when it has ended."""


_sleep: Callable[[float], None] = gevent.monkey.get_original("time", "sleep")
allocate_lock: Callable[[], Lock] = gevent.monkey.get_original("_thread", "allocate_lock")
get_ident: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")
_start_new_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")
_poll: Any = gevent.monkey.get_original("select", "poll") if hasattr(select, "poll") else None


def wait_readable(*files: int) -> None:
    """Block this thread until one of the open files with these descriptors can be read, is at its
    end, or is open no longer.

    Raises ``OSError`` where the system cannot wait for files (Windows).
    """
    if _poll is None:
        raise OSError("this system has no poll()")
    poller = _poll()
    for file in files:
        poller.register(file, select.POLLIN)
    poller.poll()


class BriefLock:
    """A lock for sections of microseconds that many threads pass through again and again.

    Whoever waits for a ``_thread.lock`` may get it while another thread has the interpreter, which
    then stops at the lock in its turn: once two threads have met like this, every pass costs a
    switch of threads from then on. Here a lock is taken only by a thread that has the interpreter;
    one that finds it taken naps for a moment and tries again. It is not fair, and not for sections
    that wait for anything.
    """

    __slots__ = ("_release", "_try")

    def __init__(self) -> None:
        lock = allocate_lock()
        self._try = lock.acquire
        self._release = lock.release

    def __enter__(self) -> None:
        while not self._try(False):
            _sleep(_NAP)

    def __exit__(self, *exc: object) -> None:
        self._release()


_NAP = 0.00005
"""Seconds."""


class NativeThread:
    """A daemon thread of the operating system that runs ``target()`` once.

    ``threading.Thread`` is used where it makes real threads, so that debuggers, tracers and
    ``threading.enumerate`` see it by its ``name``; in a patched process the thread is started
    underneath. ``target`` must not raise: what it raises is printed by the interpreter and lost.
    Where it used gevent, the hub that made ends with the thread.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self.name = name
        self.ident: int | None = None
        self._target = target
        self._thread: threading.Thread | None = None
        self._ended = allocate_lock()

    def start(self) -> None:
        """Start the thread. Call once. Raises ``RuntimeError`` where the system refuses one."""
        self._ended.acquire()
        try:
            if gevent.monkey.is_module_patched("threading"):
                _start_new_thread(self._run, ())
            else:
                thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            self._ended.release()
            raise

    def _run(self) -> None:
        self.ident = get_ident()
        try:
            self._target()
        finally:
            try:
                _end_hub()
            finally:
                # The system gives the ident to the next thread, which must not be taken for this
                # one.
                self.ident = None
                self._ended.release()

    def join(self, timeout: float) -> bool:
        """Block this thread (not only this greenlet) up to ``timeout`` seconds; True when it has
        ended.
        """
        if self.ident == get_ident():
            return False
        if not self._ended.acquire(timeout=max(0.0, timeout)):
            return False
        self._ended.release()
        if self._thread is not None:
            self._thread.join(max(0.1, timeout))
            return not self._thread.is_alive()
        return True


def _end_hub() -> None:
    """Give back the hub of this thread, if one was made: its loop would leave open files behind."""
    hub = get_hub_if_exists()
    if hub is None:
        return
    _leave_loop(hub)
    hub.destroy(destroy_loop=True)
    if not hub.dead:
        # gevent leaves it suspended at its last line. A greenlet that has not ended is never freed,
        # nor is whatever its frames can reach: here, everything.
        hub.throw(gevent.GreenletExit)


def _leave_loop(hub: Any) -> None:
    """Have the hub do what it still has to at once, and come out of its loop.

    It may stand in the callback that woke this thread last, and sockets are closed by a callback
    after the next: an interpreter that ends has been seen to crash over what was destroyed so.
    """
    for _ in range(_ROUNDS if hub else 0):  # it is false where it never ran
        hub.loop.run_callback(hub.loop.break_)
        with contextlib.suppress(gevent.exceptions.LoopExit):
            # What wakes this thread instead, as leftovers of the host's may, counts as a round.
            hub.switch()


_ROUNDS = 4


def hold_open(loop: Any) -> None:
    """Have gevent's loop go on whatever happens to its count of what it has to wait for.

    Each ``run_callback_threadsafe`` raises that count from its own thread, and libev changes it
    without the interpreter's lock: now and then one of the two is lost. A loop whose count has come
    down to nothing ends in the middle of its work, with ``LoopExit``. So it is given many to lose,
    at first and whenever some are gone. On the loop's own thread.
    """
    for _ in range(_HELD - loop.activecnt):
        loop.ref()


_HELD = 20_000


def settle_gevent() -> None:
    """Let gevent read its settings now, on one thread.

    In a patched process a job that sleeps or waits makes a hub on its thread, and the first hubs
    import what these settings name. Import locks are gevent's there; several threads that import at
    once have been seen to wait for one another for ever.
    """
    for setting in ("loop", "format_context", "threadpool", "resolver"):
        getattr(gevent.config, setting)
