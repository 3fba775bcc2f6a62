"""The world of a simulation: chance decides whose turn it is, and processes stand still at times.

What stands still goes on by itself when its time has come, also while somebody waits for an answer.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

from kalends.clock import US
from kalends.testing import ProcessKilled, World
from kalends.testing.virtual.process import VirtualProcess

__all__ = ["SimulatedWorld"]


class SimulatedWorld(World):
    """``note`` is told what happens to processes."""

    def __init__(self, start: object, seed: int, note: Callable[[str], None]) -> None:
        super().__init__(start, seed=seed)  # type: ignore[arg-type]
        self._chance = random.Random(f"turns/{seed}")
        self._note = note
        self._thaw_at: dict[VirtualProcess, int] = {}
        self.place = "host"
        """Where the next process is born."""
        self.afflicted: set[VirtualProcess] = set()
        """Whom faults befall."""
        self._highest = self.clock.now_us()
        self._asked: VirtualProcess | None = None
        self._waiting = False

    def fork(self) -> VirtualProcess:
        """A process at ``place``, which whoever waits waits for."""
        process = super().fork()
        process.place = self.place
        if self._waiting:
            self._asked = process
            self.afflicted.add(process)
        return process

    @contextlib.contextmanager
    def waiting_for(self, process: VirtualProcess | None) -> Iterator[None]:
        """While entered: the death of this process, or of one born meanwhile, ends the wait."""
        self._waiting, self._asked = True, process
        try:
            yield
        finally:
            self._waiting, self._asked = False, None

    def turns(self) -> list[VirtualProcess]:
        """Any order. What has stood still for long enough goes on."""
        now = self.clock.monotonic_us
        for process in [one for one, until in self._thaw_at.items() if until <= now]:
            self.thaw(process)
        found = super().turns()
        self._chance.shuffle(found)
        return found

    def run(self, process: VirtualProcess) -> bool:
        """Its turn. A death is the business of whoever waits for it, and of nobody else."""
        try:
            return super().run(process)
        except ProcessKilled:
            self._note(f"process {process.pid} dies")
            if process is self._asked:
                raise
            return True

    def forget(self, process: VirtualProcess) -> None:
        """It has ended."""
        super().forget(process)
        self._thaw_at.pop(process, None)
        self.afflicted.discard(process)

    def next_wake(self) -> int | None:
        """The next thing due, or the end of somebody's standing still."""
        found = [at for at in (super().next_wake(), *self._thaw_at.values()) if at is not None]
        return min(found, default=None)

    # -- clocks --------------------------------------------------------------------------------

    def jump(self, seconds: float) -> None:
        """Set all wall clocks forward or back."""
        self._highest = self.reached_us()
        self.clock.jump(seconds)

    def reached_us(self) -> int:
        """The latest instant that they have shown."""
        return max(self._highest, self.clock.now_us())

    # -- standing still ------------------------------------------------------------------------

    def freeze(self, process: VirtualProcess, seconds: float) -> None:
        """Have a process stand still for so long; 0: until the others have had their turn."""
        if process.frozen or not process.alive:
            return
        self._thaw_at[process] = self.clock.monotonic_us + round(seconds * US)
        process.freeze()

    def thaw(self, process: VirtualProcess) -> None:
        """Have it go on."""
        del self._thaw_at[process]
        process.thaw()

    def thaw_all(self) -> None:
        """Have all go on."""
        for process in list(self._thaw_at):
            self.thaw(process)

    @property
    def frozen(self) -> bool:
        """Whether any stands still."""
        return bool(self._thaw_at)
