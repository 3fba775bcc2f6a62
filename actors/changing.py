"""How a change of an event reaches claims of it that are armed but have not begun.

They are revoked before the change commits, and once more right after it, for those that were
committed in between. Both run in commit order, so no claim made under the old definition begins
after the change was acknowledged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from kalends.clock import Clock, to_us
from kalends.errors import KalendsError, NotInitialized
from kalends.futures import Future
from kalends.jobs.runner import Runner
from kalends.logs import get_log
from kalends.messages import ClaimDue, EventsChanged, Message
from kalends.model import Event
from kalends.planning import Span
from kalends.storage.claims import Skipped
from kalends.storage.engine import Storage
from kalends.storage.events import EventStore
from kalends.storage.gaps import hearing_gaps
from kalends.work import Claim

__all__ = ["Changing"]

_log = get_log()


class Changing:
    """Carries out changes of events; one for all actors, and for all their incarnations.

    ``tell_loop`` tells the loop when something new may be due; ``tell_skipped`` is told what a
    change has skipped, once that is durable.
    """

    def __init__(
        self,
        storage: Storage,
        store: EventStore,
        clock: Clock,
        runner: Runner,
        tell_loop: Callable[[Message], None],
        tell_skipped: Callable[[Sequence[Skipped]], None] = lambda skipped: None,
    ) -> None:
        self._storage = storage
        self._store = store
        self._clock = clock
        self._runner = runner
        self._tell_loop = tell_loop
        self._tell_skipped = tell_skipped
        self.foreseen_from: int | None = None
        """The loop's word that it looks in time for what is due from this instant on; None where it
        is about to look, or is looking, or has said nothing.
        """

    def announce(self, events: Sequence[Event]) -> None:
        """Tell the loop the earliest instant due among these, and the log what daylight saving will
        do to them; on the writer's thread, after the commit.

        The loop is not woken for what it looks for in time anyway: it takes its word back before it
        asks for a claim, so a claim that has not seen these events comes with no word.
        """
        due = min((event.next_due for event in events if event.next_due is not None), default=None)
        foreseen = self.foreseen_from
        if due is not None and (foreseen is None or to_us(due) < foreseen):
            self._tell_loop(EventsChanged(to_us(due)))
        warned = [event for event in events if event.warnings]
        if warned:
            _log.info(
                "clock_changes_ahead",
                events=len(warned),
                event_id=warned[0].id,
                event_name=warned[0].name,
                changes=[met.words for met in warned[0].warnings],
            )

    def tell_skipped(self, skipped: Sequence[tuple[str, Span]], changed: Sequence[Event]) -> None:
        """What a change of these events has skipped is durable."""
        names = {event.id: event.name for event in changed}
        self._tell_skipped([Skipped(of, names.get(of), span) for of, span in skipped])

    def disarm(self, event_ids: Collection[str]) -> None:
        """Give back what was claimed ahead of events that a transaction has parked, and has not
        begun.

        On the writer's thread, right after the commit: no claim of the old state comes later.
        """
        claims = self._runner.disarm(event_ids) if event_ids else []
        if claims:
            now = self._clock.now_us()
            given_back = self._storage.write(lambda db: self._store.give_back(db, claims, now=now))
            # Where that is refused, the tracker's audit finds them.
            given_back.add_done_callback(lambda _: self._runner.forget(claims))

    def one(
        self,
        event_id: str,
        unit: Callable[[Any, int, Sequence[Claim]], Event],
    ) -> Future[Event]:
        """Change one event; see ``several``."""
        changed = self.several([event_id], lambda db, now, revoked: (unit(db, now, revoked),))
        return changed.then(lambda events: events[0])

    def found(
        self,
        event_ids: Future[list[str]],
        unit: Callable[[Any, int, Sequence[Claim]], tuple[Event, ...]],
    ) -> Future[tuple[Event, ...]]:
        """Change the events that are still being looked up; see ``several``."""
        answer: Future[tuple[Event, ...]] = Future()

        def change(done: Future[list[str]]) -> None:
            if done.error is not None:
                answer.resolve(None, done.error)
            else:
                self.several(done.value or [], unit).add_done_callback(settle)

        def settle(done: Future[tuple[Event, ...]]) -> None:
            answer.resolve(done.value, done.error)

        event_ids.add_done_callback(change)
        return answer

    def several(
        self,
        event_ids: Sequence[str],
        unit: Callable[[Any, int, Sequence[Claim]], tuple[Event, ...]],
    ) -> Future[tuple[Event, ...]]:
        """Revoke, commit, revoke what slipped in between, then answer with the events.

        ``unit(db, now, revoked)`` is the change; it gives back the claims that were ``revoked``.
        """
        now = self._clock.now_us()
        revoked = self._runner.disarm(event_ids)
        answer: Future[tuple[Event, ...]] = Future()
        skipped: list[tuple[str, Span]] = []

        def change(db: Any) -> tuple[Event, ...]:
            with hearing_gaps(skipped):
                return unit(db, now, revoked)

        first = self._storage.write(change)

        def committed(done: Future[tuple[Event, ...]]) -> None:
            if done.error is not None:
                self._restore(revoked, done.error)
                answer.resolve(None, done.error)
                return
            self._runner.forget(revoked)
            self.tell_skipped(skipped, done.value or ())
            late = self._runner.disarm(event_ids)
            # What was given back, or waits, may begin now; a pause may end before anything is due.
            self._tell_loop(ClaimDue())
            if not late:
                finish(done)
                return
            events = done.value or ()
            second = self._storage.write(lambda db: self._revoke(db, events, late, now))
            # Where that is refused, the tracker's audit finds them.
            second.add_done_callback(lambda _: self._runner.forget(late))
            second.add_done_callback(finish)

        def finish(done: Future[tuple[Event, ...]]) -> None:
            self.announce(done.value or ())
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
