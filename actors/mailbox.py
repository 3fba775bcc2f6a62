"""Where an actor's messages wait, and which outlives every incarnation of that actor.

Promises: messages are taken in the order they were put, urgent ones first; nothing is dropped (past
``limit`` a message is refused with ``MailboxFull``); ``put`` works from any thread, ``get`` only in
a greenlet of the hub that owns the mailbox, one at a time; a closed mailbox fails what waits in it
and refuses what comes. Orders (stop) have a lane of their own that no flood delays and no closing
shuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from greenlet import getcurrent, greenlet

from kalends.errors import KalendsError, MailboxFull
from kalends.futures import Future
from kalends.native import get_ident

__all__ = ["TURN", "Envelope", "Mailbox"]

TURN = 64
"""Messages taken in one go before the other greenlets of the hub have their turn."""


class Envelope(msgspec.Struct, eq=False):
    """A message, the future to answer (None for a tell), and when it was put (monotonic seconds).

    ``only_for`` names the one incarnation it is meant for: the others drop it unseen. None: whoever
    is there.
    """

    message: Any
    reply_to: Future[Any] | None = None
    only_for: int | None = None
    put_at: float = 0.0


class Mailbox:
    """Two lanes of envelopes: urgent ones (facts and life cycle, bounded by their senders) and the
    rest.
    """

    def __init__(
        self, name: str, limit: int, loop: Any, hub_ident: int, monotonic: Callable[[], float]
    ) -> None:
        self.name = name
        self._monotonic = monotonic
        self.limit = limit
        self.received = 0
        self.unanswered: set[Future[Any]] = set()
        """What was handled and is answered later: it counts against the limit until then, or a
        flood would only move on to wherever the answers come from.
        """
        self._queue: deque[Envelope] = deque()
        self._urgent: deque[Envelope] = deque()
        self._orders: deque[Envelope] = deque()
        self._loop = loop
        self._hub_ident = hub_ident
        self._taken = 0
        self._taker: greenlet | None = None
        self._closed: KalendsError | None = None

    def __len__(self) -> int:
        return len(self._queue) + len(self._urgent)

    @property
    def closed(self) -> KalendsError | None:
        """Why nothing is taken any more, or None."""
        return self._closed

    def oldest_age(self) -> float:
        """Seconds the oldest message has waited; 0.0 when none does."""
        heads = [lane[0].put_at for lane in (self._urgent, self._queue) if lane]
        return max(0.0, self._monotonic() - min(heads)) if heads else 0.0

    def put(self, envelope: Envelope) -> None:
        """Queue a message.

        Raises ``MailboxFull`` past the limit, or the error the mailbox closed with.
        """
        if len(self._queue) + len(self.unanswered) >= self.limit:
            raise MailboxFull(
                f"{self.name} has {self.limit} messages waiting or unanswered",
                actor=self.name,
                limit=self.limit,
            )
        self._append(self._queue, envelope)

    def put_urgent(self, envelope: Envelope) -> None:
        """Queue a message before all ordinary ones, whatever the limit."""
        self._append(self._urgent, envelope)

    def put_order(self, envelope: Envelope) -> None:
        """Queue an order before everything that waits, closed or not. From the hub's thread."""
        self._orders.append(envelope)
        self._loop.run_callback(self._wake)

    def _append(self, lane: deque[Envelope], envelope: Envelope) -> None:
        if self._closed is not None:
            raise self._closed
        envelope.put_at = self._monotonic()
        lane.append(envelope)
        if self._closed is not None:
            # close() may have emptied the lane just before the append: nobody would answer this
            # one.
            self._fail_all(self._closed)
        elif self._taker is not None:
            try:
                if get_ident() == self._hub_ident:
                    self._loop.run_callback(self._wake)
                else:
                    self._loop.run_callback_threadsafe(self._wake)
            except ValueError:
                # The hub has stopped. Whoever stopped it closes the mailboxes, which answers what
                # waits.
                return

    def _wake(self) -> None:
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.switch()

    def get(self) -> Envelope:
        """Wait for the next message.

        A kill of the waiting greenlet ends the wait and takes nothing.
        """
        while True:
            if self._taken >= TURN:
                # Nobody else on the hub runs while this greenlet finds messages waiting.
                self._taken = 0
                gevent.sleep(0)
            if self._orders:
                return self._orders.popleft()
            lane = self._urgent or self._queue
            if lane:
                self.received += 1
                self._taken += 1
                return lane.popleft()
            self._taken = 0
            self._taker = getcurrent()
            if self._urgent or self._queue or self._orders:
                # Put by another thread between the look and the line above: it saw no taker to
                # wake.
                self._taker = None
                continue
            try:
                gevent.get_hub().switch()
            finally:
                self._taker = None

    def close(self, error: KalendsError) -> None:
        """Refuse with ``error`` from now on, and answer with it everything that waits."""
        self._closed = error
        self._fail_all(error)

    def _fail_all(self, error: KalendsError) -> None:
        for lane in (self._urgent, self._queue):
            while lane:
                try:
                    envelope = lane.popleft()
                except IndexError:
                    break  # another closing thread took the last one
                if envelope.reply_to is not None:
                    envelope.reply_to.resolve(None, error)
