"""What a system runs on: the things that bring threads, identities and chance with them.

``Machinery`` makes them as production has them: threads of this process, its own id, ids that
nobody can foresee. ``kalends.testing`` gives a system another one, in virtual time; the system, its
actors and its stores do not know which they have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from kalends.actors.hub import Hub
from kalends.clock import Clock, SystemClock
from kalends.ids import IdSource
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.choice import fresh_executors
from kalends.jobs.ticker import Ticker, Waker
from kalends.native import NativeThread, Thread
from kalends.settings import Settings
from kalends.storage.nodes import Process, ThisProcess

__all__ = ["Machinery"]


class Machinery:
    """Threads and chance, for one system."""

    def ids(self, clock: Clock) -> IdSource:
        """The source of every id of the system, its node's included."""
        return IdSource(clock)

    def rng(self) -> random.Random:
        """The chance that supervisors take for the jitter of restarts."""
        return random.Random()

    def process(self) -> Process:
        """Who this process is, and which others are gone."""
        return ThisProcess()

    def hub(self, clock: Clock, settings: Settings) -> Hub:
        """Where the actors live; not started."""
        return Hub(
            "kalends-hub", clock, stall_after=settings.stall_after, ask_timeout=settings.ask_timeout
        )

    def waker(self, clock: Clock, fire: Callable[[], int | None]) -> Waker:
        """What calls ``fire`` when the next claim is due; not started."""
        return Ticker(clock, fire)

    def executors(self, chosen: Mapping[str, Executor]) -> Mapping[str, Executor]:
        """Where jobs run, by name; not started, and of this system alone."""
        return fresh_executors(chosen)

    def thread(self, target: Callable[[], None], name: str) -> Thread:
        """A thread for work that may block: a round of housekeeping, a callback of the host."""
        return NativeThread(target, name)

    def patience(self) -> Clock:
        """The clock by which a shutdown's deadline passes: real time, where waits are real."""
        return SystemClock()
