"""Executions, found again: one with all its attempts, pages of them, and how many there are.

Pages leave out the lines that jobs have logged: they are most of what an execution weighs, and who
wants them wants those of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee
from peewee import fn

from kalends.errors import ExecutionNotFound
from kalends.model import OPEN_FATES, Attempt, Execution, Fate, Page
from kalends.queries import ExecutionQuery
from kalends.storage.models import UNWELL_ROWS, AttemptRow, ExecutionRow
from kalends.storage.paging import Strand, first_row, page
from kalends.storage.rows import (
    ATTEMPT_COLUMNS,
    EXECUTION_COLUMNS,
    attempt_of,
    execution_of,
)

__all__ = ["ExecutionStore"]


def _without_lines(columns: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(peewee.SQL("NULL") if column.name == "log" else column for column in columns)


_LISTED = _without_lines(EXECUTION_COLUMNS)
_LISTED_ATTEMPT = _without_lines(ATTEMPT_COLUMNS)


class ExecutionStore:
    """Reading executions."""

    def get(self, db: peewee.Database, execution_id: str) -> Execution:
        """The execution with all its attempts. Raises ``ExecutionNotFound``."""
        query = ExecutionRow.select(*EXECUTION_COLUMNS).where(ExecutionRow.id == execution_id)
        row = first_row(db, query)
        if row is None:
            raise ExecutionNotFound(
                f"there is no execution {execution_id}", execution_id=execution_id
            )
        earlier = _earlier_attempts(db, [execution_id], ATTEMPT_COLUMNS)
        return execution_of(row, earlier.get(execution_id, ()))

    def list(self, db: peewee.Database, query: ExecutionQuery) -> Page[Execution]:
        """A page of executions that meet all conditions, by due instant; without log lines."""
        keys = [ExecutionRow.due, ExecutionRow.id]
        found = page(
            db,
            Strand(_filtered(ExecutionRow.select(*_LISTED, *keys), query), keys),
            kind=f"executions:{int(query.descending)}",
            descending=query.descending,
            limit=query.limit,
            cursor=query.cursor,
            make=lambda row: row,
        )
        # Where nobody holds it, the attempt it counts is over and among the earlier ones.
        several = [row[0] for row in found.items if row[6] > 1 or row[7] is None]
        earlier = _earlier_attempts(db, several, _LISTED_ATTEMPT)
        items = tuple(execution_of(row, earlier.get(row[0], ())) for row in found.items)
        return Page(items, found.cursor)

    def count(self, db: peewee.Database, query: ExecutionQuery) -> int:
        """How many executions meet all conditions."""
        select = _filtered(ExecutionRow.select(fn.COUNT(ExecutionRow.id)), query)
        row = first_row(db, select)
        return 0 if row is None else int(row[0])


def _earlier_attempts(
    db: peewee.Database, execution_ids: Sequence[str], columns: Sequence[Any]
) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for start in range(0, len(execution_ids), 500):
        query = (
            AttemptRow.select(*columns)
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
    if query.backfill is not None:
        select = select.where(ExecutionRow.batch == query.backfill)
    if query.manual is not None:
        select = select.where(ExecutionRow.manual == int(query.manual))
    return select
