"""Migrations: forward, one transaction, killed half-way, the old version is whole."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import peewee
import pendulum
import pytest

import kalends
from kalends import Registry, Scheduler
from kalends.errors import StorageRefused
from kalends.storage import migrations
from kalends.storage.engine import Storage
from kalends.storage.models import TABLES
from kalends.storage.sqlite import SqliteDialect
from kalends.testing import ManualClock

pytestmark = pytest.mark.on_sqlite

CHILD = """
import os, signal, sys
from pathlib import Path
from kalends.storage import migrations
from kalends.storage.engine import Storage
from kalends.storage.sqlite import SqliteDialect

def step(db):
    db.execute_sql("ALTER TABLE events ADD COLUMN colour TEXT")
    db.execute_sql("INSERT INTO kalends_meta VALUES ('half', 'done')")
    print("half-way", flush=True)
    signal.pause()

migrations.MIGRATIONS[migrations.SCHEMA + 1] = step
migrations.SCHEMA += 1
Storage(SqliteDialect(Path(sys.argv[1]), durability="full", busy_timeout=1.0)).open()
"""


NOW = migrations.SCHEMA
KEPT = Path(__file__).parents[1] / "data" / "databases"
"""Databases as older versions wrote them."""


def open_at(path: Path) -> Storage:
    storage = Storage(SqliteDialect(path, durability="full", busy_timeout=0.5))
    storage.open()
    return storage


def columns(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        found = {row[1] for row in db.execute("PRAGMA table_info(events)")}
    db.close()
    return found


def version(path: Path) -> tuple[str, int]:
    with sqlite3.connect(path) as db:
        told = db.execute("SELECT value FROM kalends_meta WHERE key = 'schema'").fetchone()[0]
        user = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    return told, user


def add_colour(db: peewee.Database) -> None:
    db.execute_sql("ALTER TABLE events ADD COLUMN colour TEXT")


def test_an_older_database_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    open_at(path).close(5.0)
    one, two = NOW + 1, NOW + 2
    monkeypatch.setattr(migrations, "SCHEMA", two)
    monkeypatch.setattr(
        migrations,
        "MIGRATIONS",
        {one: add_colour, two: lambda db: db.execute_sql("DROP TABLE tags")},
    )
    open_at(path).close(5.0)
    assert "colour" in columns(path)
    assert version(path) == (str(two), two)


def test_a_step_that_fails_leaves_the_old_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    open_at(path).close(5.0)

    def fail(db: peewee.Database) -> None:
        add_colour(db)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCHEMA", NOW + 1)
        patch.setattr(migrations, "MIGRATIONS", {NOW + 1: fail})
        with pytest.raises(ZeroDivisionError):
            open_at(path)
    assert version(path) == (str(NOW), NOW)
    assert "colour" not in columns(path)
    open_at(path).close(5.0)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_half_way_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_at(path).close(5.0)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(kalends.__file__).parent.parent)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"half-way\n"
    child.send_signal(signal.SIGKILL)
    child.wait(20)
    child.stdout.close()
    open_at(path).close(5.0)
    assert version(path) == (str(NOW), NOW)
    assert "colour" not in columns(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT * FROM kalends_meta WHERE key = 'half'").fetchall() == []
    db.close()


def test_a_database_that_is_up_to_date_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_at(path).close(5.0)
    before = path.read_bytes()
    open_at(path).close(5.0)
    assert path.read_bytes() == before


def test_a_newer_version_is_refused_by_the_steps_themselves(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    storage = open_at(path)
    refused = storage.write(lambda db: migrations.migrate(db, {}, 0))
    with pytest.raises(StorageRefused) as caught:
        refused.get(timeout=5.0)
    assert caught.value.details == {"reason": "newer_schema", "found": NOW, "known": 0}
    storage.close(5.0)


def schema(path: Path) -> dict[str, object]:
    """What the database is made of: its tables' columns, in any order, and its indexes' text."""
    with sqlite3.connect(path) as db:
        objects = db.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        found: dict[str, object] = {}
        for kind, name, sql in objects:
            if kind == "table":
                rows = db.execute(f"PRAGMA table_info({name})").fetchall()
                found[name] = sorted(row[1:] for row in rows)
            elif sql is not None:
                found[name] = " ".join(sql.replace('"', "").split())
    db.close()
    return found


@pytest.mark.parametrize("kept", sorted(KEPT.glob("*.db")), ids=lambda path: path.stem)
def test_a_database_of_each_older_version_becomes_what_a_new_one_is(
    kept: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    shutil.copyfile(kept, old)
    open_at(old).close(5.0)
    open_at(new).close(5.0)
    assert schema(old) == schema(new)
    assert version(old) == (str(NOW), NOW)


def test_what_was_open_in_version_1_is_taken_and_what_is_recorded_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(KEPT / "schema-1.db", path)
    ran = threading.Event()
    registry = Registry()
    registry.register(lambda **_: None, "work")
    registry.register(lambda: None, "boom")
    registry.register(ran.set, "hold")
    clock = ManualClock(pendulum.datetime(2027, 1, 1, 2))
    with Scheduler(path, registry=registry, clock=clock, environ={}) as scheduler:
        assert ran.wait(20)  # an execution that its process had left open
        events = scheduler.list_events().items
        assert len(events) == 5
        assert all(event.paused_until is None for event in events)
        steady = next(event for event in events if event.name == "steady")
        recorded = scheduler.list_executions(event_id=steady.id, fate="failed").items
        assert len(recorded) >= 6
        assert not any(execution.cancel_requested for execution in recorded)


def test_events_of_version_1_get_the_copies_of_their_policies(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(KEPT / "schema-1.db", path)
    with closing(apsw.Connection(str(path))) as old:
        (name, text), *_ = old.execute("SELECT name, policies FROM events ORDER BY id").fetchall()
        beside = str(text).replace('"overlap":"skip"', '"overlap":"allow_all"')
        assert beside != text
        old.execute("UPDATE events SET policies = ? WHERE name = ?", (beside, name)).fetchall()
    open_at(path).close(5.0)
    with closing(apsw.Connection(str(path))) as new:
        found = new.execute("SELECT name, serial, priority, limit_name FROM events").fetchall()
    assert {(serial, priority, limit) for _, serial, priority, limit in found} == {
        (0, 0, None),
        (1, 0, None),
    }
    assert [each for each, serial, *_ in found if not serial] == [name]


def test_every_model_is_bound_to_no_database(tmp_path: Path) -> None:
    one, two = open_at(tmp_path / "1.db"), open_at(tmp_path / "2.db")
    assert [table for table in TABLES if table._meta.database is not None] == []
    one.close(5.0)
    two.close(5.0)


@pytest.mark.parametrize("kept", ["schema-2.db", "schema-3.db"])
def test_what_versions_2_and_3_wrote_is_read_and_can_be_cancelled(
    kept: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(KEPT / kept, path)
    registry = Registry()
    clock = ManualClock(pendulum.datetime(2027, 1, 1, 2, 1, 40))
    asks: dict[str, Any] = {"registry": registry, "clock": clock, "environ": {}, "enabled": False}
    with Scheduler(path, **asks) as scheduler:
        events = {event.name: event.id for event in scheduler.list_events().items}
        (told,) = scheduler.list_executions(event_id=events["cancelling"], fate="running").items
        assert told.cancel_requested
        assert (told.progress, told.note, told.attempts[0].log) == (None, None, ())
        (waits,) = scheduler.list_executions(event_id=events["waiting"]).items
        over = scheduler.cancel_execution(waits.id, author="ada")
        assert (over.fate, over.reason) == ("cancelled", "requested")
        assert [attempt.outcome for attempt in over.attempts] == ["failed"]
        assert scheduler.verify().ok
