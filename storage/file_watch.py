"""Word from the system that somebody writes into a file: inotify, where there is any.

Promises: whoever has asked for word has it, once, as soon as any process of this machine writes
into the file after that; what is written before the next time costs nobody anything. No word is
relied on before one has come: there are systems that offer inotify and never say a thing.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

__all__ = ["FileWatch"]

_MODIFY = 0x2
_ONCE = 0x8000_0000
"""``IN_MODIFY`` and ``IN_ONESHOT`` of ``<sys/inotify.h>``: the kernel's interface, not the C
library's.
"""
_EVENT = struct.Struct("iIII")
"""Watch, mask, cookie and the length of a name: the events of a file have none."""


class FileWatch:
    """Watches one file at a time. For one thread."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._file = -1
        self._proven = False
        if self._libc is not None:
            self._libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
            self._file = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def ask(self, path: str) -> int | None:
        """Ask for word of the next write; a descriptor that can be read when it has come. None:
        there will be no word, or none may be relied on.
        """
        if self._libc is None or self._file < 0:
            return None
        asked = self._libc.inotify_add_watch(self._file, os.fsencode(path), _MODIFY | _ONCE)
        return self._file if asked >= 0 and self._proven else None

    def hear(self) -> None:
        """Take in what has been said."""
        if self._file < 0:
            return
        try:
            said = os.read(self._file, _EVENT.size * 64)
        except BlockingIOError:
            return
        self._proven |= any(mask & _MODIFY for _, mask, _, _ in _EVENT.iter_unpack(said))

    def close(self) -> None:
        """Give it back to the system."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
