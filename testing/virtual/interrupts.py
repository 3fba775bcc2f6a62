"""Ctrl-C while a virtual process runs: kept until it rests, so that it ends the test and no actor.

Python raises ``KeyboardInterrupt`` wherever the main thread happens to be. Here that may be in an
actor, which would crash of it and be restarted, and the interrupt would be lost.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from kalends.native import get_ident

__all__ = ["InterruptsKept"]


class InterruptsKept:
    """While entered, the first interrupt waits for ``rest``; the second one strikes at once.

    Only where an interrupt would be an exception: a host's own handler is left alone. May be
    entered again inside.
    """

    def __init__(self) -> None:
        self._kept = False
        self._depth = 0
        self._installed = False

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self._kept = False
        self._installed = (
            threading.main_thread().ident == get_ident()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._installed:
            signal.signal(signal.SIGINT, self._keep)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.rest()

    def rest(self) -> None:
        """Nothing runs: raise ``KeyboardInterrupt`` where one was kept."""
        if self._kept:
            self._kept = False
            raise KeyboardInterrupt

    def _keep(self, _number: int, _frame: Any) -> None:
        if self._kept:
            raise KeyboardInterrupt
        self._kept = True
