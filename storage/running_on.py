"""Jobs that run on after the end of their attempt was written: whose they are, until they end.

The end was a time-out, or made way for a newer instant. Where it is the execution's fate, its row
says that the job still runs; where another attempt followed, the row of that attempt does.
"""

from __future__ import annotations

import peewee
from peewee import fn

from kalends.storage.models import ATTEMPT_RUNS_ON, STILL_RUNNING, AttemptRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.work import WrittenOff

__all__ = ["END_LATE", "END_LATE_BEFORE", "gone", "run_on"]

END_LATE = ExecutionRow.update(
    started_at=fn.COALESCE(ExecutionRow.started_at, 0), still_running=0
).where(
    ExecutionRow.id == "",
    ExecutionRow.node == "",
    ExecutionRow.attempt == 0,
    ExecutionRow.still_running == 1,
)
"""The job of the last attempt has ended: started_at, 0, then id, node, attempt, 1."""
END_LATE_BEFORE = AttemptRow.update(still_running=0).where(
    AttemptRow.execution_id == "",
    AttemptRow.node == "",
    AttemptRow.number == 0,
    AttemptRow.still_running == 1,
)
"""The same of an earlier one: 0, then execution, node, number, 1."""


_LAST = Prepared(
    ExecutionRow.select(
        ExecutionRow.id, ExecutionRow.event_id, ExecutionRow.attempt, ExecutionRow.ended_at
    ).where(ExecutionRow.node == hole("node"), STILL_RUNNING, ExecutionRow.ended_at.is_null(False))
)
_EARLIER = Prepared(
    AttemptRow.select(
        ExecutionRow.id, ExecutionRow.event_id, AttemptRow.number, AttemptRow.ended_at
    )
    .join(ExecutionRow, on=(ExecutionRow.id == AttemptRow.execution_id))
    .where(AttemptRow.node == hole("node"), ATTEMPT_RUNS_ON, AttemptRow.ended_at.is_null(False))
    .order_by(AttemptRow.execution_id, AttemptRow.number)
)


def run_on(db: peewee.Database, node: str) -> list[WrittenOff]:
    """What runs on at a node, as far as the ledger knows."""
    return [WrittenOff(*row) for query in (_LAST, _EARLIER) for row in query.rows(db, node=node)]


def gone(db: peewee.Database, node: str) -> None:
    """A node has gone: nothing runs on there."""
    ExecutionRow.update(still_running=0).where(ExecutionRow.node == node, STILL_RUNNING).execute(db)
    AttemptRow.update(still_running=0).where(AttemptRow.node == node, ATTEMPT_RUNS_ON).execute(db)
