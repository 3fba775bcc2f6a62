"""Executions outside of the rule, because somebody asked for one."""

from __future__ import annotations

import peewee

from kalends.errors import ConflictError, EventNotFound
from kalends.ids import IdSource
from kalends.model import EventStatus, JournalKind
from kalends.storage.batch import EVENT_PART, Batch, BatchWriter
from kalends.storage.instants import free_instant
from kalends.storage.journal import write_entry
from kalends.storage.models import EventRow
from kalends.storage.paging import first_row
from kalends.storage.rows import load_policies, load_trigger
from kalends.work import Claim

__all__ = ["claim_manually"]


def claim_manually(
    db: peewee.Database,
    writer: BatchWriter,
    event_id: str,
    *,
    now: int,
    author: str | None,
    ids: IdSource,
    node: str,
) -> Claim:
    """Claim one execution, at ``now`` or the first free microsecond after it.

    Raises ``EventNotFound``, and ``ConflictError`` where there is no free one.
    """
    query = EventRow.select(*EVENT_PART, EventRow.next_due, EventRow.version).where(
        EventRow.id == event_id, EventRow.status != EventStatus.DELETED.value
    )
    row = first_row(db, query)
    if row is None:
        raise EventNotFound(f"there is no event {event_id}", event_id=event_id)
    due = free_instant(db, load_trigger(row[4]), event_id, now)
    if due is None:
        raise ConflictError(
            "the event has an instant of its own in every microsecond from now on",
            path="event_id",
            event_id=event_id,
        )
    batch = Batch(node, ids, now)
    claim = batch.claim(row, due, load_policies(row[5]), manual=True)
    writer.insert(db, batch.rows)
    write_entry(
        db,
        JournalKind.EVENT_TRIGGERED,
        now=now,
        ids=ids,
        event_id=event_id,
        node=node,
        author=author,
        execution_id=claim.id,
    )
    return claim
