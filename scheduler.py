"""``Scheduler``: what a host holds. It wires nothing and decides nothing: each verb is one message
to one actor.

A scheduler is started and shut down, once or again and again. The verbs wait for the answer, on the
thread or in the greenlet that calls; the proxies (``events``, ``executions``, ``loop``,
``housekeeper``) return futures instead, to be awaited under asyncio. Every refusal is a
``KalendsError`` with a stable code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
import pendulum

from kalends.actors.events_proxy import EventsProxy
from kalends.actors.proxies import ExecutionsProxy, HousekeeperProxy, LoopProxy
from kalends.clock import Clock, SystemClock, from_us
from kalends.definitions import DefinitionChecker
from kalends.errors import ValidationFailed
from kalends.jobs.executors.base import Executor
from kalends.jobs.executors.bounds import ExecutorStatus
from kalends.jobs.executors.choice import choose_executors
from kalends.jobs.registry import Registry, default_registry
from kalends.lifecycle import Lifecycle
from kalends.notices import Notices
from kalends.refusals import checking, refusing
from kalends.settings import Settings
from kalends.shutdown import ShutdownReport
from kalends.storage import open_storage
from kalends.storage.declared import Declared
from kalends.supervisor import ChildStatus
from kalends.system import System
from kalends.validation import number, shown
from kalends.verbs import Verbs

__all__ = ["Scheduler", "SchedulerStatus"]


class SchedulerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler as it is now."""

    at: pendulum.DateTime
    """When that is, by its clock, UTC."""
    state: str
    """``new``, ``starting``, ``running``, ``degraded``, ``failed``, ``stopping``, ``stopped``;
    ``forked`` in a child process."""
    enabled: bool
    node: str | None = None
    actors: tuple[ChildStatus, ...] = ()
    storage: str = "closed"
    """``ok``, ``closed``, or why the last transaction was refused."""
    degraded: str | None = None
    failure: str | None = None
    executors: tuple[ExecutorStatus, ...] = ()
    in_flight: int = 0
    """Executions claimed and not ended."""
    unrecorded: int = 0
    """Outcomes that are not durable yet."""
    commits: int = 0
    units: int = 0
    stalls: int = 0


