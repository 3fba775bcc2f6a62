"""A scheduler in a storm: real time, jobs that keep a list, and every way to crash an actor.

The seed of all that is random is printed (``TEST_STORM_SEED`` sets it); ``TEST_STORM_SCALE`` makes
the storms longer.
"""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from kalends import CleanupRule, Event, EventStatus, Fate, Page, Registry, Scheduler, current
from kalends.actors.exits import Crash
from kalends.actors.mailbox import Envelope
from kalends.actors.runtime import Actor, Cell
from kalends.messages import CreateEvents, ListEvents, ListExecutions, RunCleanup, TriggerNow
from kalends.system import System

SEED = int(os.environ.get("TEST_STORM_SEED", "20270101"))
SCALE = float(os.environ.get("TEST_STORM_SCALE", "1"))
CORE = ("execution_tracker", "event_manager", "loop")
ACTORS = (*CORE, "housekeeper")
WAIT = 20.0


def until(condition: Callable[[], Any], seconds: float = WAIT) -> Any:
    """Wait until ``condition()`` is true, and return its value."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "it did not happen in time"
        pause.wait(0.002)


class Oom(MemoryError):
    """A memory error of somebody's own."""


class Wordless(Exception):
    """A bug that cannot even be told."""

    def __str__(self) -> str:
        raise SystemExit("no words")


BUGS: tuple[type[BaseException], ...] = (
    RuntimeError,
    SystemExit,
    KeyboardInterrupt,
    gevent.GreenletExit,
    Oom,
    Wordless,
)


class Hostile:
    """A value that raises whenever it is looked at."""

    def __init__(self, kind: type[BaseException]) -> None:
        object.__setattr__(self, "kind", kind)

    def _raise(self, *_: object) -> Any:
        raise object.__getattribute__(self, "kind")("hostile")

    __getattr__ = __iter__ = __hash__ = __eq__ = __str__ = __repr__ = __len__ = _raise


