"""What an attacker, a careless neighbour or a spoilt file must not cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pendulum
import pytest

from kalends import (
    Registry,
    Scheduler,
    StorageRefused,
    StorageUnavailable,
    ValidationFailed,
    every,
    once,
)

FAR = pendulum.datetime(2999, 1, 1, tz="UTC")
VISIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(len(connection.execute("SELECT name FROM events").fetchall()))
connection.close()
"""


def make(path: Path, **settings: Any) -> Scheduler:
    registry = Registry()
    registry.register(lambda: None, "job")
    return Scheduler(path, registry=registry, environ={}, **settings)


def visit(path: Path) -> int:
    """Another process looks into the file and closes it; how many events it saw."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", VISIT, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_second_scheduler_on_the_file_does_not_end_the_locks_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    with make(path) as first, make(path):
        first.schedule_event("job", once(FAR))
        wal = os.stat(f"{path}-wal").st_ino
        assert visit(path) == 1
        # Without locks the visitor would have been the last to close, and removed the log.
        assert os.stat(f"{path}-wal").st_ino == wal
        first.schedule_event("job", once(FAR))
        assert visit(path) == 2


def test_a_relative_path_means_the_same_file_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    scheduler = make(Path("k.db"))
    with scheduler:
        scheduler.schedule_event("job", once(FAR))
    monkeypatch.chdir(tmp_path / "elsewhere")
    with scheduler:
        assert scheduler.count_events() == 1
    assert not (tmp_path / "elsewhere" / "k.db").exists()


def test_waits_that_time_out_leave_nothing_behind(tmp_path: Path) -> None:
    with make(tmp_path / "k.db") as scheduler:
        system = scheduler._system
        assert system is not None
        before = len(system.over._callbacks)
        for _ in range(100):
            assert scheduler.wait(timeout=0) is False
        assert len(system.over._callbacks) == before


@pytest.mark.parametrize("junk", ["1", b"", [], object(), True])
def test_a_time_out_that_is_none_is_refused(tmp_path: Path, junk: Any) -> None:
    with make(tmp_path / "k.db") as scheduler:
        future = scheduler.events.count()
        with pytest.raises(ValidationFailed) as refusal:
            future.get(timeout=junk)
        assert refusal.value.details["path"] == "timeout"


def test_threads_that_change_one_event_each_get_their_own_answer(tmp_path: Path) -> None:
    with make(tmp_path / "k.db") as scheduler:
        event = scheduler.schedule_event("job", every(seconds=0.005))
        wrong: list[Any] = []
        versions: list[int] = []

        def change(mine: str) -> None:
            for number in range(100):
                note = f"{mine}-{number}"
                answer = scheduler.update_event(event.id, note=note)
                versions.append(answer.version)
                if answer.note != note:
                    wrong.append((note, answer.note))

        threads = [threading.Thread(target=change, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(set(versions)) == len(versions) == 200


SPOILT = [
    "UPDATE events SET next_due = 4611686018427387904",
    "UPDATE events SET status = 'weird'",
    "UPDATE events SET name = CAST(x'ff61' AS TEXT)",
    "UPDATE events SET created_at = -9223372036854775808",
]


@pytest.mark.parametrize("sql", SPOILT)
def test_a_spoilt_row_is_an_answer_and_crashes_nobody(tmp_path: Path, sql: str) -> None:
    with make(tmp_path / "k.db") as scheduler:
        event = scheduler.schedule_event("job", once(FAR))
        other = apsw.Connection(str(tmp_path / "k.db"))
        other.set_busy_timeout(5000)
        other.execute(sql)
        other.close()
        for _ in range(10):
            for ask in (lambda: scheduler.get_event(event.id), scheduler.list_events):
                try:
                    ask()
                except (StorageRefused, StorageUnavailable):
                    continue
        status = scheduler.status()
        assert [actor.restarts for actor in status.actors] == [0, 0, 0, 0]


def test_a_column_takes_no_value_of_another_type(tmp_path: Path) -> None:
    with make(tmp_path / "k.db") as scheduler:
        scheduler.schedule_event("job", once(FAR))
        other = apsw.Connection(str(tmp_path / "k.db"))
        other.set_busy_timeout(5000)
        with pytest.raises(apsw.ConstraintError):
            other.execute("UPDATE events SET next_due = 'abc'")
        other.close()


@pytest.mark.parametrize(
    "sql",
    ["UPDATE kalends_meta SET value = '0'", "DROP TABLE attempts", "DELETE FROM kalends_meta"],
)
def test_a_database_that_lacks_something_is_refused(tmp_path: Path, sql: str) -> None:
    with make(tmp_path / "k.db"):
        pass
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute(sql)
    other.close()
    with pytest.raises(StorageRefused) as refusal:
        make(tmp_path / "k.db").start()
    assert refusal.value.details["reason"] == "corrupt"


def test_a_database_found_corrupt_is_not_claimed_on(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    path = tmp_path / "k.db"
    scheduler = make(path, claim_ahead=0.0).start()
    scheduler.schedule_events(
        [{"job": "job", "trigger": every(seconds=0.05), "name": f"e{n}"} for n in range(50)]
    )
    system = scheduler._system
    assert system is not None
    system.storage.upkeep().get()
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    until(lambda: scheduler.status().storage == "corrupt")
    before = system.storage.commits
    with pytest.raises(StorageUnavailable):
        scheduler.schedule_event("job", once(FAR))
    assert scheduler.status().state == "degraded"
    assert system.storage.commits == before
    scheduler.shutdown(0)
