"""The whole vocabulary between actors, on one page.

Commands are imperative and come from proxies (the host) or from another component; facts are past
tense. Instants are integer microseconds UTC. Every message is immutable, so it may cross threads.
"""

from __future__ import annotations

import msgspec

from kalends.drafts import Changes, Definition, OnConflict
from kalends.policies import Overlap
from kalends.queries import EventQuery, ExecutionQuery, GapQuery, JournalQuery
from kalends.work import Claim


class Message(msgspec.Struct, frozen=True):
    """The base of all messages."""


# -- to the event manager ----------------------------------------------------------------------


class CreateEvents(Message, frozen=True):
    """Store definitions, all or none. Answer: tuple of ``Event``, in order."""

    definitions: tuple[Definition, ...]
    on_conflict: OnConflict = OnConflict.ERROR
    author: str | None = None


class ReconcileDeclared(Message, frozen=True):
    """Make the stored events as the application declares them. Answer: ``Reconciliation``.

    ``dry_run``: only say what that would change. ``adopt``: take over events of these names that
    it has not declared.
    """

    application: str
    definitions: tuple[Definition, ...]
    dry_run: bool = False
    adopt: bool = False


class GetEvent(Message, frozen=True):
    """Answer: ``Event``; a deleted one only with ``deleted=True``."""

    event_id: str
    deleted: bool = False


class UpdateEvent(Message, frozen=True):
    """Change a definition, if ``version`` (when given) is still the current one.

    Answer: ``Event``.
    """

    event_id: str
    changes: Changes
    version: int | None = None
    author: str | None = None


class PauseEvent(Message, frozen=True):
    """Stop looking at an event, up to the instant ``until`` where given. Answer: ``Event``."""

    event_id: str
    note: str | None = None
    author: str | None = None
    until: int | None = None


class ResumeEvent(Message, frozen=True):
    """Look at a paused event again; what was due meanwhile is skipped as paused.

    Answer: ``Event``.
    """

    event_id: str
    note: str | None = None
    author: str | None = None


class ReleaseEvent(Message, frozen=True):
    """Look at a quarantined event again. Answer: ``Event``."""

    event_id: str
    note: str | None = None
    author: str | None = None


class SkipNext(Message, frozen=True):
    """Skip the next ``count`` instants of an event that have no fate. Answer: ``NextSkipped``."""

    event_id: str
    note: str | None = None
    author: str | None = None
    count: int = 1


class MoveNext(Message, frozen=True):
    """Run the next instant of an event that has no fate at another one, ``to``.

    Answer: ``Execution``.
    """

    event_id: str
    to: int
    note: str | None = None
    author: str | None = None


class BackfillEvent(Message, frozen=True):
    """Run an event for past instants in ``start <= instant < end`` that have not run, at most
    ``limit`` of them. Answer: ``Backfill``.
    """

    event_id: str
    start: int
    end: int
    limit: int
    note: str | None = None
    author: str | None = None


class GetBackfill(Message, frozen=True):
    """Answer: ``Backfill``, as far as it has come."""

    backfill_id: str


class CancelBackfill(Message, frozen=True):
    """End what waits in a backfill as cancelled. Answer: ``Backfill``."""

    backfill_id: str
    note: str | None = None
    author: str | None = None


class DeleteEvent(Message, frozen=True):
    """Leave a tombstone. Answer: None."""

    event_id: str
    note: str | None = None
    author: str | None = None


class ListEvents(Message, frozen=True):
    """Answer: ``Page[Event]``."""

    query: EventQuery


class CountEvents(Message, frozen=True):
    """Answer: int. Sort, limit and cursor do not matter."""

    query: EventQuery


class ListJournal(Message, frozen=True):
    """Answer: ``Page[JournalEntry]``."""

    query: JournalQuery


class PreviewEvent(Message, frozen=True):
    """Answer: tuple of the next ``count`` instants of the event's rule, from now on."""

    event_id: str
    count: int


class ListNextRuns(Message, frozen=True):
    """Answer: tuple of the ``NextRun`` before ``due_until``, over all events of the query."""

    query: EventQuery


class MakeHeatMap(Message, frozen=True):
    """Answer: ``HeatMap`` of the next ``days``, by the hours of ``tz``."""

    query: EventQuery
    days: int
    tz: str
    busiest: int


# -- to the execution tracker ------------------------------------------------------------------


class GetExecution(Message, frozen=True):
    """Answer: ``Execution``."""

    execution_id: str


