"""The verbs of a scheduler: each is one message to one actor, and waits for its answer.

``Scheduler`` is these and its own life. The proxies take the same calls and return futures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

import pendulum

from kalends.actors.events_proxy import EventsProxy
from kalends.actors.housekeeper import HousekeepingReport
from kalends.actors.proxies import ExecutionsProxy, HousekeeperProxy, LoopProxy
from kalends.backfills import Backfill
from kalends.drafts import OnConflict
from kalends.errors import ValidationFailed
from kalends.explanation import Explanation
from kalends.jobs.registry import deferred_kind
from kalends.keywords import (
    DueConditions,
    EventChanges,
    EventConditions,
    ExecutionConditions,
    GapConditions,
    HeatOptions,
    JournalConditions,
    NewEvent,
)
from kalends.model import Event, Execution, Gap, JournalEntry, NextSkipped, Page
from kalends.notices import Notice, Notices, Subscription
from kalends.outlook import HeatMap, NextRun, Overdue
from kalends.policies import Overlap
from kalends.reconciliation import Reconciliation
from kalends.refusals import checking, refusing
from kalends.report import Report
from kalends.triggers import Trigger
from kalends.validation import notice_kinds, number
from kalends.verification import Verification

__all__ = ["Verbs"]


class Verbs:
    """What can be asked of a scheduler that runs. Every refusal is a ``KalendsError``."""

    events: EventsProxy
    """Typed proxy of the ``EventManagerActor``."""
    executions: ExecutionsProxy
    """Typed proxy of the ``ExecutionTrackerActor``."""
    loop: LoopProxy
    """Typed proxy of the ``LoopActor``."""
    housekeeper: HousekeeperProxy
    """Typed proxy of the ``HousekeeperActor``."""
    notices: Notices
    """All who want to hear of it."""

    # -- events --------------------------------------------------------------------------------

    @refusing
    def schedule_event(
        self, job: Callable[..., Any] | str, trigger: Trigger, **fields: Unpack[NewEvent]
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
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        on_conflict: OnConflict | str = OnConflict.ERROR,
        author: str | None = None,
    ) -> tuple[Event, ...]:
        """Store many events in one transaction, all or none; each a mapping of ``schedule_event``'s
        fields.

        ``on_conflict`` and ``author`` are for all of them.
        """
        return self.events.create_many(events, on_conflict=on_conflict, author=author).get()

    @refusing
    def reconcile(self, *, dry_run: bool = False, adopt: bool = False) -> Reconciliation:
        """Make the stored events as the code declares them (``@kalends.scheduled``), as a start
        does: created, updated, resumed; those that it declares no longer are paused.

        ``dry_run``: only say what would change. ``adopt``: also take over events of these names
        that were made by hand, or by another application. Raises ``ValidationFailed`` where a
        declaration is wrong.
        """
        return self.events.reconcile(dry_run=dry_run, adopt=adopt).get()

    @refusing
    def get_event(self, event_id: str, *, deleted: bool = False) -> Event:
        """One event. Raises ``EventNotFound``; a tombstone is found only with ``deleted=True``."""
        return self.events.get(event_id, deleted=deleted).get()

    @refusing
    def update_event(
        self,
        event_id: str,
        *,
        version: int | None = None,
        author: str | None = None,
        **changes: Unpack[EventChanges],
    ) -> Event:
        """Change fields of an event; ``version`` makes it fail with ``VersionConflict`` if somebody
        was faster.
        """
        return self.events.update(event_id, version=version, author=author, **changes).get()

    @refusing
    def pause_event(
        self,
        event_id: str,
        *,
        until: datetime | None = None,
        note: str | None = None,
        author: str | None = None,
    ) -> Event:
        """Stop looking at an event; ``note`` and ``author`` go to the journal.

        ``until``: the instant at which it is looked at again by itself.
        """
        return self.events.pause(event_id, until=until, note=note, author=author).get()

    @refusing
    def resume_event(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> Event:
        """Look at a paused event again; what was due meanwhile is skipped as ``paused``."""
        return self.events.resume(event_id, note=note, author=author).get()

    @refusing
    def skip_next(
        self, event_id: str, count: int = 1, *, note: str | None = None, author: str | None = None
    ) -> NextSkipped:
        """Leave out the next ``count`` instants of an event that have no fate yet, and only these.

        Raises ``TransitionError`` unless the event is active.
        """
        return self.events.skip_next(event_id, count, note=note, author=author).get()

    @refusing
    def move_next(
        self, event_id: str, to: datetime, *, note: str | None = None, author: str | None = None
    ) -> Execution:
        """Run the next instant of an event that has no fate yet at ``to`` instead, which may be
        earlier or later and must not have passed; answers its execution, which waits.

        Raises ``TransitionError`` unless the event is active.
        """
        return self.events.move_next(event_id, to, note=note, author=author).get()

    @refusing
    def backfill(
        self,
        event_id: str,
        start: datetime,
        end: datetime,
        *,
        limit: int = 1000,
        note: str | None = None,
        author: str | None = None,
    ) -> Backfill:
        """Run an event for past instants in ``start <= instant < end`` that have not run, in order
        and whatever catch-up says: those that were skipped, and those before it existed.

        ``limit``: at most so many (default 1000); ``author``, ``note``. Answers at once, with the
        plan. Raises ``ValidationFailed`` where ``end`` lies ahead, and ``TransitionError``.
        """
        return self.events.backfill(
            event_id, start, end, limit=limit, note=note, author=author
        ).get()

    @refusing
    def get_backfill(self, backfill_id: str) -> Backfill:
        """How far a backfill has come. Raises ``BackfillNotFound``."""
        return self.events.get_backfill(backfill_id).get()

    @refusing
    def cancel_backfill(
        self, backfill_id: str, *, note: str | None = None, author: str | None = None
    ) -> Backfill:
        """End as ``cancelled`` what waits in a backfill; what runs goes on."""
        return self.events.cancel_backfill(backfill_id, note=note, author=author).get()

    @refusing
    def release_event(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> Event:
        """Look at a quarantined event again, its cause being mended."""
        return self.events.release(event_id, note=note, author=author).get()

    @refusing
    def delete_event(
        self, event_id: str, *, note: str | None = None, author: str | None = None
    ) -> None:
        """Leave a tombstone: nothing fires any more, the history stays."""
        self.events.delete(event_id, note=note, author=author).get()

    @refusing
    def list_events(self, **query: Unpack[EventConditions]) -> Page[Event]:
        """A page of events by ``status``, ``tag``, ``job``, ``name`` (with ``*``, ``?``),
        ``declared_by`` (an application), ``due_from``, ``due_until``.

        ``sort`` is ``created_at``, ``name``, ``next_due`` or ``updated_at`` (which reads all that
        meet the conditions), ``descending`` or not; ``limit`` up to 1000."""
        return self.events.list(**query).get()

    @refusing
    def count_events(self, **query: Unpack[EventConditions]) -> int:
        """How many events meet the conditions of ``list_events``."""
        return self.events.count(**query).get()

    @refusing
    def preview(self, event_id: str, count: int = 5) -> tuple[pendulum.DateTime, ...]:
        """The next instants of an event's rule."""
        return self.events.preview(event_id, count).get()

    @refusing
    def next_runs(self, **query: Unpack[DueConditions]) -> tuple[NextRun, ...]:
        """The next instants of all active events, in order, and what waits to be attempted.

        Up to ``limit`` (50), before ``until``, by ``tag``, ``job``, ``name``. Costs as much as it
        answers with, however many events there are."""
        return self.events.next_runs(**query).get()

    @refusing
    def heat_map(self, days: int = 7, **options: Unpack[HeatOptions]) -> HeatMap:
        """Runs by the hour over the next 1 to 92 days, and the instants that most events share.

        ``options``: ``tz`` (of the hours; ``UTC``), ``busiest`` (how many instants; 10), ``tag``,
        ``job``, ``name``. Reads each active event twice. A rule is counted once for all events that
        have it: hour by hour, by arithmetic; instant by instant where that takes fewer steps."""
        return self.events.heat_map(days, **options).get(timeout=3600.0)

    @refusing
    def list_journal(self, **query: Unpack[JournalConditions]) -> Page[JournalEntry]:
        """A page of the journal, newest first, by ``event_id``, ``kind``, ``since``, ``until``."""
        return self.events.journal(**query).get()

    # -- executions ----------------------------------------------------------------------------

    @refusing
    def trigger_now(
        self, event_id: str, *, overlap: Overlap | str | None = None, author: str | None = None
    ) -> Execution:
        """Run an event once, now, outside of its rule; ``author`` goes to the journal.

        Where it runs already its overlap policy decides, or ``overlap`` in its place: the execution
        that is returned may wait, or may have been skipped. Raises ``TransitionError`` where the
        event is quarantined.
        """
        return self.loop.trigger_now(event_id, overlap=overlap, author=author).get()

    @refusing
    def get_execution(self, execution_id: str) -> Execution:
        """One execution with its attempts. Raises ``ExecutionNotFound``."""
        return self.executions.get(execution_id).get()

    @refusing
    def cancel_execution(
        self, execution_id: str, *, author: str | None = None, note: str | None = None
    ) -> Execution:
        """End an execution as ``cancelled``; ``author`` and ``note`` go to the journal.

        One that has not begun never does, and one that waits for another attempt gets none. The job
        of one that runs is told, wherever it runs, and stopped a moment later where that is
        possible: the answer says ``cancel_requested``. Raises ``ExecutionNotFound``, and
        ``ExecutionEnded`` where it has ended otherwise; one that was cancelled is answered with.
        """
        return self.executions.cancel(execution_id, author=author, note=note).get()

    @refusing
    def list_executions(self, **query: Unpack[ExecutionConditions]) -> Page[Execution]:
        """A page of executions by ``event_id``, ``fate``, ``since``, ``until`` (of the due
        instant), ``manual``, ``backfill`` (its id).

        Without the lines that jobs logged: ``get_execution`` has those.
        """
        return self.executions.list(**query).get()

    @refusing
    def count_executions(self, **query: Unpack[ExecutionConditions]) -> int:
        """How many executions meet the conditions of ``list_executions``."""
        return self.executions.count(**query).get()

    @refusing
    def list_gaps(self, **query: Unpack[GapConditions]) -> Page[Gap]:
        """A page of gaps, newest first, by ``event_id``, ``since``, ``until``."""
        return self.executions.gaps(**query).get()

    @refusing
    def overdue(self, grace: float = 60.0, *, limit: int = 50) -> tuple[Overdue, ...]:
        """What should have had a fate for more than ``grace`` seconds, since when, and why.

        Instants that nobody has claimed; executions that nobody holds, or that did not begin."""
        return self.executions.overdue(grace, limit=limit).get()

    @refusing
    def verify(
        self, event_id: str | None = None, *, limit: int = 100, integrity: bool = False
    ) -> Verification:
        """Check the ledger, or one event's part of it, against its four invariants.

        Each violation names the rows; it ends early at ``limit`` of them (1 to 10,000).
        ``integrity`` adds the database's own check of the whole file. Raises ``EventNotFound``."""
        asked = self.executions.verify(event_id, limit=limit, integrity=integrity)
        return asked.get(timeout=3600.0)

    @refusing
    def report(
        self,
        *,
        event_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        bucket: float | None = None,
    ) -> Report:
        """Counts per fate, success rate, durations, lateness, streaks; by ``event_id``, ``since``,
        ``until``, ``bucket`` (s).
        """
        return self.executions.report(
            event_id=event_id, since=since, until=until, bucket=bucket
        ).get()

    @refusing
    def explain(self, event_id: str, instant: datetime) -> Explanation:
        """Why an instant (an aware datetime) of an event ran, or did not, or what will become of
        it.

        Any instant, past or future, due or not; of a deleted event, too. Raises ``EventNotFound``.
        """
        return self.executions.explain(event_id, instant).get()

    # -- notices -------------------------------------------------------------------------------

    @checking
    def subscribe(
        self,
        callback: Callable[[Notice], object] | None = None,
        kinds: Iterable[str] | None = None,
        *,
        limit: int = 1000,
    ) -> Subscription:
        """Hear of what this scheduler does, while it does it; also before it is started.

        ``kinds``: words of ``NoticeKind`` and ``JournalKind``; None: all. ``callback(notice)`` is
        called on a thread of its own; without one the subscription is an iterator, for ``for`` and
        ``async for``. Up to ``limit`` (1 to 1,000,000) notices wait for it; what finds no room is
        dropped and counted. It ends when it is closed, and with the scheduler.
        """
        if callback is not None and not callable(callback):
            raise ValidationFailed("callback must be callable", path="callback")
        if deferred_kind(callback) is not None:
            raise ValidationFailed(
                "callback must be a plain function: nothing would await it; leave it out, and "
                "write async for notice in scheduler.subscribe(...)",
                path="callback",
            )
        room = int(number(limit, "limit", 1, 1_000_000, whole=True))
        return Subscription(self.notices, notice_kinds(kinds, "kinds"), room, callback)

    # -- housekeeping --------------------------------------------------------------------------

    @refusing
    def keep_house(self) -> HousekeepingReport:
        """Do one round of housekeeping now: rescue, retention, upkeep, file rules."""
        return self.housekeeper.keep_house().get(timeout=3600.0)
