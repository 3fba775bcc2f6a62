"""What the parts of a system tell its host: facts as they meet them, made into notices.

The parts call this where something has happened, on whatever thread that is; it waits for nothing.
A notice is made only where somebody wants it. Journal entries are read from the journal itself once
the transaction that wrote them is durable: that way none is missed, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pendulum

from kalends.clock import US, Clock, from_us
from kalends.futures import Future
from kalends.ids import IdSource
from kalends.model import Execution, Fate, JournalEntry, JournalKind, Reason
from kalends.native import allocate_lock
from kalends.notices import Notice, NoticeKind, Notices
from kalends.storage.claims import Skipped
from kalends.storage.engine import Storage
from kalends.storage.journal import entries_after
from kalends.storage.outcomes import Recorded
from kalends.work import Begun, Claim, Ending, Outcome, WrittenOff

__all__ = ["Announcer"]

_JOURNAL = tuple(kind.value for kind in JournalKind)
_PAGE = 500


class Announcer:
    """Makes the notices of one system; ``node`` is who it is in the journal."""

    def __init__(
        self, notices: Notices, storage: Storage, clock: Clock, ids: IdSource, node: str
    ) -> None:
        self._notices = notices
        self._storage = storage
        self._clock = clock
        self._node = node
        self._lock = allocate_lock()
        self._last = ids()
        """The journal is told from here on."""
        self._reading = False
        self._again = False
        self._degraded: str | None = None

    def scheduler(self, kind: NoticeKind, **details: Any) -> None:
        """Something has become of the scheduler as a whole."""
        if self._notices.wanted(kind):
            self._notices.tell(Notice(kind=kind.value, at=self._now(), details=details))

    def condition(self, degraded: str | None) -> None:
        """What does not work, or that everything does: told where it is news."""
        with self._lock:
            before, self._degraded = self._degraded, degraded
        if degraded is not None and degraded != before:
            self.scheduler(NoticeKind.SCHEDULER_DEGRADED, reason=degraded)
        elif degraded is None and before is not None:
            self.scheduler(NoticeKind.SCHEDULER_RECOVERED, after=before)

    def end(self) -> None:
        """The scheduler is over, and with it every subscription."""
        self._notices.end()

    # -- executions ----------------------------------------------------------------------------

    def claimed(
        self,
        claims: Sequence[Claim],
        terminated: Sequence[WrittenOff],
        skipped: Sequence[Skipped] = (),
        begun: Sequence[Begun] = (),
    ) -> None:
        """What a transaction has claimed, ended and skipped is durable. ``begun``: what runs here,
        of which the ledger need not know yet.
        """
        if self._notices.wanted(NoticeKind.EXECUTION_CLAIMED):
            for claim in claims:
                self._execution(NoticeKind.EXECUTION_CLAIMED, claim)
        self.skipped(skipped)
        if terminated and self._notices.wanted(NoticeKind.EXECUTION_ENDED):
            starts = {(one.execution_id, one.attempt): one.started_us for one in begun}
            for ended in terminated:
                self._terminated(ended, starts.get((ended.execution_id, ended.attempt)))

    def skipped(self, skipped: Sequence[Skipped]) -> None:
        """That these instants do not run is durable."""
        if skipped and self._notices.wanted(NoticeKind.INSTANTS_SKIPPED):
            for instants in skipped:
                self._skipped(instants)

    def started(self, claim: Claim, started_us: int) -> None:
        """A job is about to be called."""
        if self._notices.wanted(NoticeKind.EXECUTION_STARTED):
            self._execution(
                NoticeKind.EXECUTION_STARTED, claim, lateness=_lateness(claim, started_us)
            )

    def recorded(self, outcomes: Sequence[Outcome], recorded: Recorded) -> None:
        """How attempts ended is durable."""
        if self._notices.wanted(NoticeKind.EXECUTION_ENDED, NoticeKind.EXECUTION_RETRIED):
            rejected = frozenset(recorded.rejected)
            for outcome in outcomes:
                if not outcome.late and outcome.execution_id not in rejected:
                    self._ended(outcome, recorded)

    def _ended(self, outcome: Outcome, recorded: Recorded) -> None:
        claim, began = outcome.claim, outcome.started_us
        if claim is None:
            return
        ready_at = recorded.again.get(outcome.execution_id)
        kind = NoticeKind.EXECUTION_ENDED if ready_at is None else NoticeKind.EXECUTION_RETRIED
        fate, reason = recorded.fates.get(
            outcome.execution_id, (outcome.fate, None if ready_at else outcome.reason)
        )
        self._execution(
            kind,
            claim,
            fate=fate,
            reason=reason,
            lateness=None if began is None else _lateness(claim, began),
            duration=None if began is None else (outcome.ended_us - began) / US,
            error=outcome.error,
            details={} if ready_at is None else {"ready_at": from_us(ready_at).isoformat()},
        )

    def settled(self, execution: Execution, event_name: str | None, job: str | None) -> None:
        """An execution has got its fate at once, because of what somebody asked for: one that
        waited was cancelled, one that was to begin now is skipped.
        """
        if self._notices.wanted(NoticeKind.EXECUTION_ENDED):
            self._notices.tell(
                Notice(
                    kind=NoticeKind.EXECUTION_ENDED.value,
                    at=self._now(),
                    event_id=execution.event_id,
                    event_name=event_name,
                    job=job,
                    execution_id=execution.id,
                    due=execution.due,
                    attempt=len(execution.attempts) or None,
                    fate=execution.fate,
                    reason=execution.reason,
                )
            )

    def ended(self, endings: Sequence[Ending]) -> None:
        """What has got its fate in the ledger alone, as by a rescue, is durable."""
        if self._notices.wanted(NoticeKind.EXECUTION_ENDED):
            for ending in endings:
                self._notices.tell(
                    Notice(
                        kind=NoticeKind.EXECUTION_ENDED.value,
                        at=from_us(ending.ended_us),
                        event_id=ending.event_id,
                        execution_id=ending.execution_id,
                        due=from_us(ending.due),
                        attempt=ending.attempt,
                        fate=ending.fate,
                        reason=ending.reason,
                    )
                )

    def _terminated(self, ended: WrittenOff, started: int | None) -> None:
        of = ended.of
        assert of is not None, "it was a decision of this node"
        began = of.started_us if started is None else started
        self._notices.tell(
            Notice(
                kind=NoticeKind.EXECUTION_ENDED.value,
                at=from_us(ended.ended_us),
                event_id=ended.event_id,
                event_name=of.event_name,
                job=of.job,
                execution_id=ended.execution_id,
                due=from_us(of.due),
                attempt=ended.attempt,
                fate=Fate.CANCELLED,
                reason=Reason.OVERLAP,
                lateness=None if began is None else (began - of.begins_at) / US,
                duration=None if began is None else max(0, ended.ended_us - began) / US,
            )
        )

    def _execution(self, kind: NoticeKind, claim: Claim, **fields: Any) -> None:
        self._notices.tell(
            Notice(
                kind=kind.value,
                at=self._now(),
                event_id=claim.event_id,
                event_name=claim.event_name,
                job=claim.job,
                execution_id=claim.id,
                due=from_us(claim.due),
                attempt=claim.attempt,
                **fields,
            )
        )

    def _skipped(self, skipped: Skipped) -> None:
        span = skipped.span
        self._notices.tell(
            Notice(
                kind=NoticeKind.INSTANTS_SKIPPED.value,
                at=self._now(),
                event_id=skipped.event_id,
                event_name=skipped.event_name,
                due=from_us(span.last),
                fate=Fate.SKIPPED,
                reason=Reason(span.reason),
                details={
                    "count": span.count,
                    "first": from_us(span.first).isoformat(),
                    "last": from_us(span.last).isoformat(),
                },
            )
        )

    # -- the journal ---------------------------------------------------------------------------

    def committed(self) -> None:
        """A transaction is durable: look for what it may have written in the journal.

        One look at a time; what is committed meanwhile is looked at after it.
        """
        if not self._notices.wanted(*_JOURNAL):
            return
        with self._lock:
            if self._reading:
                self._again = True
                return
            self._reading, self._again = True, False
        after = self._last
        self._storage.read(
            lambda db: entries_after(db, after, node=self._node, limit=_PAGE)
        ).add_done_callback(self._read)

    def _read(self, done: Future[list[JournalEntry]]) -> None:
        entries = done.value or []
        for entry in entries:
            if self._notices.wanted(entry.kind.value):
                self._notices.tell(_notice_of(entry))
        with self._lock:
            if entries:
                self._last = entries[-1].id
            again, self._reading = self._again or len(entries) == _PAGE, False
        if again and done.error is None:
            self.committed()

    def _now(self) -> pendulum.DateTime:
        return from_us(self._clock.now_us())


def _lateness(claim: Claim, started_us: int) -> float:
    return (started_us - claim.due - claim.delay_us) / US


def _notice_of(entry: JournalEntry) -> Notice:
    said = {"author": entry.author, "note": entry.note}
    return Notice(
        kind=entry.kind.value,
        at=entry.at,
        event_id=entry.event_id,
        details=entry.details | {key: value for key, value in said.items() if value is not None},
    )
