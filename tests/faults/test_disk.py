"""A disk that fails, tears, and takes its time under a running scheduler: an SQLite VFS.

While it does, the scheduler is degraded, says so, and begins nothing that is not durable;
afterwards it goes on by itself, and the accounts are whole.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.faults.disks import Disk

from kalends import KalendsError, StorageUnavailable, every


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
    disk: Disk, make_rig: Any, tmp_path: Path, until: Callable[..., Any]
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

    def sometimes(call: str, _of: str) -> None:
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


@pytest.mark.usefixtures("logged")
def test_a_disk_that_does_not_read_is_told_of_and_crashes_nobody(
    disk: Disk, make_rig: Any, tmp_path: Path
) -> None:
    rig = make_rig(tmp_path / "k.db")
    rig.scheduler.schedule_events(
        [{"job": "big", "trigger": every(days=900), "args": ["x" * 60_000]} for _ in range(60)]
    )  # more than a reader keeps
    disk.fail("xRead", "io_error")
    with pytest.raises(StorageUnavailable) as refused:
        rig.scheduler.verify(integrity=True)
    assert refused.value.details["reason"] == "io_error"
    assert disk.struck
    disk.heal()
    rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("call", ["xWrite", "xSync"])
def test_after_the_commit_a_disk_that_fails_keeps_the_log_and_nothing_else_from_going_on(
    disk: Disk, make_rig: Any, tmp_path: Path, call: str
) -> None:
    rig = make_rig(tmp_path / "k.db")
    disk.fail(call, "io_error", of="")  # the database itself: what is committed is in the log
    for _ in range(3):
        assert set(rig.scheduler.keep_house().errors) == {"upkeep"}
        ran = len(rig.ran)
        rig.until(lambda ran=ran: len(rig.ran) > ran + 2)
        assert rig.scheduler.status().storage == "ok", "commits are as durable as ever"
    assert disk.struck
    disk.heal()
    assert rig.scheduler.keep_house().errors == {}
    rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(
    ("call", "seconds"), [("xSync", 0.3), ("xWrite", 0.02), ("xSync", 1.5), ("xLock", 0.1)]
)
def test_a_disk_that_takes_its_time_makes_all_late_and_nothing_wrong(
    disk: Disk, make_rig: Any, tmp_path: Path, call: str, seconds: float
) -> None:
    rig = make_rig(tmp_path / "k.db")
    disk.delay(call, seconds)
    ran = len(rig.ran)
    rig.until(lambda: len(rig.ran) > ran + 2, 60.0)
    assert rig.scheduler.count_executions() > 0
    status = rig.scheduler.status()
    assert (status.state, status.storage) == ("running", "ok"), "slow is not broken"
    assert status.stalls == 0, "nobody but the writer waits for it"
    assert disk.struck or call == "xLock"  # a connection that is open holds its lock
    disk.heal()
    rig.goes_on()
    rig.adds_up()


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("call", ["xFileSize", "xOpen", "xLock"])
def test_a_disk_that_fails_while_it_is_opened_fails_the_start_clearly(
    disk: Disk, make_rig: Any, tmp_path: Path, call: str
) -> None:
    rig = make_rig(tmp_path / "k.db")
    rig.scheduler.shutdown(5.0)
    disk.fail(call, "io_error")
    with pytest.raises(KalendsError) as refused:
        rig.scheduler.start()
    assert refused.value.code in ("STORAGE_REFUSED", "STORAGE_UNAVAILABLE")
    assert disk.struck
    disk.heal()
    rig.scheduler.start()
    rig.goes_on()
    rig.adds_up()
