"""Forks and SQLite: no connection crosses one.

SQLite keeps in memory, once for the whole process, which locks it holds on which file. A forked
child inherits that memory and none of the locks: what it opened anew on a file that its parent has
open, it would read and write without any lock, or find locked for ever
(https://sqlite.org/howtocorrupt.html, section 2.6). So, before this process forks, every user of
SQLite here comes to rest and its connections are closed; in the parent they are opened again when
they are next needed. Where a user does not come to rest within some seconds the fork goes on, and
the child is refused that file by ``check_not_carried``.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from kalends.clock import SystemClock
from kalends.errors import ForkedError
from kalends.native import allocate_lock

__all__ = ["ForkGuard", "check_not_carried"]

FileId = tuple[int, int]

_PATIENCE = 5.0
"""Seconds a fork waits for transactions to end."""


class ForkGuard:
    """Held (``with``) by one thread at a time while it uses SQLite on the file at ``path``.

    ``close`` is called before a fork, on the thread that forks, while nobody holds the guard: it
    leaves no connection to a file open.
    """

    def __init__(self, path: Path | None, close: Callable[[], object] = lambda: None) -> None:
        self.path = path
        self.close = close
        self.lock = allocate_lock()
        _process.add(self)

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def check_not_carried(path: Path) -> None:
    """Raise ``ForkedError`` for a file that the parent was using when it forked this process."""
    if _file_id(path) in _process.carried:
        raise ForkedError(
            f"{path} was in use by the parent process in the moment of the fork;"
            " open it in a process that is started, not forked",
            path=str(path),
        )


class _Process:
    """All guards of this process, and what its parent could not put down in time."""

    def __init__(self) -> None:
        self.carried: frozenset[FileId] = frozenset()
        self._late: set[FileId] = set()
        self._held: list[ForkGuard] = []
        self._guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()
        self._lock = allocate_lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    def add(self, guard: ForkGuard) -> None:
        with self._lock:
            self._guards.add(guard)

    def _before(self) -> None:
        self._lock.acquire()
        clock = SystemClock()
        deadline = clock.monotonic() + _PATIENCE
        for guard in list(self._guards):
            if guard.lock.acquire(timeout=max(0.0, deadline - clock.monotonic())):
                self._held.append(guard)
            if guard not in self._held or not _closed(guard):
                self._late.update(filter(None, [_file_id(guard.path)]))

    def _in_parent(self) -> None:
        held, self._held = self._held, []
        self._late.clear()
        for guard in held:
            guard.lock.release()
        self._lock.release()

    def _in_child(self) -> None:
        self.carried |= self._late
        self._in_parent()
        # The parent's users do not exist here; those that are late would be waited for in vain.
        self._guards = weakref.WeakSet()


def _closed(guard: ForkGuard) -> bool:
    try:
        guard.close()
    except Exception:  # noqa: BLE001  (there is nobody to tell; the child does not get the file)
        return False
    return True


def _file_id(path: Path | None) -> FileId | None:
    try:
        found = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


_process = _Process()
