"""``Scheduler``: what a host holds. It wires nothing and decides nothing: each verb is one message
to one actor.

A scheduler is started and shut down, once or again and again. The verbs wait for the answer, on the
thread or in the greenlet that calls; the proxies (``events``, ``executions``, ``loop``,
``housekeeper``) return futures instead, to be awaited under asyncio. Every refusal is a
``KalendsError`` with a stable code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import msgspec
import pendulum

from kalends.actors.housekeeper import HousekeepingReport
from kalends.actors.proxies import EventsProxy, ExecutionsProxy, HousekeeperProxy, LoopProxy
from kalends.clock import Clock, SystemClock
from kalends.definitions import DefinitionChecker
from kalends.errors import ValidationFailed
from kalends.futures import current_pid
from kalends.jobs.registry import Registry, default_registry
from kalends.lifecycle import Lifecycle
from kalends.model import Event, Execution, Gap, JournalEntry, Page
from kalends.outlook import HeatMap, NextRun, Overdue
from kalends.refusals import checking, refusing
from kalends.report import Report
from kalends.settings import Settings
from kalends.shutdown import ShutdownReport
from kalends.storage import open_storage
from kalends.supervisor import ChildStatus
from kalends.system import System
from kalends.triggers import Trigger
from kalends.validation import number, shown

__all__ = ["Scheduler", "SchedulerStatus"]


class SchedulerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler as it is now."""

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
    in_flight: int = 0
    """Executions claimed and not ended."""
    unrecorded: int = 0
    """Outcomes that are not durable yet."""
    commits: int = 0
    units: int = 0
    stalls: int = 0


