"""Disks that fail, and a scheduler on one that knows what it has run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from kalends import Registry, Scheduler, StorageUnavailable, current, every

__all__ = ["EXTENDED", "KINDS", "Disk", "Rig"]

Until = Callable[..., Any]
KINDS: dict[str, type[apsw.Error]] = {"full": apsw.FullError, "io_error": apsw.IOError}
EXTENDED = {
    "xWrite": apsw.SQLITE_IOERR_WRITE,  # also what SQLite makes of a write to what is read-only now
    "xSync": apsw.SQLITE_IOERR_FSYNC,
    "xRead": apsw.SQLITE_IOERR_READ,
    "xFileSize": apsw.SQLITE_IOERR_FSTAT,
    "xLock": apsw.SQLITE_IOERR_LOCK,
    "xOpen": apsw.SQLITE_IOERR_ACCESS,
}
"""What SQLite itself says where the system refuses one of these calls."""


class Disk(apsw.VFS):
    """The system's own files, of which some calls fail, take their time, or do half of their work.

    A fault may be about the database alone, or about the log that commits go to (``of="-wal"``).
    """

    def __init__(self) -> None:
        self.fault: Callable[[str, str], None] | None = None
        """Asked before each call: which, and of which file, by the end of its name."""
        self.torn = False
        """A write that fails has written half."""
        self.calls = 0
        self.struck = 0
        self.base = apsw.vfs_names()[0]
        super().__init__("faulty-disk", self.base, makedefault=True)

    def meet(self, call: str, of: str) -> None:
        """Fail or wait, where that is wanted."""
        fault = self.fault
        if fault is not None:
            self.calls += 1
            fault(call, of)

    def fail(self, call: str, kind: str, torn: bool = False, of: str | None = None) -> None:
        """From now on this call fails so."""

        def fault(met: str, file: str) -> None:
            if met == call and of in (None, file):
                self.struck += 1
                error: Any = KINDS[kind]("injected")
                if kind == "io_error":
                    error.extendedresult = EXTENDED[call]
                raise error

        self.torn = torn
        self.fault = fault

    def delay(self, call: str, seconds: float, of: str | None = None) -> None:
        """From now on this call takes so long."""

        def fault(met: str, file: str) -> None:
            if met == call and of in (None, file):
                self.struck += 1
                threading.Event().wait(seconds)

        self.fault = fault

    def heal(self) -> None:
        """All goes well again."""
        self.fault, self.torn = None, False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  (SQLite's name)
        told = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        of = "-wal" if told.endswith("-wal") else ""
        self.meet("xOpen", of)
        return File(self, of, name, flags)


class File(apsw.VFSFile):
    """One file of such a disk."""

    def __init__(
        self, disk: Disk, of: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__(disk.base, name, flags)
        self._disk, self._of = disk, of

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  (SQLite's name)
        try:
            self._disk.meet("xWrite", self._of)
        except apsw.Error:
            if self._disk.torn:
                super().xWrite(data[: len(data) // 2], offset)
            raise
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  (SQLite's name)
        self._disk.meet("xSync", self._of)
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  (SQLite's name)
        self._disk.meet("xRead", self._of)
        return super().xRead(amount, offset)

    def xFileSize(self) -> int:  # noqa: N802  (SQLite's name)
        self._disk.meet("xFileSize", self._of)
        return super().xFileSize()

    def xLock(self, level: int) -> None:  # noqa: N802  (SQLite's name)
        self._disk.meet("xLock", self._of)
        super().xLock(level)


class Rig:
    """A scheduler with a job that ticks, and what the job says of itself."""

    def __init__(self, path: Path, until: Until) -> None:
        self.path = path
        self.until = until
        self.ran: list[str] = []
        registry = Registry()
        registry.register(lambda: self.ran.append(current().execution_id), "tick")
        registry.register(lambda _: None, "big")
        self.scheduler = Scheduler(path, registry=registry, environ={}, busy_timeout=0.05)
        self.scheduler.start()
        self.event = self.scheduler.schedule_event(
            "tick", every(seconds=0.05), catch_up="all", overlap="allow_all"
        )
        self.goes_on()

    @property
    def state(self) -> str:
        return str(self.scheduler.status().state)

    def goes_on(self) -> None:
        """Several more run, and the scheduler says that all is well."""
        count = len(self.ran)
        self.until(lambda: len(self.ran) > count + 2 and self.state == "running", 30.0)

    def degrades(self, reason: str) -> None:
        """It says so, and refuses; what begins no more is nothing that was not durable before."""
        self.until(lambda: self.state == "degraded", 30.0)
        assert self.scheduler.status().storage == reason
        with pytest.raises(StorageUnavailable):
            self.scheduler.schedule_event("tick", every(hours=1), name="refused")

    def looks(self) -> int:
        """How many executions of it have succeeded, as one sees who runs nothing."""
        with Scheduler(self.path, registry=Registry(), environ={}, enabled=False) as looking:
            assert looking.verify().ok
            return looking.count_executions(fate="succeeded")

    def adds_up(self) -> None:
        """Each run has its row, each row its run, and the ledger is whole."""
        scheduler = self.scheduler
        scheduler.pause_event(self.event.id)
        self.until(lambda: not scheduler.status().unrecorded)
        self.until(lambda: scheduler.count_executions(fate="pending") == 0)
        found = scheduler.verify(integrity=True)
        assert [item.words for item in found.violations] == []
        assert scheduler.count_executions(fate="succeeded") == len(self.ran) == len(set(self.ran))
        assert scheduler.count_events(name="refused") == 0
        assert [actor.restarts for actor in scheduler.status().actors] == [0, 0, 0, 0]
