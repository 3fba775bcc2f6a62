"""``VirtualScheduler``: a ``kalends.Scheduler`` in virtual time.

Promises: it is the real one (the same actors under the same supervisors, the same policies, the
same storage code) with another ground under its feet: one thread, a clock that moves when told, and
jobs that are called at once or only played. Every verb of ``Scheduler`` works and returns when all
that it set going has come to rest. Two that are given the same calls and the same seed write the
same ledger, byte for byte. ``kill`` ends it as a power cut would; ``start`` begins the next process
on the same database, in memory too.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import msgspec
import pendulum

from kalends.clock import from_us
from kalends.errors import ValidationFailed
from kalends.jobs.codec import type_name
from kalends.jobs.executors.base import Executor
from kalends.jobs.registry import Registry
from kalends.scheduler import Scheduler
from kalends.settings import Settings
from kalends.storage import open_storage
from kalends.storage.dialect import Dialect
from kalends.system import System
from kalends.testing.clock import ManualClock, SkewedClock, microseconds
from kalends.testing.ledger import FateCount, count_fates, dump
from kalends.testing.script import JobScript
from kalends.testing.virtual.executor import Script
from kalends.testing.virtual.lifecycle import VirtualLifecycle
from kalends.testing.virtual.machinery import VirtualMachinery
from kalends.testing.virtual.process import VirtualProcess
from kalends.testing.virtual.storage import MemoryDialect, Probe, VirtualStorage, count_start
from kalends.testing.virtual.world import START, World

__all__ = ["VirtualScheduler"]

T = TypeVar("T")

_QUIET: dict[str, Any] = {
    "durability": "normal",
    "max_sleep": 3600.0,
    "lease": 3600.0,
    "follow_every": 86_400.0,
    "housekeeping_every": 86_400.0,
    "retain_age": None,
    "retain_gaps": None,
}
"""Other defaults than production's: nothing that a test could count is folded away, and a year of
virtual time is not spent on heartbeats.
"""


class VirtualScheduler(Scheduler):
    """A scheduler whose time passes when told.

    ``database`` as for ``Scheduler``, in memory by default. ``start`` is when time begins (default
    2027-01-01T00:00Z) and ``seed`` decides ids and chance; ``clock`` gives a ``ManualClock`` of
    your own instead, ``world`` that of other virtual schedulers. ``durations`` and ``failures``
    have jobs played rather than called, see ``JobScript``. ``probe`` is asked at each step of each
    transaction. Settings are as for ``Scheduler``, but not read from the environment, and with the
    defaults of a test: see ``docs/testing.md``.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] = ":memory:",
        *,
        start: dt.datetime | None = None,
        seed: int | str = 0,
        clock: ManualClock | None = None,
        world: World | None = None,
        durations: Any = None,
        failures: Any = None,
        probe: Probe | None = None,
        settings: Settings | None = None,
        registry: Registry | None = None,
        executors: Mapping[str, Executor] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
        **values: Any,
    ) -> None:
        if sum(given is not None for given in (start, clock, world)) > 1:
            raise ValidationFailed("give one of start, clock and world", path="world")
        if world is not None and not isinstance(world, World):
            raise ValidationFailed(f"world must be a World, not {type_name(world)}", path="world")
        if settings is None:
            settings = Settings.load(environ={}, **{**_QUIET, **values})
            values = {}
        self.world = (
            World(START if start is None else start, seed=seed, clock=clock)
            if world is None
            else world
        )
        self.clock = self.world.clock
        super().__init__(
            database,
            settings=settings,
            registry=registry,
            clock=self.clock,
            executors=executors,
            on_failure=on_failure,
            **values,
        )
        self.probe = probe
        """Asked at each step of each transaction of the next start; see ``StorageStep``."""
        self.skew = 0.0
        """By how many seconds the wall clock of its machine is ahead of ``clock`` from the next
        start on."""
        self._script: Script = JobScript(durations, failures, self.world.rng)
        self._memory = MemoryDialect() if self._database == ":memory:" else None
        self._life: VirtualLifecycle = VirtualLifecycle(self._make_system_in, self.world)

    def _make_system_in(self, process: VirtualProcess) -> System:
        dialect: Dialect = (
            open_storage(self._database, self.settings).dialect
            if self._memory is None
            else self._memory
        )
        return System(
            VirtualStorage(dialect, process, self.probe),
            self.registry,
            self.settings,
            SkewedClock(self.clock, self.skew) if self.skew else self.clock,
            self._on_failure,
            executors=self._executors,
            declared=self._declared(),
            notices=self.notices,
            machinery=VirtualMachinery(process, self._script, count_start(dialect)),
        )

    def peer(self, **values: Any) -> VirtualScheduler:
        """Another scheduler on the same database in the same world: a second node.

        Takes the keywords of ``VirtualScheduler``; jobs and settings are this one's unless given.
        """
        if "settings" not in values and not set(values) & set(Settings.__struct_fields__):
            values["settings"] = self.settings
        values.setdefault("registry", self.registry)
        values.setdefault("executors", self._own_executors)
        other = VirtualScheduler(self._database, world=self.world, **values)
        other._memory = self._memory
        return other

    def reader(self) -> VirtualScheduler:
        """A scheduler on the same database and clock that answers and runs nothing."""
        return self.peer(settings=msgspec.structs.replace(self.settings, enabled=False))

    # -- looking -------------------------------------------------------------------------------

    def count_fates(self) -> dict[str, list[FateCount]]:
        """By event: how many instants have which fate for which reason, gaps included."""
        return self._look(count_fates)

    def dump(self) -> bytes:
        """Every table as JSON lines: equal for equal ledgers, and only for those."""
        return self._look(dump)

    def _look(self, query: Callable[[Any], T]) -> T:
        storage = self._life.running().storage
        return self._life.inside(lambda: storage.read(query).get())

    # -- time ----------------------------------------------------------------------------------

    @property
    def now(self) -> pendulum.DateTime:
        """The present instant."""
        return self.world.now

    def advance(self, seconds: float) -> Self:
        """Let ``seconds`` pass: what is due on the way happens, each at its instant."""
        self.clock.advance(seconds)
        return self

    def advance_to(self, instant: dt.datetime) -> Self:
        """Let time pass until ``instant``. Raises ``ValidationFailed`` for one that is past."""
        self.world.advance_to(instant)
        return self

    def jump(self, seconds: float) -> Self:
        """Set the wall clock forward, or back where ``seconds`` is negative; no time passes."""
        self.clock.jump(seconds)
        self.world.settle()
        return self

    def next_wake(self) -> pendulum.DateTime | None:
        """When something will happen next (a claim, a job's start or end, a sign of life)."""
        wake = self.world.next_wake()
        if wake is None:
            return None
        return from_us(self.clock.now_us() + wake - self.clock.monotonic_us)

    def wait_until(self, condition: Callable[[], object], timeout: float = 86_400.0) -> None:
        """Let time pass until ``condition()``, looked at whenever something has happened.

        Raises ``AssertionError`` where it is not so within ``timeout`` virtual seconds.
        """
        microseconds(timeout, "timeout")
        if not self.world.wait(condition, timeout):
            raise AssertionError(f"it did not happen within {timeout:g} s, by {self.now}")

    # -- life ----------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """True between ``start`` and ``shutdown`` or ``kill``."""
        return self._life.system is not None

    def kill(self) -> Self:
        """End it at once, as a power cut would: what is not committed is gone, nobody is told.

        Called from inside (a probe, a job) it does not return: whoever moves time gets
        ``ProcessKilled``.
        """
        self._life.kill()
        return self

    def freeze(self) -> Self:
        """Have its process stand still, as by SIGSTOP, while time passes for all others.

        Called from inside (a probe, a job) it returns when the process has been thawed. Whoever
        asks it something meanwhile waits in vain.
        """
        self._life.freeze()
        return self

    def thaw(self) -> Self:
        """Have its process go on where it stood still, as by SIGCONT."""
        self._life.thaw()
        self.world.settle()
        return self
