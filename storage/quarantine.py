"""Quarantine: an event that cannot be carried out is parked with the evidence, never deleted."""

from __future__ import annotations

import peewee
from peewee import fn

from kalends.ids import IdSource
from kalends.model import EVENT_TRANSITIONS, EventStatus, Fate, JournalKind, Reason
from kalends.storage.accounts import end_unheld
from kalends.storage.journal import write_entry
from kalends.storage.models import EventRow, ExecutionRow
from kalends.work import Claim

__all__ = ["quarantine", "refuse"]


def quarantine(
    db: peewee.Database, event_id: str, *, now: int, error: str, ids: IdSource, node: str
) -> None:
    """Park an event that cannot be carried out, with the evidence in the journal."""
    changed = EventRow.update(
        status=EventStatus.QUARANTINED.value,
        paused_until=None,
        version=EventRow.version + 1,
        updated_at=now,
    ).where(
        EventRow.id == event_id,
        EventRow.status.in_([status.value for status in EVENT_TRANSITIONS["quarantine"]]),
    )
    if changed.execute(db):
        write_entry(
            db,
            JournalKind.EVENT_QUARANTINED,
            now=now,
            ids=ids,
            event_id=event_id,
            node=node,
            error=error[:2000],
        )
        end_unheld(db, event_id, Reason.QUARANTINED, now=now)


def refuse(
    db: peewee.Database, claim: Claim, *, now: int, error: str, ids: IdSource, node: str
) -> None:
    """A claimed execution cannot be carried out: quarantine its event.

    It is skipped; but what was attempted before, or is of a backfill, waits for the event's return.
    """
    mine = (
        (ExecutionRow.id == claim.id)
        & (ExecutionRow.node == node)
        & (ExecutionRow.attempt == claim.attempt)
        & ExecutionRow.ended_at.is_null()
    )
    earlier = claim.attempt - 1
    if not earlier:
        ExecutionRow.update(
            fate=Fate.SKIPPED.value, reason=Reason.QUARANTINED.value, ended_at=now, attempt=0
        ).where(mine, ExecutionRow.batch.is_null()).execute(db)
    ExecutionRow.update(
        node=None,
        fate=Fate.PENDING.value,
        attempt=earlier,
        ready_at=fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due),
    ).where(mine).execute(db)
    quarantine(db, claim.event_id, now=now, error=error, ids=ids, node=node)
