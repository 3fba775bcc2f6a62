"""Notices: what happens in a scheduler, told to its host while it happens.

Promises:

- Telling never waits. Each subscription has a queue of its own, bounded by ``limit``; what finds it
  full is dropped and counted, and the next notice says how many were dropped before it
  (``Notice.dropped``). A slow, stuck or failing subscriber costs the scheduler nothing else.
- A notice of the ledger or the journal comes after the commit: it is durable by then.
- To one subscription, the notices of one execution come in the order they happened.
- Notices are about what *this* scheduler does. What other processes on the same database do is in
  the ledger and the journal.
- Where nobody has subscribed, nothing is made.

A callback runs on a thread of its own, one call at a time; what it raises is logged. A subscription
without one is an iterator, for ``for`` on a thread and for ``async for`` under asyncio. It ends
when it is closed or when its scheduler is shut down; what was queued by then is still delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import msgspec
import pendulum

from kalends.errors import AskTimeout
from kalends.futures import Future, resolved
from kalends.logs import get_log
from kalends.model import Failure, Fate, JournalKind, Reason
from kalends.native import NativeThread, Thread, allocate_lock

__all__ = ["KINDS", "Notice", "NoticeKind", "Notices", "Sink", "Subscription"]

_log = get_log()
_FOR_EVER = 1e9
"""Seconds. A wait for a notice has no bound of its own."""


class NoticeKind(StrEnum):
    """What is told beside the entries of the journal, which have the kinds of ``JournalKind``."""

    EXECUTION_CLAIMED = "execution_claimed"
    """This process has it, and begins it at its instant."""
    EXECUTION_STARTED = "execution_started"
    """Its job is about to be called."""
    EXECUTION_RETRIED = "execution_retried"
    """An attempt is over, and another one follows."""
    EXECUTION_ENDED = "execution_ended"
    """It has its fate."""
    INSTANTS_SKIPPED = "instants_skipped"
    """Instants that do not run, decided here: ``details`` has their count, first and last."""
    SCHEDULER_STARTED = "scheduler_started"
    SCHEDULER_DEGRADED = "scheduler_degraded"
    SCHEDULER_RECOVERED = "scheduler_recovered"
    SCHEDULER_FAILED = "scheduler_failed"
    SCHEDULER_STOPPED = "scheduler_stopped"


KINDS = frozenset(kind.value for kind in (*NoticeKind, *JournalKind))
"""The words for all kinds."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has happened. What does not apply is None."""

    kind: str
    """A word of ``NoticeKind`` or ``JournalKind``."""
    at: pendulum.DateTime
    """When, UTC."""
    event_id: str | None = None
    event_name: str | None = None
    job: str | None = None
    execution_id: str | None = None
    due: pendulum.DateTime | None = None
    attempt: int | None = None
    fate: Fate | None = None
    reason: Reason | None = None
    lateness: float | None = None
    """Seconds from the instant at which it was to begin to its begin."""
    duration: float | None = None
    """Seconds from the begin of the attempt to its end."""
    error: Failure | None = None
    details: dict[str, Any] = {}
    """What else there is to say, as JSON values."""
    dropped: int = 0
    """How many notices were dropped directly before this one, because the queue was full."""


class Sink:
    """Somebody who wants to hear. ``offer`` is called on any thread; it must not wait or raise."""

    def __init__(self, kinds: Iterable[str] = KINDS) -> None:
        self.kinds = frozenset(kinds)

    def offer(self, notice: Notice) -> None:
        """Here is one of the kinds that it wants."""
        raise NotImplementedError

    def end(self) -> None:
        """There will be no more."""


