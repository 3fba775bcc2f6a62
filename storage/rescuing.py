"""What becomes of executions whose process has died in the middle of an attempt.

They are attempted again, or they are lost: each event's delivery policy decides. A process may have
held thousands, and whoever rescues them holds the writer meanwhile: a handful of statements free
some hundreds of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import peewee
from peewee import fn

from kalends.model import Fate, Reason
from kalends.policies import Delivery, Policies
from kalends.storage.models import AttemptRow, ExecutionRow
from kalends.storage.paging import portions
from kalends.storage.told import NOTHING_TOLD

__all__ = ["rescue_executions"]


def rescue_executions(
    db: peewee.Database, held: Mapping[str, Policies | None], *, now: int
) -> set[str]:
    """Free executions of a dead node; which of them will be attempted again. ``held`` has the
    policies of their events; None: the event is gone, or cannot be read.
    """
    reopened: set[str] = set()
    for portion in portions(list(held)):
        lost_before = _lost_before(db, portion)
        again = [one for one in portion if _outlives(held[one], lost_before.get(one, 0))]
        reopened.update(again)
        _lose(db, [one for one in portion if one not in reopened], now)
        _reopen(db, again, now)
    return reopened


def _lost_before(db: peewee.Database, ids: Sequence[str]) -> dict[str, int]:
    query = (
        AttemptRow.select(AttemptRow.execution_id, fn.COUNT(AttemptRow.number))
        .where(AttemptRow.execution_id.in_(ids), AttemptRow.outcome == Fate.LOST.value)
        .group_by(AttemptRow.execution_id)
    )
    return dict(list(query.tuples().execute(db)))


def _outlives(policies: Policies | None, lost_before: int) -> bool:
    """Whether an execution survives the loss of its attempt, which is one more beside the earlier
    ones.
    """
    if policies is None or policies.delivery is not Delivery.AT_LEAST_ONCE:
        return False
    return 1 + lost_before < policies.max_attempts


def _lose(db: peewee.Database, ids: Sequence[str], now: int) -> None:
    if ids:
        fresh: dict[str, Any] = {"fate": Fate.LOST.value, "reason": Reason.PROCESS_DIED.value}
        query = ExecutionRow.update(ended_at=now, **fresh)
        query.where(ExecutionRow.id.in_(ids)).execute(db)


def _reopen(db: peewee.Database, ids: Sequence[str], now: int) -> None:
    """Keep the attempts, and let the executions wait for the next ones."""
    if not ids:
        return
    this = ExecutionRow.id.in_(ids)
    kept = {
        AttemptRow.execution_id: ExecutionRow.id,
        AttemptRow.number: ExecutionRow.attempt,
        AttemptRow.node: ExecutionRow.node,
        AttemptRow.claimed_at: ExecutionRow.claimed_at,
        AttemptRow.started_at: ExecutionRow.started_at,
        AttemptRow.ended_at: peewee.Value(now),
        AttemptRow.outcome: peewee.Value(Fate.LOST.value),
        AttemptRow.progress: ExecutionRow.progress,
        AttemptRow.note: ExecutionRow.note,
        AttemptRow.log: ExecutionRow.log,
        AttemptRow.still_running: peewee.Value(0),
    }
    attempts = ExecutionRow.select(*kept.values()).where(this)
    AttemptRow.insert_from(attempts, list(kept)).execute(db)
    ExecutionRow.update(
        node=None,
        fate=Fate.PENDING.value,
        started_at=None,
        ready_at=fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due),
        **NOTHING_TOLD,
    ).where(this).execute(db)
