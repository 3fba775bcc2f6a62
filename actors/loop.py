"""The loop: finds what is due, claims it a little ahead of time, and hands it to the runner.

Owns: the decision when to look next. It looks when the earliest instant comes within the
claim-ahead horizon, when somebody says that something changed, and at least every ``max_sleep``
seconds; every sleep is computed anew from the wall clock, so a jump of it costs at most one sleep.
Claims go to the runner as their transaction commits, on the writer's thread: whatever is committed
later finds them there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalends.actors.changing import Changing
from kalends.actors.hub import Timer
from kalends.actors.runtime import Actor, handles
from kalends.actors.stopwatch import Stopwatch
from kalends.announcing import Announcer
from kalends.clock import US, Clock, from_us
from kalends.errors import KalendsError, NotInitialized, StorageUnavailable
from kalends.futures import Future
from kalends.ids import IdSource
from kalends.jobs.outbox import Outbox
from kalends.jobs.runner import Runner
from kalends.logs import get_log
from kalends.messages import (
    ClaimDue,
    ClaimRefused,
    ClaimUnrunnable,
    Drain,
    DueClaimed,
    EventsChanged,
    SlotsFreed,
    TriggerNow,
)
from kalends.model import Execution, JournalKind
from kalends.settings import Settings
from kalends.storage.claims import Claimed, ClaimStore, Skipped
from kalends.storage.engine import Storage
from kalends.storage.executions import ExecutionStore
from kalends.storage.journal import write_entry
from kalends.storage.manual import Triggered
from kalends.work import Claim, WrittenOff

__all__ = ["LoopActor"]

_log = get_log()
_LARGEST_PORTION = 8
"""Batches of what waits that one transaction takes, at most. To find the first of a hundred
thousand in their order takes as long as to claim some thousands: as long as a transaction has been
filled, the next one takes twice as many.
"""
_RETRY_FIRST, _RETRY_LIMIT = 0.05, 5.0


class LoopActor(Actor):
    """Claims what is due."""

    def __init__(
        self,
        *,
        storage: Storage,
        store: ClaimStore,
        changing: Changing,
        executions: ExecutionStore,
        ids: IdSource,
        node: str,
        clock: Clock,
        runner: Runner,
        outbox: Outbox,
        settings: Settings,
        announcer: Announcer,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._store = store
        self._changing = changing
        self._executions = executions
        self._ids = ids
        self._node = node
        self._clock = clock
        self._runner = runner
        self._outbox = outbox
        self._settings = settings
        self._announcer = announcer
        self._ahead = round(settings.claim_ahead * US)
        self._claiming = False
        self._again = False
        self._full = False
        self._portion = 1
        self._blocked_until: int | None = None
        self._held_up = False
        self._wake: Timer | None = None
        self._wake_at: int | None = None
        self._retry_in = _RETRY_FIRST
        self._stopwatch = Stopwatch(clock)

    def on_start(self) -> None:
        """Look at once: what is due may have been due for long."""
        self._changing.foreseen_from = None
        self.tell_self(ClaimDue())

    # -- claiming ------------------------------------------------------------------------------

    @handles(ClaimDue)
    def claim(self, message: ClaimDue) -> None:
        """Start a claim transaction, unless one is under way: its end looks again."""
        self._look_at_clocks()
        if self._runner.halted:
            return
        if self._claiming:
            self._again = True
            return
        room = self._settings.claim_limit - self._runner.in_flight
        self._full = room <= 0
        if self._full:
            # SlotsFreed looks again; the timer is for claims that were taken back.
            self._sleep_until(self._clock.now_us() + round(self._settings.max_sleep * US))
            return
        self._claiming = True
        self._changing.foreseen_from = None
        now = self._clock.now_us()
        settled, portion = self._outbox.pending(), self._portion
        batch = self._settings.claim_batch
        future = self._storage.write(
            lambda db: self._store.claim_due(
                db,
                now=now,
                ahead=self._ahead,
                limit=min(room, batch),
                settled=settled,
                waiting_limit=min(room, batch * portion),
            )
        )
        future.add_done_callback(self._claimed)

    def _claimed(self, done: Future[Claimed]) -> None:
        """On the writer's thread, right after the commit and before the next transaction."""
        claimed = done.value
        if claimed is not None:
            self._announce(claimed.claims, claimed.terminated, claimed.skipped)
            self._runner.submit(claimed.claims)
            # After it: among these may be what was claimed a moment before it had to make way.
            self._runner.write_off(claimed.terminated)
            self._runner.cancel(claimed.told)
            self.tell_self(
                DueClaimed(
                    len(claimed.claims),
                    claimed.next_due,
                    claimed.blocked_until,
                    claimed.more,
                    claimed.held_up,
                    claimed.many_wait,
                )
            )
        elif isinstance(done.error, KalendsError):
            self.tell_self(ClaimRefused(str(done.error)))
        elif done.error is not None:
            self.fail(done.error)

    def _announce(
        self,
        claims: Sequence[Claim],
        terminated: Sequence[WrittenOff],
        skipped: Sequence[Skipped] = (),
    ) -> None:
        begun = self._runner.running() if terminated else ()
        self._announcer.claimed(claims, terminated, skipped, begun)

    @handles(DueClaimed)
    def claimed(self, message: DueClaimed) -> None:
        """Sleep until the next instant comes near."""
        self._claiming = False
        self._retry_in = _RETRY_FIRST
        self._blocked_until = message.blocked_until
        self._held_up = message.held_up
        self._portion = min(self._portion * 2, _LARGEST_PORTION) if message.many_wait else 1
        if message.more or self._again:
            self._again = False
            self.claim(ClaimDue())
            return
        wakes = [self._clock.now_us() + round(self._settings.max_sleep * US)]
        if message.next_due is not None:
            wakes.append(message.next_due - self._ahead)
        if message.blocked_until is not None:
            wakes.append(message.blocked_until)
        self._sleep_until(min(wakes))

    @handles(ClaimRefused)
    def refused(self, message: ClaimRefused) -> None:
        """Nothing runs without a durable claim: try again, ever more slowly up to a limit."""
        self._claiming = False
        self._sleep_until(self._clock.now_us() + round(self._retry_in * US))
        self._retry_in = min(self._retry_in * 2, _RETRY_LIMIT)

    @handles(EventsChanged)
    def changed(self, message: EventsChanged) -> None:
        """Look earlier, if what changed is due earlier than the next look."""
        if message.earliest is None:
            return
        look_at = message.earliest - self._ahead
        if self._claiming:
            self._again = True
        elif self._wake_at is None or look_at < self._wake_at:
            self._sleep_until(look_at)

    @handles(SlotsFreed)
    def freed(self, message: SlotsFreed) -> None:
        """Look again where a full queue, a limit or a running execution held something up."""
        if self._full or self._held_up or self._blocked_until is not None:
            self.claim(ClaimDue())

    def _sleep_until(self, wall_us: int) -> None:
        self._look_at_clocks()  # a sleep that is cut short here may have been too long already
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = wall_us
        self._changing.foreseen_from = None if self._claiming else wall_us + self._ahead
        wait = min((wall_us - self._clock.now_us()) / US, self._settings.max_sleep)
        self._stopwatch.expect(max(wait, 0.0))
        if wait <= 0:
            self._wake = None
            self.tell_self(ClaimDue())
        else:
            self._wake = self.after(wait, ClaimDue())

    def _look_at_clocks(self) -> None:
        """Write down what has happened to time itself."""
        noticed = self._stopwatch.look()
        if noticed.stood_still is not None:
            seconds = round(noticed.stood_still, 6)
            _log.warning("process_suspended", seconds=round(seconds, 3))
            since = from_us(self._clock.now_us() - round(seconds * US))
            self._note(JournalKind.SUSPENDED, since=since.isoformat(), seconds=seconds)
        if noticed.jumped is not None:
            seconds = round(noticed.jumped, 6)
            _log.warning("clock_jumped", seconds=round(seconds, 3))
            self._note(JournalKind.CLOCK_JUMPED, seconds=seconds)

    def _note(self, kind: JournalKind, **details: Any) -> None:
        now, hub = self._clock.now_us(), self.cell.hub

        def write() -> None:
            def unit(db: Any) -> object:
                return write_entry(db, kind, now=now, ids=self._ids, node=self._node, **details)

            self._storage.write(unit).add_done_callback(check)

        def check(done: Future[Any]) -> None:
            error = done.error
            if isinstance(error, StorageUnavailable):
                # What happened to time explains the ledger: it waits for the database, not for this
                # incarnation. Where it may be there already it is not told twice.
                if "outcome" not in error.details:
                    hub.call(lambda: hub.after(_RETRY_LIMIT, write))
            elif error is not None and not isinstance(error, KalendsError):
                self.fail(error)

        write()

    # -- on demand -----------------------------------------------------------------------------

    @handles(ClaimUnrunnable)
    def unrunnable(self, message: ClaimUnrunnable) -> None:
        """Quarantine the event of a claim that cannot be carried out."""
        now = self._clock.now_us()
        _log.error(
            "event_quarantined",
            event_id=message.claim.event_id,
            job=message.claim.job,
            error=message.error,
        )

        def again() -> None:
            # Not a timer of this incarnation's: nobody else knows of this claim.
            self.cell.hub.after(_RETRY_LIMIT, lambda: self.tell_self(message))

        def check(done: Future[None]) -> None:
            if isinstance(done.error, KalendsError):
                self.cell.hub.call(again)
            elif done.error is not None:
                self.fail(done.error)
            else:
                self._changing.disarm([message.claim.event_id])
                self.tell_self(ClaimDue())  # its place in a limit is free

        self._storage.write(
            lambda db: self._store.refuse(db, message.claim, now=now, error=message.error)
        ).add_done_callback(check)

    @handles(TriggerNow)
    def trigger_now(self, message: TriggerNow) -> Future[Execution]:
        """Ask for one execution outside of the rule."""
        if self._runner.halted:
            raise NotInitialized("the scheduler is shutting down")
        now, settled = self._clock.now_us(), self._outbox.pending()
        made: list[Triggered] = []

        def unit(db: Any) -> Execution:
            made[:] = [
                self._store.trigger_now(
                    db,
                    message.event_id,
                    now=now,
                    overlap=message.overlap,
                    author=message.author,
                    settled=settled,
                )
            ]
            return self._executions.get(db, made[0].execution_id)

        future = self._storage.write(unit)

        def committed(done: Future[Execution]) -> None:
            if done.error is not None:
                return
            self._announce(made[0].claims, made[0].terminated)
            if done.value is not None and done.value.ended_at is not None:
                self._announcer.settled(done.value, made[0].event_name, made[0].job)
            self._runner.submit(made[0].claims)
            self._runner.write_off(made[0].terminated)
            self._runner.cancel(made[0].told)
            if made[0].terminated or not made[0].claims:
                # A place is free; or it may wait, and the loop is to know what holds it up.
                self.tell_self(ClaimDue())

        future.add_done_callback(committed)
        return future

    @handles(Drain)
    def drain(self, message: Drain) -> Future[None]:
        """Claim nothing more; make due again what was claimed and has not begun."""
        self._runner.halt()
        if self._wake is not None:
            self._wake.cancel()
        answer: Future[None] = Future()

        def committed(done: Future[None]) -> None:
            # Every claim committed before is with the runner now: nothing can slip in any more.
            if done.error is not None:
                answer.resolve(None, done.error)
                return
            claims, now = self._runner.disarm_all(), self._clock.now_us()
            second = self._storage.write(lambda db: self._store.give_back(db, claims, now=now))
            second.add_done_callback(finish)

        def finish(done: Future[Any]) -> None:
            answer.resolve(None, done.error)

        self._storage.write(lambda _: None).add_done_callback(committed)
        return answer