class ListExecutions(Message, frozen=True):
    """Answer: ``Page[Execution]``."""

    query: ExecutionQuery


class CountExecutions(Message, frozen=True):
    """Answer: int. Limit and cursor do not matter."""

    query: ExecutionQuery


class ListGaps(Message, frozen=True):
    """Answer: ``Page[Gap]``."""

    query: GapQuery


class MakeReport(Message, frozen=True):
    """Answer: ``Report`` over due instants in ``since <= due < until``."""

    event_id: str | None
    since: int | None
    until: int | None
    bucket_us: int | None
    """Length of a time bucket, or None for no buckets."""


class CancelExecution(Message, frozen=True):
    """End an execution, or tell its job to stop. Answer: ``Execution``, as it is then."""

    execution_id: str
    note: str | None = None
    author: str | None = None


class JobsBegun(Message, frozen=True):
    """Jobs have begun that are not marked as running; there is a look at those that last."""


class Explain(Message, frozen=True):
    """Answer: ``Explanation`` of an instant of an event, deleted or not."""

    event_id: str
    instant: int


class ListOverdue(Message, frozen=True):
    """Answer: tuple of ``Overdue``, by more than ``grace_us``."""

    grace_us: int
    limit: int


class VerifyLedger(Message, frozen=True):
    """Answer: ``Verification`` of the whole ledger or of one event, slice by slice."""

    event_id: str | None
    limit: int
    integrity: bool


class OutcomesReady(Message, frozen=True):
    """Attempts have ended: their outcomes wait in the outbox to be recorded."""


class OutcomesRecorded(Message, frozen=True):
    """The first ``count`` outcomes of the outbox, as it was when ``since`` had been dropped, are
    durable; ``rejected`` were no longer held, and ``ready_at`` is when the first of those that are
    attempted again may begin.
    """

    count: int
    since: int
    rejected: tuple[str, ...] = ()
    ready_at: int | None = None


class OutcomesRefused(Message, frozen=True):
    """Storage could not take the outcomes now: they stay in the outbox."""

    error: str


class MarkRunning(Message, frozen=True):
    """Write down which executions have begun and not ended."""


class Follow(Message, frozen=True):
    """Write down what jobs that run have told."""


class Heartbeat(Message, frozen=True):
    """Renew this node's lease."""


class OthersCommitted(Message, frozen=True):
    """Other processes have changed the ledger."""


# -- to the loop -------------------------------------------------------------------------------


class EventsChanged(Message, frozen=True):
    """Definitions were created or changed, or executions wait for another attempt; ``earliest`` is
    the first instant now due among them.
    """

    earliest: int | None


class ClaimDue(Message, frozen=True):
    """Claim what is due within the horizon.

    Sent by timers and by whoever knows that something is.
    """


class DueClaimed(Message, frozen=True):
    """A claim transaction committed, and its claims are with the runner."""

    count: int
    next_due: int | None
    """The earliest instant that is left and may be claimed ahead of time."""
    blocked_until: int | None
    """The earliest instant that nothing can be done about ahead of time: its event still runs, or
    a pause ends then.
    """
    more: bool
    """True where the batch was full."""
    held_up: bool = False
    """True where something may wait for an execution to end."""
    many_wait: bool = False
    """True where more waits than one transaction could take."""


class ClaimUnrunnable(Message, frozen=True):
    """A claimed execution cannot be carried out here: its event is to be quarantined."""

    claim: Claim
    error: str


class SlotsFreed(Message, frozen=True):
    """Executions have ended and are recorded: what they held up may be claimed now."""


class ClaimRefused(Message, frozen=True):
    """Storage could not take the claim now."""

    error: str


class TriggerNow(Message, frozen=True):
    """Run an event once, outside of its rule, by its overlap policy or by ``overlap``.

    Answer: ``Execution``, which may have been skipped.
    """

    event_id: str
    author: str | None = None
    overlap: Overlap | None = None


class Drain(Message, frozen=True):
    """Claim nothing more, give back what has not begun. Answer: None once that is durable."""


# -- to the housekeeper ------------------------------------------------------------------------


class KeepHouse(Message, frozen=True):
    """Do one round now: rescue, retention, file rules, upkeep. Answer: ``HousekeepingReport``."""


class RunCleanup(Message, frozen=True):
    """Run one file rule now, by name. Answer: ``CleanupReport``."""

    rule: str
    dry_run: bool = False


class RoundEnded(Message, frozen=True):
    """The housekeeping round at hand is over."""
