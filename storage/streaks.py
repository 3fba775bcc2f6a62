"""Failures in a row: counted from the ledger, and the pause that follows on too many of them.

Nothing is kept for it: where an execution has ended badly, those before it are looked at, newest
due instant first, executions and the gaps that retention has folded them into. What was skipped or
cancelled neither counts nor breaks a row. An event that was resumed starts over.
"""

from __future__ import annotations

import peewee

from kalends.ids import IdSource
from kalends.model import EventStatus, Fate, JournalKind, Reason
from kalends.policies import Policies
from kalends.storage.accounts import end_unheld
from kalends.storage.journal import write_entry
from kalends.storage.models import EventRow, ExecutionRow, GapRow
from kalends.storage.prepared import Prepared, hole

__all__ = ["failures_in_a_row", "pause_after_failures"]

_AUTHOR = "kalends"
_COUNTED = (Fate.SUCCEEDED.value, Fate.FAILED.value, Fate.TIMED_OUT.value, Fate.LOST.value)


_ENDED = Prepared(
    ExecutionRow.select(ExecutionRow.due, ExecutionRow.fate, peewee.Value(1))
    .where(
        ExecutionRow.event_id == hole("event_id"),
        ExecutionRow.ended_at > hole("since"),
        ExecutionRow.fate.in_(_COUNTED),
    )
    .order_by(ExecutionRow.due.desc())
    .limit(hole("limit"))
)
# The instants of a gap have one version, and a resumed event has another: none lies astride.
_FOLDED = Prepared(
    GapRow.select(GapRow.last, GapRow.fate, GapRow.count)
    .where(
        GapRow.event_id == hole("event_id"),
        GapRow.first > hole("since"),
        GapRow.fate.in_(_COUNTED),
    )
    .order_by(GapRow.last.desc())
    .limit(hole("limit"))
)
_ACTIVE = (EventRow.id == hole("event_id")) & (EventRow.status == EventStatus.ACTIVE.value)
_STREAK_SINCE = Prepared(EventRow.select(EventRow.streak_since).where(_ACTIVE))


def failures_in_a_row(db: peewee.Database, event_id: str, since: int, limit: int) -> int:
    """How many executions in a row, the latest included, failed, timed out or were lost.

    Only those that ended after ``since`` count; the answer is ``limit`` at most."""
    asked = {"event_id": event_id, "since": since, "limit": limit}
    found = _ENDED.rows(db, **asked) + _FOLDED.rows(db, **asked)
    failed = 0
    for _, fate, count in sorted(found, reverse=True):
        if fate == Fate.SUCCEEDED.value:
            break
        failed += count
    return min(failed, limit)


def pause_after_failures(
    db: peewee.Database,
    event_id: str,
    policies: Policies,
    *,
    execution_id: str,
    now: int,
    ids: IdSource,
    node: str,
) -> bool:
    """Pause an active event that has failed as often as its policy bears; True where it did.

    ``execution_id`` is the last straw, for the journal. The claims of the event that have not begun
    are the caller's to give back."""
    limit = policies.pause_after_failures
    if limit is None:
        return False
    since = _STREAK_SINCE.value(db, event_id=event_id)
    if since is None or failures_in_a_row(db, event_id, since, limit) < limit:
        return False
    note = f"paused after {limit} failure{'s' if limit > 1 else ''} in a row"
    EventRow.update(
        status=EventStatus.PAUSED.value,
        status_note=note,
        version=EventRow.version + 1,
        updated_at=now,
    ).where(EventRow.id == event_id).execute(db)
    end_unheld(db, event_id, Reason.PAUSED, now=now)
    write_entry(
        db,
        JournalKind.EVENT_PAUSED,
        now=now,
        ids=ids,
        event_id=event_id,
        node=node,
        author=_AUTHOR,
        note=note,
        failures=limit,
        execution_id=execution_id,
    )
    return True
