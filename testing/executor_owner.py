"""Somebody who submits tasks to an executor and writes down what it is told of them; the frame of
the tests that do so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kalends.clock import Clock, SystemClock
from kalends.errors import KalendsError
from kalends.jobs.executors.base import Executor, Task
from kalends.jobs.logbook import Keeps
from kalends.jobs.registry import Registry
from kalends.testing.executor_jobs import ContractJobs
from kalends.work import Claim, Outcome

__all__ = ["ExecutorTests", "RecordingOwner"]


class RecordingOwner:
    """An owner that writes down what it is told. ``taken_back``: ids whose ``begin`` it refuses."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.registry = Registry()
        self.result_limit = 65_536
        self.failure_limit = 16_384
        self.keeps = Keeps()
        self.taken_back: set[str] = set()
        self.begun: list[str] = []
        self.outcomes: list[Outcome] = []
        self.refusals: list[tuple[str, KalendsError]] = []
        self.redirected: list[str] = []
        self._changed = threading.Condition()

    def task(
        self,
        number: int,
        function: Callable[..., Any],
        arguments: str | None = None,
        priority: int = 0,
    ) -> Task:
        """A task that calls ``function``; its execution id is ``x<number>``."""
        name = f"job-{number}"
        self.registry.register(function, name)
        claim = Claim(
            id=f"x{number}",
            event_id=f"e{number}",
            event_name=f"event {number}",
            job=name,
            arguments=arguments or '{"args":[],"kwargs":{}}',
            due=0,
            attempt=1,
            version=1,
            serial=False,
            priority=priority,
        )
        return Task(claim, self.registry.get(name), self)

    def importing(self, task: Task) -> None:
        """Its tasks know their jobs already."""

    def begin(self, task: Task) -> bool:
        with self._changed:
            if task.claim.id in self.taken_back:
                return False
            task.started_us = self.clock.now_us()
            self.begun.append(task.claim.id)
            self._changed.notify_all()
            return True

    def end(self, task: Task, outcome: Outcome) -> None:
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def refuse(self, task: Task, error: KalendsError) -> None:
        with self._changed:
            self.refusals.append((task.claim.id, error))
            self._changed.notify_all()

    def redirect(self, task: Task) -> None:
        with self._changed:
            self.redirected.append(task.claim.id)
            self._changed.notify_all()

    def wait(self, outcomes: int, refusals: int = 0, *, patience: float = 10.0) -> list[Outcome]:
        """Wait until so many have been told; the outcomes, by execution id."""
        with self._changed:
            told = self._changed.wait_for(
                lambda: len(self.outcomes) >= outcomes and len(self.refusals) >= refusals, patience
            )
            assert told, f"{len(self.outcomes)} outcomes, {len(self.refusals)} refusals in time"
            return sorted(self.outcomes, key=lambda outcome: outcome.execution_id)

    def wait_begun(self, count: int, *, patience: float = 10.0) -> None:
        """Wait until so many jobs have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, patience)


class ExecutorTests:
    """What the tests of the contract ask of whoever runs them, and what they share."""

    jobs: ContractJobs = ContractJobs()
    """The jobs it runs: of plain functions in this process, unless another kit makes them."""
    patience = 10.0

    def make_executor(self, size: int, queue_limit: int = 10_000) -> Executor:
        """A new executor, not started, that runs at most ``size`` tasks at once while at most
        ``queue_limit`` wait.
        """
        raise NotImplementedError

    @contextmanager
    def _executor(
        self, size: int = 2, queue_limit: int = 10_000
    ) -> Iterator[tuple[Executor, RecordingOwner]]:
        executor = self.make_executor(size, queue_limit)
        executor.start()
        try:
            yield executor, RecordingOwner()
        finally:
            executor.stop(self.patience)

    def _rests(self, executor: Executor) -> None:
        """Wait until nothing runs: an outcome is told a moment before its place is free."""
        pause = threading.Event()
        for _ in range(round(self.patience * 1000)):
            if not executor.running:
                return
            pause.wait(0.001)
        raise AssertionError(f"{executor.running} still run")
