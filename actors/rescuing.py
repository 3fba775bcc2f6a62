"""Freeing what dead processes held, a stretch at a time.

A process may have held a hundred thousand executions. One transaction for all of them would keep
the writer, and on PostgreSQL every other node, waiting for seconds; so each is short, and the node
stays entered until its last. What stops half-way is gone on with by whoever rescues next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalends.actors.changing import Changing
from kalends.announcing import Announcer
from kalends.clock import Clock
from kalends.futures import Future
from kalends.messages import ClaimDue, Message
from kalends.storage.engine import Storage
from kalends.storage.nodes import NodeStore, Rescue

__all__ = ["Rescuing"]

_LONG = 3600.0
"""Seconds that it may take before whoever waits for it is told so."""


class Rescuing:
    """Rescues, for the tracker and the housekeeper; ``tell_loop`` tells the loop what may be
    claimed again.
    """

    def __init__(
        self,
        storage: Storage,
        nodes: NodeStore,
        clock: Clock,
        changing: Changing,
        announcer: Announcer,
        tell_loop: Callable[[Message], None],
    ) -> None:
        self._storage = storage
        self._nodes = nodes
        self._clock = clock
        self._changing = changing
        self._announcer = announcer
        self._tell_loop = tell_loop

    def run(self, enter: Callable[..., object] | None = None) -> Future[Rescue]:
        """Free all that dead nodes hold; answers with what was done when nothing is left.

        ``enter(db, now=…)`` is done first, in the first transaction.
        """
        answer: Future[Rescue] = Future(timeout=_LONG)
        total = Rescue()

        def stretch(first: Callable[..., object] | None) -> None:
            def unit(db: Any) -> Rescue:
                # Not before its turn has come: others may have claimed and begun what it ends.
                now = self._clock.now_us()
                if first is not None:
                    first(db, now=now)
                return self._nodes.rescue(db, now=now)

            self._storage.write(unit).add_done_callback(committed)

        def committed(done: Future[Rescue]) -> None:
            nonlocal total
            if done.value is None:
                answer.resolve(None, done.error)
                return
            self._tell(done.value)
            total = total.and_then(done.value)
            if done.value.more:
                stretch(None)
            else:
                answer.resolve(total)

        stretch(enter)
        return answer

    def _tell(self, rescue: Rescue) -> None:
        """On the writer's thread, right after the commit."""
        if rescue.nodes:
            self._changing.disarm(rescue.paused)
            self._announcer.ended(rescue.ended)
            rescue.log()
            self._tell_loop(ClaimDue())
