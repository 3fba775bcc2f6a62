"""Events that are due: which they are.

Those of a named limit are looked for by limit, so that the ones that wait for room hold up nobody
else. Statements here run at every claim.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import peewee
from peewee import fn

from kalends.model import EventStatus
from kalends.storage.batch import EVENT_PART
from kalends.storage.limits import HOLDS_A_LIMIT
from kalends.storage.models import LIMITED_EVENTS, EventRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.prospects import Prospects

__all__ = ["DueEvents"]

_COLUMNS = (*EVENT_PART, EventRow.next_due, EventRow.version)
_ACTIVE = EventRow.status == EventStatus.ACTIVE.value
_OPEN_COUNT = ExecutionRow.select(fn.COUNT(ExecutionRow.id)).where(
    ExecutionRow.event_id == EventRow.id,
    ExecutionRow.ended_at.is_null(),
    ExecutionRow.attempt > 0,
)
"""How many executions of the event at hand are claimed, run, or wait for another attempt. What
waits for its first attempt does not overlap anything yet.
"""
_OPENED = _OPEN_COUNT.alias("open_count")
_SOON = Prepared(
    EventRow.select(*_COLUMNS, peewee.Value(0))
    .where(
        _ACTIVE,
        EventRow.next_due > hole("now"),
        EventRow.next_due <= hole("horizon"),
        EventRow.limit_name.is_null(),
        _OPEN_COUNT == 0,
    )
    .order_by(EventRow.next_due, EventRow.id)
    .limit(hole("limit")),
    claims=(EventRow,),
)
_LIMITED = Prepared(
    EventRow.select(*_COLUMNS, EventRow.priority)
    .where(
        LIMITED_EVENTS,
        EventRow.limit_name == hole("name"),
        EventRow.next_due + 0 <= hole("now"),  # not by the index of what is due, but in this order:
    )
    .order_by(EventRow.priority.desc(), EventRow.next_due, EventRow.id)
    .limit(hole("limit")),
    claims=(EventRow,),
)
_HOLDING = Prepared(
    ExecutionRow.select(*_COLUMNS, EventRow.priority)
    # CROSS: SQLite keeps the order of such a join.
    .join(EventRow, peewee.JOIN.CROSS)
    .where(
        HOLDS_A_LIMIT,
        ExecutionRow.limit_name == hole("name"),
        EventRow.id == ExecutionRow.event_id,
        LIMITED_EVENTS,
        EventRow.limit_name == hole("name"),
        EventRow.next_due <= hole("now"),
        EventRow.serial == 1,
    ),
    claims=(EventRow,),
)
_ANY_LIMITED = Prepared(
    EventRow.select(EventRow.id)
    .where(_ACTIVE, EventRow.next_due <= hole("now"), EventRow.limit_name.is_null(False))
    .order_by(EventRow.next_due)
    .limit(1)
)


class DueEvents:
    """Finds what is due, in rows of ``EVENT_PART``, ``next_due``, the version and how many
    executions of it are open.
    """

    def __init__(self, limits: Collection[str]) -> None:
        """``limits``: the names of those that there are."""
        self._free = Prepared(
            EventRow.select(*_COLUMNS, _OPENED)
            .where(
                _ACTIVE,
                EventRow.next_due <= hole("now"),
                EventRow.limit_name.is_null() | EventRow.limit_name.not_in(list(limits)),
            )
            .order_by(EventRow.next_due, EventRow.id)
            .limit(hole("limit")),
            claims=(EventRow,),
        )

    def unlimited(
        self, db: peewee.Database, first: Prospects, *, now: int, horizon: int, limit: int
    ) -> list[tuple[Any, ...]]:
        """Events of no known limit due by now, and those of none up to ``horizon`` that have no
        open execution.
        """
        rows: list[tuple[Any, ...]] = []
        if first.due:
            rows = self._free.rows(db, now=now, limit=limit)
        if len(rows) < limit and first.soon:
            rows += _SOON.rows(db, now=now, horizon=horizon, limit=limit - len(rows))
        return rows

    def any_limited(self, db: peewee.Database, first: Prospects, *, now: int) -> bool:
        """Whether an event with a limit is due."""
        return first.due and bool(_ANY_LIMITED.rows(db, now=now))

    def limited(
        self, db: peewee.Database, name: str, *, now: int, room: int, limit: int
    ) -> list[tuple[Any, ...]]:
        """Events of one limit due by now, with their priority. Whether executions of them are open
        changes while the limit is shared out.

        Where there is room, those that come first; in any case those that hold a place of it
        themselves: whatever becomes of their instants, they take no further place.
        """
        rows = _LIMITED.rows(db, name=name, now=now, limit=limit) if room > 0 else []
        rows += _HOLDING.rows(db, name=name, now=now)
        return list({row[0]: row for row in rows}.values())
