"""Real file systems that fill up and turn read-only under a running scheduler."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kalends import StorageRefused, StorageUnavailable


def run(*command: str) -> None:
    """Run a command of the system. Raises ``OSError`` or ``CalledProcessError``."""
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "kalends-test", str(place))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("it takes root to mount a file system")
    yield place
    run("umount", "-l", str(place))


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
def test_on_a_file_system_that_is_mounted_read_only_the_start_is_refused_until_it_is_not(
    make_rig: Any, small: Path
) -> None:
    rig = make_rig(small / "k.db")
    rig.scheduler.shutdown(5.0)
    run("mount", "-o", "remount,ro", str(small))
    with pytest.raises(StorageRefused) as refused:
        rig.scheduler.start()
    assert refused.value.details["reason"] == "read_only"
    assert rig.looks() == len(rig.ran)
    run("mount", "-o", "remount,rw", str(small))
    rig.scheduler.start()
    rig.goes_on()
    rig.adds_up()


class Failing:
    """A file system of its own that its kernel turns read-only when it finds an error there.

    One that has files open for writing cannot be turned so from outside.
    """

    def __init__(self, directory: Path) -> None:
        self.place = directory / "failing"
        self._image = directory / "image"
        self.place.mkdir()

    def make(self) -> None:
        """Make it. Raises ``OSError`` or ``CalledProcessError`` where that is not allowed."""
        with self._image.open("wb") as file:
            file.truncate(16 * 2**20)
        run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.place))
        device = os.stat(self.place).st_dev
        block = os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        self._trigger = Path("/sys/fs/ext4", Path(block).name, "trigger_fs_error")

    def fail(self) -> None:
        """Have the kernel find an error."""
        self._trigger.write_text("1")

    def repair(self) -> None:
        """As somebody would who looks after the machine: only what nobody has open."""
        run("umount", str(self.place))
        subprocess.run(["e2fsck", "-fy", str(self._image)], check=False, capture_output=True)
        self.mount()

    def remove(self) -> None:
        """Unmount it, where it is mounted."""
        if os.path.ismount(self.place):
            run("umount", "-l", str(self.place))


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    made = Failing(tmp_path)
    try:
        made.make()
        yield made
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("it takes root, mkfs.ext4 and a loop device to make a file system")
    finally:
        made.remove()


@pytest.mark.usefixtures("logged")
def test_a_file_system_that_the_kernel_turns_read_only_is_survived(
    make_rig: Any, failing: Failing
) -> None:
    rig = make_rig(failing.place / "k.db")
    try:
        failing.fail()
    except OSError:
        pytest.skip("this kernel finds no errors on demand")
    rig.degrades("io_error")
    assert rig.scheduler.count_executions(fate="succeeded") > 0, "reading goes on"
    durable = rig.scheduler.count_executions()
    threading.Event().wait(0.3)
    assert len(rig.ran) <= durable, "nothing begins without a durable claim"
    began = time.monotonic()
    report = rig.scheduler.shutdown(1.0)
    assert time.monotonic() - began < 20.0
    assert report.unrecorded + rig.looks() >= len(rig.ran), "it says what it could not write"
    # Some kernels say so when they are asked, others only to who tries to write.
    with pytest.raises((StorageRefused, StorageUnavailable)) as refused:
        rig.scheduler.start()
    assert refused.value.details["reason"] == "read_only"
    failing.repair()
    rig.scheduler.start()
    rig.goes_on()
    rig.scheduler.pause_event(rig.event.id)
    rig.until(lambda: rig.scheduler.count_executions(fate="pending") == 0)
    assert rig.scheduler.verify(integrity=True).ok
    # A flush that meets the moment of the turn is answered by this kernel and not done: what was
    # committed by it is lost with the unmount, and runs again. All that is recorded has run.
    assert rig.scheduler.count_executions(fate="succeeded") <= len(set(rig.ran))
