"""What tests of executors share: jobs that worker processes can import."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from kalends.jobs.executors.base import Task
from kalends.jobs.executors.process import ProcessExecutor
from kalends.testing.executor_contract import RecordingOwner


@pytest.fixture(scope="session")
def hostile() -> Iterator[ModuleType]:
    """The module of hostile jobs, as workers find it."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    # A fork server that has imported these already: its workers start in milliseconds.
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["kalends.testing.process_jobs"]
    )
    yield importlib.import_module("hostile_jobs")
    sys.path.remove(folder)


class Processes:
    """A process executor, and an owner that has it run jobs."""

    def __init__(self, hostile: ModuleType, **options: Any) -> None:
        self.hostile = hostile
        self.owner = RecordingOwner()
        self.executor = ProcessExecutor(**{"size": 1, "start_method": "forkserver", **options})
        self.executor.start()
        self._count = 0

    def submit(self, job: str | Callable[..., Any], *args: Any, **claim: Any) -> Task:
        """Have a job run."""
        self._count += 1
        function = getattr(self.hostile, job) if isinstance(job, str) else job
        arguments = msgspec.json.encode({"args": args, "kwargs": {}}).decode()
        task = self.owner.task(self._count, function, arguments)
        task.claim = msgspec.structs.replace(task.claim, **claim)
        self.executor.submit([task])
        return task

    def run(self, job: str | Callable[..., Any], *args: Any, **claim: Any) -> Any:
        """Have a job run, and wait for its outcome."""
        task = self.submit(job, *args, **claim)
        outcomes = self.owner.wait(len(self.owner.outcomes) + 1, patience=60)
        return next(o for o in outcomes if o.execution_id == task.claim.id)


@pytest.fixture
def processes(hostile: ModuleType) -> Iterator[Callable[..., Processes]]:
    made: list[Processes] = []

    def make(**options: Any) -> Processes:
        made.append(Processes(hostile, **options))
        return made[-1]

    yield make
    for one in made:
        assert one.executor.stop(30) == []
