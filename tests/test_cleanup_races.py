"""Clean-up while others change the disk, between the look and the removal."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalends.cleanup import CleanupReport, CleanupRule, FileInfo, run_rule
from kalends.cleanup_walk import DIRECTORY_HANDLES, HandleFolder, PathFolder

NOW_S = 1_900_000_000
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs links of POSIX")
NO_HANDLES = pytest.mark.skipif(not DIRECTORY_HANDLES, reason="no dir_fd here")

Clean = Callable[..., CleanupReport]
Entries = Callable[..., Iterator[tuple[str, bool]]]
Lstat = Callable[..., os.stat_result]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    declared = tmp_path.resolve() / "declared"
    declared.mkdir()
    return declared


@pytest.fixture(
    params=[pytest.param(False, id="by handle", marks=NO_HANDLES), pytest.param(True, id="by path")]
)
def clean(request: pytest.FixtureRequest, place: Path) -> Clean:
    """Remove all old files below ``place``; ``before_delete`` is where the others act."""

    def run(before_delete: Callable[[str], None] | None = None) -> CleanupReport:
        return run_rule(
            CleanupRule(name="r", directory=str(place), pattern="*", older_than=60, recursive=True),
            now_us=NOW_S * 1_000_000,
            protected=[],
            before_delete=before_delete,
            by_path=request.param,
        )

    return run


def make(path: Path, size: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW_S - 3600, NOW_S - 3600))
    return path


def grow(path: str) -> None:
    make(Path(path), size=6)


def removed(report: CleanupReport) -> set[str]:
    return {os.path.basename(gone.path) for gone in report.removed}


def skipped(report: CleanupReport) -> dict[str, str]:
    return {os.path.basename(each.path): each.why for each in report.skipped}


@POSIX
def test_a_link_put_in_place_of_a_file_is_not_followed(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    victim, outside = make(place / "file"), make(tmp_path / "precious")

    def swap(path: str) -> None:
        os.unlink(path)
        os.symlink(outside, path)

    report = clean(before_delete=swap)
    assert skipped(report) == {"file": "changed since it was examined"}
    assert outside.exists()
    assert victim.is_symlink()


@POSIX
def test_a_link_put_in_place_of_a_folder_is_not_followed(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    inside, outside = make(place / "sub" / "file"), tmp_path / "outside"
    outside.mkdir()
    os.link(inside, outside / "file")  # the very same file, so that only the link gives it away

    def swap(_path: str) -> None:
        inside.parent.rename(place / "moved")
        (place / "sub").symlink_to(outside)

    report = clean(before_delete=swap)
    assert skipped(report) == {"file": "a link or no directory on the way"}
    assert (outside / "file").exists()
    assert (place / "moved" / "file").exists()


@POSIX
def test_a_link_put_in_place_of_the_directory_ends_the_run(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    make(place / "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    os.link(place / "a", outside / "a")

    def swap(_path: str) -> None:
        place.rename(tmp_path / "moved")
        place.symlink_to(outside)

    report = clean(before_delete=swap)
    assert report.error == "directory: a link or no directory on the way"
    assert (report.removed, report.kept) == ((), 1)
    assert (outside / "a").exists()
    assert (tmp_path / "moved" / "a").exists()


def test_another_directory_in_place_of_the_directory_ends_the_run(
    place: Path, tmp_path: Path, clean: Clean
) -> None:
    make(place / "a")

    def swap(_path: str) -> None:
        place.rename(tmp_path / "moved")
        place.mkdir()
        os.link(tmp_path / "moved" / "a", place / "a")

    report = clean(before_delete=swap)
    assert report.error == "directory: it was replaced by another directory during the run"
    assert (place / "a").exists()


def test_a_file_that_was_written_to_after_the_scan_stays(place: Path, clean: Clean) -> None:
    victim = make(place / "a")
    report = clean(before_delete=lambda path: os.utime(path, (NOW_S, NOW_S)))
    assert skipped(report) == {"a": "changed since it was examined"}
    assert victim.exists()


def test_a_file_that_grew_under_its_old_time_stays(place: Path, clean: Clean) -> None:
    make(place / "a", size=5)
    assert skipped(clean(before_delete=grow)) == {"a": "changed since it was examined"}
    assert (place / "a").exists()


def test_another_file_of_the_same_name_size_and_time_stays(place: Path, clean: Clean) -> None:
    make(place / "a")
    twin = make(place.parent / "twin")
    report = clean(before_delete=lambda path: os.replace(twin, path))
    assert skipped(report) == {"a": "changed since it was examined"}
    assert (place / "a").exists()


def test_a_folder_in_place_of_a_file_stays(place: Path, clean: Clean) -> None:
    make(place / "a")

    def swap(path: str) -> None:
        os.unlink(path)
        os.mkdir(path)

    assert skipped(clean(before_delete=swap)) == {"a": "changed since it was examined"}
    assert (place / "a").is_dir()


def test_a_vanished_file_is_no_error(place: Path, clean: Clean) -> None:
    make(place / "a")
    report = clean(before_delete=os.unlink)
    assert (report.vanished, report.removed, report.error) == (1, (), None)


def test_a_vanished_folder_is_no_error(place: Path, clean: Clean) -> None:
    make(place / "sub" / "a")

    def vanish(path: str) -> None:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))

    report = clean(before_delete=vanish)
    assert (report.vanished, report.removed, report.error) == (1, (), None)


def test_one_file_that_cannot_be_removed_does_not_keep_the_others(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        make(place / name)
    really = os.unlink

    def stubborn(path: str, *, dir_fd: int | None = None) -> None:
        if os.path.basename(path) == "b":
            raise PermissionError(1, "Operation not permitted", path)
        really(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", stubborn)
    report = clean()
    assert removed(report) == {"a", "c"}
    assert skipped(report) == {"b": "Operation not permitted"}


def meddle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let others act once, after the names of a folder were read and before any is looked at."""
    pending = [act]
    for kind in (HandleFolder, PathFolder):

        def entries(
            self: HandleFolder | PathFolder, really: Entries = kind.entries
        ) -> Iterator[tuple[str, bool]]:
            names = list(really(self))
            while pending:
                pending.pop()()
            yield from names

        monkeypatch.setattr(kind, "entries", entries)