class Notices:
    """All who want to hear of one scheduler. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._sinks: tuple[Sink, ...] = ()
        self._wanted: frozenset[str] = frozenset()

    def wanted(self, *kinds: str) -> bool:
        """Whether anybody wants to hear of one of these kinds. Costs next to nothing."""
        return not self._wanted.isdisjoint(kinds)

    def tell(self, notice: Notice) -> None:
        """Offer it to all who want it."""
        for sink in self._sinks:
            if notice.kind in sink.kinds:
                sink.offer(notice)

    def add(self, sink: Sink) -> None:
        """From now on it hears."""
        with self._lock:
            self._keep((*self._sinks, sink))

    def remove(self, sink: Sink) -> None:
        """It hears no more; one that did not changes nothing."""
        with self._lock:
            self._keep(tuple(other for other in self._sinks if other is not sink))

    def _keep(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks
        self._wanted = frozenset().union(*(sink.kinds for sink in sinks))

    def end(self) -> None:
        """The scheduler is over: nobody will hear anything."""
        for sink in self._sinks:
            sink.end()


_Asker = tuple[Future["Notice | None"], "asyncio.AbstractEventLoop | None"]
"""Who waits for a notice, and on which loop, if on one."""


class Subscription(Sink):
    """Notices on their way to one subscriber. A context manager: leaving it closes it."""

    def __init__(
        self,
        notices: Notices,
        kinds: Iterable[str],
        limit: int,
        callback: Callable[[Notice], object] | None = None,
        make_thread: Callable[[Callable[[], None], str], Thread] = NativeThread,
    ) -> None:
        super().__init__(kinds)
        self._notices = notices
        self._limit = limit
        self._lock = allocate_lock()
        self._queue: deque[Notice] = deque()
        self._waiting: deque[_Asker] = deque()
        self._lost = 0
        self._closed = False
        self.dropped = 0
        """How many notices found the queue full so far."""
        notices.add(self)
        if callback is not None:
            make_thread(lambda: self._serve(callback), "kalends-subscriber").start()

    def __len__(self) -> int:
        """How many notices wait."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether nothing more will be queued."""
        return self._closed

    # -- the sender's side ---------------------------------------------------------------------

    def offer(self, notice: Notice) -> None:
        """Queue it, or count it as dropped."""
        with self._lock:
            if self._closed:
                return
            if self._lost:
                notice = msgspec.structs.replace(notice, dropped=self._lost)
            waiting = self._first_waiting()
            if waiting is None and len(self._queue) >= self._limit:
                self._lost += 1
                self.dropped += 1
                return
            self._lost = 0
            if waiting is None:
                self._queue.append(notice)
        if waiting is not None and not waiting.resolve(notice):
            self._put_back(notice)  # whoever waited has gone away

    def _put_back(self, notice: Notice) -> None:
        """It is for the next one who asks."""
        with self._lock:
            waiting = self._first_waiting()
            if waiting is None:
                self._queue.appendleft(notice)
        if waiting is not None and not waiting.resolve(notice):
            self._put_back(notice)

    def _first_waiting(self) -> Future[Notice | None] | None:
        """Who has waited longest, and can still be told. The caller holds the lock."""
        while self._waiting:
            future, loop = self._waiting.popleft()
            if loop is None or not loop.is_closed():
                return future
        return None

    def end(self) -> None:
        """Nothing more will come: deliver what is queued, and let those go who wait."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            future.resolve(None)
        self._notices.remove(self)

    # -- the subscriber's side -----------------------------------------------------------------

    def close(self) -> None:
        """Hear no more. What is queued is forgotten. Idempotent, from any thread."""
        self.end()
        with self._lock:
            self._queue.clear()

    def next(self, loop: asyncio.AbstractEventLoop | None = None) -> Future[Notice | None]:
        """The next notice, or None where there will be none; a future, as everywhere.

        ``loop``: the one that waits for it. Once that is closed, nobody does.
        """
        with self._lock:
            if self._queue:
                return resolved(self._queue.popleft())
            future: Future[Notice | None] = Future(_FOR_EVER)
            if not self._closed:
                self._waiting.append((future, loop))
                return future
        future.resolve(None)
        return future

    def get(self, timeout: float | None = None) -> Notice | None:
        """The next notice; None where there will be none. Raises ``AskTimeout`` after ``timeout``
        seconds.
        """
        future = self.next()
        try:
            return future.get(timeout=timeout)
        except AskTimeout:
            if future.resolve(None):
                raise
            return future.get()  # it came in this moment

    def _serve(self, callback: Callable[[Notice], object]) -> None:
        for notice in self:
            try:
                callback(notice)
            except BaseException:  # noqa: BLE001 - the subscriber's own function, on our thread
                _log.exception("subscriber_failed", kind=notice.kind)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Notice:
        notice = self.get(_FOR_EVER)
        if notice is None:
            raise StopIteration
        return notice

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notice:
        future = self.next(asyncio.get_running_loop())
        try:
            notice = await future
        except BaseException:
            # The task was cancelled: what came to it in this moment is for the next one.
            if not future.resolve(None) and future.value is not None:
                self._put_back(future.value)
            raise
        if notice is None:
            raise StopAsyncIteration
        return notice

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
