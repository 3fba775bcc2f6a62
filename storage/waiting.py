"""Executions written down to wait for their first attempt: nobody's until somebody claims them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from kalends.model import Fate
from kalends.storage.instants import free_instant
from kalends.storage.journal import Stamp
from kalends.storage.models import ExecutionRow
from kalends.storage.prepared import Prepared, hole

__all__ = ["insert_waiting"]

_INSERT = Prepared(
    ExecutionRow.insert(
        id=hole("id"),
        event_id=hole("event_id"),
        due=hole("due"),
        version=hole("version"),
        fate=Fate.PENDING.value,
        attempt=0,
        claimed_at=hole("now"),
        manual=0,
        ready_at=hole("ready_at"),
        moved_to=hole("moved_to"),
        limit_name=hole("limit_name"),
        batch=hole("batch"),
    )
)


def insert_waiting(
    db: peewee.Database,
    event: dict[str, Any],
    instants: Sequence[tuple[int, int]],
    stamp: Stamp,
    *,
    ready_at: int,
    moved_to: int | None = None,
    batch: str | None = None,
) -> list[str]:
    """Give each instant, as (due, version of its rule), an execution that may begin at
    ``ready_at``; their ids. ``event`` is the event's row.

    A manual execution that stands at one of the instants makes way, by a microsecond or so.
    """
    _make_way(db, event["id"], {due for due, _ in instants})
    ids = []
    for due, version in instants:
        ids.append(stamp.ids())
        _INSERT.change(
            db,
            id=ids[-1],
            event_id=event["id"],
            due=due,
            version=version,
            now=stamp.now,
            ready_at=ready_at,
            moved_to=moved_to,
            limit_name=event["limit_name"],
            batch=batch,
        )
    return ids


def _make_way(db: peewee.Database, event_id: str, instants: set[int]) -> None:
    if not instants:
        return
    query = ExecutionRow.select(ExecutionRow.id, ExecutionRow.due).where(
        ExecutionRow.event_id == event_id,
        ExecutionRow.due.between(min(instants), max(instants)),
        ExecutionRow.manual == 1,
    )
    for execution_id, due in list(query.tuples().execute(db)):
        if due in instants:
            ExecutionRow.update(due=free_instant(db, None, event_id, due + 1)).where(
                ExecutionRow.id == execution_id
            ).execute(db)
