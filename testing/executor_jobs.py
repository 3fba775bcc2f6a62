"""The jobs that the executor contract has run, and the gates at which they wait.

``ContractJobs`` makes them as plain functions of this process. An executor of coroutines, or of
jobs in other processes, is given a subclass that makes the same jobs for it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, Protocol

from greenlet import GreenletExit

from kalends.futures import Future
from kalends.jobs.context import current

__all__ = ["ContractJobs", "CoroutineJobs", "Gate"]

Made = Callable[..., Any]
_PATIENCE = 10.0


class Gate(Protocol):
    """Where jobs wait until it is opened, from any thread."""

    def open(self) -> None:
        """Let them all go on, now and later."""


class _FutureGate:
    """For threads, for greenlets of any hub, and for coroutines."""

    def __init__(self) -> None:
        self.opened: Future[None] = Future(_PATIENCE)

    def open(self) -> None:
        self.opened.resolve(None)


class ContractJobs:
    """Makes jobs. Each method returns a function to be registered."""

    resists = True
    """Whether a job can go on when it is interrupted."""
    raisable: tuple[type[BaseException], ...] = (
        ValueError, SystemExit, KeyboardInterrupt, GreenletExit, GeneratorExit, MemoryError,
        RecursionError, StopIteration, CancelledError,
    )  # fmt: skip
    """What a job may raise as it is."""

    def gate(self) -> Gate:
        """A gate that is closed."""
        return _FutureGate()

    def returns(self, value: Any) -> Made:
        """It returns ``value``."""
        return self.calls(lambda: value)

    def returns_an_object(self) -> Made:
        """It returns something that cannot be stored."""
        return self.calls(object)

    def adds(self) -> Made:
        """It takes ``a`` and ``b``."""
        return self.calls(lambda a, b: {"sum": a + b})

    def raises(self, kind: type[BaseException], message: str) -> Made:
        """It raises an exception."""

        def job() -> None:
            raise kind(message)

        return self.calls(job)

    def recurses(self) -> Made:
        """It calls itself until that is too much."""

        def deep(number: int) -> int:
            return deep(number + 1)

        return self.calls(lambda: deep(0))

    def names_its_execution(self) -> Made:
        """It returns the id of its execution."""
        return self.calls(lambda: current().execution_id)

    def waits(self, gate: Gate, value: Any) -> Made:
        """It returns ``value`` once the gate is open."""

        def job() -> Any:
            self.wait(gate)
            return value

        return job

    def waits_and_raises(self, gate: Gate, kind: type[BaseException]) -> Made:
        """It raises an exception once the gate is open."""

        def job() -> None:
            self.wait(gate)
            raise kind("once the gate was open")

        return job

    def withstands(self, gate: Gate, value: Any) -> Made:
        """It returns ``value`` once the gate is open, whatever it is interrupted by until then."""

        def job() -> Any:
            while True:
                try:
                    self.wait(gate)
                except Exception:
                    raise  # the gate was not opened in time
                except BaseException:  # noqa: BLE001 - that is what it is to do
                    continue
                return value

        return job

    # -- how they are made ---------------------------------------------------------------------

    def calls(self, function: Made) -> Made:
        """A job that does what ``function`` does, which waits for nothing."""
        return function

    def wait(self, gate: Gate) -> None:
        """Wait at a gate that ``gate`` made, inside a job."""
        assert isinstance(gate, _FutureGate)
        gate.opened.get()


class CoroutineJobs(ContractJobs):
    """The same jobs as coroutine functions."""

    # A coroutine that raises StopIteration raises RuntimeError (PEP 479).
    raisable = tuple(kind for kind in ContractJobs.raisable if kind is not StopIteration)

    def calls(self, function: Made) -> Made:
        """A job that does what ``function`` does, which waits for nothing."""

        async def job(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return job

    def waits(self, gate: Gate, value: Any) -> Made:
        """It returns ``value`` once the gate is open."""

        async def job() -> Any:
            await self.pass_through(gate)
            return value

        return job

    def waits_and_raises(self, gate: Gate, kind: type[BaseException]) -> Made:
        """It raises an exception once the gate is open."""

        async def job() -> None:
            await self.pass_through(gate)
            raise kind("once the gate was open")

        return job

    def withstands(self, gate: Gate, value: Any) -> Made:
        """It returns ``value`` once the gate is open, however often it is cancelled until then."""

        async def job() -> Any:
            while True:
                try:
                    await self.pass_through(gate)
                except CancelledError:
                    continue
                return value

        return job

    async def pass_through(self, gate: Gate) -> None:
        """Wait at a gate that ``gate`` made, inside a job."""
        assert isinstance(gate, _FutureGate)
        await gate.opened
