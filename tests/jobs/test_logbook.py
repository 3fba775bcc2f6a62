"""What an attempt tells: progress that is checked, and lines of which the newest are kept."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from kalends.clock import US
from kalends.errors import ValidationFailed
from kalends.jobs.logbook import Keeps, Logbook
from kalends.testing import ManualClock
from kalends.work import Told

START = 1_800_000_000 * US


def make(lines: int = 3, size: int = 1000) -> Logbook:
    return Logbook(ManualClock(START), Keeps(lines, size))


def log(book: Logbook) -> tuple[int, list[list[Any]]]:
    text = book.told.log
    assert text is not None
    dropped, lines = json.loads(text)
    return dropped, lines


def messages(book: Logbook) -> tuple[int, list[str]]:
    dropped, lines = log(book)
    return dropped, [message for _, _, message in lines]


# -- progress ----------------------------------------------------------------------------------


def test_of_progress_the_latest_counts() -> None:
    book = make()
    book.progress(0.25, "a quarter")
    book.progress(0.5, None)
    assert book.told == Told(0.5, None, None)


@pytest.mark.parametrize(("given", "kept"), [(0, 0.0), (1, 1.0), (0.0, 0.0), (1.0, 1.0)])
def test_both_ends_are_fractions_as_whole_numbers_too(given: float, kept: float) -> None:
    book = make()
    book.progress(given, None)
    assert (book.told.progress, type(book.told.progress)) == (kept, float)


@pytest.mark.parametrize(
    "wrong",
    [-0.001, 1.001, 2, -1, float("nan"), float("inf"), True, None, "0.5", b"", 10**400, [0.5]],
    ids=repr,
)
def test_what_is_no_fraction_is_refused_and_changes_nothing(wrong: Any) -> None:
    book = make()
    book.progress(0.5, "half")
    with pytest.raises(ValidationFailed) as caught:
        book.progress(wrong, None)
    assert caught.value.details["path"] == "fraction"
    assert book.told == Told(0.5, "half", None)


@pytest.mark.parametrize("wrong", [1, b"half", "a\0b", "\ud800", "x" * 2001, ["half"]], ids=ascii)
def test_what_is_no_note_is_refused_and_changes_nothing(wrong: Any) -> None:
    book = make()
    book.progress(0.5, "half")
    with pytest.raises(ValidationFailed) as caught:
        book.progress(0.6, wrong)
    assert caught.value.details["path"] == "note"
    assert book.told == Told(0.5, "half", None)


def test_a_note_may_have_line_breaks() -> None:
    book = make()
    book.progress(0.5, "a\n\tb")
    assert book.told.note == "a\n\tb"


# -- lines -------------------------------------------------------------------------------------


def test_lines_are_kept_in_order_with_their_instants_and_levels() -> None:
    clock = ManualClock(START)
    book = Logbook(clock, Keeps())
    book.line("info", "one")
    clock.advance(1.5)
    book.line("warning", "zwei ☃")
    assert log(book) == (
        0,
        [[START, "info", "one"], [START + 1_500_000, "warning", "zwei ☃"]],
    )


def test_beyond_the_number_of_lines_the_oldest_go_and_are_counted() -> None:
    book = make(lines=3)
    for number in range(10):
        book.line("info", str(number))
    assert messages(book) == (7, ["7", "8", "9"])


def test_beyond_the_bytes_the_oldest_go_and_are_counted() -> None:
    book = make(lines=100, size=10)
    for word in ("four", "fünf", "six", "x"):
        book.line("info", word)
    assert messages(book) == (1, ["fünf", "six", "x"])


def test_a_line_longer_than_all_keeps_its_head_and_tail() -> None:
    book = make(size=256)
    book.line("info", "a" * 1_000_000 + "z")
    _, (line,) = messages(book)
    assert len(line) <= 256
    assert (line[0], line[-1]) == ("a", "z")
    assert "left out" in line


def test_where_none_are_kept_they_are_still_counted() -> None:
    book = make(lines=0)
    book.line("info", "one")
    book.line("info", "two")
    assert log(book) == (2, [])


def test_text_that_no_database_takes_is_written_as_escapes() -> None:
    book = make()
    book.line("info", "a\0b\ud800c")
    assert messages(book) == (0, ["a\\x00b\\ud800c"])


class Shouting(str):
    """A text with methods of its own, as an enumeration has."""


@pytest.mark.parametrize(
    ("given", "kept"),
    [("odd\ud800", "odd\\ud800"), ("a\0b", "a\\x00b"), (Shouting("loud"), "loud"), (7, "7")],
    ids=ascii,
)
def test_a_level_is_kept_as_text_that_can_be_stored(given: Any, kept: str) -> None:
    book = make()
    book.line(given, given)
    assert [line[1:] for line in log(book)[1]] == [[kept, kept]]


def test_a_level_is_clipped() -> None:
    book = make()
    book.line("x" * 1_000_000, "hello")
    (((_, level, message),),) = (log(book)[1],)
    assert (len(level) <= 40, message) == (True, "hello")


def test_several_threads_lose_no_count() -> None:
    book = make(lines=5)
    barrier = threading.Barrier(4)

    def write() -> None:
        barrier.wait(10)
        for _ in range(500):
            book.line("info", "x")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert messages(book) == (1995, ["x"] * 5)


# -- news --------------------------------------------------------------------------------------


def test_news_are_told_once() -> None:
    book = make()
    assert book.news() is None
    book.progress(0.5, None)
    assert book.news() == Told(0.5, None, None)
    assert book.news() is None
    book.line("info", "one")
    assert book.news() == book.told
    assert book.news() is None
