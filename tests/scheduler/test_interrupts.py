"""A start that is interrupted, wherever it is, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest

from kalends import NotInitialized, Registry, Scheduler, once
from kalends.actors.hub import Hub
from kalends.jobs.runner import Runner
from kalends.storage.engine import Storage
from kalends.system import System

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

PAST = pendulum.datetime(2020, 1, 1, tz="UTC")
AGES = 1e9
"""A catch-up window that reaches back to it."""


class Host:
    """A scheduler with a job that is due, and a signal that arrives in the midst of its start."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.ran = threading.Semaphore(0)
        self.registry = Registry()
        self.registry.register(self.ran.release, "tick")
        self.scheduler = self.make()
        with self.make(enabled=False) as before:
            before.schedule_event("tick", once(PAST), catch_up_window=AGES)
        self.threads = set(threading.enumerate())
        self.reached, self.handled, self.go_on = (threading.Event() for _ in range(3))
        self._patch = monkeypatch

    def make(self, **settings: Any) -> Scheduler:
        return Scheduler(self.path, registry=self.registry, environ={}, **settings)

    def hold(self, owner: type, method: str) -> None:
        """Hold the start where this method has done its work; send the signal then."""
        really = getattr(owner, method)

        def held(*args: Any) -> None:
            really(*args)
            self.reached.set()
            assert self.go_on.wait(10)

        self._patch.setattr(owner, method, held)

        def send() -> None:
            assert self.reached.wait(10)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert self.handled.wait(10)
            threading.Event().wait(0.05)  # the interrupt has gone up to start() by now
            self.go_on.set()

        threading.Thread(target=send, daemon=True).start()

    def interrupt(self, *_: object) -> None:
        """The handler of Ctrl-C."""
        self.handled.set()
        raise KeyboardInterrupt

    def leftovers(self) -> tuple[set[threading.Thread], list[str]]:
        return set(threading.enumerate()) - self.threads, sorted(os.listdir(self.path.parent))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path / "k.db", monkeypatch)


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[..., None]], object]]:
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Storage, "open"),
        (Hub, "start"),
        (System, "_start_tree"),
        (System, "_start_housekeeping"),
        (Runner, "start"),
        (System, "start"),
    ],
)
def test_an_interrupted_start_is_taken_down_again(
    host: Host,
    on_signal: Callable[..., object],
    until: Callable[..., Any],
    owner: type,
    method: str,
) -> None:
    on_signal(host.interrupt)
    host.hold(owner, method)
    with pytest.raises(KeyboardInterrupt):
        host.scheduler.start()
    host._patch.undo()
    until(lambda: host.leftovers() == (set(), ["k.db"]))
    assert host.scheduler.status().state == "stopped"
    if owner not in (Runner, System):  # it had not come to the jobs yet
        assert not host.ran.acquire(timeout=0)
        with host.scheduler:  # and does not mind to be started again
            assert host.ran.acquire(timeout=10)


def test_who_else_waits_for_an_interrupted_start_is_told(
    host: Host, on_signal: Callable[..., object]
) -> None:
    on_signal(host.interrupt)
    errors: list[Exception] = []

    def join() -> None:
        assert host.reached.wait(10)
        try:
            host.scheduler.start()
        except NotInitialized as error:
            errors.append(error)

    joiner = threading.Thread(target=join)
    joiner.start()
    host.hold(Storage, "open")
    with pytest.raises(KeyboardInterrupt):
        host.scheduler.start()
    joiner.join(10)
    assert [str(error) for error in errors] == [
        "NOT_INITIALIZED: the scheduler was shut down while it started"
    ]


def test_an_interrupt_of_who_only_waits_for_a_start_leaves_it_alone(
    host: Host, on_signal: Callable[..., object]
) -> None:
    on_signal(host.interrupt)
    starter = threading.Thread(target=host.scheduler.start)
    host.hold(Storage, "open")
    starter.start()
    with pytest.raises(KeyboardInterrupt):  # the signal may come before this waits, or while
        host.scheduler.start()
    starter.join(10)
    assert host.scheduler.status().state == "running"
    assert host.ran.acquire(timeout=10)
    host.scheduler.shutdown()


def test_a_signal_handler_above_a_start_may_shut_it_down(
    host: Host, on_signal: Callable[..., object]
) -> None:
    reports: list[Any] = []

    def end(*_: object) -> None:
        host.handled.set()
        reports.append(host.scheduler.shutdown(10))

    on_signal(end)
    host.hold(Storage, "open")
    with pytest.raises(NotInitialized, match="shut down while it started"):
        host.scheduler.start()
    assert [report.under_way for report in reports] == [False]
    assert host.scheduler.status().state == "stopped"
    assert not host.ran.acquire(timeout=0)


def test_an_interrupt_before_the_start_has_its_thread_calls_it_off(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kalends.lifecycle.NativeThread.start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.scheduler.start()
    assert host.scheduler.status().state == "new"
    assert host.leftovers() == (set(), ["k.db"])
    with host.scheduler:
        assert host.ran.acquire(timeout=10)
