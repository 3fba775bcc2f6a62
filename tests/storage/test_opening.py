"""Opening a database file: made whole or not at all, and what is not ours is left as it was."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

import kalends
from kalends.errors import KalendsError, StorageRefused, ValidationFailed
from kalends.settings import Settings
from kalends.storage import open_storage as open_by_name
from kalends.storage.engine import Storage
from kalends.storage.migrations import SCHEMA
from kalends.storage.models import MetaRow
from kalends.storage.sqlite import SqliteDialect

pytestmark = pytest.mark.on_sqlite

Open = Callable[..., Storage]
POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


def picture(directory: Path) -> dict[str, bytes | None]:
    """Everything in a directory, byte for byte."""
    return {
        path.name: path.read_bytes() if path.is_file() else None for path in directory.iterdir()
    }


def refusal(path: Path) -> StorageRefused:
    """What opening ``path`` is refused with; checks that nothing was touched by it."""
    before = picture(path.parent) if path.parent.is_dir() else {}
    storage = Storage(SqliteDialect(path, durability="full", busy_timeout=0.2))
    with pytest.raises(StorageRefused) as caught:
        storage.open()
    assert (picture(path.parent) if path.parent.is_dir() else {}) == before
    assert caught.value.details["path"] == str(path)
    assert str(path) in caught.value.message
    return caught.value


def make(path: Path) -> None:
    """A whole database, closed, with enough in it to fill some pages."""
    storage = Storage(SqliteDialect(path, durability="full", busy_timeout=0.2))
    storage.open()
    storage.write(
        lambda db: [MetaRow.insert(key=f"key-{n}", value="x" * 500).execute(db) for n in range(100)]
    ).get(timeout=10.0)
    assert storage.close(10.0)


@POSIX
def test_the_file_and_its_companions_are_for_their_owner_alone(
    tmp_path: Path, open_storage: Open
) -> None:
    open_storage("mine.db").write(lambda db: MetaRow.insert(key="a", value="b").execute(db)).get(
        timeout=10.0
    )
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"mine.db": 0o600, "mine.db-wal": 0o600, "mine.db-shm": 0o600}


def test_nothing_is_left_beside_a_database_that_was_closed(tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    assert os.listdir(tmp_path) == ["x.db"]


def test_a_creation_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(db: object) -> None:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr("kalends.storage.migrations.create", fail)
    assert refusal(tmp_path / "x.db").details["reason"] == "unreachable"
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*names: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    make(tmp_path / "x.db")
    assert os.listdir(tmp_path) == ["x.db"]


def test_processes_that_create_one_file_at_once_share_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from kalends.storage.engine import Storage\n"
        "from kalends.storage.models import MetaRow\n"
        "from kalends.storage.sqlite import SqliteDialect\n"
        "sys.stdin.readline()\n"
        "s = Storage(SqliteDialect(Path(sys.argv[1]), durability='full', busy_timeout=10.0))\n"
        "s.open()\n"
        "s.write(lambda db: MetaRow.insert(key=sys.argv[2], value='1').execute(db)).get()\n"
        "s.close(10.0)\n"
    )
    path = tmp_path / "x.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), f"child-{n}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(kalends.__file__).parent.parent)},
        )
        for n in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=50)
        assert child.returncode == 0, errors.decode()
    assert os.listdir(tmp_path) == ["x.db"]
    with sqlite3.connect(path) as db:
        found = [key for (key,) in db.execute("SELECT key FROM kalends_meta ORDER BY key")]
    assert found == ["child-0", "child-1", "child-2", "child-3", "schema"]


# -- refusals ----------------------------------------------------------------------------------


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    assert refusal(tmp_path / "x.db").details["reason"] == "not_a_database"


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\x00", b"x" * 10_000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    assert refusal(tmp_path / "x.db").details["reason"] == "not_a_database"


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_application_is_refused(tmp_path: Path, mode: str) -> None:
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute("CREATE TABLE kalends_meta (key, value)")
    db.close()
    assert refusal(tmp_path / "x.db").details["reason"] == "foreign"


def test_a_newer_schema_in_the_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, 60, SCHEMA + 1)
    path.write_bytes(data)
    error = refusal(path)
    assert error.details["reason"] == "newer_schema"
    assert f"version {SCHEMA + 1}" in error.message


def test_a_newer_schema_in_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE kalends_meta SET value = '99' WHERE key = 'schema'")
    db.close()
    assert refusal(path).details["reason"] == "newer_schema"


@pytest.mark.parametrize("value", ["", "one", "-1"])
def test_an_unreadable_schema_version_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.db"
    make(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE kalends_meta SET value = ? WHERE key = 'schema'", [value])
    db.close()
    assert refusal(path).details["reason"] == "corrupt"


@pytest.mark.parametrize("left", [0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path: Path, left: float) -> None:
    path = tmp_path / "x.db"
    make(path)
    os.truncate(path, int(path.stat().st_size * left))
    assert refusal(path).details["reason"] == "corrupt"


def test_a_large_file_cut_short_is_refused_by_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kalends.storage.sqlite_file._CHECKED_WHOLE", 0)  # not page by page
    path = tmp_path / "x.db"
    make(path)
    os.truncate(path, int(path.stat().st_size * 0.9))
    found = refusal(path)
    assert found.details["reason"] == "corrupt"
    assert "cut short" in found.message


@pytest.mark.parametrize("page", [1, 2, -1])
def test_a_damaged_page_is_refused(tmp_path: Path, page: int) -> None:
    path = tmp_path / "x.db"
    make(path)
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    start = (page % pages) * 4096
    data[start : start + 4096] = os.urandom(4096)
    path.write_bytes(data)
    assert refusal(path).details["reason"] == "corrupt"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").mkdir()
    assert refusal(tmp_path / "x.db").details["reason"] == "not_a_database"


@POSIX
def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.db")
    storage = Storage(SqliteDialect(tmp_path / "x.db", durability="full", busy_timeout=0.2))
    with pytest.raises(StorageRefused):
        storage.open()


def test_a_missing_directory_is_refused_and_not_made(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nowhere" / "x.db")
    assert error.details["reason"] == "unreachable"
    assert os.listdir(tmp_path) == []


@POSIX
def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").symlink_to(tmp_path / "gone" / "y.db")
    assert refusal(tmp_path / "x.db").details["reason"] == "unreachable"


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    (tmp_path / "x.db").chmod(0o400)
    assert refusal(tmp_path / "x.db").details["reason"] == "read_only"
    (tmp_path / "x.db").chmod(0o600)


@POSIX
@pytest.mark.parametrize("existing", [False, True])
def test_a_read_only_directory_is_refused(tmp_path: Path, existing: bool) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    if existing:
        make(shelf / "x.db")
    script = (
        "import os, sys; from pathlib import Path\n"
        "from kalends.storage.engine import Storage\n"
        "from kalends.storage.sqlite import SqliteDialect\n"
        "from kalends.errors import StorageRefused\n"
        "s = Storage(SqliteDialect(Path(sys.argv[1]), durability='full', busy_timeout=0.2))\n"
        "if os.geteuid() == 0:\n"
        "    for parent in [Path(sys.argv[1]).parent, *Path(sys.argv[1]).parents[1:4]]:\n"
        "        parent.chmod(parent.stat().st_mode | 0o555)\n"
        "    if Path(sys.argv[1]).exists(): os.chown(sys.argv[1], 65534, 65534)\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)  # root may write everywhere\n"
        "try:\n"
        "    s.open()\n"
        "except StorageRefused as error:\n"
        "    sys.exit(0 if error.details['reason'] == sys.argv[2] else str(error.details))\n"
        "sys.exit('it was opened')\n"
    )
    before = picture(shelf)
    shelf.chmod(0o555)
    environment = {**os.environ, "PYTHONPATH": str(Path(kalends.__file__).parent.parent)}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(shelf / "x.db"),
            "read_only" if existing else "unreachable",
        ],
        capture_output=True,
        timeout=50,
        env=environment,
        check=False,
    )
    shelf.chmod(0o755)
    assert done.returncode == 0, done.stderr.decode()
    assert picture(shelf) == before


def test_a_database_whose_last_process_was_killed_is_opened_with_all_it_had(
    tmp_path: Path, open_storage: Open
) -> None:
    source = open_storage("a.db")
    source.write(lambda db: MetaRow.insert(key="k", value="v").execute(db)).get(timeout=10.0)
    for suffix in ("", "-wal"):  # what a killed process leaves: the log is not in the main file yet
        (tmp_path / f"b.db{suffix}").write_bytes((tmp_path / f"a.db{suffix}").read_bytes())
    copy = open_storage("b.db")
    query = MetaRow.select(MetaRow.value).where(MetaRow.key == "k").tuples()
    assert copy.read(lambda db: list(query.execute(db))).get(timeout=10.0) == [("v",)]


def test_a_newer_schema_that_only_the_log_tells_of_is_refused(
    tmp_path: Path, open_storage: Open
) -> None:
    source = open_storage("a.db")
    source.write(
        lambda db: MetaRow.update(value="99").where(MetaRow.key == "schema").execute(db)
    ).get(timeout=10.0)
    for suffix in ("", "-wal"):
        (tmp_path / f"b.db{suffix}").write_bytes((tmp_path / f"a.db{suffix}").read_bytes())
    storage = Storage(SqliteDialect(tmp_path / "b.db", durability="full", busy_timeout=0.2))
    with pytest.raises(StorageRefused) as caught:
        storage.open()
    assert caught.value.details["reason"] == "newer_schema"


# -- settings and names ------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_the_level_of_synchronous_on_the_writer(
    open_storage: Open, durability: str, level: int
) -> None:
    storage = open_storage(durability=durability)
    asked = storage.write(
        lambda db: [
            db.connection().execute(f"PRAGMA {name}").fetchall()[0][0]
            for name in ("synchronous", "journal_mode", "mmap_size")
        ]
    )
    assert asked.get(timeout=10.0) == [level, "wal", 0]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sqlite:///some.db", Path("some.db").absolute()),
        ("sqlite:////tmp/some%20file.db", Path("/tmp/some file.db")),
        ("sqlite://", None),
        (":memory:", None),
        (Path("some.db"), Path("some.db").absolute()),
    ],
)
@POSIX
def test_a_database_is_named_by_url_or_path(name: str, path: Path | None) -> None:
    assert open_by_name(name, Settings()).dialect.path == path


@pytest.mark.parametrize("name", ["", 3, None, "a\0b", "oracle://host/db", "mysql://x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises((StorageRefused, ValidationFailed)) as caught:
        open_by_name(name, Settings())
    assert isinstance(caught.value, KalendsError)


@pytest.mark.parametrize("name", ["sqlite://x.db", "sqlite://srv/x.db"])
def test_a_sqlite_url_of_two_slashes_is_told_how_many_it_needs(name: str) -> None:
    with pytest.raises(StorageRefused, match="has three slashes before a relative path") as caught:
        open_by_name(name, Settings())
    assert "not supported" not in caught.value.message
    assert caught.value.details["reason"] == "unsupported_url"