class Scheduler:
    """A scheduler on one database.

    ``database`` is ``sqlite:///file.db`` (three slashes: relative; four: absolute), a path, or
    ``:memory:``. ``settings`` is a ``Settings``; without it, ``Settings.load(**values)`` reads
    environment and keywords. ``registry`` holds the jobs (default: what ``@kalends.job``
    registered). ``on_failure(error)`` is called, on a thread of its own, when the scheduler has
    given up. Raises ``ValidationFailed`` for wrong arguments; nothing is opened before ``start``.
    """

    @checking
    def __init__(
        self,
        database: str | os.PathLike[str] = "sqlite:///kalends.db",
        *,
        settings: Settings | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
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
        self._clock = SystemClock() if clock is None else clock
        self._on_failure = on_failure
        # Refuses a wrong URL now, opens nothing, and fixes what a relative path is relative to.
        self._database = open_storage(database, self.settings).dialect.path or ":memory:"
        self._pid = current_pid()
        self._life = Lifecycle(self._make_system)
        checker = DefinitionChecker(self.registry, self.settings)
        self.events = EventsProxy(lambda: self._life.running().event_manager.ref, checker)
        """Typed proxy of the ``EventManagerActor``."""
        self.executions = ExecutionsProxy(lambda: self._life.running().tracker.ref)
        """Typed proxy of the ``ExecutionTrackerActor``."""
        self.loop = LoopProxy(lambda: self._life.running().loop.ref)
        """Typed proxy of the ``LoopActor``."""
        self.housekeeper = HousekeeperProxy(lambda: self._life.running().housekeeper.ref)
        """Typed proxy of the ``HousekeeperActor``."""

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
        )

    # -- life ----------------------------------------------------------------------------------

    @refusing
    def start(self) -> Self:
        """Open the database and start the actors. Starting a running scheduler changes nothing.

        Where the wait is interrupted (Ctrl-C), what has been started is taken down again. Raises
        ``StorageRefused`` (the file is not usable, and untouched), ``StorageUnavailable``,
        ``ForkedError``.
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
        if current_pid() == self._pid:
            self.shutdown()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *_: object) -> None:
        if current_pid() == self._pid:
            await self.ashutdown()

    def status(self) -> SchedulerStatus:
        """State, actors, storage and counts as they are now. Never waits, in any state."""
        enabled = self.settings.enabled
        if current_pid() != self._pid:
            return SchedulerStatus(state="forked", enabled=enabled)
        state, system = self._life.state, self._life.system
        if system is None:
            return SchedulerStatus(state=state, enabled=enabled)
        return SchedulerStatus(
            state=state,
            enabled=enabled,
            node=system.node,
            actors=system.statuses(),
            storage=system.storage.health.reason or "ok",
            degraded=system.degraded,
            failure=None if system.failure is None else str(system.failure),
            in_flight=system.runner.in_flight,
            unrecorded=len(system.outbox),
            commits=system.storage.commits,
            units=system.storage.units,
            stalls=system.hub.stalls,
        )

    # -- events --------------------------------------------------------------------------------

    @refusing
    def schedule_event(
        self, job: Callable[..., Any] | str, trigger: Trigger, **fields: Any
    ) -> Event:
        """Store an event: run ``job`` (registered, by name or itself) whenever ``trigger`` says.

        ``fields``: ``name`` (default: made from the job's), ``args``, ``kwargs`` (JSON values),
        ``tags``, ``note``, ``author``, ``on_conflict`` (``error``, ``keep`` or ``replace`` a living
        event of that name) and the policies: ``catch_up``, ``catch_up_window`` (s),
        ``catch_up_limit``, ``overlap``, ``delivery``, ``max_attempts``. Returns once the event is
        durable. Raises ``ValidationFailed``, ``JobNotFound``, ``PayloadTooLarge``,
        ``ConflictError``."""
        return self.events.create(job, trigger, **fields).get()

    @refusing
    def schedule_events(
        self, events: Iterable[Mapping[str, Any]], **fields: Any
    ) -> tuple[Event, ...]:
        """Store many events in one transaction, all or none; each a mapping of ``schedule_event``'s
        fields.

        ``fields``: ``on_conflict`` and ``author``, for all of them.
        """
        return self.events.create_many(events, **fields).get()

    @refusing
    def get_event(self, event_id: str, *, deleted: bool = False) -> Event:
        """One event. Raises ``EventNotFound``; a tombstone is found only with ``deleted=True``."""
        return self.events.get(event_id, deleted=deleted).get()

    @refusing
    def update_event(self, event_id: str, **changes: Any) -> Event:
        """Change fields of an event; ``version`` makes it fail with ``VersionConflict`` if somebody
        was faster.
        """
        return self.events.update(event_id, **changes).get()

    @refusing
    def pause_event(self, event_id: str, **who: Any) -> Event:
        """Stop looking at an event; ``note`` and ``author`` go to the journal."""
        return self.events.pause(event_id, **who).get()

    @refusing
    def resume_event(self, event_id: str, **who: Any) -> Event:
        """Look at a paused event again; what was due meanwhile is skipped as ``paused``."""
        return self.events.resume(event_id, **who).get()

    @refusing
    def release_event(self, event_id: str, **who: Any) -> Event:
        """Look at a quarantined event again, its cause being mended."""
        return self.events.release(event_id, **who).get()

    @refusing
    def delete_event(self, event_id: str, **who: Any) -> None:
        """Leave a tombstone: nothing fires any more, the history stays."""
        self.events.delete(event_id, **who).get()

    @refusing
    def list_events(self, **query: Any) -> Page[Event]:
        """A page of events by ``status``, ``tag``, ``job``, ``name`` (with ``*``, ``?``),
        ``due_from``, ``due_until``.

        ``sort`` is ``created_at``, ``updated_at``, ``name`` or ``next_due``, ``descending`` or not;
        ``limit`` up to 1000."""
        return self.events.list(**query).get()

    @refusing
    def count_events(self, **query: Any) -> int:
        """How many events meet the conditions of ``list_events``."""
        return self.events.count(**query).get()

    @refusing
    def preview(self, event_id: str, count: int = 5) -> tuple[pendulum.DateTime, ...]:
        """The next instants of an event's rule."""
        return self.events.preview(event_id, count).get()

    @refusing
    def next_runs(self, **query: Any) -> tuple[NextRun, ...]:
        """The next instants of all active events, in order: up to ``limit`` (50), before ``until``,
        by ``tag``, ``job``, ``name``. Costs as much as it answers with, however many events there
        are."""
        return self.events.next_runs(**query).get()

    @refusing
    def heat_map(self, days: int = 7, **options: Any) -> HeatMap:
        """Runs by the hour over the next 1 to 92 days, and the instants that most events share.

        ``options``: ``tz`` (of the hours; ``UTC``), ``busiest`` (how many instants; 10), ``tag``,
        ``job``, ``name``. Reads each active event twice and counts each rule once for all events
        that have it: by arithmetic for each hour, or instant by instant where it has few."""
        return self.events.heat_map(days, **options).get(timeout=3600.0)

    @refusing
    def list_journal(self, **query: Any) -> Page[JournalEntry]:
        """A page of the journal, newest first, by ``event_id``, ``kind``, ``since``, ``until``."""
        return self.events.journal(**query).get()

    # -- executions ----------------------------------------------------------------------------

    @refusing
    def trigger_now(self, event_id: str, *, author: str | None = None) -> Execution:
        """Run an event once, now, outside of its rule; returns the claimed execution."""
        return self.loop.trigger_now(event_id, author=author).get()

    @refusing
    def get_execution(self, execution_id: str) -> Execution:
        """One execution with its attempts. Raises ``ExecutionNotFound``."""
        return self.executions.get(execution_id).get()

    @refusing
    def list_executions(self, **query: Any) -> Page[Execution]:
        """A page of executions by ``event_id``, ``fate``, ``since``, ``until`` (of the due
        instant), ``manual``.
        """
        return self.executions.list(**query).get()

    @refusing
    def count_executions(self, **query: Any) -> int:
        """How many executions meet the conditions of ``list_executions``."""
        return self.executions.count(**query).get()

    @refusing
    def list_gaps(self, **query: Any) -> Page[Gap]:
        """A page of gaps, newest first, by ``event_id``, ``since``, ``until``."""
        return self.executions.gaps(**query).get()

    @refusing
    def overdue(self, grace: float = 60.0, *, limit: int = 50) -> tuple[Overdue, ...]:
        """What should have had a fate for more than ``grace`` seconds, since when, and why.

        Instants that nobody has claimed; executions that nobody holds, or that did not begin."""
        return self.executions.overdue(grace, limit=limit).get()

    @refusing
    def report(self, **query: Any) -> Report:
        """Counts per fate, success rate, durations, lateness, streaks; by ``event_id``, ``since``,
        ``until``, ``bucket`` (s).
        """
        return self.executions.report(**query).get()

    # -- housekeeping --------------------------------------------------------------------------

    @refusing
    def keep_house(self) -> HousekeepingReport:
        """Do one round of housekeeping now: rescue, retention, upkeep, file rules."""
        return self.housekeeper.keep_house().get(timeout=3600.0)


def _check_clock(clock: object) -> None:
    """Refuse what is not a ``kalends.clock.Clock``."""
    for method in ("now_us", "monotonic", "real_seconds", "on_change"):
        if clock is not None and not callable(getattr(clock, method, None)):
            raise ValidationFailed(f"clock must have a method {method}()", path="clock")
