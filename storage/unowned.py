"""Executions that belong to nobody: left by a node that died or stopped, or waiting for another
attempt.

They wait with ``ready_at``, the instant from which on somebody may take them.
"""

from __future__ import annotations

import peewee
from peewee import fn

from kalends.errors import ValidationFailed
from kalends.ids import IdSource
from kalends.messages import Claim
from kalends.model import EventStatus, Fate
from kalends.storage.batch import EVENT_PART, claim_of
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.quarantine import quarantine
from kalends.storage.rows import load_policies

__all__ = ["claim_unowned", "first_ready"]

_READY = Prepared(
    ExecutionRow.select(
        *EVENT_PART, ExecutionRow.due, ExecutionRow.version, ExecutionRow.id,
        ExecutionRow.attempt, ExecutionRow.manual, ExecutionRow.ready_at, ExecutionRow.moved_to,
    )
    # CROSS: SQLite keeps the order of such a join. It would look through all events first.
    .join(EventRow, peewee.JOIN.CROSS)
    .where(
        EventRow.id == ExecutionRow.event_id,
        ExecutionRow.ended_at.is_null(),
        ExecutionRow.node.is_null(),
        ExecutionRow.ready_at <= hole("horizon"),
        EventRow.status.in_((EventStatus.ACTIVE.value, EventStatus.COMPLETED.value)),
    )
    .order_by(ExecutionRow.ready_at, ExecutionRow.id)
    .limit(hole("limit"))
)  # fmt: skip
_FIRST_READY = Prepared(
    ExecutionRow.select(fn.MIN(ExecutionRow.ready_at)).where(
        ExecutionRow.node.is_null(),
        ExecutionRow.ended_at.is_null(),
        ExecutionRow.ready_at > hole("after"),
    )
)


def claim_unowned(
    db: peewee.Database, *, now: int, horizon: int, limit: int, ids: IdSource, node: str
) -> list[Claim]:
    """Take, for ``node``, what may begin by ``horizon``, oldest first."""
    claims = []
    for row in _READY.rows(db, horizon=horizon, limit=limit):
        *columns, execution_id, attempt, manual, ready_at, moved_to = row
        try:
            claim = claim_of(
                columns,
                execution_id,
                attempt + 1,
                columns[6],
                load_policies(columns[5]),
                manual=bool(manual),
                ready_at=ready_at,
                moved=moved_to is not None,
            )
        except ValidationFailed as error:
            quarantine(db, columns[0], now=now, error=str(error), ids=ids, node=node)
            continue
        ExecutionRow.update(
            node=node,
            attempt=attempt + 1,
            claimed_at=now,
            fate=Fate.PENDING.value,
            started_at=None,
        ).where(ExecutionRow.id == execution_id).execute(db)
        claims.append(claim)
    return claims


def first_ready(db: peewee.Database, after: int) -> int | None:
    """The earliest instant after ``after`` at which one of them may begin."""
    found: int | None = _FIRST_READY.value(db, after=after)
    return found
