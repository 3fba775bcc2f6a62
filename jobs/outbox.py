"""Outcomes that are not durable yet: what the executors have ended and the tracker has still to
record.

Promises: outcomes come out in the order they went in and stay until they are dropped; ``on_ready``
is called once when the first outcome comes, and not again until the reader has found the outbox
empty with ``rest``, so that no wake-up is lost and a million outcomes cause few calls. A reader
that starts anew calls ``peek`` without being told. Every method may be called from any thread;
there is one reader at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from kalends.logs import get_log
from kalends.native import BriefLock
from kalends.work import Outcome

__all__ = ["Outbox"]

_log = get_log()


class Outbox:
    """A queue of outcomes with a coalesced signal."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._lock = BriefLock()
        self._outcomes: deque[Outcome] = deque()
        self._pending: dict[str, Outcome] = {}
        self._signalled = False
        self.dropped = 0
        """How many outcomes were ever dropped: names a place in the queue for good."""

    def __len__(self) -> int:
        return len(self._outcomes)

    def put(self, outcome: Outcome) -> None:
        """Append; call ``on_ready`` if the reader rests."""
        if self.add(outcome):
            self.signal()

    def add(self, outcome: Outcome) -> bool:
        """Append without calling out; True where the caller has to ``signal`` now."""
        with self._lock:
            self._outcomes.append(outcome)
            if not outcome.late:  # else another attempt may have the execution by now
                self._pending[outcome.execution_id] = outcome
            rested, self._signalled = not self._signalled, True
            return rested

    def signal(self) -> None:
        """Tell the reader. Where that fails, the next outcome tells it again."""
        try:
            self._on_ready()
        except Exception:  # noqa: BLE001 - logged, and told again
            self._signalled = False
            _log.exception("outbox_signal_failed", waiting=len(self._outcomes))

    def peek(self, limit: int) -> list[Outcome]:
        """The oldest outcomes, at most ``limit``; they stay."""
        with self._lock:
            return list(islice(self._outcomes, limit))

    def drop(self, count: int, since: int | None = None) -> None:
        """Forget the oldest ``count`` outcomes: they are durable.

        ``since`` is what ``dropped`` was when they were peeked at: what has been forgotten since
        then, by a reader that was told of the same outcomes, is not forgotten twice.
        """
        with self._lock:
            if since is not None:
                count -= self.dropped - since
            for _ in range(min(count, len(self._outcomes))):
                outcome = self._outcomes.popleft()
                self.dropped += 1
                if self._pending.get(outcome.execution_id) is outcome:
                    del self._pending[outcome.execution_id]

    def rest(self) -> bool:
        """True: nothing is left, and the next outcome will call ``on_ready``. False: peek again."""
        with self._lock:
            if self._outcomes:
                return False
            self._signalled = False
            return True

    def holds(self, execution_id: str, attempt: int) -> bool:
        """True while this attempt has ended and is not recorded."""
        outcome = self._pending.get(execution_id)
        return outcome is not None and outcome.attempt == attempt

    def outcome_of(self, execution_id: str) -> Outcome | None:
        """How an execution has ended whose record lacks."""
        return self._pending.get(execution_id)

    def pending(self) -> dict[str, Outcome]:
        """How executions have ended whose record lacks, by their ids."""
        with self._lock:
            return dict(self._pending)
