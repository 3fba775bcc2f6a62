"""The event manager: definitions, from creation to tombstone.

Owns: nothing but its place in the order of changes; every definition lives in storage. Takes the
commands under "to the event manager" in ``kalends.messages``. Answers come after the commit, and
while one waits for it the next command is handled: changes that arrive together are committed
together.

A change reaches claims that are armed but have not begun: they are revoked before the change
commits, and once more right after it, for those that were committed in between. Both run in commit
order, so no claim made under the old definition begins after the change was acknowledged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kalends.actors.runtime import Actor, handles
from kalends.clock import Clock, from_us, to_us
from kalends.errors import KalendsError, NotInitialized
from kalends.futures import Future
from kalends.jobs.runner import Runner
from kalends.logs import get_log
from kalends.messages import (
    Claim,
    ClaimDue,
    CountEvents,
    CreateEvents,
    DeleteEvent,
    EventsChanged,
    GetEvent,
    ListEvents,
    ListJournal,
    ListNextRuns,
    MakeHeatMap,
    Message,
    OnConflict,
    PauseEvent,
    PreviewEvent,
    ReleaseEvent,
    ResumeEvent,
    UpdateEvent,
)
from kalends.model import Event
from kalends.storage.engine import Storage
from kalends.storage.event_queries import count_events, list_events
from kalends.storage.event_rows import ids_by_name
from kalends.storage.events import EventStore
from kalends.storage.heat import HeatRange
from kalends.storage.journal import list_entries
from kalends.storage.outlooks import Forecast, next_runs

__all__ = ["EventManagerActor"]

_log = get_log()


class EventManagerActor(Actor):
    """Keeps definitions. ``tell_loop`` tells the loop when something new may be due."""

    def __init__(
        self,
        *,
        storage: Storage,
        store: EventStore,
        clock: Clock,
        runner: Runner,
        tell_loop: Callable[[Message], None],
    ) -> None:
        super().__init__()
        self._storage = storage
        self._store = store
        self._clock = clock
        self._runner = runner
        self._tell_loop = tell_loop

    # -- create and read -----------------------------------------------------------------------

    @handles(CreateEvents)
    def create(self, message: CreateEvents) -> Future[tuple[Event, ...]]:
        """Store definitions and wake the loop."""
        if message.on_conflict is OnConflict.REPLACE:
            return self._replace(message)
        future = self._storage.write(
            lambda db: self._store_all(db, self._clock.now_us(), (), message)
        )
        future.add_done_callback(lambda done: self._announce(done.value or ()))
        return future

    def _replace(self, message: CreateEvents) -> Future[tuple[Event, ...]]:
        """As ``create``, where some of the events may exist, and be armed."""
        names = [item.name for item in message.definitions if item.name is not None]
        answer: Future[tuple[Event, ...]] = Future()

        def found(done: Future[dict[str, str]]) -> None:
            if done.error is not None:
                answer.resolve(None, done.error)
                return
            changed = self._change(
                list((done.value or {}).values()),
                lambda db, now, revoked: self._store_all(db, now, revoked, message),
            )
            changed.add_done_callback(settle)

        def settle(done: Future[tuple[Event, ...]]) -> None:
            answer.resolve(done.value, done.error)

        self._storage.read(lambda db: ids_by_name(db, names)).add_done_callback(found)
        return answer

    def _store_all(
        self, db: Any, now: int, revoked: Sequence[Claim], message: CreateEvents
    ) -> tuple[Event, ...]:
        if revoked:
            self._store.give_back(db, revoked, now=now)
        return self._store.create(
            db,
            message.definitions,
            now=now,
            on_conflict=message.on_conflict,
            author=message.author,
        )

    def _announce(self, events: Sequence[Event]) -> None:
        """Tell the loop the earliest instant at which something is to be done about these, and the
        log what daylight saving will do to them; on the writer's thread, after the commit.
        """
        instants = [at for event in events for at in (event.next_due, event.paused_until)]
        known = [to_us(at) for at in instants if at is not None]
        if known:
            self._tell_loop(EventsChanged(min(known)))
        warned = [event for event in events if event.warnings]
        if warned:
            _log.info(
                "clock_changes_ahead",
                events=len(warned),
                event_id=warned[0].id,
                event_name=warned[0].name,
                changes=[met.words for met in warned[0].warnings],
            )

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
        return self._change_one(
            message.event_id,
            lambda db, now, given_back: self._store.update(
                db,
                message.event_id,
                message.changes,
                now=now,
                version=message.version,
                author=message.author,
                given_back=given_back,
            ),
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
        return self._change_one(
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

    def _change_one(
        self,
        event_id: str,
        unit: Callable[[Any, int, Sequence[Claim]], Event],
    ) -> Future[Event]:
        answer: Future[Event] = Future()

        def only(done: Future[tuple[Event, ...]]) -> None:
            answer.resolve(done.value[0] if done.value else None, done.error)

        self._change(
            [event_id], lambda db, now, revoked: (unit(db, now, revoked),)
        ).add_done_callback(only)
        return answer

    def _change(
        self,
        event_ids: Sequence[str],
        unit: Callable[[Any, int, Sequence[Claim]], tuple[Event, ...]],
    ) -> Future[tuple[Event, ...]]:
        """Revoke, commit, revoke what slipped in between, then answer."""
        now = self._clock.now_us()
        revoked = self._runner.disarm(event_ids)
        answer: Future[tuple[Event, ...]] = Future()
        first = self._storage.write(lambda db: unit(db, now, revoked))

        def committed(done: Future[tuple[Event, ...]]) -> None:
            if done.error is not None:
                self._restore(revoked, done.error)
                answer.resolve(None, done.error)
                return
            self._runner.forget(revoked)
            late = self._runner.disarm(event_ids)
            if revoked or late:
                self._tell_loop(ClaimDue())  # what was given back may be due now
            if not late:
                finish(done)
                return
            events = done.value or ()
            second = self._storage.write(lambda db: self._revoke(db, events, late, now))
            # Where that is refused, the tracker's audit finds them.
            second.add_done_callback(lambda _: self._runner.forget(late))
            second.add_done_callback(finish)

        def finish(done: Future[tuple[Event, ...]]) -> None:
            self._announce(done.value or ())
            answer.resolve(done.value, done.error)

        first.add_done_callback(committed)
        return answer

    def _restore(self, revoked: Sequence[Claim], error: BaseException) -> None:
        """A change was refused: what was revoked for it runs as it was claimed."""
        unknown = isinstance(error, KalendsError) and error.details.get("outcome") == "unknown"
        if unknown:  # it may have been given back: the tracker's audit will tell
            self._runner.forget(revoked)
            return
        with contextlib.suppress(NotInitialized):  # shutting down: they are given back
            self._runner.submit(revoked)

    def _revoke(
        self, db: Any, events: Sequence[Event], late: Sequence[Claim], now: int
    ) -> tuple[Event, ...]:
        self._store.give_back(db, late, now=now)
        return tuple(self._as_changed(db, event) for event in events)

    def _as_changed(self, db: Any, event: Event) -> Event:
        """The event as its own change left it, whatever others have changed since."""
        current = self._store.get(db, event.id, deleted=True)
        if current.version != event.version:
            return event
        return msgspec.structs.replace(event, next_due=current.next_due)
