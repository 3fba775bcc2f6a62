"""The databases that are kept of each version: migrated, killed on the way, verified, and run."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import peewee
import pendulum
import pytest

import kalends
from kalends import Registry
from kalends.storage import migrations
from kalends.storage.engine import Storage
from kalends.storage.sqlite import SqliteDialect
from kalends.testing import VirtualScheduler
from kalends.testing.ledger import dump

pytestmark = pytest.mark.on_sqlite

NOW = migrations.SCHEMA
DIRECTORY = Path(__file__).parents[1] / "data" / "databases"
KEPT = {int(path.stem.removeprefix("schema-")): path for path in DIRECTORY.glob("schema-*.db")}
OLDER = sorted(version for version in KEPT if version < NOW)
LATER = pendulum.datetime(2027, 3, 1, tz="UTC")
"""When all that the kept databases tell of has long been due."""
CHILD = """
import os, signal, sys
from pathlib import Path
from kalends.storage.engine import Storage
from kalends.storage.sqlite import SqliteDialect

left = int(sys.argv[2])
migrate = SqliteDialect.migrate

def traced(self, db):
    def trace(*_):
        global left
        left -= 1
        if not left:
            print("there", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return True
    db.connection().set_exec_trace(trace)
    migrate(self, db)

SqliteDialect.migrate = traced
Storage(SqliteDialect(Path(sys.argv[1]), durability="full", busy_timeout=1.0)).open()
"""


def open_at(path: Path) -> Storage:
    storage = Storage(SqliteDialect(path, durability="full", busy_timeout=0.5))
    storage.open()
    return storage


def look(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


def recorded(path: Path) -> tuple[int, int]:
    """The version by the table and by the header of the file."""
    ((told,),) = look(path, "SELECT value FROM kalends_meta WHERE key = 'schema'")
    ((user,),) = look(path, "PRAGMA user_version")
    return int(told), int(user)


def migrated(path: Path) -> bytes:
    """Open and close it; all that it holds then, of a file that is sound."""
    storage = open_at(path)
    content = storage.read(dump).get()
    storage.close(5.0)
    assert look(path, "PRAGMA integrity_check") == [("ok",)]
    assert recorded(path) == (NOW, NOW)
    return content


class Snapshots:
    """What a kill would leave of a database before each statement of its migration."""

    def __init__(self, path: Path, directory: Path) -> None:
        self._path = path
        self._directory = directory
        self.statements: list[str] = []
        self.different: dict[str, Path] = {}
        """One of each, by a hash of its files."""

    def take(self, statement: str) -> None:
        """Copy the file and its log, which hold all that the system would keep."""
        self.statements.append(statement)
        found = {
            suffix: Path(f"{self._path}{suffix}").read_bytes()
            for suffix in ("", "-wal")
            if Path(f"{self._path}{suffix}").exists()
        }
        digest = hashlib.sha256(b"|".join(found.values())).hexdigest()
        if digest not in self.different:
            place = self.different[digest] = self._directory / f"{len(self.different)}.db"
            for suffix, content in found.items():
                Path(f"{place}{suffix}").write_bytes(content)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have one taken before each statement, from now on, of a cache that holds few pages."""
        migrate = SqliteDialect.migrate

        def traced(dialect: SqliteDialect, db: peewee.Database) -> None:
            connection = db.connection()
            # What does not fit goes to the log before the commit: so it is with large databases.
            connection.execute("PRAGMA cache_size=4; PRAGMA cache_spill=1")

            def trace(_cursor: apsw.Cursor, statement: str, _values: Any) -> bool:
                self.take(statement)
                return True

            connection.set_exec_trace(trace)
            migrate(dialect, db)
            connection.set_exec_trace(None)
            self.take("afterwards")

        monkeypatch.setattr(SqliteDialect, "migrate", traced)


def test_a_database_of_each_version_before_this_one_is_kept() -> None:
    assert set(range(1, NOW)) <= set(KEPT) <= set(range(1, NOW + 1))
    for version, path in KEPT.items():
        assert recorded(path) == (version, version)


@pytest.mark.parametrize("version", OLDER)
def test_a_migration_cut_off_before_any_statement_is_none(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, straight = tmp_path / "x.db", tmp_path / "straight.db"
    for copy in (path, straight):
        shutil.copyfile(KEPT[version], copy)
    whole = migrated(straight)
    (tmp_path / "cut").mkdir()
    snapshots = Snapshots(path, tmp_path / "cut")
    with monkeypatch.context() as patch:
        snapshots.watch(patch)
        open_at(path).close(5.0)
    assert snapshots.statements[-2:] == ["COMMIT", "afterwards"]
    assert len(snapshots.statements) > 5
    *before, after = snapshots.different.values()
    assert len(before) > 1, "what is not committed is on the disk"
    for cut in before:
        assert recorded(cut) == (version, version)
        assert migrated(cut) == whole
    assert recorded(after) == (NOW, NOW)
    assert migrated(after) == whole


def killed(path: Path, statement: int) -> None:
    """Have a process migrate it that is killed before this statement."""
    environ = {**os.environ, "PYTHONPATH": str(Path(kalends.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(path), str(statement)],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"there\n"), done.stderr


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Any]:
    """The next life of a scheduler on a database, whatever its jobs are."""
    made: list[VirtualScheduler] = []

    def begin(path: Path) -> VirtualScheduler:
        registry = Registry()
        for (job,) in look(path, "SELECT DISTINCT job FROM events"):
            registry.register(lambda **_: None, job)
        made.append(VirtualScheduler(path, start=LATER, registry=registry))
        return made[-1].start()

    yield begin
    for scheduler in made:
        scheduler.shutdown(0.0)


def goes_on(scheduler: VirtualScheduler) -> None:
    """It settles what was open, accounts for what was missed, and fires."""
    active = scheduler.list_events(status="active", limit=1000).items
    repeating = {event.id for event in active if event.trigger.count(LATER, LATER.add(minutes=15))}
    assert repeating
    scheduler.advance(900.0)
    found = scheduler.verify(integrity=True)
    assert [item.words for item in found.violations] == []
    assert found.events >= len(active)
    for event_id in repeating:
        event = scheduler.get_event(event_id)
        assert event.next_due is None or event.next_due > scheduler.now
    assert scheduler.count_executions(fate="succeeded", since=LATER) >= len(repeating)
    assert scheduler.count_executions(fate="running") == 0
    assert not [item for item in scheduler.overdue() if item.event_id in repeating]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("version", OLDER)
def test_a_process_killed_in_the_middle_of_a_migration_has_done_nothing_and_the_next_one_runs(
    version: int, tmp_path: Path, life: Any
) -> None:
    path = tmp_path / "x.db"
    shutil.copyfile(KEPT[version], path)
    killed(path, 5)
    assert recorded(path) == (version, version)
    goes_on(life(path))
    assert recorded(path) == (NOW, NOW)


@pytest.mark.parametrize("version", sorted(KEPT))
def test_a_scheduler_starts_on_a_kept_database_and_fires(
    version: int, tmp_path: Path, life: Any
) -> None:
    path = tmp_path / "x.db"
    shutil.copyfile(KEPT[version], path)
    goes_on(life(path))
