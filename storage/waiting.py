"""Executions written down to wait for their first attempt: nobody's until somebody claims them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from kalends.model import Fate
from kalends.storage.journal import Stamp
from kalends.storage.models import ExecutionRow

__all__ = ["insert_waiting"]

_CHUNK = 500


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
    """Give each instant, as (due, version of the rule), an execution that may begin at
    ``ready_at``; their ids. ``event`` is the event's row.
    """
    rows = [
        {
            "id": stamp.ids(),
            "event_id": event["id"],
            "due": due,
            "version": version,
            "fate": Fate.PENDING.value,
            "attempt": 0,
            "claimed_at": stamp.now,
            "ready_at": ready_at,
            "moved_to": moved_to,
            "batch": batch,
        }
        for due, version in instants
    ]
    for start in range(0, len(rows), _CHUNK):
        ExecutionRow.insert_many(rows[start : start + _CHUNK]).execute(db)
    return [row["id"] for row in rows]
