"""A disk that fills, fails, tears and turns read-only under a running scheduler.

While it does, the scheduler is degraded, says so, and begins nothing that is not durable;
afterwards it goes on by itself, and the accounts are whole. The disks are an SQLite VFS for each
call that can fail, and a real small file system for what a disk itself does.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from kalends import Registry, Scheduler, StorageUnavailable, current, every

Until = Callable[..., Any]
KINDS = {"full": apsw.FullError, "io_error": apsw.IOError}


class Disk(apsw.VFS):
    """The system's own files, of which some calls fail, or do half of their work."""

    def __init__(self) -> None:
        self.fault: Callable[[str], None] | None = None
        self.torn = False
        """A write that fails has written half."""
        self.calls = 0
        self.base = apsw.vfs_names()[0]
        super().__init__("faulty-disk", self.base, makedefault=True)

    def meet(self, call: str) -> None:
        """Fail, where that is wanted."""
        fault = self.fault
        if fault is not None:
            self.calls += 1
            fault(call)

    def fail(self, call: str, kind: str, torn: bool = False) -> None:
        """From now on this call fails so."""

        def fault(met: str) -> None:
            if met == call:
                raise KINDS[kind]("injected")

        self.torn = torn
        self.fault = fault

    def heal(self) -> None:
        """All goes well again."""
        self.fault, self.torn = None, False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  (SQLite's name)
        disk = self

        class File(apsw.VFSFile):
            def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  (SQLite's name)
                try:
                    disk.meet("xWrite")
                except apsw.Error:
                    if disk.torn:
                        super().xWrite(data[: len(data) // 2], offset)
                    raise
                super().xWrite(data, offset)

            def xSync(self, flags: int) -> None:  # noqa: N802  (SQLite's name)
                disk.meet("xSync")
                super().xSync(flags)

            def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  (SQLite's name)
                disk.meet("xRead")
                return super().xRead(amount, offset)

        return File(self.base, name, flags)


class Rig:
    """A scheduler with a job that ticks, and what the job says of itself."""

    def __init__(self, path: Path, until: Until) -> None:
        self.path = path
        self.until = until
        self.ran: list[str] = []
        registry = Registry()
        registry.register(lambda: self.ran.append(current().execution_id), "tick")
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


@pytest.fixture
def disk() -> Iterator[Disk]:
    default = apsw.vfs_names()[0]
    made = Disk()
    yield made
    made.heal()
    made.unregister()
    apsw.set_default_vfs(default)


@pytest.fixture
def make_rig(until: Until) -> Iterator[Callable[[Path], Rig]]:
    made: list[Rig] = []

    def make(path: Path) -> Rig:
        made.append(Rig(path, until))
        return made[-1]

    yield make
    for rig in made:
        rig.scheduler.shutdown(5.0)


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(
    ("call", "kind", "torn"),
    [
        ("xWrite", "full", False),
        ("xWrite", "io_error", False),
        ("xWrite", "io_error", True),
        ("xSync", "io_error", False),
        ("xSync", "full", False),
    ],
)
def test_whatever_the_disk_refuses_nothing_is_lost_and_it_goes_on_by_itself(
    disk: Disk, make_rig: Any, tmp_path: Path, call: str, kind: str, torn: bool
) -> None:
    rig = make_rig(tmp_path / "k.db")
    for _ in range(3):
        disk.fail(call, kind, torn)
        rig.degrades(kind)
        disk.heal()
        rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
def test_while_the_disk_fails_there_are_pauses_between_the_attempts(
    disk: Disk, make_rig: Any, tmp_path: Path, until: Until
) -> None:
    rig = make_rig(tmp_path / "k.db")
    disk.fail("xWrite", "full")
    rig.degrades("full")
    pause = threading.Event()
    assert not pause.wait(1.0)  # by now the pauses are as long as they get
    before = disk.calls
    assert not pause.wait(1.0)
    assert disk.calls - before < 200, "no busy loop"
    disk.heal()
    rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
def test_a_disk_that_fails_now_and_then_loses_nothing(
    disk: Disk, make_rig: Any, tmp_path: Path
) -> None:
    rig = make_rig(tmp_path / "k.db")
    rng = random.Random(6)

    def sometimes(call: str) -> None:
        if call in ("xWrite", "xSync") and rng.random() < 0.05:
            raise apsw.IOError("injected")

    disk.fault = sometimes
    ran = len(rig.ran)
    rig.until(lambda: len(rig.ran) > ran + 30, 60.0)
    assert rig.scheduler.status().state in ("running", "degraded")
    disk.heal()
    rig.goes_on()
    rig.scheduler.pause_event(rig.event.id)
    rig.until(lambda: rig.scheduler.count_executions(fate="pending") == 0)
    assert [item.words for item in rig.scheduler.verify(integrity=True).violations] == []
    assert len(set(rig.ran)) == len(rig.ran)


def test_a_disk_that_fails_at_the_very_end_is_told_of_and_loses_nothing(
    disk: Disk, make_rig: Any, tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    rig = make_rig(tmp_path / "k.db")
    disk.fail("xWrite", "io_error")
    rig.degrades("io_error")
    rig.scheduler.shutdown(1.0)
    assert "close_failed" in [entry["event"] for entry in logged]
    disk.heal()
    rig.scheduler.start()
    rig.goes_on()
    rig.scheduler.pause_event(rig.event.id)
    assert [item.words for item in rig.scheduler.verify(integrity=True).violations] == []


# -- a real one --------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "kalends-test", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("it takes root to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def fill(place: Path) -> Path:
    """Leave no room on the file system."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    continue
    return filler


@pytest.mark.usefixtures("logged")
def test_a_file_system_without_room_is_survived(make_rig: Any, small: Path) -> None:
    rig = make_rig(small / "k.db")
    for _ in range(3):
        filler = fill(small)
        rig.degrades("full")
        filler.unlink()
        rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
def test_without_room_for_a_database_the_start_fails_clearly_and_leaves_nothing(
    make_rig: Any, small: Path
) -> None:
    filler = fill(small)
    with pytest.raises(Exception) as refused:  # noqa: PT011  (looked at below)
        make_rig(small / "k.db")
    assert getattr(refused.value, "code", None) in ("STORAGE_REFUSED", "STORAGE_UNAVAILABLE")
    assert [path.name for path in small.iterdir()] == ["filler"]
    filler.unlink()
    make_rig(small / "k.db").adds_up()


@pytest.mark.usefixtures("logged")
def test_a_file_system_that_turns_read_only_is_survived(make_rig: Any, small: Path) -> None:
    rig = make_rig(small / "k.db")
    remount = ["mount", "-o", "remount", str(small)]
    # Files that are open for writing keep a file system from turning read-only: it is the disk
    # that fails then, and the kernel that turns it. So the scheduler is stopped for the moment.
    rig.scheduler.shutdown(5.0)
    subprocess.run([*remount[:2], "remount,ro", remount[3]], check=True, capture_output=True)
    with pytest.raises(Exception) as refused:  # noqa: PT011  (looked at below)
        rig.scheduler.start()
    assert getattr(refused.value, "code", None) == "STORAGE_REFUSED"
    assert "read_only" in str(getattr(refused.value, "details", ""))
    subprocess.run([*remount[:2], "remount,rw", remount[3]], check=True, capture_output=True)
    rig.scheduler.start()
    rig.goes_on()
    rig.adds_up()