def test_a_name_that_vanishes_while_it_is_looked_at_was_never_there(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "b")
    meddle(monkeypatch, make(place / "a").unlink)
    report = clean()
    assert removed(report) == {"b"}
    assert (report.examined, report.error) == (1, None)


def test_a_folder_that_vanishes_before_it_is_entered_was_never_there(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "b")
    (place / "sub").mkdir()
    meddle(monkeypatch, (place / "sub").rmdir)
    report = clean()
    assert removed(report) == {"b"}
    assert (report.examined, report.error) == (1, None)


@POSIX
def test_a_link_put_in_place_of_a_folder_before_it_is_entered_is_not_followed(
    place: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = make(tmp_path / "outside" / "precious")
    (place / "sub").mkdir()

    def swap() -> None:
        (place / "sub").rmdir()
        (place / "sub").symlink_to(outside.parent)

    meddle(monkeypatch, swap)
    assert skipped(clean()) == {"sub": "a link or no directory on the way"}
    assert outside.exists()


def test_a_folder_put_in_place_of_a_file_before_it_is_looked_at_is_passed_over(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "a")

    def swap() -> None:
        (place / "a").unlink()
        (place / "a").mkdir()

    meddle(monkeypatch, swap)
    assert clean().examined == 0


@POSIX
def test_a_link_put_in_place_of_the_directory_while_it_is_looked_at_ends_the_run(
    place: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    os.link(place / "a", outside / "a")

    def swap() -> None:
        place.rename(tmp_path / "moved")
        place.symlink_to(outside)

    meddle(monkeypatch, swap)
    assert clean().error == "directory: a link or no directory on the way"
    assert (outside / "a").exists()
    assert (tmp_path / "moved" / "a").exists()


@POSIX
@pytest.mark.parametrize("by", ["a link", "another folder"])
def test_a_folder_known_by_path_is_looked_at_again_before_every_use(place: Path, by: str) -> None:
    make(place / "sub" / "a")
    folder = PathFolder(str(place / "sub"))
    (place / "sub").rename(place / "moved")
    if by == "a link":
        (place / "sub").symlink_to(place / "moved")
    else:
        make(place / "sub" / "a")
    for use in (folder.lstat, folder.unlink, folder.child):
        with pytest.raises(NotADirectoryError):
            use("a")
    with pytest.raises(NotADirectoryError):
        list(folder.entries())
    assert (place / "moved" / "a").exists()


def test_the_directory_removed_before_it_is_looked_at_ends_the_run(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "sub").mkdir()

    def vanish() -> None:
        (place / "sub").rmdir()
        place.rmdir()

    meddle(monkeypatch, vanish)
    assert clean().error == "directory: No such file or directory"


def test_a_name_that_cannot_be_looked_at_is_reported(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "a")
    make(place / "b")
    for kind in (HandleFolder, PathFolder):

        def lstat(
            self: HandleFolder | PathFolder, name: str, really: Lstat = kind.lstat
        ) -> os.stat_result:
            if name == "b":
                raise OSError(errno.EIO, "Input/output error")
            return really(self, name)

        monkeypatch.setattr(kind, "lstat", lstat)
    report = clean()
    assert removed(report) == {"a"}
    assert skipped(report) == {"b": "Input/output error"}


@pytest.mark.parametrize(("below", "told"), [("", True), ("sub", False)])
def test_a_folder_that_cannot_be_listed_ends_the_run_only_if_it_is_the_directory(
    place: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch, below: str, told: bool
) -> None:
    make(place / "sub" / "b")
    folder = (place / below).stat()
    for kind in (HandleFolder, PathFolder):

        def entries(
            self: HandleFolder | PathFolder, really: Entries = kind.entries
        ) -> Iterator[tuple[str, bool]]:
            if self.identity == (folder.st_dev, folder.st_ino):
                raise PermissionError(errno.EACCES, "Permission denied")
            return really(self)

        monkeypatch.setattr(kind, "entries", entries)
    report = clean()
    assert report.error == ("directory: Permission denied" if told else None)
    assert skipped(report) == ({} if told else {"sub": "Permission denied"})
    assert (place / "sub" / "b").exists()


@POSIX
def test_a_fifo_with_the_number_size_and_time_of_a_file_is_not_that_file(place: Path) -> None:
    os.mkfifo(place / "fifo")
    found = os.lstat(place / "fifo")
    twin = FileInfo("fifo", found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)
    assert not twin.describes(found)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="not for root")
def test_a_folder_that_may_not_be_listed_is_reported(place: Path, clean: Clean) -> None:
    make(place / "a")
    make(place / "sub" / "b")
    (place / "sub").chmod(0)
    try:
        report = clean()
    finally:
        (place / "sub").chmod(0o700)
    assert removed(report) == {"a"}
    assert skipped(report) == {"sub": "Permission denied"}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_handle_stays_open_whatever_happens(place: Path, clean: Clean) -> None:
    make(place / "sub" / "a")
    make(place / "b")
    before = len(os.listdir("/proc/self/fd"))
    clean(before_delete=grow)
    clean()
    place.joinpath("sub").rmdir()
    place.rmdir()
    clean()
    assert len(os.listdir("/proc/self/fd")) == before
