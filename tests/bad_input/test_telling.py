"""What a job tells of itself: a KalendsError for whatever is wrong, and nothing of it kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kalends import KalendsError
from kalends.clock import SystemClock
from kalends.jobs.capture import capturing
from kalends.jobs.logbook import Keeps, Logbook
from kalends.work import Told


@pytest.mark.parametrize("place", [0, 1], ids=["fraction", "note"])
def test_junk_as_progress_is_refused_or_well_kept(
    place: int,
    name: str,
    junk: dict[str, Callable[[], Any]],
    refused: Callable[..., KalendsError | None],
) -> None:
    book = Logbook(SystemClock(), Keeps())
    given: list[Any] = [0.5, None]
    given[place] = junk[name]()
    error = refused(lambda: book.progress(*given))
    told = book.told
    if error is None:
        assert type(told.progress) is float
        assert 0.0 <= told.progress <= 1.0
        assert type(told.note) in (str, type(None))
    else:
        assert error.details["path"] == ("fraction", "note")[place]
        assert told == Told()


def test_junk_as_a_log_line_is_kept_somehow(name: str, junk: dict[str, Callable[[], Any]]) -> None:
    book = Logbook(SystemClock(), Keeps())
    capture = capturing(lambda: book, ())
    for event in (
        {"event": junk[name]()},
        {"event": "x", "value": junk[name]()},
        {"event": "%s", "positional_args": (junk[name](),)},
        {"event": "x", "exc_info": junk[name]()},
    ):
        assert capture(None, "info", event).keys() == event.keys()
    assert book.told.log is not None
