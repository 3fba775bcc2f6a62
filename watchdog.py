"""A thread that notices when something holds a loop, and logs the stack that does.

Promises: the loop is asked for a sign of life every ``patience`` seconds of real time, whatever the
injected clock says; as long as it gives none, ``hub_stalled`` is logged with the stack of its
thread; a loop that is gone is told of once, and not asked again.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from kalends.logs import get_log
from kalends.native import NativeThread, allocate_lock

__all__ = ["Watchdog"]

_log = get_log()


def _nothing() -> None:
    """For whoever need not be told."""


class Watchdog:
    """Watches one loop. ``start`` once, ``stop`` once."""

    def __init__(
        self,
        name: str,
        ask: Callable[[Callable[[], None]], bool],
        ident: Callable[[], int],
        patience: float,
        *,
        on_stall: Callable[[], None] = _nothing,
        on_gone: Callable[[], None] = _nothing,
    ) -> None:
        """``ask`` has the loop call a function soon; False: the loop is gone. ``ident`` is its
        thread, 0 where that is nobody's business: then nothing is logged.
        """
        self.name = name
        self.stalls = 0
        self.stalled = False
        """Whether it has given no sign of life when it was last asked."""
        self._ask = ask
        self._ident = ident
        self._patience = patience
        self._on_stall = on_stall
        self._on_gone = on_gone
        self._answered = True
        self._stopped = allocate_lock()
        self._stopped.acquire()
        self._thread = NativeThread(self._watch, f"{name}-watchdog")

    def start(self) -> None:
        """Begin to watch. Raises ``RuntimeError`` where the system gives no thread."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; ``join`` waits for the thread."""
        self._stopped.release()

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; True when the thread has ended."""
        return self._thread.join(timeout)

    def _answer(self) -> None:
        self._answered = True
        self.stalled = False

    def _watch(self) -> None:
        while not self._stopped.acquire(timeout=self._patience):
            if self._answered:
                self._answered = False
                if not self._ask(self._answer):
                    self._on_gone()
                    return
            elif self._ident():
                self._report()
        self._stopped.release()

    def _report(self) -> None:
        self.stalls += 1
        self.stalled = True
        frame = sys._current_frames().get(self._ident())
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        _log.warning("hub_stalled", hub=self.name, seconds=self._patience, stack=stack)
        self._on_stall()
