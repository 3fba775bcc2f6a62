"""The jobs of a simulation, and the log that they write themselves, which no kill takes away.

How an attempt goes depends on the seed, its event, its instant and its number alone. When the
faults are over every job ends well, and soon.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.simulation.story import Story

from kalends import Cancel, Registry, Retry, Snooze, current
from kalends.clock import to_us
from kalends.testing import sleep

__all__ = ["Jobs", "Log", "Run"]

_SLICE = 5.0
"""Seconds after which a slow job looks whether the faults are over."""
_LAST = 0.5
"""How long a job takes when they are."""


@dataclass
class Run:
    """One attempt, as its job saw it."""

    execution: str
    attempt: int
    event: str
    due: int
    pid: int
    """Of the process it ran in."""
    reached: int
    """The latest instant that the wall clock of its machine had shown by then."""
    ended: str | None = None
    """How, in the job's own word; None: it has not, or was stopped."""


@dataclass
class Log:
    """What all jobs of all nodes noted."""

    runs: list[Run] = field(default_factory=list)
    healed: bool = False
    """Whether the faults are over: jobs know it."""


class Home(Protocol):
    """The node that a job runs on."""

    @property
    def pid(self) -> int: ...

    def reached_us(self) -> int: ...

    def kill(self) -> object: ...


class Jobs:
    """The job ``work`` on one node."""

    def __init__(self, story: Story, log: Log, home: Home, note: Callable[[str], None]) -> None:
        self._story = story
        self._log = log
        self._home = home
        self._note = note
        self.registry = Registry()
        self.registry.register(self._work, "work")

    def _work(self) -> None:
        here = current()
        due = to_us(here.due)
        pid, reached = self._home.pid, self._home.reached_us()
        run = Run(here.execution_id, here.attempt, here.event_name, due, pid, reached)
        self._log.runs.append(run)
        self._note(f"begin {run.event} {run.due} attempt {run.attempt} in {run.pid}")
        rng = random.Random(f"{self._story.seed}/{run.event}/{due}/{run.attempt}")
        self._take_time(rng)
        ending = "ok" if self._log.healed else rng.choice(("ok", "ok", "ok", "fail", "ask"))
        error = self._error(rng) if ending == "ask" else ValueError("as told")
        run.ended = ending if ending != "ask" else type(error).__name__
        self._note(f"end {run.event} {run.due} attempt {run.attempt}: {run.ended}")
        if ending != "ok":
            raise error

    def _take_time(self, rng: random.Random) -> None:
        rates = self._story.rates
        left = rng.choice((0.0, 0.0, 0.5, 3.0, 12.0, 40.0))
        if rng.random() < rates.hang:
            left = float("inf")
        if not self._log.healed and rng.random() < rates.poison:
            sleep(min(left, _SLICE))
            if not self._log.healed:
                self._home.kill()
        while left > 0.0 and not self._log.healed:
            sleep(min(left, _SLICE))
            left -= _SLICE
        if self._log.healed:
            sleep(_LAST)

    def _error(self, rng: random.Random) -> Exception:
        delay = float(rng.choice((1, 4, 9)))
        return rng.choice((Retry(delay), Snooze(delay), Cancel("as told")))
