"""The execution tracker: what was claimed, what began, how it ended, and this process's lease.

Owns: the node's lease in storage and the draining of the outbox. Outcomes wait in the outbox, which
outlives this actor's incarnations, until their transaction has committed; recording one twice
changes nothing, so a crash between commit and drop is harmless. However many attempts end
meanwhile, one transaction at a time takes them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kalends.actors.changing import Changing
from kalends.actors.control import Control
from kalends.actors.rescuing import Rescuing
from kalends.actors.runtime import Actor, handles
from kalends.announcing import Announcer
from kalends.clock import US, Clock
from kalends.errors import KalendsError
from kalends.futures import Future
from kalends.jobs.runner import Runner
from kalends.logs import get_log
from kalends.messages import (
    CancelExecution,
    ClaimDue,
    CountExecutions,
    EventsChanged,
    Explain,
    Follow,
    GetExecution,
    Heartbeat,
    JobsBegun,
    ListExecutions,
    ListGaps,
    ListOverdue,
    MakeReport,
    MarkRunning,
    Message,
    OthersCommitted,
    OutcomesReady,
    OutcomesRecorded,
    OutcomesRefused,
    SlotsFreed,
    VerifyLedger,
)
from kalends.model import Execution
from kalends.settings import Settings
from kalends.storage.accounts import Held
from kalends.storage.engine import Storage
from kalends.storage.executions import ExecutionStore
from kalends.storage.explanations import explain
from kalends.storage.gaps import list_gaps
from kalends.storage.nodes import NodeStore, Rescue
from kalends.storage.outcomes import OutcomeStore, Recorded
from kalends.storage.overdue import find_overdue
from kalends.storage.overlaps import Ended
from kalends.storage.reports import make_report
from kalends.storage.verify.walk import Verifier
from kalends.work import Outcome

__all__ = ["ExecutionTrackerActor"]

_log = get_log()
_GROUP = 5000
"""Outcomes recorded in one unit of work, at most."""
_MARK_AFTER = 0.2
"""Seconds from the begin of a job to its mark as running: shorter ones are recorded by their end
alone.
"""
_RETRY_FIRST, _RETRY_LIMIT = 0.05, 5.0


class ExecutionTrackerActor(Actor):
    """Keeps the history. ``tell_loop`` tells the loop when executions have ended."""

    def __init__(
        self,
        *,
        storage: Storage,
        store: ExecutionStore,
        outcomes: OutcomeStore,
        nodes: NodeStore,
        rescuing: Rescuing,
        clock: Clock,
        runner: Runner,
        changing: Changing,
        control: Control,
        tell_loop: Callable[[Message], None],
        announcer: Announcer,
        settings: Settings,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._store = store
        self._outcomes = outcomes
        self._nodes = nodes
        self._rescuing = rescuing
        self._clock = clock
        self._runner = runner
        self._changing = changing
        self._outbox = runner.outbox
        self._control = control
        self._tell_loop = tell_loop
        self._announcer = announcer
        self._settings = settings
        self._lease = settings.lease
        self._enabled = settings.enabled
        self._recording = False
        self._mark_all = True
        self._marking = False
        self._following = False
        self._retry_in = _RETRY_FIRST

    def on_start(self) -> None:
        """Take or renew the lease, rescue what dead processes left open, look into the outbox.

        Before the loop starts: an execution that nobody runs any more must not count as an overlap.
        A restart waits for nothing: a database that is away for a while must not cost the budget.
        """
        if self._enabled:
            watching = self._storage.watch(lambda: self.tell_self(OthersCommitted()))
            if self.cell.incarnation == 1:
                watching.get()
                self._rescuing.run(self._nodes.enter).get()
                self.after(self._lease / 3, Heartbeat())
            else:
                self.heartbeat(Heartbeat())
            self.jobs_begun(JobsBegun())
            self.tell_self(OutcomesReady())

    # -- outcomes ------------------------------------------------------------------------------

    @handles(OutcomesReady)
    def record(self, message: OutcomesReady) -> None:
        """Record what the outbox holds; the end of a transaction under way looks again."""
        if self._recording:
            return
        outcomes = self._outbox.peek(_GROUP)
        if not outcomes:
            if not self._outbox.rest():
                self.tell_self(message)
            return
        self._recording, since = True, self._outbox.dropped
        now = self._clock.now_us()
        future = self._storage.write(lambda db: self._outcomes.record(db, outcomes, now=now))
        future.add_done_callback(lambda done: self._settled(outcomes, since, done))

    def _settled(self, outcomes: Sequence[Outcome], since: int, done: Future[Recorded]) -> None:
        """On the writer's thread, right after the commit and before the next transaction."""
        recorded = done.value
        if recorded is not None:
            self._changing.disarm(recorded.paused)
            self._announcer.recorded(outcomes, recorded)
            self.tell_self(
                OutcomesRecorded(len(outcomes), since, recorded.rejected, recorded.ready_at)
            )
        elif isinstance(done.error, KalendsError):
            self.tell_self(OutcomesRefused(str(done.error)))
        elif done.error is not None:
            self.fail(done.error)

    @handles(OutcomesRecorded)
    def recorded(self, message: OutcomesRecorded) -> None:
        """Forget what is durable, tell the loop, go on with the rest."""
        self._recording = False
        self._retry_in = _RETRY_FIRST
        self._outbox.drop(message.count, message.since)
        for execution_id in message.rejected:
            _log.warning("outcome_rejected", execution_id=execution_id)
        if message.ready_at is not None:
            self._tell_loop(EventsChanged(message.ready_at))
        self._tell_loop(SlotsFreed())
        self.record(OutcomesReady())

    @handles(OutcomesRefused)
    def refused(self, message: OutcomesRefused) -> None:
        """Try again later; the outcomes stay where they are."""
        self._recording = False
        self.after(self._retry_in, OutcomesReady())
        self._retry_in = min(self._retry_in * 2, _RETRY_LIMIT)

    @handles(JobsBegun)
    def jobs_begun(self, message: JobsBegun) -> None:
        """Look in a moment which of them still run; whatever begins until then is told once."""
        if not self._marking and (self._mark_all or not self._runner.rests()):
            self._marking = True
            self.after(_MARK_AFTER, MarkRunning())

    @handles(MarkRunning)
    def mark_running(self, message: MarkRunning) -> None:
        """Write down what has begun since the last look and still runs."""
        self._marking = False
        fresh = self._runner.newly_begun()
        found = self._runner.running() if self._mark_all else fresh
        self._mark_all = False
        if found:
            if not self._following:
                self.follow(Follow())
            begun = [(item.execution_id, item.attempt, item.started_us) for item in found]
            self._storage.write(
                lambda db: self._outcomes.mark_running(db, begun)
            ).add_done_callback(self._marked)

    def _marked(self, done: Future[int]) -> None:
        if isinstance(done.error, KalendsError):
            self._mark_all = True  # look at everything that runs, next time
            self.tell_self(JobsBegun())
        elif done.error is not None:
            self.fail(done.error)

    # -- what runs -----------------------------------------------------------------------------

    @handles(Follow)
    def follow(self, message: Follow) -> None:
        """Write down what jobs have told since the last time; again later, while any runs."""
        told = self._control.write_news()
        if told is not None:
            told.add_done_callback(self._written)
        self._following = bool(self._runner.running())
        if self._following:
            self.after(self._settings.follow_every, message)

    def _written(self, done: Future[int]) -> None:
        # What a refusal has cost is told again with the next news, or at the end.
        if done.error is not None and not isinstance(done.error, KalendsError):
            self.fail(done.error)

    @handles(CancelExecution)
    def cancel(self, message: CancelExecution) -> Future[Execution]:
        """End an execution, or have its job told to stop."""
        return self._control.cancel(message, self._announcer.settled)

    # -- the lease -----------------------------------------------------------------------------

    @handles(Heartbeat)
    def heartbeat(self, message: Heartbeat) -> None:
        """Renew the lease, and rescue what was held under leases that have ended.

        A refusal of the storage is tried again at the next beat.
        """
        self._rescuing.run(self._nodes.renew).add_done_callback(self._beaten)
        self._audit()
        self._storage.read(self._nodes.called_off).add_done_callback(self._called_off)
        self.after(self._lease / 3, message)

    def _beaten(self, done: Future[Rescue]) -> None:
        if done.error is not None and not isinstance(done.error, KalendsError):
            self.fail(done.error)

    @handles(OthersCommitted)
    def others_committed(self, message: OthersCommitted) -> None:
        """Something may be due by it, or be about what runs here."""
        self._tell_loop(ClaimDue())
        self._storage.read(self._nodes.called_off).add_done_callback(self._called_off)

    def _called_off(self, done: Future[Ended]) -> None:
        """Other nodes have cancelled or terminated what runs here."""
        ended = done.value
        if ended is not None:
            self._runner.cancel(ended.told)
            self._runner.write_off(ended.terminated)
        elif done.error is not None and not isinstance(done.error, KalendsError):
            self.fail(done.error)

    def _audit(self) -> None:
        """Give back what this node holds in the ledger and nowhere else.

        A commit whose outcome nobody knows, or a refusal to take a claim back, leaves such
        executions; nobody would ever begin them.
        """
        before = self._clock.now_us() - round(self._lease / 3 * US)

        def found(done: Future[tuple[Held, ...]]) -> None:
            if done.value:
                held = done.value
                # Whatever was committed before the look has come to the runner when this is done.
                barrier = self._storage.write(lambda _: None)
                barrier.add_done_callback(
                    lambda done: self._free(held) if done.error is None else None
                )
            elif done.error is not None and not isinstance(done.error, KalendsError):
                self.fail(done.error)

        self._storage.read(lambda db: self._nodes.held(db, before=before)).add_done_callback(found)

    def _free(self, held: tuple[Held, ...]) -> None:
        orphans = [item for item in held if not self._runner.holds(item.id, item.attempt)]
        # A runner that stops lets go of jobs that go on: what they hold is not free, it is left.
        if not orphans or self._runner.halted:
            return
        now = self._clock.now_us()

        def freed(done: Future[None]) -> None:
            if done.error is None:
                _log.warning("claims_freed", executions=[item.id for item in orphans])
                self._tell_loop(ClaimDue())
            elif not isinstance(done.error, KalendsError):
                self.fail(done.error)

        self._storage.write(
            lambda db: self._nodes.give_back(db, orphans, now=now)
        ).add_done_callback(freed)

    # -- history -------------------------------------------------------------------------------

    @handles(GetExecution)
    def get(self, message: GetExecution) -> Future[Execution]:
        """One execution with its attempts."""
        return self._control.get(message.execution_id)

    @handles(ListExecutions)
    def list(self, message: ListExecutions) -> Future[Any]:
        """A page of executions."""
        return self._storage.read(lambda db: self._store.list(db, message.query))

    @handles(CountExecutions)
    def count(self, message: CountExecutions) -> Future[int]:
        """How many executions there are."""
        return self._storage.read(lambda db: self._store.count(db, message.query))

    @handles(ListGaps)
    def gaps(self, message: ListGaps) -> Future[Any]:
        """A page of gaps."""
        return self._storage.read(lambda db: list_gaps(db, message.query))

    @handles(Explain)
    def explain(self, message: Explain) -> Future[Any]:
        """Why an instant ran, or did not."""
        now = self._clock.now_us()
        return self._storage.read(
            lambda db: explain(
                db,
                self._store,
                message.event_id,
                message.instant,
                now=now,
                limits=self._settings.concurrency_limits,
            )
        )

    @handles(ListOverdue)
    def overdue(self, message: ListOverdue) -> Future[Any]:
        """What should have had a fate by now."""
        now = self._clock.now_us()
        return self._storage.read(
            lambda db: find_overdue(db, now=now, grace=message.grace_us, limit=message.limit)
        )

    @handles(VerifyLedger)
    def verify(self, message: VerifyLedger) -> Future[Any]:
        """Whether the ledger keeps its promises. What was written before is looked at."""
        verifier = Verifier(
            self._clock,
            node=self._nodes.node if self._enabled else None,
            lease=self._lease,
            event_id=message.event_id,
            limit=message.limit,
            damage=self._storage.dialect.damage if message.integrity else None,
        )
        return self._storage.walk(verifier.step)

    @handles(MakeReport)
    def report(self, message: MakeReport) -> Future[Any]:
        """Counts, rates and percentiles."""
        return self._storage.read(
            lambda db: make_report(
                db,
                event_id=message.event_id,
                since=message.since,
                until=message.until,
                bucket_us=message.bucket_us,
            )
        )
