"""What the tests of jobs share: claims, and a runner whose calls are written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from kalends.clock import Clock, SystemClock
from kalends.errors import KalendsError
from kalends.jobs.executors.thread import ThreadExecutor
from kalends.jobs.outbox import Outbox
from kalends.jobs.registry import Registry
from kalends.jobs.runner import Runner
from kalends.work import Claim, Outcome


class MakeClaim(Protocol):
    def __call__(self, id: str = ..., **fields: Any) -> Claim: ...


@pytest.fixture
def claim() -> MakeClaim:
    def make(id: str = "x1", **fields: Any) -> Claim:
        values: dict[str, Any] = {
            "event_id": f"event-of-{id}",
            "event_name": "nightly",
            "job": "noop",
            "arguments": '{"args":[],"kwargs":{}}',
            "due": 0,
            "attempt": 1,
            "version": 1,
            "serial": True,
        }
        return Claim(id=id, **(values | fields))

    return make


class Rig:
    """A runner with everything around it, and what it reported."""

    def __init__(self, clock: Clock, size: int = 4) -> None:
        self.clock = clock
        self.registry = Registry(allow_imports=("kalends_test_jobs",))
        self.registry.register(lambda: None, "noop")
        self.unrunnable: list[tuple[Claim, KalendsError]] = []
        self._changed = threading.Condition()
        self.outbox = Outbox(self._tell)
        self.executor = ThreadExecutor(size)
        self.runner = Runner(
            clock, self.registry, {"thread": self.executor}, self.outbox, self._unrunnable
        )

    def job(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self.registry.job(name)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _unrunnable(self, claim: Claim, error: KalendsError) -> None:
        with self._changed:
            self.unrunnable.append((claim, error))
            self._changed.notify_all()

    def wait(self, outcomes: int = 0, unrunnable: int = 0) -> list[Outcome]:
        """Wait until the outbox holds so many outcomes; all of them, oldest first."""
        with self._changed:
            # The signal is coalesced, so look now and then as well.
            for _ in range(2000):
                if len(self.outbox) >= outcomes and len(self.unrunnable) >= unrunnable:
                    return self.outbox.peek(100_000)
                self._changed.wait(0.005)
        raise AssertionError(f"{len(self.outbox)} outcomes, {len(self.unrunnable)} unrunnable")


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(SystemClock())
    made.runner.start()
    yield made
    made.runner.stop(10)


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(clock: Clock, size: int = 4) -> Rig:
        made.append(Rig(clock, size))
        made[-1].runner.start()
        return made[-1]

    yield make
    for rig in made:
        rig.runner.stop(10)
