"""A hub on a hand-moved clock, and actors that start, end and hang as a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import gevent
import pytest
import structlog
from gevent.event import Event

from kalends.actors.hub import Hub
from kalends.actors.runtime import Actor, Cell, Exit, handles
from kalends.supervisor import (
    Backoff,
    ChildSpec,
    ChildStatus,
    Report,
    RestartWindow,
    Strategy,
    Supervisor,
)
from kalends.testing import ManualClock

WAIT = 5.0


class Echo:
    """Answered with its value."""

    def __init__(self, value: object) -> None:
        self.value = value


class Fail:
    """Raises its error in the handler."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Leave:
    """The worker stops itself."""


class Hang:
    """The handler waits until the test lets go. ``stubborn``: it swallows every kill meanwhile."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn


class Worker(Actor):
    """Notes its life on the bench and does what messages and ``bench.on_start`` say."""

    def __init__(self, bench: Bench, name: str) -> None:
        super().__init__()
        self.bench, self.name = bench, name

    def on_start(self) -> None:
        self.bench.notes.append(f"start {self.name}")
        self.bench.on_start.get(self.name, lambda: None)()

    def on_stop(self) -> None:
        self.bench.notes.append(f"stop {self.name}")

    @handles(Echo)
    def echo(self, message: Echo) -> object:
        return message.value

    @handles(Fail)
    def fail(self, message: Fail) -> None:
        raise message.error

    @handles(Leave)
    def leave(self, _message: Leave) -> None:
        self.stop()

    @handles(Hang)
    def hang(self, message: Hang) -> None:
        while not self.bench.let_go.is_set():
            try:
                self.bench.let_go.wait()
            except gevent.GreenletExit:
                if not message.stubborn:
                    raise


class Bench:
    """What a test of supervision needs: cells, a supervisor, a clock, and what happened."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub("bench", self.clock, stall_after=30.0)
        self.hub.start()
        self.let_go: Event = self.hub.run(Event, WAIT)
        self.notes: list[str] = []
        self.logged: list[dict[str, Any]] = []
        self.reports: list[Report] = []
        self.started: list[BaseException | None] = []
        self.exits: list[Exit] = []
        self.on_start: dict[str, Callable[[], object]] = {}
        self.cells: dict[str, Cell[Worker]] = {}

    def cell(self, name: str, limit: int = 10_000) -> Cell[Worker]:
        """A new cell, known by its name from here on."""
        self.cells[name] = Cell(
            name, self.hub, Worker, lambda: Worker(self, name), mailbox_limit=limit
        )
        return self.cells[name]

    def spec(self, name: str, **options: Any) -> ChildSpec:
        """A specification of a new worker."""
        return ChildSpec(name, self.cell(name), **options)

    def supervisor(self, *children: ChildSpec, name: str = "top", **options: Any) -> Supervisor:
        """A supervisor of these children; it reports to the bench."""
        options.setdefault("strategy", Strategy.ONE_FOR_ONE)
        options.setdefault("window", RestartWindow(intensity=100, period=10.0))
        options.setdefault("backoff", Backoff(jitter=0.0))
        return Supervisor(name, self.hub, children, on_report=self.reports.append, **options)

    def begin(self, supervisor: Supervisor) -> Supervisor:
        """Start it and wait until nothing moves."""
        self.do(lambda: supervisor.start(self.started.append, self.exits.append))
        return supervisor

    def run(self, *children: ChildSpec, **options: Any) -> Supervisor:
        """A supervisor of these children, started; the notes of the start are dropped."""
        supervisor = self.begin(self.supervisor(*children, **options))
        assert self.started == [None]
        self.notes.clear()
        return supervisor

    def do(self, function: Callable[[], Any]) -> Any:
        """Call on the hub; return once nothing moves without time."""
        value = self.hub.run(function, WAIT)
        self.settle()
        return value

    def settle(self) -> None:
        """Wait until the hub is idle. All moves happen there, so everything has happened then."""
        self.hub.run(gevent.idle, WAIT)

    def pass_time(self, seconds: float) -> None:
        """Let time pass on the clock, and everything happen that was due."""
        self.clock.advance(seconds)
        self.settle()

    def tell(self, name: str, message: object) -> None:
        """Tell a worker, and let it act."""
        self.cells[name].ref.tell(message)
        self.settle()

    def crash(self, name: str, error: BaseException | None = None) -> None:
        """End a worker by a bug."""
        self.tell(name, Fail(error or ZeroDivisionError("bench")))

    def status(self, supervisor: Supervisor) -> dict[str, ChildStatus]:
        """The status of each child, by name."""
        return {child.name: child for child in self.hub.run(supervisor.status, WAIT)}

    def states(self, supervisor: Supervisor) -> str:
        """The states of all children, in start order."""
        return " ".join(child.state.value for child in self.hub.run(supervisor.status, WAIT))

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under this event name."""
        return [entry for entry in self.logged if entry["event"] == name]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()

    def capture(_logger: object, method: str, entry: MutableMapping[str, Any]) -> str:
        made.logged.append({**entry, "level": method})
        raise structlog.DropEvent

    structlog.configure(processors=[capture])
    yield made
    made.hub.call(made.let_go.set)
    made.settle()
    assert made.hub.stop(WAIT)
    structlog.reset_defaults()


@pytest.fixture
def messages() -> type:
    """The workers' vocabulary, by attribute."""
    return type("Messages", (), {"Echo": Echo, "Fail": Fail, "Leave": Leave, "Hang": Hang})
