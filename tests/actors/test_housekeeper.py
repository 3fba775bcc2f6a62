"""The housekeeper's threads, apart from any scheduler."""

from __future__ import annotations

import threading

import pytest

from kalends import NotInitialized
from kalends.actors.housekeeper import Chores
from kalends.native import NativeThread


def test_work_is_done_on_a_thread_of_its_own_and_answered() -> None:
    chores = Chores(NativeThread)
    names = [chores.run(lambda: threading.current_thread().name).get(timeout=5) for _ in range(2)]
    assert names == ["kalends-housekeeping"] * 2
    assert chores.join(5)


def test_what_work_raises_is_in_the_future() -> None:
    chores = Chores(NativeThread)

    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        chores.run(fail).get(timeout=5)
    assert chores.join(5)


def test_joining_waits_for_what_runs_and_refuses_what_comes() -> None:
    chores = Chores(NativeThread)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        go_on.wait(10)
        return chores.stopping

    future = chores.run(work)
    assert begun.wait(5)
    assert chores.join(0.05) is False
    go_on.set()
    assert chores.join(5) is True
    assert future.get(timeout=5) is True
    with pytest.raises(NotInitialized):
        chores.run(lambda: None).get(timeout=5)
