"""What a system runs on in virtual time: one process of a world instead of threads."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from kalends.actors.hub import Hub
from kalends.clock import US, Clock
from kalends.errors import AskTimeout
from kalends.futures import Future
from kalends.ids import IdSource
from kalends.jobs.executors.base import Executor
from kalends.jobs.ticker import Waker
from kalends.machinery import Machinery
from kalends.native import Thread, get_ident
from kalends.settings import Settings
from kalends.storage.nodes import Process
from kalends.testing.virtual.executor import Script, VirtualExecutor
from kalends.testing.virtual.loop import whole_us
from kalends.testing.virtual.process import VirtualProcess
from kalends.testing.virtual.world import VirtualFuture

__all__ = ["VirtualMachinery"]


class VirtualMachinery(Machinery):
    """The parts of one system in one virtual process. ``script`` says how jobs go; ``number`` is
    unique to this start of one on its database.
    """

    def __init__(self, process: VirtualProcess, script: Script, number: int) -> None:
        self._process = process
        self._number = number
        self._script = script
        self._hub: VirtualHub | None = None

    def ids(self, clock: Clock) -> IdSource:
        """Ids that the seed and the number of the start decide."""
        return IdSource(clock, self._process.world.rng("ids", self._number))

    def rng(self) -> random.Random:
        """Chance that the seed and the process decide."""
        return self._process.world.rng("restarts", self._process.pid)

    def process(self) -> Process:
        """The virtual process itself."""
        return self._process

    def hub(self, clock: Clock, settings: Settings) -> Hub:
        """The process's loop, as the actors see it."""
        self._hub = VirtualHub(self._process, clock, settings)
        return self._hub

    def waker(self, clock: Clock, fire: Callable[[], int | None]) -> Waker:
        """A wall-clock alarm of the process."""
        return VirtualWaker(self._process, clock, fire)

    def executors(self, chosen: Mapping[str, Executor]) -> Mapping[str, Executor]:
        """As many executors as production has, of the same bounds, which run nothing beside each
        other.
        """
        assert self._hub is not None
        return {
            name: VirtualExecutor(name, executor, self._process, self._script, self._hub.after)
            for name, executor in chosen.items()
        }

    def thread(self, target: Callable[[], None], name: str) -> Thread:
        """A greenlet of the process."""
        return VirtualThread(self._process, target)

    def patience(self) -> Clock:
        """Waits are virtual, so their deadlines are."""
        return self._process.world.clock


class VirtualHub(Hub):
    """The hub of a virtual process: the same timers and calls, on a loop without a thread."""

    def __init__(self, process: VirtualProcess, clock: Clock, settings: Settings) -> None:
        super().__init__(f"virtual-{process.pid}", clock, ask_timeout=settings.ask_timeout)
        self._process = process

    def start(self, timeout: float = 10.0) -> None:
        """Nothing to wait for: the world runs the loop."""
        self.ident = get_ident()
        self.loop = self._process.loop
        self._armed = self.loop.timer(0.0)
        self._process.wakes.append(self._next_wake)
        self._unsubscribe = self.clock.on_change(self._look)
        self._process.on_end.append(self._unsubscribe)

    def _look(self) -> None:
        if self._timers and self._timers[0][0] <= self.clock.monotonic():
            self.call(self._fire_timers)

    def _deadline(self, seconds: float) -> float:
        return whole_us(super()._deadline(seconds)) / US

    def _next_wake(self) -> int | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return round(self._timers[0][0] * US) if self._timers else None

    def stop(self, timeout: float) -> bool:
        """The process ends with its system."""
        self._unsubscribe()
        self._process.finished = True
        return True

    def future(self, timeout: float) -> Future[Any]:
        """An answer that lets the world run while it is waited for."""
        return VirtualFuture(self._process, timeout)

    def spawn(self, function: Callable[[], None]) -> gevent.Greenlet[..., Any]:
        """A greenlet that ends with the process."""
        return self._process.spawn(function)


class VirtualWaker:
    """An alarm set by the wall clock, so it moves when that jumps."""

    def __init__(
        self, process: VirtualProcess, clock: Clock, fire: Callable[[], int | None]
    ) -> None:
        self._process = process
        self._clock = clock
        self._fire = fire
        self._until: int | None = None
        self._called = False
        self._running = False

    def start(self) -> None:
        """Begin to call."""
        self._running = True
        self._process.wakes.append(self._next_wake)
        unsubscribe = self._clock.on_change(self._look)
        self._process.on_end.append(unsubscribe)
        self._process.on_end.append(self._process.world.clock.on_jump(self._call_soon))
        self.expect(None)

    def stop(self) -> None:
        """Call no more."""
        self._running = False

    def expect(self, instant: int | None) -> None:
        """Call by ``instant`` at the latest; None: now."""
        if instant is None:
            self._call_soon()
        elif self._until is None or instant < self._until:
            self._until = instant
            self._look()

    def _look(self) -> None:
        if self._until is not None and self._until <= self._clock.now_us():
            self._call_soon()

    def _call_soon(self) -> None:
        if self._running and not self._called:
            self._called = True
            self._process.call(self._call)

    def _call(self) -> None:
        self._called = False
        if self._running:
            self._until = self._fire()
            self._look()

    def _next_wake(self) -> int | None:
        if self._until is None or not self._running:
            return None
        left = max(0, self._until - self._clock.now_us())
        return self._process.world.clock.monotonic_us + left


class VirtualThread:
    """A greenlet that passes for a thread."""

    def __init__(self, process: VirtualProcess, target: Callable[[], None]) -> None:
        self._process = process
        self._target = target
        self._ended: Future[None] = Future()

    def start(self) -> None:
        """Begin, when the process next has its turn."""
        self._process.call(self._process.spawn, self._run)

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._ended.resolve(None)

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` virtual seconds; True when it has ended."""
        try:
            self._ended.get(timeout=timeout)
        except AskTimeout:
            return False
        return True