class Held:
    """A thread of the scheduler (its writer, its hub) that is held until told."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.let_go = threading.Event()

    def hold(self, *_: object) -> None:
        self.held.set()
        self.let_go.wait(WAIT)


class Storm:
    """A scheduler, what its jobs did, and how its actors are crashed."""

    def __init__(self, path: Path, **settings: Any) -> None:
        (path.parent / "x").mkdir(exist_ok=True)
        rule = CleanupRule.checked(
            name="r", directory=str(path.parent / "x"), pattern="*", keep_last=1
        )
        self.path = path
        self.registry = Registry()
        self.registry.register(self._tick, "tick")
        self.registry.register(self._hold, "hold")
        self.ran: list[tuple[str, Any]] = []
        self.holding: set[str] = set()
        """Executions whose jobs are held now."""
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self.settings: dict[str, Any] = {
            "cleanup": [rule],
            "durability": "normal",
            "housekeeping_every": 3600.0,
            "restart_backoff": 0.001,
            "restart_backoff_limit": 0.005,
            "workers": 4,
            **settings,
        }
        self.scheduler = self.make()
        self.helds: list[Held] = []

    def make(self) -> Scheduler:
        return Scheduler(
            self.path,
            registry=self.registry,
            environ={},
            on_failure=self._failed,
            **self.settings,
        )

    def _failed(self, error: BaseException) -> None:
        self.on_failure(error)  # as it is by then

    def _tick(self) -> None:
        self.ran.append((current().event_id, current().due))

    def _hold(self) -> None:
        self._tick()
        self.holding.add(current().execution_id)
        self.begun.release()
        self.let_go.wait(WAIT)
        self.holding.discard(current().execution_id)

    def close(self) -> None:
        self.let_go.set()
        for held in self.helds:
            held.let_go.set()
        self.scheduler.shutdown(5.0)

    # -- looking -------------------------------------------------------------------------------

    @property
    def system(self) -> System:
        system = self.scheduler._system
        assert system is not None
        return system

    def cell(self, actor: str) -> Cell[Any]:
        system = self.system
        cells = (system.tracker, system.event_manager, system.loop, system.housekeeper)
        return next(cell for cell in cells if cell.name == actor)

    def restarts(self) -> dict[str, int]:
        return {actor.name: actor.restarts for actor in self.scheduler.status().actors}

    def state(self, actor: str) -> str:
        return next(str(s.state) for s in self.scheduler.status().actors if s.name == actor)

    # -- holding -------------------------------------------------------------------------------

    def hold_writer(self) -> Held:
        """Nothing is committed until the held is let go."""
        held = Held()
        self.helds.append(held)
        self.system.storage.write(held.hold)
        assert held.held.wait(WAIT)
        return held

    def hold_hub(self) -> Held:
        """No actor handles anything until the held is let go."""
        held = Held()
        self.helds.append(held)
        self.system.hub.call(held.hold)
        assert held.held.wait(WAIT)
        return held

    # -- crashing ------------------------------------------------------------------------------

    @staticmethod
    def accident(bug: type[BaseException] = RuntimeError) -> Crash:
        """An order to crash."""
        return Crash(bug("a bug"))

    def crash(self, actor: str, bug: type[BaseException] = RuntimeError) -> None:
        """By an order that is handled before whatever waits."""
        self.cell(actor).tell_urgent(self.accident(bug))

    def kill(self, actor: str) -> None:
        """The greenlet, from outside."""
        self.system.hub.call(self.cell(actor).kill)

    def poison(self, actor: str, bug: type[BaseException]) -> Any:
        """By a message that raises where it is handled, or in its unit. The answer's future."""
        hostile: Any = Hostile(bug)
        message: Any = {
            "execution_tracker": ListExecutions(hostile),
            "event_manager": ListEvents(hostile),
            "loop": TriggerNow(hostile),
            "housekeeper": RunCleanup(hostile),
        }[actor]
        return self.cell(actor).ref.ask(message, block=False)

    def poison_writer(self, bug: type[BaseException]) -> Any:
        """By a message that raises in the middle of a transaction that others share."""
        hostile: Any = Hostile(bug)
        return self.cell("event_manager").ref.ask(CreateEvents(hostile), block=False)

    # -- accounts ------------------------------------------------------------------------------

    def all_of(self, page_of: Callable[..., Page[Any]], **query: Any) -> list[Any]:
        items: list[Any] = []
        cursor = None
        while True:
            page = page_of(limit=1000, cursor=cursor, **query)
            items += page.items
            cursor = page.cursor
            if cursor is None:
                return items

    def settle(self) -> None:
        """Nothing fires any more, and all that did is recorded."""
        for event in self.all_of(self.scheduler.list_events, status="active"):
            self.scheduler.pause_event(event.id)
        until(lambda: self.scheduler.status().in_flight == 0)
        until(lambda: self.scheduler.status().unrecorded == 0)

    def check_accounts(self) -> int:
        """Every instant has one fate, what succeeded ran once; the number of executions."""
        ran = Counter(self.ran)
        assert not [key for key, times in ran.items() if times > 1], "run twice"
        found = 0
        recorded: set[tuple[str, Any]] = set()
        events = self.all_of(self.scheduler.list_events)
        for event in events + self.all_of(self.scheduler.list_events, status="deleted"):
            executions = self.all_of(self.scheduler.list_executions, event_id=event.id)
            self._check_event(event, executions)
            for execution in executions:
                key = (event.id, execution.due)
                recorded.add(key)
                found += 1
                if execution.fate is Fate.PENDING:
                    # Revoked by the pause before it began: open, and nobody's, until resumed.
                    assert (execution.node, event.status) == (None, EventStatus.PAUSED)
                else:
                    assert execution.fate in (Fate.SUCCEEDED, Fate.SKIPPED), (event.name, execution)
                assert (execution.fate is Fate.SUCCEEDED) is (key in ran), (event.name, execution)
                assert len(execution.attempts) <= 1
        assert set(ran) <= recorded, "a job ran that is in no ledger"
        return found

    def _check_event(self, event: Event, executions: list[Any]) -> None:
        accounted = [execution.due for execution in executions if not execution.manual]
        for gap in self.all_of(self.scheduler.list_gaps, event_id=event.id):
            inside = list(event.trigger.between(gap.first, gap.last.add(microseconds=1)))
            assert len(inside) == gap.count
            accounted += inside
        if event.next_due is not None:
            due = list(event.trigger.between(event.accounted_from, event.next_due))
            assert sorted(accounted) == due, event.name


@pytest.fixture
def rng() -> random.Random:
    print(f"TEST_STORM_SEED={SEED}")  # noqa: T201  (shown where a test fails)
    return random.Random(SEED)


@pytest.fixture
def make_storm(tmp_path: Path, logged: list[dict[str, Any]]) -> Iterator[Callable[..., Storm]]:
    made: list[Storm] = []

    def make(**settings: Any) -> Storm:
        made.append(Storm(tmp_path / "kalends.db", **settings))
        made[-1].scheduler.start()
        return made[-1]

    yield make
    for storm in made:
        storm.close()


class Tools:
    """What test files of this folder share: they cannot import one another."""

    seed, scale, bugs, wait = SEED, SCALE, BUGS, WAIT
    until = staticmethod(until)

    @staticmethod
    def envelopes() -> int:
        """How many there are in the process: other tests' schedulers may have left some."""
        gc.collect()
        return sum(type(item) is Envelope for item in gc.get_objects())

    @staticmethod
    def memory() -> int:
        """Bytes of memory that the process has by now; 0 where the system does not tell."""
        if not os.path.exists("/proc/self/statm"):
            return 0
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @staticmethod
    def actor_of(storm: Storm, name: str) -> Any:
        """The living incarnation of an actor."""
        # Not isinstance: it asks the object, and other tests leave objects that raise when asked.
        found = [item for item in gc.get_objects() if issubclass(type(item), Actor)]
        return next(
            a for a in found if a.cell is storm.cell(name) and a.incarnation == a.cell.incarnation
        )


@pytest.fixture
def tools() -> type[Tools]:
    return Tools
