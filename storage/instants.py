"""The place of an execution on its event's time line: (event, instant) is unique."""

from __future__ import annotations

import peewee

from kalends.planning import DueRule
from kalends.storage.models import ExecutionRow
from kalends.storage.paging import first_row

__all__ = ["execution_at", "free_instant"]

_REACH = 1000
"""How many microseconds an execution outside of the rule may look for a free instant."""


def execution_at(db: peewee.Database, event_id: str, due: int) -> str | None:
    """The id of the event's execution at an instant, or None."""
    query = ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.event_id == event_id, ExecutionRow.due == due
    )
    row = first_row(db, query)
    return None if row is None else row[0]


def free_instant(
    db: peewee.Database, rule: DueRule | None, event_id: str, start: int
) -> int | None:
    """The first microsecond from ``start`` on that neither rule nor execution has taken."""
    for instant in range(start, start + _REACH):
        if rule is not None and rule.next_us(instant - 1) == instant:
            continue
        if execution_at(db, event_id, instant) is None:
            return instant
    return None
