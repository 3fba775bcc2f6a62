"""Virtual time: a clock that goes from one thing that is due to the next, and nothing waits.

``advance`` and ``advance_to`` let time pass: whatever is due on the way happens at its instant, in
order, and has come to rest before the next one. What waits for an answer that only time can bring
(a shutdown that lets a job end, an ask while an actor is being restarted) lets as much time pass as
that takes, and no more than its time-out: that is autojump.

Everything runs on the thread that made the world. Its order depends on what was asked and on the
seed, on nothing else: the same calls give the same ledger, ids included.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pendulum

from kalends.clock import US, from_us, to_us
from kalends.errors import AskTimeout, ValidationFailed
from kalends.futures import Future
from kalends.jobs.codec import type_name
from kalends.native import get_ident
from kalends.testing.clock import ManualClock
from kalends.testing.virtual.interrupts import InterruptsKept
from kalends.testing.virtual.process import VirtualProcess

__all__ = ["START", "VirtualFuture", "World"]

T = TypeVar("T")
START = pendulum.datetime(2027, 1, 1, tz="UTC")
"""When virtual time begins, unless told."""


class World:
    """A clock and the processes that live by it. ``start`` is an aware datetime."""

    def __init__(
        self,
        start: dt.datetime | int = START,
        *,
        seed: int | str = 0,
        clock: ManualClock | None = None,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | str):
            raise ValidationFailed("seed must be a whole number or a text", path="seed")
        self.seed = seed
        if clock is not None and not isinstance(clock, ManualClock):
            raise ValidationFailed(
                f"clock must be a ManualClock, not {type_name(clock)}", path="clock"
            )
        self.clock = ManualClock(start) if clock is None else clock
        self.clock.drive(self._advance_us)
        self._ident = get_ident()
        self._processes: list[VirtualProcess] = []
        self._pids = itertools.count(1)
        self._interrupts = InterruptsKept()

    def rng(self, *names: object) -> random.Random:
        """Chance that depends on the seed and on ``names`` alone."""
        return random.Random("/".join(map(str, (self.seed, *names))))

    @property
    def alive(self) -> frozenset[int]:
        """The ids of the processes that have not ended."""
        return frozenset(process.pid for process in self._processes)

    @property
    def now(self) -> pendulum.DateTime:
        """The present instant."""
        return from_us(self.clock.now_us())

    # -- time ----------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, step by step."""
        self.clock.advance(seconds)

    def advance_to(self, instant: dt.datetime) -> None:
        """Let time pass until ``instant``, which must not lie in the past."""
        left = to_us(instant, "instant") - self.clock.now_us()
        if left < 0:
            raise ValidationFailed(
                f"{instant} is past: it is {self.now}; clock.jump() goes back", path="instant"
            )
        self._advance_us(left)

    def settle(self) -> None:
        """Run whatever can run now, in the order of ``turns``, until nothing can."""
        self._check_thread()
        if self.inside:
            raise ValidationFailed("time cannot be moved from inside", path="instant")
        with self._interrupts:
            self._run_all()

    def _run_all(self) -> None:
        """Give each process its turn, again and again until none has anything to do."""
        ran = True
        while ran:
            ran = False
            for process in self.turns():
                ran |= self.run(process)

    def turns(self) -> list[VirtualProcess]:
        """The processes in the order in which they have their turns now: that of their birth.

        Another order is another machine's: whoever looks for what depends on it overrides this.
        """
        return self._processes.copy()

    def run(self, process: VirtualProcess) -> bool:
        """Give a process its turn; False where it had nothing to do.

        Raises ``ProcessKilled`` where it was killed on the way.
        """
        ran = process.run()
        if process.finished:
            process.end()
        if ran:
            self._interrupts.rest()
        return ran

    def next_wake(self) -> int | None:
        """When something is to happen next, in microseconds of monotonic time."""
        wakes = [process.next_wake() for process in self._processes]
        return min([wake for wake in wakes if wake is not None], default=None)

    def _advance_us(self, left: int) -> None:
        self.settle()
        until = self.clock.monotonic_us + left
        with self._interrupts:
            while True:
                wake = self.next_wake()
                if wake is None or wake > until:
                    break
                self._step(wake)
            self.clock.move(until - self.clock.monotonic_us)
            self._run_all()

    def _step(self, wake: int) -> None:
        """Go to the next thing due: at least a microsecond on, for what was due now has run."""
        self.clock.move(max(1, wake - self.clock.monotonic_us))
        self._run_all()

    def wait(self, done: Callable[[], object], seconds: float) -> bool:
        """Let time pass until ``done()``, at most ``seconds``; False where it was not by then."""
        self.settle()
        until = self.clock.monotonic_us + round(seconds * US)
        with self._interrupts:
            while not done():
                wake = self.next_wake()
                if wake is None or wake > until:
                    return False
                self._step(wake)
        return True

    # -- processes -----------------------------------------------------------------------------

    def fork(self) -> VirtualProcess:
        """A new process, empty."""
        process = VirtualProcess(self, next(self._pids))
        self._processes.append(process)
        return process

    def forget(self, process: VirtualProcess) -> None:
        """It has ended. The process's own business."""
        self._processes.remove(process)

    @property
    def inside(self) -> bool:
        """True for code that runs in one of the processes."""
        return any(process.inside for process in self._processes)

    def run_in(self, process: VirtualProcess, function: Callable[[], T]) -> T:
        """Run ``function`` in a greenlet of the process, as long as that takes; its value."""
        answer: Future[T] = Future()

        def body() -> None:
            try:
                answer.resolve(function())
            except BaseException as error:  # noqa: BLE001  (the asker's to handle)
                answer.resolve(None, error)

        process.call(process.spawn, body)
        if not self.wait(lambda: answer.done, _FOREVER):
            raise AskTimeout("nothing is left that could end this", timeout=_FOREVER)
        return answer.get(timeout=0.0)

    def _check_thread(self) -> None:
        if get_ident() != self._ident:
            raise ValidationFailed("virtual time belongs to the thread that made it", path="thread")


_FOREVER = 1e9


class VirtualFuture(Future[Any]):
    """An answer from a virtual process: who waits for it outside lets it run."""

    def __init__(self, process: VirtualProcess, timeout: float) -> None:
        super().__init__(timeout)
        self._process = process
        self._world = process.world

    def _like_this(self) -> Future[Any]:
        return VirtualFuture(self._process, self.timeout)

    def _wait(self, timeout: float) -> None:
        if self._world.inside:
            super()._wait(timeout)
        elif not self._world.wait(lambda: self.done, timeout):
            raise AskTimeout(f"no answer within {timeout:g} s", timeout=timeout)

    def __await__(self) -> Any:
        self.get()
        return self._outcome()
        yield  # a generator, as awaiting wants

    __iter__ = __await__
