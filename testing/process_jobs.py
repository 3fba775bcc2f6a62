"""The jobs of the executor contract, for executors whose jobs run in other processes.

A worker process finds a job by importing a module and asking it for a name. So what these jobs are
to do is in their names: this module makes, on both sides, the function that a name describes.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import json
import os
import select
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import greenlet

from kalends.jobs.context import current
from kalends.testing.executor_jobs import ContractJobs, Gate

__all__ = ["ProcessJobs"]

Made = Callable[..., Any]
_PATIENCE = 60.0
_PREFIX = "does_"


class _PipeGate:
    """A named pipe: who waits reads one byte of it. On POSIX."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="kalends-gate-"))
        self.path = str(folder / "gate")
        os.mkfifo(self.path)
        # Open for both: so nobody who opens it waits for another to do so.
        self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        weakref.finalize(self, _remove, self._pipe, folder)

    def open(self) -> None:
        os.write(self._pipe, bytes(1000))


def _remove(pipe: int, folder: Path) -> None:
    os.close(pipe)
    shutil.rmtree(folder)


class ProcessJobs(ContractJobs):
    """Makes jobs that can be found by import."""

    resists = False

    def gate(self) -> Gate:
        return _PipeGate()

    def returns(self, value: Any) -> Made:
        return _named("returns", value)

    def returns_an_object(self) -> Made:
        return _named("returns_an_object")

    def adds(self) -> Made:
        return _named("adds")

    def raises(self, kind: type[BaseException], message: str) -> Made:
        return _named("raises", kind.__name__, message)

    def recurses(self) -> Made:
        return _named("recurses", 0)

    def names_its_execution(self) -> Made:
        return _named("names_its_execution")

    def waits(self, gate: Gate, value: Any) -> Made:
        return _named("waits", _path(gate), value)

    def waits_and_raises(self, gate: Gate, kind: type[BaseException]) -> Made:
        return _named("waits_and_raises", _path(gate), kind.__name__)


def _path(gate: Gate) -> str:
    assert isinstance(gate, _PipeGate)
    return gate.path


# -- names -------------------------------------------------------------------------------------


def _named(what: str, *values: Any) -> Made:
    job: Made = getattr(sys.modules[__name__], _PREFIX + json.dumps([what, *values]).encode().hex())
    return job


@functools.lru_cache(maxsize=10_000)
def _described(name: str) -> Made:
    what, *values = json.loads(bytes.fromhex(name.removeprefix(_PREFIX)))
    does = _DEEDS[what]

    def job(*args: Any, **kwargs: Any) -> Any:
        return does(*values, *args, **kwargs)

    job.__name__ = job.__qualname__ = name
    return job


def __getattr__(name: str) -> Any:
    if name.startswith(_PREFIX):
        return _described(name)
    raise AttributeError(name)


# -- deeds -------------------------------------------------------------------------------------


def _returns(value: Any) -> Any:
    return value


def _adds(a: Any, b: Any) -> Any:
    return {"sum": a + b}


def _raises(kind: str, message: str) -> None:
    found = next(getattr(home, kind) for home in _HOMES if hasattr(home, kind))
    raise found(message)


_HOMES = (builtins, greenlet, asyncio)
"""Where the exceptions are that are asked for by name."""


def _recurses(number: int) -> int:
    return _recurses(number + 1)


def _waits(path: str, value: Any) -> Any:
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([pipe], [], [], _PATIENCE)[0], "the gate was not opened in time"
        os.read(pipe, 1)
    finally:
        os.close(pipe)
    return value


def _waits_and_raises(path: str, kind: str) -> None:
    _waits(path, None)
    _raises(kind, "once the gate was open")


_DEEDS: dict[str, Made] = {
    "returns": _returns,
    "returns_an_object": object,
    "adds": _adds,
    "raises": _raises,
    "recurses": _recurses,
    "names_its_execution": lambda: current().execution_id,
    "waits": _waits,
    "waits_and_raises": _waits_and_raises,
}
