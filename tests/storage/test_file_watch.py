"""Word that a file is written to: once for each time it is asked for, and proven first."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalends.storage.file_watch import FileWatch

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "log"
    made.write_bytes(b"")
    return made


@pytest.fixture
def watch() -> Iterator[FileWatch]:
    made = FileWatch()
    yield made
    made.close()


def write(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.write(b"x")


def has_come(word: int | None) -> bool:
    assert word is not None, "there is to be word"
    return bool(select.select([word], [], [], 0.0)[0])


def proven(watch: FileWatch, file: Path) -> FileWatch:
    watch.ask(str(file))
    write(file)
    watch.hear()
    return watch


@on_linux
def test_there_is_word_of_a_write_after_it_was_asked_for(watch: FileWatch, file: Path) -> None:
    proven(watch, file)
    write(file)
    word = watch.ask(str(file))
    assert not has_come(word), "that was before"
    write(file)
    assert has_come(word)
    watch.hear()
    assert not has_come(word)


@on_linux
def test_what_is_written_before_it_is_asked_for_again_gives_no_word(
    watch: FileWatch, file: Path
) -> None:
    word = proven(watch, file).ask(str(file))
    write(file)
    watch.hear()
    write(file)
    assert not has_come(word)


@on_linux
def test_there_is_word_of_other_processes(watch: FileWatch, file: Path) -> None:
    word = proven(watch, file).ask(str(file))
    program = "import sys; open(sys.argv[1], 'r+b').write(b'y')"
    subprocess.run([sys.executable, "-c", program, str(file)], check=True)
    assert has_come(word)


@on_linux
def test_no_word_is_relied_on_before_one_has_come(watch: FileWatch, file: Path) -> None:
    assert watch.ask(str(file)) is None
    watch.hear()
    assert watch.ask(str(file)) is None
    file.unlink()  # says something as well, and not that anybody writes
    watch.hear()
    write_anew = file.write_bytes(b"")
    assert write_anew == 0
    assert watch.ask(str(file)) is None
    write(file)
    watch.hear()
    assert watch.ask(str(file)) is not None


@on_linux
def test_a_file_that_took_the_place_of_another_one_is_watched_when_asked_for(
    watch: FileWatch, file: Path
) -> None:
    proven(watch, file).ask(str(file))
    os.replace(file, file.with_name("before"))
    write_anew = file.write_bytes(b"")
    assert write_anew == 0
    watch.hear()
    word = watch.ask(str(file))
    watch.hear()
    write(file)
    assert has_come(word)


def test_there_is_no_word_of_a_file_that_is_not_there(watch: FileWatch, file: Path) -> None:
    if sys.platform == "linux":
        proven(watch, file)
    assert watch.ask(str(file.with_name("none"))) is None


def test_where_the_system_has_nothing_of_the_kind_there_is_no_word(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    watch = FileWatch()
    assert watch.ask(str(file)) is None
    write(file)
    watch.hear()
    assert watch.ask(str(file)) is None
    watch.close()


@on_linux
def test_closed_it_leaves_no_file_open_and_gives_no_word(file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    watch = proven(FileWatch(), file)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    watch.close()
    watch.close()
    watch.hear()
    assert watch.ask(str(file)) is None
    assert len(os.listdir("/proc/self/fd")) == before
