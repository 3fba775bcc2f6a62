"""A scheduler in virtual time, for whatever tests one as a whole."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pendulum
import pytest
import structlog

from kalends import Event, Execution, Registry, Scheduler, current, once
from kalends.system import System
from kalends.testing import ManualClock

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

pytest_plugins = ["kalends.testing.plugin"]

# A shared machine is slow now and then, and what runs must not depend on luck: fuzzing is apart.
hypothesis.settings.register_profile("kalends", deadline=None, derandomize=True)
hypothesis.settings.load_profile("kalends")

START = pendulum.datetime(2027, 1, 1, tz="UTC")


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until ``condition()`` is true, and return its value."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.002)):
        value = condition()
        if value:
            return value
        pause.wait(0.002)
    raise AssertionError("it did not happen in time")


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


class Virtual:
    """A scheduler whose clock is moved by hand, its jobs, and the instants they ran for."""

    def __init__(self, path: Path | str, clock: ManualClock, **settings: Any) -> None:
        self.clock = clock
        self.path = path
        self.settings = {"housekeeping_every": 86_400.0, "stall_after": 60.0, **settings}
        self.registry = Registry()
        self.registry.register(lambda: None, "barrier")
        self.registry.register(self._tick, "tick")
        self.registry.register(self._boom, "boom")
        self.registry.register(self._hold, "hold")
        self.ran: list[tuple[str, pendulum.DateTime]] = []
        self.held = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.scheduler = Scheduler(
            path, clock=clock, registry=self.registry, environ={}, **self.settings
        )

    def _tick(self) -> None:
        self.ran.append((current().event_name, current().due))

    def _boom(self) -> None:
        raise RuntimeError("boom")

    def _hold(self) -> None:
        self.ran.append((current().event_name, current().due))
        self.held.release()
        assert self.let_go.wait(30)

    @property
    def system(self) -> System:
        system = self.scheduler._system
        assert system is not None
        return system

    def start(self) -> Virtual:
        self.scheduler.start()
        return self

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def settle(self) -> None:
        """Wait until everything that is due by now has been started, has ended and is recorded.

        A manual execution goes the way all others go, behind them: where it has ended, they have
        at least begun.
        """
        for _ in range(2):
            barrier = self.scheduler.schedule_event("barrier", once(START.add(years=900)))
            self.ended(self.scheduler.trigger_now(barrier.id).id)
        until(lambda: not self.system.outbox)

    def ended(self, execution_id: str) -> Execution:
        def look() -> Execution | None:
            execution = self.scheduler.get_execution(execution_id)
            return execution if execution.ended_at is not None else None

        execution: Execution = until(look)
        return execution

    def executions(self, event: Event) -> list[Execution]:
        """All executions of an event, oldest first."""
        page = self.scheduler.list_executions(event_id=event.id, descending=False, limit=1000)
        return list(page.items)

    def fates(self, event: Event) -> dict[float, str]:
        """Each accounted instant, in seconds since START, and its fate or the reason of a skip."""
        told: dict[float, str] = {}
        for execution in self.executions(event):
            if not execution.manual:
                at = (execution.due - START).total_seconds()
                assert at not in told
                told[at] = (execution.reason or execution.fate).value
        for gap in self.scheduler.list_gaps(event_id=event.id, limit=1000).items:
            instants = list(event.trigger.between(gap.first, gap.last.add(microseconds=1)))
            assert len(instants) == gap.count
            for instant in instants:
                at = (instant - START).total_seconds()
                assert at not in told
                told[at] = (gap.reason or gap.fate).value
        return dict(sorted(told.items()))

    def journal(self, kind: str) -> list[Any]:
        return list(self.scheduler.list_journal(kind=kind).items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked so runs on each kind of database."""
    if "database" in metafunc.fixturenames and metafunc.definition.get_closest_marker("on_both"):
        metafunc.parametrize("database", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test stands on."""
    kind: str = getattr(request, "param", "sqlite")
    return kind


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server, for as long as the tests run that need one."""
    if sys.platform == "win32":
        pytest.skip("the package that brings a server is not installed there")
    from tests.postgres_server import PostgresServer

    with PostgresServer() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def home(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Names an empty database of the test's own."""
    if database == "sqlite":
        yield tmp_path / "kalends.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.lend()
    yield url
    server.take_back(url)


@pytest.fixture
def make_virtual(home: Path | str, clock: ManualClock) -> Iterator[Callable[..., Virtual]]:
    made: list[Virtual] = []

    def make(path: Path | str | None = None, **settings: Any) -> Virtual:
        made.append(Virtual(path or home, clock, **settings))
        return made[-1]

    yield make
    for virtual in made:
        virtual.let_go.set()
        virtual.scheduler.shutdown(10.0)


@pytest.fixture
def virtual(make_virtual: Callable[..., Virtual]) -> Virtual:
    """A started one on a file."""
    return make_virtual().start()


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What was logged, and nothing of it printed."""
    entries: list[dict[str, Any]] = []

    def capture(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> str:
        # Without the exceptions: their tracebacks would keep alive whatever is to be counted.
        entries.append({key: entry[key] for key in entry if key != "exc_info"})
        raise structlog.DropEvent

    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[capture])
    yield entries
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)
