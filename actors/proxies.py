"""The typed proxies: every call is a message to an actor, every answer a future of a known type.

``scheduler.events``, ``.executions``, ``.loop`` and ``.housekeeper`` are these. A call checks its
arguments on the caller's thread, sends one message and returns at once; ``future.get(timeout=…)``
or ``await future`` has the answer. Every refusal, a wrong argument included, is in the future."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pendulum

from kalends.actors.asking import Proxy, in_future, who_of
from kalends.actors.housekeeper import HousekeepingReport
from kalends.actors.runtime import Ref
from kalends.backfills import Backfill
from kalends.cleanup import CleanupReport
from kalends.clock import US, to_us
from kalends.definitions import DefinitionChecker
from kalends.drafts import OnConflict
from kalends.explanation import Explanation
from kalends.futures import Future
from kalends.messages import (
    BackfillEvent,
    CancelBackfill,
    CountEvents,
    CountExecutions,
    CreateEvents,
    DeleteEvent,
    Explain,
    GetBackfill,
    GetEvent,
    GetExecution,
    KeepHouse,
    ListEvents,
    ListExecutions,
    ListGaps,
    ListJournal,
    ListNextRuns,
    ListOverdue,
    MakeHeatMap,
    MakeReport,
    MoveNext,
    PauseEvent,
    PreviewEvent,
    ReleaseEvent,
    ResumeEvent,
    RunCleanup,
    SkipNext,
    TriggerNow,
    UpdateEvent,
    VerifyLedger,
)
from kalends.model import Event, Execution, Gap, JournalEntry, NextSkipped, Page
from kalends.outlook import HeatMap, NextRun, Overdue
from kalends.policies import Overlap
from kalends.report import Report
from kalends.triggers import Trigger
from kalends.validation import (
    MAX_PAGE,
    choice,
    due_query,
    event_query,
    execution_query,
    flag,
    gap_query,
    identifier,
    instant,
    journal_query,
    known_keywords,
    number,
    optional_text,
    text,
    time_zone,
)
from kalends.verification import Verification

__all__ = ["EventsProxy", "ExecutionsProxy", "HousekeeperProxy", "LoopProxy"]


class EventsProxy(Proxy):
    """Messages to the ``EventManagerActor``."""

    def __init__(self, ref: Callable[[], Ref[Any]], checker: DefinitionChecker) -> None:
        super().__init__(ref)
        self._checker = checker

    @in_future
    def create(
        self,
        job: Callable[..., Any] | str,
        trigger: Trigger,
        *,
        on_conflict: OnConflict | str = OnConflict.ERROR,
        author: str | None = None,
        **fields: Any,
    ) -> Future[Event]:
        """Schedule one event; ``fields`` as for ``Scheduler.schedule_event``."""
        definition = self._checker.definition({"job": job, "trigger": trigger, **fields})
        many: Future[tuple[Event, ...]] = self._ask(
            CreateEvents(
                (definition,),
                choice(OnConflict, on_conflict, "on_conflict"),
                optional_text(author, "author"),
            )
        )
        return many.then(lambda events: events[0])

    @in_future
    def create_many(
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        on_conflict: OnConflict | str = OnConflict.ERROR,
        author: str | None = None,
    ) -> Future[tuple[Event, ...]]:
        """Schedule events in one transaction, all or none; each a mapping of the fields of
        ``create``.
        """
        return self._ask(
            CreateEvents(
                self._checker.definitions(events),
                choice(OnConflict, on_conflict, "on_conflict"),
                optional_text(author, "author"),
            )
        )

    @in_future
    def get(self, event_id: str, *, deleted: bool = False) -> Future[Event]:
        """One event; a tombstone only with ``deleted=True``."""
        return self._ask(GetEvent(identifier(event_id, "event_id"), flag(deleted, "deleted")))

    @in_future
    def update(
        self,
        event_id: str,
        *,
        version: int | None = None,
        author: str | None = None,
        **changes: Any,
    ) -> Future[Event]:
        """Change fields of an event, if ``version`` (when given) is still the current one."""
        wanted = None if version is None else int(number(version, "version", 1, 2**53, whole=True))
        return self._ask(
            UpdateEvent(
                identifier(event_id, "event_id"),
                self._checker.changes(changes),
                wanted,
                optional_text(author, "author"),
            )
        )

    @in_future
    def pause(
        self,
        event_id: str,
        *,
        until: Any = None,
        note: str | None = None,
        author: str | None = None,
    ) -> Future[Event]:
        """Stop looking at an event; what is due meanwhile is skipped as paused.

        With ``until``, an instant ahead, the pause ends by itself then. Pausing a paused event
        replaces its note and its end.
        """
        return self._ask(PauseEvent(*who_of(event_id, note, author), instant(until, "until")))

    @in_future
    def resume(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> Future[Event]:
        """Look at a paused event again."""
        return self._ask(ResumeEvent(*who_of(event_id, note, author)))

    @in_future
    def skip_next(
        self, event_id: str, count: int = 1, *, note: str | None = None, author: str | None = None
    ) -> Future[NextSkipped]:
        """Leave out the next ``count`` (1 to 100) instants that have no fate yet."""
        wanted = int(number(count, "count", 1, 100, whole=True))
        return self._ask(SkipNext(*who_of(event_id, note, author), wanted))

    @in_future
    def move_next(
        self, event_id: str, to: Any, *, note: str | None = None, author: str | None = None
    ) -> Future[Execution]:
        """Run the next instant that has no fate yet at ``to`` instead, earlier or later."""
        known, remark, who = who_of(event_id, note, author)
        return self._ask(MoveNext(known, to_us(to, "to"), remark, who))

    @in_future
    def backfill(
        self,
        event_id: str,
        start: Any,
        end: Any,
        *,
        limit: int = 1000,
        note: str | None = None,
        author: str | None = None,
    ) -> Future[Backfill]:
        """Run an event for the instants in ``start <= instant < end`` that have not run, at most
        ``limit`` (1 to 100,000) of them.
        """
        known, remark, who = who_of(event_id, note, author)
        wanted = int(number(limit, "limit", 1, 100_000, whole=True))
        span = to_us(start, "start"), to_us(end, "end")
        return self._ask(BackfillEvent(known, *span, wanted, remark, who))

    @in_future
    def get_backfill(self, backfill_id: str) -> Future[Backfill]:
        """How far a backfill has come."""
        return self._ask(GetBackfill(identifier(backfill_id, "backfill_id")))

    @in_future
    def cancel_backfill(
        self, backfill_id: str, *, note: str | None = None, author: str | None = None
    ) -> Future[Backfill]:
        """End as ``cancelled`` what waits in a backfill; what runs goes on."""
        known = identifier(backfill_id, "backfill_id")
        remark, who = who_of(known, note, author)[1:]
        return self._ask(CancelBackfill(known, remark, who))

    @in_future
    def release(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> Future[Event]:
        """Look at a quarantined event again."""
        return self._ask(ReleaseEvent(*who_of(event_id, note, author)))

    @in_future
    def delete(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> Future[Event]:
        """Leave a tombstone; its history stays."""
        return self._ask(DeleteEvent(*who_of(event_id, note, author)))

    @in_future
    def list(self, **query: Any) -> Future[Page[Event]]:
        """A page of events; the conditions are the fields of ``messages.EventQuery``."""
        return self._ask(ListEvents(event_query(**query)))

    @in_future
    def count(self, **query: Any) -> Future[int]:
        """How many events meet the conditions."""
        return self._ask(CountEvents(event_query(**query)))

    @in_future
    def journal(self, **query: Any) -> Future[Page[JournalEntry]]:
        """A page of the journal, newest first."""
        return self._ask(ListJournal(journal_query(**query)))

    @in_future
    def preview(self, event_id: str, count: int = 5) -> Future[tuple[pendulum.DateTime, ...]]:
        """The next ``count`` (1 to 1000) instants of an event's rule."""
        wanted = int(number(count, "count", 1, 1000, whole=True))
        return self._ask(PreviewEvent(identifier(event_id, "event_id"), wanted))

    @in_future
    def next_runs(self, **query: Any) -> Future[tuple[NextRun, ...]]:
        """The next instants of all active events, by ``tag``, ``job``, ``name``, ``until``."""
        return self._ask(ListNextRuns(due_query(**query)))

    @in_future
    def heat_map(
        self, days: int = 7, *, tz: str = "UTC", busiest: int = 10, **query: Any
    ) -> Future[HeatMap]:
        """Runs by the hour over the next 1 to 92 days, and up to 100 of the busiest instants."""
        known_keywords(query, ("tag", "job", "name"), "query")
        return self._ask(
            MakeHeatMap(
                due_query(**query),
                int(number(days, "days", 1, 92, whole=True)),
                time_zone(tz, "tz"),
                int(number(busiest, "busiest", 0, 100, whole=True)),
            )
        )


