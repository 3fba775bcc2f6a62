"""Rests end when they are roused, and beside a file when that can be read."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalends.storage.rest import Rest

WAIT = 10.0


@pytest.fixture
def rest() -> Iterator[Rest]:
    made = Rest()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Sleeper:
    """A thread that rests, and how its rest has ended."""

    def __init__(self, rest: Callable[[], bool]) -> None:
        self.roused: list[bool] = []
        self._thread = threading.Thread(target=lambda: self.roused.append(rest()), daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        self._thread.join(WAIT)
        assert self.roused, "it rests for ever"
        return self.roused[0]


def test_it_lasts_until_it_is_roused(rest: Rest) -> None:
    sleeper = Sleeper(rest.wait)
    rest.rouse()
    assert sleeper.ended()


def test_it_ends_by_itself_where_nobody_rouses_it(rest: Rest) -> None:
    assert not rest.wait(0.001)


def test_what_came_before_it_began_ends_it_and_however_often_that_was_only_this_one(
    rest: Rest, pipe: tuple[int, int]
) -> None:
    for _ in range(3):
        rest.rouse()
    assert rest.wait_beside(pipe[0])
    for _ in range(3):
        rest.rouse()
    assert rest.wait(WAIT)
    assert not rest.wait(0.001)


def test_beside_a_file_it_lasts_until_it_is_roused(
    rest: Rest, pipe: tuple[int, int], until: Callable[..., Any]
) -> None:
    for _ in range(2):
        sleeper = Sleeper(lambda: rest.wait_beside(pipe[0]))
        until(lambda: rest._beside)
        rest.rouse()
        assert sleeper.ended()
    assert not rest.wait(0.001), "it has been told once and has ended once"


def test_beside_a_file_it_ends_as_well_when_that_can_be_read(
    rest: Rest, pipe: tuple[int, int], until: Callable[..., Any]
) -> None:
    sleeper = Sleeper(lambda: rest.wait_beside(pipe[0]))
    until(lambda: rest._beside)
    os.write(pipe[1], b"news")
    assert not sleeper.ended()
    assert not rest.wait_beside(pipe[0]), "it can be read still"


def test_beside_a_file_at_its_end_it_ends(rest: Rest) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    assert not rest.wait_beside(reader)
    os.close(reader)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_handler_may_rouse_it_while_a_thread_does_the_same(
    rest: Rest, pipe: tuple[int, int], until: Callable[..., Any]
) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: rest.rouse())
    try:
        for _ in range(50):
            sleeper = Sleeper(lambda: rest.wait_beside(pipe[0]))
            os.kill(os.getpid(), signal.SIGUSR1)
            rest.rouse()
            assert sleeper.ended()
            rest.wait(0.0)  # the second word may have come after the rest
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_many_threads_that_rouse_it_at_once_leave_it_as_it_was(
    rest: Rest, pipe: tuple[int, int]
) -> None:
    for _ in range(50):
        sleeper = Sleeper(lambda: rest.wait_beside(pipe[0]))
        threads = [threading.Thread(target=rest.rouse) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert sleeper.ended()
        for thread in threads:
            thread.join(WAIT)
        rest.wait(0.0)
