"""Executions written down to wait for their first attempt: nobody's until somebody claims them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from kalends.model import Fate
from kalends.storage.instants import free_instant
from kalends.storage.journal import Stamp
from kalends.storage.models import ExecutionRow

__all__ = ["insert_waiting"]

_INSERT = ExecutionRow.insert(
    id="", event_id="", due=0, version=0, fate="", attempt=0, claimed_at=0, manual=0, ready_at=0,
    moved_to=None, limit_name=None, batch=None,
).sql()[0]  # fmt: skip


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
        row = (
            ids[-1], event["id"], due, version, Fate.PENDING.value, 0, stamp.now, 0, ready_at,
            moved_to, event["limit_name"], batch,
        )  # fmt: skip
        db.execute_sql(_INSERT, row)
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
