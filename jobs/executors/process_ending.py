"""The end of a worker process: when it comes, how it came, and bringing it about.

Promises: the end is noticed at once, whatever still holds the process's files, because its parent
hears of it: this process, on a thread that waits for nothing else, or the fork server. ``kill``
never signals a number that is another process's by now. Nothing of ``multiprocessing`` waits for
the process, or signals it, when the host or a process that the host forks exits.

A program may take exit statuses away from Kalends: gevent does, in a patched host that runs
subprocesses, and so does ``waitpid(-1)`` anywhere. A thread that waits already is nearly always
faster than they are; behind a fork server nobody is in the way.
"""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import signal
import sys
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from kalends.native import NativeThread, allocate_lock

__all__ = ["Ending", "ending_of"]


class Ending(Protocol):
    """How one process ends. All of it may be used from any thread."""

    @property
    def door(self) -> int:
        """What ``multiprocessing.connection.wait`` finds ready when the process ends, until
        somebody asks how it ended.
        """

    def wait(self, patience: float) -> bool:
        """Wait so many seconds for it; whether it has ended."""

    @property
    def exit_code(self) -> int | None:
        """Once it has ended: its exit code, or the number of the signal that killed it, negative.

        None where somebody else has taken it.
        """

    def kill(self) -> None:
        """End it now, and the processes of its group. A second call changes nothing."""

    def close(self) -> None:
        """Give back what waiting takes. It has ended, or is given up."""


def ending_of(process: BaseProcess, *, direct: bool) -> Ending:
    """The end of a process that was just started: ``direct``, by this one and not by a fork server.

    Raises ``RuntimeError`` where the system gives no thread; the process is killed then.
    """
    # Multiprocessing signals and joins those on its list at the exit of this process, or of a
    # forked copy of it. There is no public way off it.
    getattr(multiprocessing.process, "_children", set()).discard(process)
    return _Awaited(process) if direct and sys.platform != "win32" else _Reported(process)


class _Reported:
    """Multiprocessing hears of it: from the fork server, or by the handle of the process."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self._over = False

    @property
    def door(self) -> int:
        return self._process.sentinel

    def wait(self, patience: float) -> bool:
        self._over = self._over or bool(wait([self.door], patience))
        return self._over

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        if not self.wait(0.0):
            _kill_group(self._process.pid)
            self._process.kill()

    def close(self) -> None:
        """Its files are closed with the last reference to it."""


class _Awaited:
    """A thread waits for it."""

    def __init__(self, process: BaseProcess) -> None:
        assert process.pid is not None, "it was started"
        self._pid = process.pid
        self._process = process
        """Kept: its files tell the process that its parent lives."""
        self._lock = allocate_lock()
        self._over = False
        """True once its number may be another's."""
        self._code: int | None = None
        self._door, self._bell = os.pipe()
        try:
            NativeThread(self._watch, "kalends-process-end").start()
        except BaseException:
            os.kill(self._pid, signal.SIGKILL)
            self._watch()
            self.close()
            raise

    @property
    def door(self) -> int:
        return self._door

    def wait(self, patience: float) -> bool:
        return self._over or bool(wait([self._door], patience))

    @property
    def exit_code(self) -> int | None:
        return self._code

    def kill(self) -> None:
        with self._lock:
            if not self._over:
                _kill_group(self._pid)
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        os.close(self._door)

    def _watch(self) -> None:
        # First it is left as it is, a zombie whose number nobody else gets, until nobody here would
        # signal it.
        self._code = _exit_code(self._pid, os.WNOWAIT)
        with self._lock:
            self._over = True
        _exit_code(self._pid, 0)
        # Written, not only closed: a process that the host forked may hold the other end.
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(self._bell, b"\n")
        os.close(self._bell)


def _exit_code(pid: int, option: int) -> int | None:
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | option)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _kill_group(pid: int | None) -> None:
    """Kill what the process leads: nothing yet before it is ready, and not what left its group."""
    if pid is not None and sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
