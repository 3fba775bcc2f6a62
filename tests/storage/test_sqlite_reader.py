"""Looking at a database that cannot be written: not a byte changes, and what is seen is true."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest

import kalends
from kalends import Registry, Scheduler, StorageRefused, StorageUnavailable, every, once
from kalends.storage.sqlite_reader import SqliteReader
from kalends.testing import ManualClock

pytestmark = [
    pytest.mark.on_sqlite,
    pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's"),
]
START = pendulum.datetime(2027, 1, 1, tz="UTC")
FAR = pendulum.datetime(2090, 1, 1, tz="UTC")


def registry() -> Registry:
    made = Registry()
    made.register(lambda: None, "work")
    return made


def scheduler_on(path: Path, **settings: Any) -> Scheduler:
    clock = ManualClock(START)
    return Scheduler(path, registry=registry(), clock=clock, environ={}, **settings)


def picture(directory: Path) -> dict[str, tuple[bytes, int]]:
    """All there is in a directory, and when it was last written to."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Path]:
    """A directory with a database of three events that nobody may write to."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with scheduler_on(shelf / "k.db", enabled=False) as scheduler:
        for number in range(3):
            scheduler.schedule_event("work", every(hours=1), name=f"event-{number}")
    protect(shelf, True)
    yield shelf
    protect(shelf, False)


def protect(shelf: Path, on: bool) -> None:
    for path in shelf.iterdir():
        path.chmod(0o444 if on else 0o600)
    shelf.chmod(0o555 if on else 0o755)


def look_at_all(scheduler: Scheduler) -> list[str]:
    """Every kind of look; the names of the events."""
    events = scheduler.list_events(sort="name").items
    event = events[0]
    assert scheduler.get_event(event.id) == event
    assert scheduler.count_executions() == 0
    assert scheduler.list_journal().items
    assert scheduler.preview(event.id, 1)
    assert scheduler.next_runs(limit=1)
    assert scheduler.explain(event.id, FAR) is not None
    assert scheduler.report() is not None
    assert scheduler.verify(integrity=True).ok
    return [item.name for item in events]


NAMES = ["event-0", "event-1", "event-2"]


@pytest.mark.usefixtures("logged")
def test_whoever_runs_nothing_may_look_and_not_a_byte_changes(shelf: Path) -> None:
    before = picture(shelf)
    with scheduler_on(shelf / "k.db", enabled=False) as scheduler:
        assert look_at_all(scheduler) == NAMES
        with pytest.raises(StorageUnavailable, match="only looked at") as refused:
            scheduler.schedule_event("work", once(FAR))
        assert refused.value.details["reason"] == "read_only"
        status = scheduler.status()
        assert (status.state, status.storage) == ("degraded", "read_only")
        scheduler.keep_house()
        assert look_at_all(scheduler) == NAMES
    assert picture(shelf) == before


def test_whoever_is_to_run_something_is_refused(shelf: Path) -> None:
    with pytest.raises(StorageRefused) as refused, scheduler_on(shelf / "k.db"):
        pass
    assert refused.value.details["reason"] == "read_only"


def test_what_can_be_written_is_opened_as_ever(tmp_path: Path) -> None:
    with scheduler_on(tmp_path / "k.db", enabled=False) as scheduler:
        assert not SqliteReader.suits(tmp_path / "k.db")
        scheduler.schedule_event("work", once(FAR))
    assert not SqliteReader.suits(tmp_path / "there is none.db")
    assert not SqliteReader.suits(None)


def test_an_older_schema_is_not_brought_up_to_date_there(tmp_path: Path) -> None:
    kept = Path(__file__).parents[1] / "data" / "databases" / "schema-4.db"
    path = tmp_path / "old.db"
    path.write_bytes(kept.read_bytes())
    path.chmod(0o444)
    with pytest.raises(StorageRefused) as refused, scheduler_on(path, enabled=False):
        pass
    assert refused.value.details["reason"] == "older_schema"
    assert path.read_bytes() == kept.read_bytes()


def test_what_somebody_else_writes_meanwhile_is_seen(
    shelf: Path, until: Callable[..., Any]
) -> None:
    with scheduler_on(shelf / "k.db", enabled=False) as reader:
        assert look_at_all(reader) == NAMES
        protect(shelf, False)  # its owner may
        with scheduler_on(shelf / "k.db", enabled=False) as writer:
            writer.schedule_event("work", every(hours=1), name="while it has it open")
            assert look_at_all(reader) == [*NAMES, "while it has it open"]
            writer.schedule_event("work", every(hours=1), name="x then another")
            assert look_at_all(reader) == [*NAMES, "while it has it open", "x then another"]
        protect(shelf, True)
        assert len(look_at_all(reader)) == 5
    with scheduler_on(shelf / "k.db", enabled=False) as again:
        assert len(look_at_all(again)) == 5


def left_by_a_kill(shelf: Path, *suffixes: str) -> Path:
    """A copy of a database in use, as a kill leaves it: the latest commits are in the log."""
    protect(shelf, False)
    place = shelf.parent / "left"
    place.mkdir()
    with scheduler_on(shelf / "k.db", enabled=False) as scheduler:
        scheduler.schedule_event("work", every(hours=1), name="in the log")
        for suffix in suffixes:
            content = (shelf / f"k.db{suffix}").read_bytes()
            (place / f"k.db{suffix}").write_bytes(content)
    protect(place, True)
    return place


def test_what_a_killed_process_left_in_its_log_is_seen(shelf: Path) -> None:
    place = left_by_a_kill(shelf, "", "-wal", "-shm")
    before = picture(place)
    with scheduler_on(place / "k.db", enabled=False) as reader:
        assert look_at_all(reader) == [*NAMES, "in the log"]
    assert picture(place) == before
    protect(place, False)


def test_a_log_whose_index_is_missing_is_refused_rather_than_left_out(shelf: Path) -> None:
    place = left_by_a_kill(shelf, "", "-wal")
    before = picture(place)
    with pytest.raises(StorageRefused), scheduler_on(place / "k.db", enabled=False):
        pass
    assert picture(place) == before
    protect(place, False)


def test_a_file_that_was_replaced_is_not_looked_at(shelf: Path) -> None:
    with scheduler_on(shelf / "k.db", enabled=False) as reader:
        assert look_at_all(reader) == NAMES
        shelf.chmod(0o755)
        (shelf / "k.db").rename(shelf / "aside.db")
        (shelf / "k.db").write_bytes(b"somebody else's")
        with pytest.raises(StorageUnavailable) as refused:
            reader.count_events()
        assert refused.value.details["reason"] == "replaced"


PROGRAM = """
import os, sys
from kalends import Registry, Scheduler

def look(path):
    with Scheduler(path, registry=Registry(), environ={}, enabled=False) as scheduler:
        return scheduler.count_events(), scheduler.verify().ok

look(":memory:")  # all that is imported on the way
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)  # root may write everywhere
print(*look(sys.argv[1]))
"""


def test_a_process_without_the_right_to_write_may_look(shelf: Path) -> None:
    for parent in shelf.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o555)
    (shelf / "k.db").chmod(0o644)
    before = picture(shelf)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(shelf / "k.db")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(kalends.__file__).parent.parent)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3 True\n"), done.stderr
    assert picture(shelf) == before
