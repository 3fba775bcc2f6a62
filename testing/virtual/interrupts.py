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
    """While entered, the first interrupt waits for the end; the second one strikes at once.

    Only where an interrupt would be an exception: a host's own handler is left alone.
    """

    def __init__(self) -> None:
        self._kept = False
        self._installed = False

    def __enter__(self) -> None:
        self._kept = False
        self._installed = (
            threading.main_thread().ident == get_ident()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._installed:
            signal.signal(signal.SIGINT, self._keep)

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._kept:
            raise KeyboardInterrupt

    def _keep(self, _number: int, _frame: Any) -> None:
        if self._kept:
            raise KeyboardInterrupt
        self._kept = True
