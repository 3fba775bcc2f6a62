"""Named limits: how many executions may be claimed at once, across all events and nodes.

What counts is an execution with the limit's name that a node holds and that has not ended. A claim
transaction looks once and keeps count of what it gives out itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import peewee
from peewee import fn

from kalends.clock import from_us
from kalends.errors import ValidationFailed, did_you_mean
from kalends.explanation import LimitHolder, LimitUse
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.paging import first_row
from kalends.storage.prepared import Prepared

__all__ = ["HOLDS_A_LIMIT", "MAX_HOLDERS", "Rooms", "use_of"]

MAX_HOLDERS = 20
"""Executions that one answer names, at most."""

HOLDS_A_LIMIT = (
    ExecutionRow.limit_name.is_null(False)
    & ExecutionRow.node.is_null(False)
    & ExecutionRow.ended_at.is_null()
)
"""What the index ``executions_limited`` is about."""
_HOLDERS = Prepared(
    ExecutionRow.select(ExecutionRow.limit_name, ExecutionRow.id).where(HOLDS_A_LIMIT)
)


class Rooms:
    """How much room each limit has, in one claim transaction."""

    def __init__(
        self, db: peewee.Database, sizes: Mapping[str, int], settled: Collection[str]
    ) -> None:
        """``settled`` are executions whose attempt has ended unrecorded yet: they hold nothing."""
        self._room = dict(sizes)
        self.held = dict.fromkeys(sizes, 0)
        for name, execution_id in _HOLDERS.rows(db) if sizes else ():
            if name in self._room and execution_id not in settled:
                self._room[name] -= 1
                self.held[name] += 1

    def of(self, name: str | None) -> int | None:
        """How many more may be claimed; None without a limit.

        Raises ``ValidationFailed`` for a limit that this scheduler's settings do not have.
        """
        if name is None:
            return None
        if name not in self._room:
            raise ValidationFailed(
                f"the settings of this scheduler have no concurrency limit {name!r}"
                f"{did_you_mean(name, self._room)}",
                path="concurrency_limit",
            )
        return max(0, self._room[name])

    def take(self, name: str | None, count: int = 1) -> None:
        """So many more are claimed; negative: so many were ended."""
        if name is not None:
            self._room[name] -= count

    def full(self) -> list[str]:
        """The limits that have no room."""
        return [name for name, room in self._room.items() if room <= 0]


def use_of(db: peewee.Database, name: str, places: int | None) -> LimitUse:
    """Who holds the places of a limit; by one index, and as many rows as it names."""
    these = HOLDS_A_LIMIT & (ExecutionRow.limit_name == name)
    row = first_row(db, ExecutionRow.select(fn.COUNT(ExecutionRow.id)).where(these))
    query = (
        ExecutionRow.select(
            ExecutionRow.id, ExecutionRow.event_id, EventRow.name, ExecutionRow.due,
            ExecutionRow.node, ExecutionRow.claimed_at,
        )
        .join(EventRow, on=(EventRow.id == ExecutionRow.event_id))
        .where(these)
        .order_by(ExecutionRow.claimed_at, ExecutionRow.id)
        .limit(MAX_HOLDERS)
    )  # fmt: skip
    return LimitUse(
        name=name,
        places=places,
        held=0 if row is None else int(row[0]),
        holders=tuple(
            LimitHolder(
                execution_id=execution_id,
                event_id=event_id,
                event_name=event_name,
                due=from_us(due),
                node=node,
                since=from_us(claimed_at),
            )
            for execution_id, event_id, event_name, due, node, claimed_at in list(
                query.tuples().execute(db)
            )
        ),
    )