class Scheduler(Verbs):
    """A scheduler on one database.

    ``database`` is ``sqlite:///file.db`` (three slashes: relative; four: absolute), a path,
    ``:memory:``, or ``postgresql://user@host/name`` (with the extra ``postgres``). ``settings`` is
    a ``Settings``; without it, ``Settings.load(**values)`` reads environment and keywords.
    ``registry`` holds the jobs (default: what ``@kalends.job`` registered). ``executors`` maps
    names to executors, beside or instead of those that there are by default; they serve as models:
    each start makes its own like them. ``on_failure(error)`` is called, on a thread of its own,
    when the scheduler has given up. Raises ``ValidationFailed`` for wrong arguments; nothing is
    opened before ``start``.
    """

    @checking
    def __init__(
        self,
        database: str | os.PathLike[str] = "sqlite:///kalends.db",
        *,
        settings: Settings | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
        executors: Mapping[str, Executor] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
        **values: Any,
    ) -> None:
        if settings is not None and not isinstance(settings, Settings):
            raise ValidationFailed("settings must be a kalends.Settings", path="settings")
        if settings is not None and values:
            raise ValidationFailed(
                f"give either settings or keywords, not both: {shown(sorted(values))}",
                path="settings",
            )
        if on_failure is not None and not callable(on_failure):
            raise ValidationFailed("on_failure must be callable", path="on_failure")
        self.registry = default_registry if registry is None else registry
        if not isinstance(self.registry, Registry):
            raise ValidationFailed("registry must be a kalends.Registry", path="registry")
        _check_clock(clock)
        self.settings = Settings.load(**values) if settings is None else settings.checked()
        self._own_executors = executors
        self._executors = choose_executors(self.settings, executors)
        self._clock = SystemClock() if clock is None else clock
        self._on_failure = on_failure
        # Refuses a wrong URL now, opens nothing, and fixes what a relative path is relative to.
        self._database = open_storage(database, self.settings).dialect.location
        self.notices = Notices()
        self._life = Lifecycle(self._make_system)
        self._checker = DefinitionChecker(
            self.registry, self.settings, self._clock, self._executors
        )
        self.events = EventsProxy(lambda: self._life.running().event_manager.ref, self._checker)
        self.executions = ExecutionsProxy(lambda: self._life.running().tracker.ref)
        self.loop = LoopProxy(lambda: self._life.running().loop.ref)
        self.housekeeper = HousekeeperProxy(lambda: self._life.running().housekeeper.ref)

    @property
    def _system(self) -> System | None:
        """What runs: for tests and examples that crash an actor on purpose."""
        return self._life.system

    def _make_system(self) -> System:
        return System(
            open_storage(self._database, self.settings),
            self.registry,
            self.settings,
            self._clock,
            self._on_failure,
            executors=self._executors,
            declared=self._declared(),
            notices=self.notices,
        )

    def _declared(self) -> Declared | None:
        """What the stored events are held against at the start, before anything is opened."""
        settings = self.settings
        if not (settings.enabled and settings.reconcile_at_start):
            return None
        return Declared(settings.application, self._checker.declared())

    # -- life ----------------------------------------------------------------------------------

    @refusing
    def start(self) -> Self:
        """Open the database and start the actors. Starting a running scheduler changes nothing.

        The stored events are made as the registry declares them (``@kalends.scheduled``) before
        anything runs. Where the wait is interrupted (Ctrl-C), what has been started is taken down
        again. Raises ``StorageRefused`` (the file is not usable, and untouched),
        ``StorageUnavailable``, ``ForkedError``, and ``ValidationFailed`` where a declaration is
        wrong.
        """
        self._life.start()
        return self

    @refusing
    def shutdown(self, timeout: float | None = None) -> ShutdownReport:
        """Stop: claim nothing more, let running jobs end for up to ``timeout`` seconds, close.

        Idempotent; safe before ``start``, from several threads and from a signal handler. A later
        call with less time hurries the first, and both get the same report, which says what was
        abandoned. From inside a job, and from a signal handler that gevent's hub runs, it begins
        and returns at once (``report.under_way``); ``wait`` tells when it is done.
        """
        return self._life.stop(self._patience(timeout))

    @refusing
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the scheduler was shut down (True) or the time is up (False).

        Raises ``SchedulerFailed`` when the scheduler gives up, ``NotInitialized`` when it was never
        started.
        """
        return self._life.wait(None if timeout is None else self._patience(timeout))

    async def astart(self) -> Self:
        """As ``start``, awaited: the event loop goes on meanwhile."""
        await self._life.start_async()
        return self

    async def ashutdown(  # the time is the jobs' to end in, as in shutdown()
        self,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> ShutdownReport:
        """As ``shutdown``, awaited: the event loop goes on meanwhile."""
        return await self._life.stop_async(self._patience(timeout))

    def _patience(self, timeout: float | None) -> float:
        if timeout is None:
            return self.settings.shutdown_timeout
        return float(number(timeout, "timeout", 0.0, 1e9))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        # A forked child that leaves the block (sys.exit) has nothing to end here.
        if not self._life.forked:
            self.shutdown()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *_: object) -> None:
        if not self._life.forked:
            await self.ashutdown()

    def status(self) -> SchedulerStatus:
        """State, actors, storage and counts as they are now. Never waits, in any state."""
        enabled, at = self.settings.enabled, from_us(self._clock.now_us())
        if self._life.forked:
            return SchedulerStatus(at=at, state="forked", enabled=enabled)
        state, system = self._life.state, self._life.system
        if system is None:
            return SchedulerStatus(at=at, state=state, enabled=enabled)
        return SchedulerStatus(
            at=at,
            state=state,
            enabled=enabled,
            node=system.node,
            actors=system.statuses(),
            storage=system.storage.health.reason or "ok",
            degraded=system.degraded,
            failure=None if system.failure is None else str(system.failure),
            executors=system.runner.executors(),
            in_flight=system.runner.in_flight,
            unrecorded=len(system.outbox),
            commits=system.storage.commits,
            units=system.storage.units,
            stalls=system.hub.stalls,
        )


def _check_clock(clock: object) -> None:
    """Refuse what is not a ``kalends.clock.Clock``."""
    for method in ("now_us", "monotonic", "slept", "real_seconds", "on_change"):
        if clock is not None and not callable(getattr(clock, method, None)):
            raise ValidationFailed(f"clock must have a method {method}()", path="clock")
