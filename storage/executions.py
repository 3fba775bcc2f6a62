"""Executions: their outcomes recorded, and found again.

An outcome is accepted only from the node and for the attempt that hold the execution: the pair is
the fencing token, and attempts never start over. An outcome that comes too late changes nothing,
but that nothing runs any more where the ledger says that something still does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee
from peewee import fn

from kalends.errors import ExecutionNotFound
from kalends.messages import Outcome
from kalends.model import OPEN_FATES, Attempt, Execution, Fate, Page
from kalends.queries import ExecutionQuery
from kalends.storage.models import UNWELL_ROWS, AttemptRow, ExecutionRow
from kalends.storage.paging import first_row, page
from kalends.storage.rows import (
    ATTEMPT_COLUMNS,
    EXECUTION_COLUMNS,
    attempt_of,
    dump,
    execution_of,
)
from kalends.storage.sqlite import SqliteDialect

__all__ = ["ExecutionStore"]

_HELD = (
    (ExecutionRow.id == "")
    & (ExecutionRow.node == "")
    & (ExecutionRow.attempt == 0)
    & ExecutionRow.ended_at.is_null()
)
_RECORD = (
    ExecutionRow.update(
        fate="", started_at=0, ended_at=0, result=None, result_note=None, error=None
    )
    .where(_HELD)
    .sql()[0]
)
_OVER = (
    ExecutionRow.update(started_at=fn.COALESCE(ExecutionRow.started_at, 0), still_running=0)
    .where(
        ExecutionRow.id == "",
        ExecutionRow.node == "",
        ExecutionRow.attempt == 0,
        ExecutionRow.still_running == 1,
    )
    .sql()[0]
)
_BEGIN = ExecutionRow.update(fate="", started_at=0).where(_HELD, ExecutionRow.fate == "").sql()[0]


class ExecutionStore:
    """The unit-of-work functions of the execution tracker."""

    def __init__(self, dialect: SqliteDialect, node: str) -> None:
        self._dialect = dialect
        self._node = node

    def record(self, db: peewee.Database, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """Write down how attempts ended. Returns the ids of executions this node no longer held."""
        rows = [self._row(outcome) for outcome in outcomes if not outcome.late]
        written = self._dialect.execute_many(db, _RECORD, rows) if rows else 0
        if written == len(outcomes):
            return ()
        unheld = [
            outcome for outcome in outcomes if outcome.late or not self._recorded(db, outcome)
        ]
        return tuple(
            outcome.execution_id
            for outcome in unheld
            if not self._is_over(db, outcome) and not outcome.late
        )

    def _row(self, outcome: Outcome) -> tuple[Any, ...]:
        return (
            outcome.fate.value,
            outcome.started_us,
            outcome.ended_us,
            outcome.result,
            outcome.result_note,
            None if outcome.error is None else dump(outcome.error),
            outcome.execution_id,
            self._node,
            outcome.attempt,
        )

    def _recorded(self, db: peewee.Database, outcome: Outcome) -> bool:
        query = ExecutionRow.select(ExecutionRow.id).where(
            ExecutionRow.id == outcome.execution_id,
            ExecutionRow.node == self._node,
            ExecutionRow.attempt == outcome.attempt,
            ExecutionRow.ended_at == outcome.ended_us,
        )
        return first_row(db, query) is not None

    def _is_over(self, db: peewee.Database, outcome: Outcome) -> bool:
        """Note that an attempt whose end was written before runs no more; False where none was."""
        row = (outcome.started_us, 0, outcome.execution_id, self._node, outcome.attempt, 1)
        return self._dialect.execute_many(db, _OVER, [row]) > 0

    def mark_running(self, db: peewee.Database, begun: Sequence[tuple[str, int, int]]) -> int:
        """Note executions, as (id, attempt, started), that have begun and not ended; returns how
        many.
        """
        rows = [
            (Fate.RUNNING.value, started, execution_id, self._node, attempt, Fate.PENDING.value)
            for execution_id, attempt, started in begun
        ]
        return self._dialect.execute_many(db, _BEGIN, rows)

    # -- read ----------------------------------------------------------------------------------

    def get(self, db: peewee.Database, execution_id: str) -> Execution:
        """The execution with all its attempts. Raises ``ExecutionNotFound``."""
        query = ExecutionRow.select(*EXECUTION_COLUMNS).where(ExecutionRow.id == execution_id)
        row = first_row(db, query)
        if row is None:
            raise ExecutionNotFound(
                f"there is no execution {execution_id}", execution_id=execution_id
            )
        return execution_of(row, _earlier_attempts(db, [execution_id]).get(execution_id, ()))

    def list(self, db: peewee.Database, query: ExecutionQuery) -> Page[Execution]:
        """A page of executions that meet all conditions, by due instant."""
        keys = [ExecutionRow.due, ExecutionRow.id]
        found = page(
            db,
            _filtered(ExecutionRow.select(*EXECUTION_COLUMNS, *keys), query),
            keys=keys,
            kind=f"executions:{int(query.descending)}",
            descending=query.descending,
            limit=query.limit,
            cursor=query.cursor,
            make=lambda row: row,
        )
        earlier = _earlier_attempts(db, [row[0] for row in found.items if row[6] > 1])
        items = tuple(execution_of(row, earlier.get(row[0], ())) for row in found.items)
        return Page(items, found.cursor)

    def count(self, db: peewee.Database, query: ExecutionQuery) -> int:
        """How many executions meet all conditions."""
        select = _filtered(ExecutionRow.select(fn.COUNT(ExecutionRow.id)), query)
        row = first_row(db, select)
        return 0 if row is None else int(row[0])


def _earlier_attempts(
    db: peewee.Database, execution_ids: Sequence[str]
) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for start in range(0, len(execution_ids), 500):
        query = (
            AttemptRow.select(*ATTEMPT_COLUMNS)
            .where(AttemptRow.execution_id.in_(execution_ids[start : start + 500]))
            .order_by(AttemptRow.execution_id, AttemptRow.number)
        )
        for row in query.tuples().execute(db):
            found.setdefault(row[0], []).append(attempt_of(row))
    return found


def _filtered(select: Any, query: ExecutionQuery) -> Any:
    if query.event_id is not None:
        select = select.where(ExecutionRow.event_id == query.event_id)
    if query.fate is not None:
        select = select.where(ExecutionRow.fate == query.fate.value)
        # What the partial indexes are about has to be said in their own words to be used.
        if query.fate in OPEN_FATES:
            select = select.where(ExecutionRow.ended_at.is_null())
        elif query.fate is not Fate.SUCCEEDED:
            select = select.where(UNWELL_ROWS)
    if query.since is not None:
        select = select.where(ExecutionRow.due >= query.since)
    if query.until is not None:
        select = select.where(ExecutionRow.due < query.until)
    if query.manual is not None:
        select = select.where(ExecutionRow.manual == int(query.manual))
    return select
