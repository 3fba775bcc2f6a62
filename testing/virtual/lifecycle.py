"""Starting, ending and killing a scheduler in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kalends.errors import NotInitialized
from kalends.lifecycle import Lifecycle, Live
from kalends.messages import ClaimDue
from kalends.shutdown import ShutdownReport
from kalends.system import System
from kalends.testing.clock import ManualClock
from kalends.testing.virtual.process import VirtualProcess
from kalends.testing.virtual.world import World

__all__ = ["VirtualLifecycle"]

T = TypeVar("T")


class VirtualLifecycle(Lifecycle):
    """Starting and ending on one thread: each is done, and has come to rest, when it returns."""

    def __init__(self, make: Callable[[VirtualProcess], System], world: World) -> None:
        super().__init__(lambda: make(self._fork()))
        self._world = world
        self._process: VirtualProcess | None = None

    def _fork(self) -> VirtualProcess:
        self._process = process = self._world.fork()
        process.on_end.append(lambda: self._left(process))
        return process

    def _begin(self) -> tuple[System, VirtualProcess]:
        """A system that has started, in a process of its own."""
        system = self._make()
        process = self._process
        assert process is not None
        # Killed, it is over: what its greenlets do while they unwind is no failure.
        process.on_end.append(lambda: system.over.resolve(None))
        self._world.run_in(process, lambda: system.start(self._gone))
        return system, process

    def _left(self, process: VirtualProcess) -> None:
        """A process has ended; where it was killed, its system says so no more."""
        if self._process is process:
            self._process, self._live, self._stopped = None, None, True

    def start(self) -> None:
        """Start, unless it runs."""
        self.check_process()
        live = self._live
        if live is not None:
            self._check_usable(live)
            return
        try:
            system, process = self._begin()
        except BaseException:
            if self._process is not None:
                self._process.end()
            raise
        self._gone.clear()
        self._over = system.over
        self._live = Live(system, self._ended)
        process.on_end.append(_notice_jumps(system, self._world.clock))
        self._world.settle()

    async def start_async(self) -> None:
        """As ``start``: nothing here takes real time."""
        self.start()

    def stop(self, timeout: float) -> ShutdownReport:
        """Stop what runs, giving its jobs ``timeout`` virtual seconds."""
        self.check_process()
        live, process = self._live, self._process
        if live is None or process is None:
            self._stopped = True
            return ShutdownReport()
        live.stopping = True
        if self._world.inside:
            process.call(process.spawn, lambda: live.stop(timeout))
            return ShutdownReport(under_way=True)
        self._world.run_in(process, lambda: live.stop(timeout))
        report = live.outcome.get(timeout=0.0)
        process.end()
        return report

    async def stop_async(self, patience: float) -> ShutdownReport:
        """As ``stop``: nothing here takes real time."""
        return self.stop(patience)

    def wait(self, timeout: float | None) -> bool:
        """Let virtual time pass until the end: True when it was stopped, False when it is up."""
        self.check_process()
        over = self._over
        if over is None:
            return super().wait(timeout)
        patience = _YEAR if timeout is None else timeout
        if not self._world.wait(lambda: over.done, patience):
            return False
        over.get(timeout=0.0)
        return True

    def inside(self, function: Callable[[], T]) -> T:
        """The value of ``function``, run in the process that lives."""
        process = self._process
        if process is None:
            raise NotInitialized(f"the scheduler is {self.state}; start() it first")
        return self._world.run_in(process, function)

    def kill(self) -> None:
        """End the process, if one lives."""
        if self._process is not None:
            self._process.kill()

    def freeze(self) -> None:
        """Have the process stand still, if one lives."""
        if self._process is not None:
            self._process.freeze()

    def thaw(self) -> None:
        """Have it go on."""
        if self._process is not None:
            self._process.thaw()


def _notice_jumps(system: System, clock: ManualClock) -> Callable[[], None]:
    """Have the loop look as soon as the clock has jumped; returns what ends that.

    A real one looks within ``max_sleep``, which is too long here to wait for.
    """
    return clock.on_jump(lambda: system.loop.tell_urgent(ClaimDue()))


_YEAR = 366 * 86_400.0