class ExecutionsProxy(Proxy):
    """Messages to the ``ExecutionTrackerActor``."""

    @in_future
    def get(self, execution_id: str) -> Future[Execution]:
        """One execution with its attempts."""
        return self._ask(GetExecution(identifier(execution_id, "execution_id")))

    @in_future
    def list(self, **query: Any) -> Future[Page[Execution]]:
        """A page of executions; the conditions are the fields of ``messages.ExecutionQuery``."""
        return self._ask(ListExecutions(execution_query(**query)))

    @in_future
    def count(self, **query: Any) -> Future[int]:
        """How many executions meet the conditions."""
        return self._ask(CountExecutions(execution_query(**query)))

    @in_future
    def gaps(self, **query: Any) -> Future[Page[Gap]]:
        """A page of gaps, newest first; the conditions are the fields of ``messages.GapQuery``."""
        return self._ask(ListGaps(gap_query(**query)))

    @in_future
    def report(
        self,
        *,
        event_id: str | None = None,
        since: Any = None,
        until: Any = None,
        bucket: float | None = None,
    ) -> Future[Report]:
        """Counts, rates and percentiles over ``since <= due < until``; ``bucket`` in seconds."""
        return self._ask(
            MakeReport(
                None if event_id is None else identifier(event_id, "event_id"),
                instant(since, "since"),
                instant(until, "until"),
                None
                if bucket is None
                else round(number(bucket, "bucket", 1.0, 1000 * 366 * 86_400.0) * US),
            )
        )

    @in_future
    def explain(self, event_id: str, instant: dt.datetime) -> Future[Explanation]:
        """Why an instant (an aware datetime) of an event ran, or did not, or will."""
        return self._ask(Explain(identifier(event_id, "event_id"), to_us(instant, "instant")))

    @in_future
    def overdue(self, grace: float = 60.0, *, limit: int = 50) -> Future[tuple[Overdue, ...]]:
        """What should have had a fate for more than ``grace`` seconds, the longest first."""
        return self._ask(
            ListOverdue(
                round(number(grace, "grace", 0.0, 1e9) * US),
                int(number(limit, "limit", 1, MAX_PAGE, whole=True)),
            )
        )

    @in_future
    def verify(
        self, event_id: str | None = None, *, limit: int = 100, integrity: bool = False
    ) -> Future[Verification]:
        """Check the ledger against its invariants; up to ``limit`` violations are told."""
        return self._ask(
            VerifyLedger(
                None if event_id is None else identifier(event_id, "event_id"),
                int(number(limit, "limit", 1, 10_000, whole=True)),
                flag(integrity, "integrity"),
            )
        )


class LoopProxy(Proxy):
    """Messages to the ``LoopActor``."""

    @in_future
    def trigger_now(
        self,
        event_id: str,
        *,
        overlap: Overlap | str | None = None,
        author: str | None = None,
    ) -> Future[Execution]:
        """Run an event once, now, outside of its rule; the answer comes when that is durable.

        Its overlap policy decides, or ``overlap`` in its place.
        """
        return self._ask(
            TriggerNow(
                identifier(event_id, "event_id"),
                optional_text(author, "author"),
                None if overlap is None else choice(Overlap, overlap, "overlap"),
            )
        )


class HousekeeperProxy(Proxy):
    """Messages to the ``HousekeeperActor``."""

    @in_future
    def keep_house(self) -> Future[HousekeepingReport]:
        """Do one round now, or join the one under way."""
        return self._ask(KeepHouse())

    @in_future
    def run_cleanup(self, rule: str, *, dry_run: bool = False) -> Future[CleanupReport]:
        """Run one file rule of the settings now."""
        return self._ask(RunCleanup(text(rule, "rule", 200), flag(dry_run, "dry_run")))
