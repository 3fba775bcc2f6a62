"""Migrations: forward, one transaction, killed half-way, the old version is whole."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import peewee
import pytest

import kalends
from kalends.errors import StorageRefused
from kalends.storage import migrations
from kalends.storage.engine import Storage
from kalends.storage.models import TABLES
from kalends.storage.sqlite import SqliteDialect

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

migrations.MIGRATIONS[2] = step
migrations.SCHEMA = 2
Storage(SqliteDialect(Path(sys.argv[1]), durability="full", busy_timeout=1.0)).open()
"""


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
    monkeypatch.setattr(migrations, "SCHEMA", 3)
    monkeypatch.setattr(
        migrations, "MIGRATIONS", {2: add_colour, 3: lambda db: db.execute_sql("DROP TABLE tags")}
    )
    open_at(path).close(5.0)
    assert "colour" in columns(path)
    assert version(path) == ("3", 3)


def test_a_step_that_fails_leaves_the_old_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    open_at(path).close(5.0)

    def fail(db: peewee.Database) -> None:
        add_colour(db)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCHEMA", 2)
        patch.setattr(migrations, "MIGRATIONS", {2: fail})
        with pytest.raises(ZeroDivisionError):
            open_at(path)
    assert version(path) == ("1", 1)
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
    assert version(path) == ("1", 1)
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
    assert caught.value.details == {"reason": "newer_schema", "found": 1, "known": 0}
    storage.close(5.0)


def test_every_model_is_bound_to_no_database(tmp_path: Path) -> None:
    one, two = open_at(tmp_path / "1.db"), open_at(tmp_path / "2.db")
    assert [table for table in TABLES if table._meta.database is not None] == []
    one.close(5.0)
    two.close(5.0)
