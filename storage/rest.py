"""Where a thread rests until somebody has work for it.

Promises: a rest ends when it is roused, from whatever thread or signal handler, also where that
came a moment before it began; one word is enough, however many were given. A rest beside an open
file ends as well when that can be read: the thread sleeps in the system until then, and costs
nothing.
"""

from __future__ import annotations

import os
from io import FileIO

from kalends.native import allocate_lock, wait_readable

__all__ = ["Rest"]


class Rest:
    """A latch; for rests beside a file a pipe as well, made when it is first needed."""

    def __init__(self) -> None:
        self._latch = allocate_lock()
        self._latch.acquire()
        self._pipe: tuple[FileIO, FileIO] | None = None
        self._beside = False

    def rouse(self) -> None:
        """End the rest, or the next one."""
        try:
            self._latch.release()
        except RuntimeError:
            return  # released by somebody else in the same moment: the thread is awake already
        if self._beside and self._pipe is not None:
            self._pipe[1].write(b"\0")

    def wait(self, seconds: float = -1.0) -> bool:
        """Rest so long, or for ever; True when it was roused. For one thread."""
        return self._latch.acquire(timeout=seconds)

    def wait_beside(self, file: int) -> bool:
        """Rest until the open file with this descriptor can be read; True when it was roused.

        Raises ``OSError`` where the system gives no pipe.
        """
        if self._pipe is None:
            self._pipe = _pipe()
        told = self._pipe[0]
        self._beside = True
        try:
            # Whoever roused it before the line above has not written into the pipe.
            if self._latch.acquire(False):
                return True
            wait_readable(file, told.fileno())
        finally:
            self._beside = False
        told.read(_MOST)
        return self._latch.acquire(False)

    def close(self) -> None:
        """Give the pipe back. There is no rest after it, and nobody to rouse."""
        if self._pipe is not None:
            for end in self._pipe:
                end.close()


_MOST = 64


def _pipe() -> tuple[FileIO, FileIO]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return FileIO(ends[0], "rb"), FileIO(ends[1], "wb")
