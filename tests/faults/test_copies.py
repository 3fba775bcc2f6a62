"""A copy of the file alone, without the log beside it, or with the log of another time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pendulum
import pytest

from kalends import Registry, Scheduler, StorageRefused, every
from kalends.testing import ManualClock

START = pendulum.datetime(2027, 1, 1, tz="UTC")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Scheduler]:
    """A scheduler at work, whose latest commits are in the log and not yet in the file."""
    with _open(tmp_path / "source.db") as scheduler:
        for number in range(50):
            scheduler.schedule_event("work", every(hours=1), name=f"event-{number}")
        yield scheduler


def _open(path: Path) -> Scheduler:
    registry = Registry()
    registry.register(lambda: None, "work")
    return Scheduler(path, registry=registry, clock=ManualClock(START), environ={}, enabled=False)


def _checkpoint(path: Path) -> None:
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 0
    connection.close()


def test_a_copy_without_its_log_is_older_and_whole(source: Scheduler, tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    _checkpoint(path)
    source.schedule_event("work", every(hours=1), name="in the log alone")
    assert (tmp_path / "source.db-wal").stat().st_size > 0
    shutil.copy(path, tmp_path / "copy.db")
    with _open(tmp_path / "copy.db") as copy:
        assert copy.count_events() == 50
        assert copy.verify(integrity=True).ok


@pytest.mark.parametrize("later", [1, 350, 2000])
def test_a_copy_beside_the_log_of_an_earlier_time_is_refused_and_left_untouched(
    source: Scheduler, tmp_path: Path, later: int
) -> None:
    path, copy = tmp_path / "source.db", tmp_path / "copy.db"
    _checkpoint(path)
    source.pause_event(source.list_events().items[0].id)
    stale = (tmp_path / "source.db-wal").read_bytes()
    source.schedule_events([{"job": "work", "trigger": every(hours=1)} for _ in range(later)])
    _checkpoint(path)
    shutil.copy(path, copy)
    before = copy.read_bytes()
    (tmp_path / "copy.db-wal").write_bytes(stale)
    with pytest.raises(StorageRefused) as refusal, _open(copy):
        pass
    assert refusal.value.details["reason"] == "corrupt"
    assert copy.read_bytes() == before


def test_a_copy_beside_its_own_log_is_whole(source: Scheduler, tmp_path: Path) -> None:
    path, copy = tmp_path / "source.db", tmp_path / "copy.db"
    _checkpoint(path)
    source.pause_event(source.list_events().items[0].id)
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    with _open(copy) as scheduler:
        assert scheduler.count_events(status="paused") == 1
        assert scheduler.verify(integrity=True).ok


def test_a_copy_that_was_taken_by_the_databases_own_means_has_everything(
    source: Scheduler, tmp_path: Path
) -> None:
    connection = apsw.Connection(str(tmp_path / "source.db"))
    connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    connection.close()
    with _open(tmp_path / "copy.db") as copy:
        assert copy.count_events() == 50
        assert copy.verify(integrity=True).ok
