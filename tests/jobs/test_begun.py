"""A runner says that jobs have begun: once, until it is asked which."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kalends.clock import SystemClock
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.runner import Runner
from kalends.work import Claim


def test_the_first_begin_is_told_and_the_next_one_after_it_was_asked_which(
    claim: Callable[..., Claim],
) -> None:
    told: list[list[str]] = []
    gate, ended, registry = threading.Event(), threading.Semaphore(0), Registry()
    registry.register(lambda: gate.wait(10) and None, "hold")
    runner = Runner(
        SystemClock(),
        registry,
        {"thread": ThreadExecutor(4)},
        Outbox(ended.release),
        lambda _claim, _error: None,
        on_begun=lambda: told.append([begun.execution_id for begun in runner.running()]),
    )
    runner.start()
    try:
        registry.register(lambda: None, "short")
        runner.submit([claim("a", job="hold")])
        runner.submit([claim("b", job="short")])
        assert ended.acquire(timeout=10)
        assert told == [["a"]]
        assert [begun.execution_id for begun in runner.newly_begun()] == ["a"]
        assert runner.outbox.rest() is False
        runner.outbox.drop(1)
        assert runner.outbox.rest() is True
        runner.submit([claim("c", job="short")])
        assert ended.acquire(timeout=10)
        assert told == [["a"], ["a", "c"]]
    finally:
        gate.set()
        runner.stop(10)


def test_the_next_begin_is_told_once_nothing_runs_that_was_not_asked_for(
    claim: Callable[..., Claim],
) -> None:
    told: list[str] = []
    gate, ended, registry = threading.Event(), threading.Semaphore(0), Registry()
    registry.register(lambda: gate.wait(10) and None, "hold")
    registry.register(lambda: None, "short")
    outbox = Outbox(ended.release)
    runner = Runner(
        SystemClock(),
        registry,
        {"thread": ThreadExecutor(4)},
        outbox,
        lambda _claim, _error: None,
        on_begun=lambda: told.append("begun"),
    )
    runner.start()
    try:
        for number, name in enumerate("abc", 1):
            runner.submit([claim(name, job="short")])
            assert ended.acquire(timeout=10)
            assert told == ["begun"] * number
            assert runner.rests()
            outbox.drop(1)
            assert outbox.rest()
        runner.submit([claim("d", job="hold")])
        runner.submit([claim("e", job="short")])
        assert ended.acquire(timeout=10)
        assert told == ["begun"] * 4
        assert not runner.rests()
        assert [begun.execution_id for begun in runner.newly_begun()] == ["d"]
        assert runner.rests()
    finally:
        gate.set()
        runner.stop(10)
