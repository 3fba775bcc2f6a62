"""A database that cannot be used for a while: nothing is acknowledged, and it heals by itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import peewee
import pytest

from kalends.errors import StorageUnavailable
from kalends.futures import Future
from kalends.storage.engine import Storage
from kalends.storage.models import MetaRow

pytestmark = pytest.mark.on_sqlite

Open = Callable[..., Storage]
WAIT = 20.0


def put(key: str, size: int = 1) -> Callable[[peewee.Database], int]:
    return lambda db: MetaRow.insert(key=key, value="x" * size).execute(db)


def keys(db: peewee.Database) -> list[str]:
    query = MetaRow.select(MetaRow.key).where(MetaRow.key != "schema").order_by(MetaRow.key)
    return [key for (key,) in query.tuples().execute(db)]


def hold(begun: threading.Event, may_end: threading.Event) -> Callable[[peewee.Database], None]:
    """A unit that says that it has begun and waits until it may end."""

    def unit(db: peewee.Database) -> None:
        begun.set()
        assert may_end.wait(WAIT)

    return unit


def refusal(future: Future[Any]) -> StorageUnavailable:
    with pytest.raises(StorageUnavailable) as caught:
        future.get(timeout=WAIT)
    return caught.value


def test_a_locked_database_is_refused_after_the_time_out_and_recovers(
    tmp_path: Path, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage(busy_timeout=0.1)
    other = apsw.Connection(str(tmp_path / "kalends.db"))
    other.execute("BEGIN IMMEDIATE")
    waiting = [storage.write(put(f"{n}")) for n in range(40)]
    assert {refusal(future).details["reason"] for future in waiting} == {"locked"}
    assert storage.health.reason == "locked"
    assert storage.read(keys).get(timeout=WAIT) == [], "reading goes on"
    other.execute("ROLLBACK")
    storage.write(put("after")).get(timeout=WAIT)
    assert storage.health.reason is None
    assert storage.read(keys).get(timeout=WAIT) == ["after"]
    other.close()
    told = [entry["event"] for entry in logged]
    assert told == ["storage_degraded", "storage_recovered"], "each change is told once"


def test_a_short_lock_is_waited_for(tmp_path: Path, open_storage: Open) -> None:
    storage = open_storage(busy_timeout=10.0)
    other = apsw.Connection(str(tmp_path / "kalends.db"))
    other.execute("BEGIN IMMEDIATE")
    future = storage.write(put("a"))
    asked = threading.Event()
    other.execute("SELECT 1")
    future.add_done_callback(lambda _: asked.set())
    assert not asked.wait(0.05), "it waits"
    other.execute("ROLLBACK")
    other.close()
    future.get(timeout=WAIT)


def test_a_transaction_takes_the_write_lock_before_it_reads(
    tmp_path: Path, open_storage: Open
) -> None:
    storage = open_storage()
    other = apsw.Connection(str(tmp_path / "kalends.db"))
    begun, may_end = threading.Event(), threading.Event()

    def reading_unit(db: peewee.Database) -> list[str]:
        found = keys(db)
        begun.set()
        assert may_end.wait(WAIT)
        put("mine")(db)  # under a deferred BEGIN this would fail: the snapshot is old by now
        return found

    future = storage.write(reading_unit)
    assert begun.wait(WAIT)
    with pytest.raises(apsw.BusyError):
        other.execute("BEGIN IMMEDIATE")
    may_end.set()
    assert future.get(timeout=WAIT) == []
    other.close()


def test_a_full_disk_refuses_what_does_not_fit_and_takes_what_does(
    open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage()

    def limit(db: peewee.Database, more: int) -> None:
        connection = db.connection()
        pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
        connection.execute(f"PRAGMA max_page_count={pages + more}").fetchall()

    storage.write(lambda db: limit(db, 3)).get(timeout=WAIT)
    gate, go = threading.Event(), threading.Event()
    storage.write(hold(gate, go))
    assert gate.wait(WAIT)
    small, huge, other = (
        storage.write(put("a")),
        storage.write(put("huge", 1_000_000)),
        storage.write(put("b")),
    )
    go.set()
    assert refusal(huge).details["reason"] == "full"
    small.get(timeout=WAIT)
    other.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b"]
    storage.write(lambda db: limit(db, 10_000)).get(timeout=WAIT)
    storage.write(put("huge", 1_000_000)).get(timeout=WAIT)
    assert storage.health.reason is None


def test_a_deleted_file_is_noticed_before_anything_is_acknowledged(
    tmp_path: Path, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage()
    path = tmp_path / "kalends.db"
    aside = tmp_path / "aside.db"
    os.rename(path, aside)
    assert refusal(storage.write(put("a"))).details["reason"] == "replaced"
    assert not path.exists(), "no silent new file"
    os.rename(aside, path)
    storage.write(put("b")).get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["b"]


def test_a_replaced_file_is_noticed(
    tmp_path: Path, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage()
    path = tmp_path / "kalends.db"
    os.rename(path, tmp_path / "aside.db")
    path.write_bytes(b"something else")
    assert refusal(storage.write(put("a"))).details["reason"] == "replaced"
    assert path.read_bytes() == b"something else"


class _Disk(apsw.VFS):
    """The system's own files, whose flushing fails while ``failing`` is set."""

    failing = False
    room: int | None = None
    """How long a file may become, in bytes; None: as long as it likes."""

    def __init__(self) -> None:
        self._base = apsw.vfs_names()[0]
        super().__init__("failing-disk", self._base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  (SQLite's name)
        disk = self

        class File(apsw.VFSFile):
            def xSync(self, flags: int) -> None:  # noqa: N802  (SQLite's name)
                if disk.failing:
                    raise apsw.IOError("the disk does not flush")
                super().xSync(flags)

            def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  (SQLite's name)
                if disk.room is not None and offset + len(data) > disk.room:
                    raise apsw.FullError("the disk is full")
                super().xWrite(data, offset)

        return File(self._base, name, flags)


@pytest.fixture
def disk() -> Iterator[_Disk]:
    default = apsw.vfs_names()[0]
    made = _Disk()
    yield made
    made.unregister()
    apsw.set_default_vfs(default)


def test_a_commit_that_the_disk_does_not_take_says_that_its_outcome_is_unknown(
    disk: _Disk, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage(durability="full")
    storage.write(put("a")).get(timeout=WAIT)
    disk.failing = True
    error = refusal(storage.write(put("b")))
    assert (error.details["reason"], error.details["outcome"]) == ("io_error", "unknown")
    assert storage.health.reason == "io_error"
    disk.failing = False
    storage.write(put("c")).get(timeout=WAIT)
    assert storage.health.reason is None
    assert storage.read(keys).get(timeout=WAIT) == ["a", "c"]
    assert storage.close(WAIT)


def test_a_unit_that_fills_the_disk_at_the_commit_does_not_take_its_neighbours_along(
    disk: _Disk, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage()
    gate, go = threading.Event(), threading.Event()
    storage.write(hold(gate, go))
    assert gate.wait(WAIT)
    small, huge, other = (
        storage.write(put("a")),
        storage.write(put("huge", 500_000)),  # stays in the page cache until the commit
        storage.write(put("b")),
    )
    disk.room = 100_000
    go.set()
    small.get(timeout=WAIT)
    assert refusal(huge).details["reason"] == "full"
    other.get(timeout=WAIT)
    assert storage.read(keys).get(timeout=WAIT) == ["a", "b"]
    disk.room = None
    storage.write(put("huge", 500_000)).get(timeout=WAIT)
    assert storage.close(WAIT)


def test_with_full_durability_an_answer_means_that_the_disk_was_flushed(
    disk: _Disk, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    careless = open_storage("normal.db", durability="normal")
    careful = open_storage("full.db", durability="full")
    for storage in (careless, careful):
        storage.write(put("a")).get(timeout=WAIT)
    disk.failing = True
    careless.write(put("b")).get(timeout=WAIT)
    refusal(careful.write(put("b")))
    disk.failing = False
    assert careless.close(WAIT)
    assert careful.close(WAIT)


def test_a_group_whose_beginning_is_refused_waits_for_the_lock_once(
    tmp_path: Path, open_storage: Open, logged: list[dict[str, Any]]
) -> None:
    storage = open_storage(busy_timeout=0.2)
    gate, go = threading.Event(), threading.Event()
    storage.write(hold(gate, go))
    assert gate.wait(WAIT)
    waiting = [storage.write(put(f"{n}")) for n in range(300)]
    other = apsw.Connection(str(tmp_path / "kalends.db"))
    other.set_busy_timeout(int(WAIT * 1000))
    locking = threading.Thread(target=lambda: other.execute("BEGIN IMMEDIATE"))
    locking.start()
    go.set()
    locking.join(WAIT)
    for future in waiting:
        try:
            future.get(timeout=WAIT)  # 300 waits of 0.2 s would be a minute
        except StorageUnavailable:
            continue
    other.close()
