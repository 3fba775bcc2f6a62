"""Carries what a job tells from its worker process to the host: soon, and not too often.

Promises: what a job tells now and then is sent before the call that told it returns, so that the
last line of a job that crashes is not lost. Where it tells more than ten times a second, and has
done so for a while, the rest is gathered and sent ten times a second, on a thread, which is started
when it is first needed: a process that forks should have no more threads than it must. Of the lines
that are gathered as many wait as the ledger keeps. An answer is sent after all that was told before
it. A process that a job forks sends nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from kalends.clock import Clock, SystemClock
from kalends.jobs.answers import Answer
from kalends.jobs.executors.process_orders import Heard, Message, Order
from kalends.jobs.logbook import Keeps, Logbook
from kalends.native import NativeThread, allocate_lock

__all__ = ["Messenger"]

_GATHER = 0.1
"""Seconds between one message and the next, where there are many."""
_AT_ONCE = 20
"""How many may go at once after a silence."""


class Messenger:
    """Has one logbook at a time: that of the job that runs."""

    def __init__(self, deliver: Callable[[Message], None]) -> None:
        self._deliver = deliver
        self._clock = SystemClock()
        self._pid = os.getpid()
        self._sending = allocate_lock()
        self._current: tuple[int, Logbook] | None = None
        """The order whose job runs, by its number, and what that tells."""
        self._full_at = 0.0
        """When so many messages have gone as may in this time, by monotonic time."""
        self._lock = allocate_lock()
        self._waiting = False
        """True while the thread is to send what there is."""
        self._thread: NativeThread | None = None
        self._bell = allocate_lock()
        self._bell.acquire()
        self._pause = allocate_lock()
        self._pause.acquire()

    def book_for(self, order: Order) -> Logbook:
        """The logbook of an order's job; nothing is sent of the one before any more."""
        book = _SentLogbook(self._clock, order.keeps, self._told)
        self._current = (order.number, book)
        return book

    def send(self, answer: Answer | None = None) -> None:
        """Send what was told and not sent, and then the answer, if there is one."""
        if os.getpid() != self._pid:
            return
        assert self._current is not None, "there was an order"
        with self._sending:
            number, book = self._current
            news = book.drain()
            if news is not None:
                self._deliver(Heard(number, news))
            if answer is not None:
                self._deliver(answer)

    def _told(self) -> None:
        """The job has told something."""
        if self._waiting:
            return
        if self._patience() <= 0.0:
            self._count()
            self.send()
            return
        with self._lock:
            if self._waiting:
                return
            self._waiting = True
            if self._thread is not None:
                self._bell.release()
                return
            self._thread = NativeThread(self._serve, "kalends-messenger")
            try:
                self._thread.start()
            except RuntimeError:  # no more threads: it goes with what is told next, or at the end
                self._thread, self._waiting = None, False

    def _serve(self) -> None:
        while True:
            self._pause.acquire(timeout=max(0.0, self._patience()))
            self._count()
            self._waiting = False
            self.send()
            self._bell.acquire()

    def _patience(self) -> float:
        """Seconds until another message may go."""
        return self._full_at - _AT_ONCE * _GATHER - self._clock.monotonic()

    def _count(self) -> None:
        self._full_at = max(self._full_at, self._clock.monotonic()) + _GATHER


class _SentLogbook(Logbook):
    """Says when something was told."""

    __slots__ = ("_tell",)

    def __init__(self, clock: Clock, keeps: Keeps, tell: Callable[[], None]) -> None:
        super().__init__(clock, keeps)
        self._tell = tell

    def progress(self, fraction: float, remark: str | None) -> None:
        """As everywhere."""
        super().progress(fraction, remark)
        self._tell()

    def line(self, level: str, message: str) -> None:
        """As everywhere."""
        super().line(level, message)
        self._tell()
