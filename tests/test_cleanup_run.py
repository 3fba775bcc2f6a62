"""Clean-up on a real disk: real trees, links, hard links, fifos and databases."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalends import cleanup, cleanup_walk
from kalends.cleanup import CleanupReport, CleanupRule, run_rule
from kalends.errors import ValidationFailed

NOW_S = 1_900_000_000
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs links and fifos of POSIX")

Clean = Callable[..., CleanupReport]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    declared = tmp_path.resolve() / "declared"
    declared.mkdir()
    return declared


@pytest.fixture(
    params=[
        pytest.param(
            False,
            id="by handle",
            marks=pytest.mark.skipif(not cleanup_walk.DIRECTORY_HANDLES, reason="no dir_fd here"),
        ),
        pytest.param(True, id="by path"),
    ]
)
def clean(request: pytest.FixtureRequest, place: Path) -> Clean:
    """Run a rule over ``place``, once for each way of walking; by default all old files go."""

    def run(
        protected: tuple[Path, ...] = (),
        before_delete: Callable[[str], None] | None = None,
        **values: object,
    ) -> CleanupReport:
        given: dict[str, object] = {"name": "r", "directory": str(place), "pattern": "*"}
        if not {"keep_last", "max_total_bytes"} & set(values):
            given["older_than"] = 60
        report = run_rule(
            CleanupRule(**(given | values)),  # type: ignore[arg-type]  # values of many types
            now_us=NOW_S * 1_000_000,
            protected=[str(path) for path in protected],
            before_delete=before_delete,
            by_path=request.param,
        )
        accounted = len(report.removed) + report.kept + report.skipped_count + report.vanished
        assert report.examined == accounted
        assert report.freed_bytes == sum(gone.bytes for gone in report.removed)
        assert msgspec.json.decode(msgspec.json.encode(report), type=CleanupReport) == report
        return report

    return run


def make(path: Path, age_s: float = 3600, size: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    return path


def removed(report: CleanupReport) -> set[str]:
    return {os.path.basename(gone.path) for gone in report.removed}


def skipped(report: CleanupReport) -> dict[str, str]:
    return {os.path.basename(each.path): each.why for each in report.skipped}


# ---------------------------------------------------------------------------------- what is removed
def test_old_files_go_and_young_ones_and_other_names_stay(place: Path, clean: Clean) -> None:
    old, young, other = make(place / "a.log"), make(place / "b.log", 1), make(place / "a.txt")
    report = clean(pattern="*.log")
    assert not old.exists()
    assert young.exists()
    assert other.exists()
    assert report.removed == (cleanup.Removed(str(old), 5, "older_than"),)
    assert (report.examined, report.kept, report.freed_bytes) == (2, 1, 5)
    assert (report.rule, report.directory, report.error) == ("r", str(place), None)
    assert (report.started_us, report.truncated) == (NOW_S * 1_000_000, False)


def test_the_newest_stay(place: Path, clean: Clean) -> None:
    for age in (10, 20, 30, 40):
        make(place / f"backup-{age}", age)
    assert removed(clean(keep_last=2)) == {"backup-30", "backup-40"}
    assert {path.name for path in place.iterdir()} == {"backup-10", "backup-20"}


def test_a_dry_run_reports_the_same_and_removes_nothing(place: Path, clean: Clean) -> None:
    make(place / "a")
    make(place / "b")
    os.link(place / "b", place / "b2")
    dry = clean(dry_run=True)
    assert dry.dry_run
    assert {path.name for path in place.iterdir()} == {"a", "b", "b2"}
    wet = clean()
    assert dry.removed == wet.removed
    assert dry.freed_bytes == wet.freed_bytes == 10
    assert list(place.iterdir()) == []


def test_folders_are_entered_only_on_request_and_never_removed(place: Path, clean: Clean) -> None:
    deep = make(place / "sub" / "deeper" / "a.log")
    assert removed(clean()) == set()
    assert deep.exists()
    assert removed(clean(recursive=True)) == {"a.log"}
    assert deep.parent.is_dir()


def test_the_newest_are_chosen_from_the_whole_tree(place: Path, clean: Clean) -> None:
    make(place / "one" / "a", 10)
    make(place / "two" / "b", 20)
    make(place / "c", 30)
    assert removed(clean(recursive=True, keep_last=1)) == {"b", "c"}


def test_a_name_of_a_hard_linked_file_goes_and_frees_nothing(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    os.link(make(place / "a", size=1000), tmp_path / "elsewhere")
    report = clean()
    assert removed(report) == {"a"}
    assert report.freed_bytes == 0
    assert (tmp_path / "elsewhere").stat().st_size == 1000


@POSIX
def test_hostile_names_are_removed_and_recorded_on_one_line(place: Path, clean: Clean) -> None:
    names = [b"new\nline", b"\xff\xfe", b"-rf", b"*", b"a b", b"\x1b[2J", "snø".encode()]
    for name in names:
        path = os.path.join(os.fsencode(place), name)
        Path(os.fsdecode(path)).touch()
        os.utime(path, (0, 0))
    report = clean()
    assert len(report.removed) == len(names)
    assert os.listdir(place) == []
    assert all(gone.path.isprintable() for gone in report.removed)
    assert str(place / "new\\nline") in {gone.path for gone in report.removed}
    assert str(place / "snø") in {gone.path for gone in report.removed}


# ---------------------------------------------------------------------------------- what never goes
@POSIX
def test_links_are_neither_removed_nor_followed(place: Path, tmp_path: Path, clean: Clean) -> None:
    outside = make(tmp_path / "outside" / "precious")
    (place / "to-file").symlink_to(outside)
    (place / "to-folder").symlink_to(outside.parent)
    (place / "to-nothing").symlink_to("nowhere")
    (place / "to-itself").symlink_to(place)
    report = clean(recursive=True)
    assert report.removed == ()
    links = ("to-file", "to-folder", "to-nothing", "to-itself")
    assert skipped(report) == dict.fromkeys(links, "a symbolic link")
    assert outside.exists()
    assert len(list(place.iterdir())) == 4


@POSIX
def test_fifos_and_sockets_are_left_alone_and_do_not_block(place: Path, clean: Clean) -> None:
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(place, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/sock" if sys.platform == "linux" else "sock")
        finally:
            os.close(here)
    os.utime(place / "fifo", (0, 0))
    os.utime(place / "sock", (0, 0))
    finished: list[CleanupReport] = []
    worker = threading.Thread(target=lambda: finished.append(clean(recursive=True)), daemon=True)
    worker.start()
    worker.join(timeout=10)
    assert skipped(finished[0]) == dict.fromkeys(("fifo", "sock"), "not a regular file")
    assert (place / "fifo").exists()
    assert (place / "sock").exists()


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_the_database_and_its_companions_stay(place: Path, clean: Clean, ending: str) -> None:
    base = place / "kalends.db"
    own = make(place / f"kalends.db{ending}")
    backup = make(place / "kalends.db-2031")
    report = clean(protected=(base,))
    assert own.exists()
    assert not backup.exists()
    assert skipped(report) == {own.name: "belongs to the database"}


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_another_name_of_the_database_stays(
    place: Path, tmp_path: Path, clean: Clean, ending: str
) -> None:
    base = tmp_path / "kalends.db"
    os.link(make(tmp_path / f"kalends.db{ending}"), place / "innocent.log")
    report = clean(protected=(base,))
    assert (place / "innocent.log").exists()
    assert skipped(report) == {"innocent.log": "belongs to the database"}


def test_the_database_takes_no_place_among_the_newest(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    base = make(tmp_path / "kalends.db", 1)
    os.link(base, place / "another name")
    make(place / "backup-1", 2)
    make(place / "backup-2", 3)
    assert removed(clean(protected=(base,), keep_last=1)) == {"backup-2"}


def test_the_database_is_known_by_name_where_files_have_no_identity(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make(place / "kalends.db")
    monkeypatch.setattr(cleanup_walk.ProtectedFiles, "identities", lambda _self: frozenset())
    assert clean(protected=(own,)).removed == ()
    assert own.exists()


@POSIX
def test_the_database_is_known_behind_a_link(place: Path, tmp_path: Path, clean: Clean) -> None:
    make(place / "kalends.db")
    wal = make(place / "kalends.db-wal")
    (tmp_path / "db").symlink_to(place / "kalends.db")
    assert clean(protected=(tmp_path / "db",)).removed == ()
    assert wal.exists()


def test_a_database_that_appears_during_the_run_stays(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    doomed = make(place / "file")
    report = clean(
        protected=(tmp_path / "kalends.db",),
        before_delete=lambda path: os.link(path, tmp_path / "kalends.db"),
    )
    assert doomed.exists()
    assert skipped(report) == {"file": "belongs to the database"}


@POSIX
def test_nothing_goes_while_the_protected_files_cannot_be_told(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    make(place / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    report = clean(protected=(tmp_path / "loop",))
    assert report.error is not None
    assert report.error.startswith("protected files:")
    assert (place / "file").exists()


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
def test_another_file_system_in_the_tree_is_not_entered(clean: Clean) -> None:
    report = clean(directory="/dev", pattern="kalends-no-such-*", recursive=True, dry_run=True)
    assert skipped(report)["shm"] == "on another file system"


def test_a_tree_deeper_than_the_bound_is_reported(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup_walk, "MAX_DEPTH", 2)
    make(place / "1" / "2" / "in")
    make(place / "1" / "2" / "3" / "out")
    report = clean(recursive=True)
    assert removed(report) == {"in"}
    assert skipped(report) == {"3": "deeper than 2 folders"}


def test_a_tree_wider_than_the_bound_is_reported(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup_walk, "MAX_PENDING", 1)
    make(place / "1" / "a")
    make(place / "2" / "a")
    report = clean(recursive=True)
    assert len(report.removed) == 1
    assert list(skipped(report).values()) == ["more than 1 folders waiting"]


def test_a_run_over_too_many_names_says_so_and_the_next_goes_on(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "MAX_EXAMINED", 2)
    for name in "abc":
        make(place / name)
    first, second = clean(), clean()
    assert (first.truncated, len(first.removed)) == (True, 2)
    assert (second.truncated, len(second.removed)) == (False, 1)


@POSIX
def test_the_list_of_skipped_names_is_bounded_and_the_count_is_not(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "MAX_SKIPPED", 2)
    for name in "abc":
        (place / name).symlink_to("nowhere")
    report = clean()
    assert (len(report.skipped), report.skipped_count) == (2, 3)


# ----------------------------------------------------------------------- the directory and the call
def test_a_missing_directory_is_a_value_in_the_report(place: Path, clean: Clean) -> None:
    place.rmdir()
    report = clean()
    assert report.error == "directory: No such file or directory"
    assert report.examined == 0


def test_a_file_in_place_of_the_directory_is_refused(place: Path, clean: Clean) -> None:
    make(place / "a")
    assert clean(directory=str(place / "a")).error == "directory: a link or no directory on the way"
    assert (place / "a").exists()


@POSIX
@pytest.mark.parametrize("below", ["", "sub"])
def test_a_directory_reached_by_a_link_is_refused(
    place: Path, tmp_path: Path, clean: Clean, below: str
) -> None:
    victim = make(place / below / "a")
    (tmp_path / "link").symlink_to(place)
    report = clean(directory=str(tmp_path.resolve() / "link" / below))
    assert report.error == "directory: a link or no directory on the way"
    assert victim.exists()


def test_the_home_directory_is_known_by_what_it_is(
    place: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "a")
    # As a bind mount would show it: the names differ, the directory is the same.
    other = str(place.parent / "other name")
    real = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **more: real(str(place) if path == other else path, **more)
    )
    monkeypatch.setattr(cleanup, "sacred_directories", lambda: frozenset({other}))
    report = clean()
    assert report.error == "directory: it is the root, the home directory or one above it"
    assert (place / "a").exists()


def test_a_rule_that_was_never_checked_is_refused_before_the_disk_is_touched(
    place: Path, clean: Clean
) -> None:
    make(place / "a")
    for values in ({"directory": "/"}, {"directory": f"{place}/.."}, {"pattern": "../*"}):
        with pytest.raises(ValidationFailed):
            clean(**values)
    with pytest.raises(ValidationFailed):
        clean(older_than=None)
    assert (place / "a").exists()


@pytest.mark.parametrize("protected", ["/data/kalends.db", b"/data", None, 7, [""], ["a\0b"], [7]])
def test_protected_that_protects_nothing_is_refused(place: Path, protected: object) -> None:
    made = CleanupRule.checked(name="r", directory=str(place), pattern="*", older_than=1)
    make(place / "a")
    unfit: Any = protected
    with pytest.raises(ValidationFailed) as refusal:
        run_rule(made, now_us=NOW_S * 1_000_000, protected=unfit)
    assert refusal.value.details["path"].startswith("protected")
    assert (place / "a").exists()
