"""What becomes of an execution whose process has died in the middle of an attempt.

It is attempted again, or it is lost: its event's delivery policy decides. A process may have held
thousands, and whoever rescues them holds the writer meanwhile: the statements are prepared.
"""

from __future__ import annotations

import peewee
from peewee import fn

from kalends.model import Fate, Reason
from kalends.policies import Delivery, Policies
from kalends.storage.attempts import KEEP_ATTEMPT
from kalends.storage.models import AttemptRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.told import NOTHING_TOLD

__all__ = ["rescue_execution"]

_THIS = ExecutionRow.id == hole("id")
_LOST_BEFORE = Prepared(
    AttemptRow.select(fn.COUNT(AttemptRow.number)).where(
        AttemptRow.execution_id == hole("id"), AttemptRow.outcome == Fate.LOST.value
    )
)
_LOSE = Prepared(
    ExecutionRow.update(
        fate=Fate.LOST.value, reason=Reason.PROCESS_DIED.value, ended_at=hole("now")
    ).where(_THIS)
)
_TOLD = Prepared(
    ExecutionRow.select(ExecutionRow.progress, ExecutionRow.note, ExecutionRow.log).where(_THIS)
)
_REOPEN = Prepared(
    ExecutionRow.update(
        node=None,
        fate=Fate.PENDING.value,
        started_at=None,
        ready_at=fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due),
        **NOTHING_TOLD,
    ).where(_THIS)
)


def rescue_execution(
    db: peewee.Database,
    execution_id: str,
    *,
    attempt: int,
    node: str,
    claimed_at: int,
    started_at: int | None,
    policies: Policies | None,
    now: int,
) -> bool:
    """Free an execution of a dead node; True where it will be attempted again. ``policies`` are its
    event's; None: that is gone, or cannot be read.
    """
    if policies is None or not _outlives(db, policies, execution_id):
        _LOSE.change(db, id=execution_id, now=now)
        return False
    found = _TOLD.rows(db, id=execution_id)
    progress, note, log = found[0] if found else (None, None, None)
    KEEP_ATTEMPT.change(
        db,
        id=execution_id,
        attempt=attempt,
        node=node,
        claimed_at=claimed_at,
        started_at=started_at,
        ended_at=now,
        outcome=Fate.LOST.value,
        error=None,
        progress=progress,
        note=note,
        log=log,
        still_running=0,
    )
    _REOPEN.change(db, id=execution_id)
    return True


def _outlives(db: peewee.Database, policies: Policies, execution_id: str) -> bool:
    """Whether an execution survives the loss of its attempt, which is one more beside the earlier
    ones.
    """
    if policies.delivery is not Delivery.AT_LEAST_ONCE:
        return False
    return 1 + int(_LOST_BEFORE.value(db, id=execution_id)) < policies.max_attempts
