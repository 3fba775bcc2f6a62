"""The dead-man's check: what should have had a fate by now and has none.

Costs as much as there is behind: events by the index of what is due, executions by the index of
what is open. Nothing is changed by looking.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import msgspec
import peewee
from peewee import JOIN, fn

from kalends.clock import from_us
from kalends.model import EventStatus, Fate
from kalends.outlook import Overdue, OverdueCause
from kalends.storage.accounts import readable_rule
from kalends.storage.models import EventRow, ExecutionRow, NodeRow
from kalends.storage.paging import first_row

__all__ = ["find_overdue"]


def find_overdue(db: peewee.Database, *, now: int, grace: int, limit: int) -> tuple[Overdue, ...]:
    """What is overdue by more than ``grace`` microseconds, the longest first; ``limit`` at most."""
    row = first_row(db, NodeRow.select(fn.MAX(NodeRow.lease_until)))
    alive = row is not None and row[0] is not None and row[0] >= now
    unclaimed = OverdueCause.NOT_CLAIMED if alive else OverdueCause.NO_NODE
    found = [*_events(db, now - grace, limit, unclaimed)]
    for others in (
        _unlifted(db, now - grace, unclaimed),
        _executions(db, now, now - grace, unclaimed),
    ):
        found += heapq.nsmallest(limit, others, key=lambda item: item.since)
    found.sort(key=lambda item: item.since)
    return tuple(found[:limit])


def _events(db: peewee.Database, before: int, limit: int, cause: OverdueCause) -> Iterator[Overdue]:
    """Active events whose first instant without a fate lies before ``before``."""
    query = (
        EventRow.select(EventRow.id, EventRow.name, EventRow.job, EventRow.next_due)
        .where(EventRow.status == EventStatus.ACTIVE.value, EventRow.next_due < before)
        .order_by(EventRow.next_due, EventRow.id)
        .limit(limit)
    )
    for event_id, name, job, next_due in list(query.tuples().execute(db)):
        yield _unclaimed(event_id, name, job, next_due, next_due, cause)


def _unlifted(db: peewee.Database, before: int, cause: OverdueCause) -> Iterator[Overdue]:
    """Events whose pause ended before ``before``, and whose first instant without a fate lies
    there: nobody has looked at them since.
    """
    query = EventRow.select(
        EventRow.id, EventRow.name, EventRow.job, EventRow.next_due, EventRow.paused_until
    ).where(
        EventRow.status == EventStatus.PAUSED.value,
        EventRow.paused_until < before,
        EventRow.next_due < before,
    )
    for event_id, name, job, due, until in query.tuples().iterator(db):
        yield _unclaimed(event_id, name, job, due, max(due, until), cause)


def _unclaimed(
    event_id: str, name: str, job: str, due: int, since: int, cause: OverdueCause
) -> Overdue:
    return Overdue(
        event_id=event_id,
        name=name,
        job=job,
        due=from_us(due),
        since=from_us(since),
        cause=cause,
        execution_id=None,
        node=None,
    )


class _Open(msgspec.Struct, frozen=True):
    """An execution that has not ended, with what is known of its event and its node."""

    id: str
    event_id: str
    due: int
    fate: str
    node: str | None
    manual: int
    name: str
    job: str
    trigger: str
    status: str
    paused_until: int | None
    ready_at: int | None
    moved_to: int | None
    lease_until: int | None

    def begins(self) -> int:
        """When it is to begin: the instant, later by its jitter; or when it is ready, if later.

        What was moved begins when it is ready, and that may be earlier.
        """
        ready_at = self.due if self.ready_at is None else self.ready_at
        if self.moved_to is not None:
            return ready_at
        rule = None if self.manual else readable_rule(self.trigger)
        delay = 0 if rule is None else rule.delay_us(self.due, self.event_id)
        return max(ready_at, self.due + delay)


_OPEN_COLUMNS = (
    ExecutionRow.id, ExecutionRow.event_id, ExecutionRow.due, ExecutionRow.fate, ExecutionRow.node,
    ExecutionRow.manual, EventRow.name, EventRow.job, EventRow.trigger, EventRow.status,
    EventRow.paused_until, ExecutionRow.ready_at, ExecutionRow.moved_to, NodeRow.lease_until,
)  # fmt: skip
_PARKED = (EventStatus.PAUSED, EventStatus.QUARANTINED)


def _executions(
    db: peewee.Database, now: int, before: int, unclaimed: OverdueCause
) -> Iterator[Overdue]:
    """Open executions that should have gone on before ``before``."""
    # Not by the index of due instants: most of it has ended.
    ready_at: Any = fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due)
    # A backfill is asked for and works through what it has: what waits in it is not behind.
    in_turn = ExecutionRow.batch.is_null(False) & ExecutionRow.node.is_null()
    query = (
        ExecutionRow.select(*_OPEN_COLUMNS)
        # CROSS: SQLite keeps the order of such a join. What is open is few, events may be many.
        .join(EventRow, JOIN.CROSS)
        .switch(ExecutionRow)
        .join(NodeRow, JOIN.LEFT_OUTER, on=(NodeRow.id == ExecutionRow.node))
        .where(
            ExecutionRow.ended_at.is_null(),
            ready_at < before,
            ~in_turn,
            EventRow.id == ExecutionRow.event_id,
        )
    )
    for row in query.tuples().iterator(db):
        item = _Open(*row)
        why = _why(item, now, before, unclaimed)
        if why is not None:
            since, cause = why
            yield Overdue(
                event_id=item.event_id,
                name=item.name,
                job=item.job,
                due=from_us(item.due),
                since=from_us(since),
                cause=cause,
                execution_id=item.id,
                node=item.node,
            )


def _why(
    item: _Open, now: int, before: int, unclaimed: OverdueCause
) -> tuple[int, OverdueCause] | None:
    """Since when and why it has not gone on; None where it has, or may take its time."""
    if item.node is None:
        since, cause = item.begins(), unclaimed
        if item.paused_until is not None and item.paused_until <= now:
            since = max(since, item.paused_until)
        elif item.status in _PARKED:
            cause = OverdueCause.PARKED
    elif item.lease_until is None or item.lease_until < now:
        since = item.due if item.lease_until is None else max(item.due, item.lease_until)
        cause = OverdueCause.NODE_DIED
    elif item.fate == Fate.PENDING:
        since, cause = item.begins(), OverdueCause.NOT_BEGUN
    else:
        return None  # it runs
    return (since, cause) if since < before else None
