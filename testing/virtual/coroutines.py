"""An asyncio loop in virtual time, for coroutine jobs.

Promises: what the coroutines wait for by asyncio's means (``asyncio.sleep``, time-outs, events,
queues, tasks) passes in virtual time, in one greenlet of a virtual process; an event loop that the
test itself may be running in is not disturbed. There is no network and there are no threads here:
whoever awaits ``asyncio.to_thread`` or a socket waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from asyncio import events
from collections.abc import Callable, Mapping
from typing import Any

from gevent.event import Event

from kalends.testing.virtual.process import VirtualProcess

__all__ = ["VirtualEventLoop"]


class VirtualEventLoop(asyncio.BaseEventLoop):
    """Runs from its first use until its process ends."""

    def __init__(self, process: VirtualProcess) -> None:
        super().__init__()
        self._clock_resolution = 1e-6
        self._selector = _Waiter(self)
        self._monotonic: Callable[[], float] = process.world.clock.monotonic
        process.spawn(self._live)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._monotonic()

    def wake(self) -> None:
        """Look again what there is to do: something was put in from outside of it."""
        self._selector.wake()

    def _live(self) -> None:
        outer = events._get_running_loop()
        events._set_running_loop(None)  # asyncio refuses to run a loop inside another one
        self._selector.outer = outer
        try:
            self.run_forever()
        finally:
            events._set_running_loop(self._selector.outer)
            self._clear_away()

    def _clear_away(self) -> None:
        """The process has ended, and whatever waits here with it."""
        self.set_exception_handler(lambda *_: None)
        for left in asyncio.all_tasks(self):
            coroutine = left.get_coro()
            if coroutine is not None:
                with contextlib.suppress(RuntimeError):  # it would not end
                    coroutine.close()
        self.close()

    # -- what a loop of asyncio's has to have --------------------------------------------------

    def _process_events(self, found: list[Any]) -> None:
        """There are none: nothing here waits for a file."""

    def _write_to_self(self) -> None:
        self._selector.wake()


class _Waiter(selectors.BaseSelector):
    """Waits in virtual time, for the loop to be woken and for nothing else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.outer: asyncio.AbstractEventLoop | None = None
        """The loop that whoever moves time is running in, if so."""
        self._loop = loop
        self._woken = Event()

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._woken.set()

    def select(self, timeout: float | None = None) -> list[Any]:
        """Let others have their turn for so long; meanwhile this loop does not run here."""
        events._set_running_loop(self.outer)
        try:
            self._woken.wait(timeout)
            self._woken.clear()
        finally:
            self.outer = events._get_running_loop()
            events._set_running_loop(self._loop)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """There are no files."""
        raise NotImplementedError("there is no network in virtual time")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """There are no files."""
        raise NotImplementedError("there is no network in virtual time")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """There are no files."""
        return {}
