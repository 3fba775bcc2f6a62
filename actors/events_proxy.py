"""Typed messages to the event manager: ``scheduler.events``. See ``actors.proxies``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

import pendulum

from kalends.actors.asking import Proxy, in_future, who_of
from kalends.actors.runtime import Ref
from kalends.backfills import Backfill
from kalends.clock import to_us
from kalends.definitions import DefinitionChecker
from kalends.drafts import OnConflict
from kalends.futures import Future
from kalends.keywords import (
    DueConditions,
    EventChanges,
    EventConditions,
    EventFields,
    JournalConditions,
)
from kalends.messages import (
    BackfillEvent,
    CancelBackfill,
    CountEvents,
    CreateEvents,
    DeleteEvent,
    GetBackfill,
    GetEvent,
    ListEvents,
    ListJournal,
    ListNextRuns,
    MakeHeatMap,
    MoveNext,
    PauseEvent,
    PreviewEvent,
    ReconcileDeclared,
    ReleaseEvent,
    ResumeEvent,
    SkipNext,
    UpdateEvent,
)
from kalends.model import Event, Execution, JournalEntry, NextSkipped, Page
from kalends.outlook import HeatMap, NextRun
from kalends.reconciliation import Reconciliation
from kalends.triggers import Trigger
from kalends.validation import (
    choice,
    due_query,
    event_query,
    flag,
    identifier,
    instant,
    journal_query,
    known_keywords,
    number,
    optional_text,
    time_zone,
)

__all__ = ["EventsProxy"]


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
        **fields: Unpack[EventFields],
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
    def reconcile(self, *, dry_run: bool = False, adopt: bool = False) -> Future[Reconciliation]:
        """Make the stored events as the registry declares them; with ``dry_run`` only say how."""
        return self._ask(
            ReconcileDeclared(
                self._checker.application,
                self._checker.declared(),
                flag(dry_run, "dry_run"),
                flag(adopt, "adopt"),
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
        **changes: Unpack[EventChanges],
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
        until: datetime | None = None,
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
        self, event_id: str, to: datetime, *, note: str | None = None, author: str | None = None
    ) -> Future[Execution]:
        """Run the next instant that has no fate yet at ``to`` instead, earlier or later."""
        known, remark, who = who_of(event_id, note, author)
        return self._ask(MoveNext(known, to_us(to, "to"), remark, who))

    @in_future
    def backfill(
        self,
        event_id: str,
        start: datetime,
        end: datetime,
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
    def list(self, **query: Unpack[EventConditions]) -> Future[Page[Event]]:
        """A page of events; the conditions are the fields of ``messages.EventQuery``."""
        return self._ask(ListEvents(event_query(**query)))

    @in_future
    def count(self, **query: Unpack[EventConditions]) -> Future[int]:
        """How many events meet the conditions."""
        return self._ask(CountEvents(event_query(**query)))

    @in_future
    def journal(self, **query: Unpack[JournalConditions]) -> Future[Page[JournalEntry]]:
        """A page of the journal, newest first."""
        return self._ask(ListJournal(journal_query(**query)))

    @in_future
    def preview(self, event_id: str, count: int = 5) -> Future[tuple[pendulum.DateTime, ...]]:
        """The next ``count`` (1 to 1000) instants of an event's rule."""
        wanted = int(number(count, "count", 1, 1000, whole=True))
        return self._ask(PreviewEvent(identifier(event_id, "event_id"), wanted))

    @in_future
    def next_runs(self, **query: Unpack[DueConditions]) -> Future[tuple[NextRun, ...]]:
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
