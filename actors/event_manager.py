"""The event manager: definitions, from creation to tombstone.

Owns: nothing but its place in the order of changes; every definition lives in storage. Takes the
commands under "to the event manager" in ``kalends.messages``. Answers come after the commit, and
while one waits for it the next command is handled: changes that arrive together are committed
together.

A change reaches claims that are armed but have not begun: see ``actors.changing``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from kalends.actors.changing import Changing
from kalends.actors.runtime import Actor, handles
from kalends.backfills import Backfill
from kalends.clock import Clock, from_us
from kalends.drafts import Changes, OnConflict
from kalends.futures import Future
from kalends.messages import (
    BackfillEvent,
    CancelBackfill,
    ClaimDue,
    CountEvents,
    CreateEvents,
    DeleteEvent,
    GetBackfill,
    GetEvent,
    ListEvents,
    ListJournal,
    ListNextRuns,
    MakeHeatMap,
    Message,
    MoveNext,
    PauseEvent,
    PreviewEvent,
    ReconcileDeclared,
    ReleaseEvent,
    ResumeEvent,
    SkipNext,
    UpdateEvent,
)
from kalends.model import Event, Execution, NextSkipped
from kalends.planning import Span
from kalends.reconciliation import Reconciliation
from kalends.storage.backfills import cancel_backfill, find_backfill, plan_backfill
from kalends.storage.declared import Declared
from kalends.storage.engine import Storage
from kalends.storage.event_queries import count_events, list_events
from kalends.storage.event_rows import ids_by_name
from kalends.storage.events import EventStore
from kalends.storage.foretold import move_next, skip_next
from kalends.storage.gaps import hearing_gaps
from kalends.storage.heat import HeatRange
from kalends.storage.journal import list_entries
from kalends.storage.outlooks import Forecast, next_runs
from kalends.storage.portions import Answer, Portion
from kalends.storage.zones import follow_zones, zones_have_changed
from kalends.work import Claim

__all__ = ["EventManagerActor"]


class EventManagerActor(Actor):
    """Keeps definitions. ``tell_loop`` tells the loop when something new may be due; ``fit(job,
    arguments)`` refuses stored arguments that a job does not take. ``declared`` is what the code
    declares, and the stored events are made so at the start; None: they are not.
    ``follows_zones``: time zones whose data has changed are followed then, too.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        store: EventStore,
        clock: Clock,
        changing: Changing,
        tell_loop: Callable[[Message], None],
        fit: Callable[[str, str], None],
        declared: Declared | None,
        follows_zones: bool,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._store = store
        self._clock = clock
        self._tell_loop = tell_loop
        self._fit = fit
        self._changing = changing
        self._declared = declared
        self._follows_zones = follows_zones

    def on_start(self) -> None:
        """Once, before the loop starts: nothing runs by what the code does not say any more, nor by
        time zones as they were.
        """
        if self.cell.incarnation > 1:
            return
        now = self._clock.now_us()
        if self._follows_zones and self._storage.read(zones_have_changed).get():
            stamp = self._store.stamp(now, None)
            self._storage.write(lambda db: follow_zones(db, stamp)).get()
        if self._declared is not None:
            self._reconcile_at_start(self._declared, now)

    def _reconcile_at_start(self, wanted: Declared, now: int) -> None:
        skipped: list[tuple[str, Span]] = []

        def unit(db: Any) -> tuple[Reconciliation, Sequence[Event]]:
            with hearing_gaps(skipped):
                return wanted.carry_out(db, self._store, now=now)

        found = self._storage.read(lambda db: wanted.look(db, now=now)).get()
        if found.changes:
            found, changed = self._storage.write(unit).get()
            self._changing.tell_skipped(skipped, changed)
        found.log()

    # -- create and read -----------------------------------------------------------------------

    @handles(CreateEvents)
    def create(self, message: CreateEvents) -> Future[tuple[Event, ...]]:
        """Store definitions and wake the loop."""
        if message.on_conflict is OnConflict.REPLACE:
            return self._replace(message)
        future = self._storage.write(Portion(self._store_each, message))
        future.add_done_callback(lambda done: self._changing.announce(done.value or ()))
        return future

    def _store_each(
        self, db: Any, messages: Sequence[CreateEvents]
    ) -> Sequence[Answer[tuple[Event, ...]]]:
        """On the writer's thread: all that have come up to its turn, each whole or refused."""
        return self._store.create_each(db, messages, now=self._clock.now_us())

    def _replace(self, message: CreateEvents) -> Future[tuple[Event, ...]]:
        """As ``create``, where some of the events may exist, and be armed."""
        names = [item.name for item in message.definitions if item.name is not None]

        def unit(db: Any, now: int, revoked: Sequence[Claim]) -> tuple[Event, ...]:
            if revoked:
                self._store.give_back(db, revoked, now=now)
            return self._store.create(
                db,
                message.definitions,
                now=now,
                on_conflict=message.on_conflict,
                author=message.author,
            )

        return self._changing.found(
            self._storage.read(lambda db: list(ids_by_name(db, names).values())), unit
        )

    @handles(ReconcileDeclared)
    def reconcile(self, message: ReconcileDeclared) -> Future[Reconciliation]:
        """Make the stored events as the code declares them."""
        wanted = Declared(message.application, message.definitions, message.adopt)
        now, told = self._clock.now_us(), list[Reconciliation]()

        def unit(db: Any, now: int, revoked: Sequence[Claim]) -> tuple[Event, ...]:
            if revoked:
                self._store.give_back(db, revoked, now=now)
            found, changed = wanted.carry_out(db, self._store, now=now, dry_run=message.dry_run)
            told[:] = [found]
            return changed

        def look(db: Any) -> list[str]:
            ahead = () if message.dry_run else wanted.look(db, now=now).changes
            return [each.event_id for each in ahead if each.event_id is not None]

        done = self._changing.found(self._storage.read(look), unit)
        return done.then(lambda changed: self._reconciled(told[0], changed))

    def _reconciled(self, found: Reconciliation, changed: Sequence[Event]) -> Reconciliation:
        # Somebody may have changed another one between the look and the transaction.
        self._changing.disarm([event.id for event in changed])
        if not found.dry_run:
            found.log()
        return found

    @handles(GetEvent)
    def get(self, message: GetEvent) -> Future[Event]:
        """One definition."""
        return self._storage.read(
            lambda db: self._store.get(db, message.event_id, deleted=message.deleted)
        )

    @handles(ListEvents)
    def list(self, message: ListEvents) -> Future[Any]:
        """A page of definitions."""
        return self._storage.read(lambda db: list_events(db, message.query))

    @handles(CountEvents)
    def count(self, message: CountEvents) -> Future[int]:
        """How many definitions there are."""
        return self._storage.read(lambda db: count_events(db, message.query))

    @handles(ListJournal)
    def journal(self, message: ListJournal) -> Future[Any]:
        """A page of the journal."""
        return self._storage.read(lambda db: list_entries(db, message.query))

    @handles(PreviewEvent)
    def preview(self, message: PreviewEvent) -> Future[Any]:
        """The next instants of an event's rule. Nothing is claimed."""
        now = self._clock.now_us()

        def look(db: Any) -> tuple[Any, ...]:
            trigger = self._store.get(db, message.event_id).trigger
            instants: list[Any] = []
            at = now
            while len(instants) < message.count:
                following = trigger.next_us(at)
                if following is None:
                    break
                at = following
                instants.append(from_us(at))
            return tuple(instants)

        return self._storage.read(look)

    @handles(ListNextRuns)
    def next_runs(self, message: ListNextRuns) -> Future[Any]:
        """The next instants of all events."""
        now = self._clock.now_us()
        return self._storage.read(lambda db: next_runs(db, message.query, now=now))

    @handles(MakeHeatMap)
    def heat_map(self, message: MakeHeatMap) -> Future[Any]:
        """Runs by the hour, and the busiest instants."""
        within = HeatRange.ahead(self._clock.now_us(), message.days, message.tz)
        return self._storage.walk(Forecast(message.query, within, busiest=message.busiest).step)

    # -- change --------------------------------------------------------------------------------

    @handles(UpdateEvent)
    def update(self, message: UpdateEvent) -> Future[Event]:
        """Change fields; claims not begun are made anew under the new definition."""

        def unit(db: Any, now: int, given_back: Sequence[Claim]) -> Event:
            self._check_fit(db, message.event_id, message.changes)
            return self._store.update(
                db,
                message.event_id,
                message.changes,
                now=now,
                version=message.version,
                author=message.author,
                given_back=given_back,
            )

        return self._changing.one(message.event_id, unit)

    def _check_fit(self, db: Any, event_id: str, changes: Changes) -> None:
        """Where only one of job and arguments changes, see that the two still go together."""
        if (changes.job is UNSET) != (changes.arguments is UNSET):
            job, arguments = self._store.job_of(db, event_id)
            self._fit(
                job if changes.job is UNSET else changes.job,
                arguments if changes.arguments is UNSET else changes.arguments,
            )

    @handles(PauseEvent)
    def pause(self, message: PauseEvent) -> Future[Event]:
        """Stop looking at an event."""
        return self._set_status(message, "pause", until=message.until)

    @handles(ResumeEvent)
    def resume(self, message: ResumeEvent) -> Future[Event]:
        """Look at a paused event again."""
        return self._set_status(message, "resume")

    @handles(ReleaseEvent)
    def release(self, message: ReleaseEvent) -> Future[Event]:
        """Look at a quarantined event again."""
        return self._set_status(message, "release")

    @handles(SkipNext)
    def skip_next(self, message: SkipNext) -> Future[NextSkipped]:
        """Leave out the next instants once."""
        skipped: list[int] = []

        def unit(db: Any, now: int, given_back: Sequence[Claim]) -> Event:
            stamp = self._store.stamp(now, message.author, message.note)
            skipped[:] = skip_next(db, message.event_id, message.count, stamp, given_back)
            return self._store.get(db, message.event_id)

        return self._changing.one(message.event_id, unit).then(
            lambda event: NextSkipped(event=event, instants=tuple(map(from_us, skipped)))
        )

    @handles(MoveNext)
    def move_next(self, message: MoveNext) -> Future[Execution]:
        """Run the next instant at another one."""
        moved: list[Execution] = []

        def unit(db: Any, now: int, given_back: Sequence[Claim]) -> Event:
            stamp = self._store.stamp(now, message.author, message.note)
            moved[:] = [move_next(db, message.event_id, message.to, stamp, given_back)]
            return self._store.get(db, message.event_id)

        return self._changing.one(message.event_id, unit).then(lambda _: moved[0])

    @handles(BackfillEvent)
    def backfill(self, message: BackfillEvent) -> Future[Backfill]:
        """Run past instants that have not run."""
        stamp = self._store.stamp(self._clock.now_us(), message.author, message.note)
        planned = self._storage.write(
            lambda db: plan_backfill(
                db, message.event_id, message.start, message.end, message.limit, stamp
            )
        )
        planned.add_done_callback(lambda _: self._tell_loop(ClaimDue()))
        return planned

    @handles(GetBackfill)
    def get_backfill(self, message: GetBackfill) -> Future[Backfill]:
        """How far a backfill has come."""
        return self._storage.read(lambda db: find_backfill(db, message.backfill_id))

    @handles(CancelBackfill)
    def cancel_backfill(self, message: CancelBackfill) -> Future[Backfill]:
        """End what waits in a backfill."""
        left: list[Backfill] = []

        def unit(db: Any, now: int, given_back: Sequence[Claim]) -> tuple[Event, ...]:
            stamp = self._store.stamp(now, message.author, message.note)
            left[:] = [cancel_backfill(db, message.backfill_id, stamp, given_back)]
            return (self._store.get(db, left[0].event_id, deleted=True),)

        found = self.get_backfill(GetBackfill(message.backfill_id))
        return self._changing.found(found.then(lambda backfill: [backfill.event_id]), unit).then(
            lambda _: left[0]
        )

    @handles(DeleteEvent)
    def delete(self, message: DeleteEvent) -> Future[Event]:
        """Leave a tombstone."""
        return self._set_status(message, "delete")

    def _set_status(
        self,
        message: PauseEvent | ResumeEvent | ReleaseEvent | DeleteEvent,
        verb: str,
        *,
        until: int | None = None,
    ) -> Future[Event]:
        changed = self._changing.one(
            message.event_id,
            lambda db, now, given_back: self._store.set_status(
                db,
                message.event_id,
                verb,
                now=now,
                author=message.author,
                note=message.note,
                until=until,
                given_back=given_back,
            ),
        )
        if verb in ("resume", "release"):
            # What waited for its return, a retry perhaps, is due now.
            changed.add_done_callback(lambda _: self._tell_loop(ClaimDue()))
        return changed
