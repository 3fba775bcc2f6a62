"""When there is something for a claim transaction to do: one statement before it, one after.

Nearly always nothing waits and no pause ends. Then the others need not be run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import peewee
from peewee import fn

from kalends.model import EventStatus
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole

__all__ = ["Left", "Prospects", "left", "prospects"]

_DUE = EventRow.select(fn.MIN(EventRow.next_due)).where(EventRow.status == EventStatus.ACTIVE.value)
_READY = ExecutionRow.select(fn.MIN(ExecutionRow.ready_at)).where(
    ExecutionRow.node.is_null(), ExecutionRow.ended_at.is_null()
)
_PAUSE_END = EventRow.select(fn.MIN(EventRow.paused_until)).where(
    EventRow.paused_until.is_null(False)
)


def _first(*queries: Any) -> Prepared:
    """The values of queries that have one, in one row."""
    names = (f"first_{place}" for place in range(len(queries)))
    return Prepared(
        peewee.Select(
            columns=[query.alias(name) for query, name in zip(queries, names, strict=True)]
        )
    )


_PROSPECTS = _first(
    _DUE.where(EventRow.next_due <= hole("now")),
    _DUE.where(EventRow.next_due > hole("now"), EventRow.next_due <= hole("horizon")),
    _READY.where(ExecutionRow.ready_at <= hole("horizon")),
    _PAUSE_END.where(EventRow.paused_until <= hole("now")),
)
_LEFT = _first(
    _DUE.where(EventRow.next_due > hole("after")),
    _READY.where(ExecutionRow.ready_at > hole("after")),
    _PAUSE_END.where(EventRow.paused_until > hole("after")),
    _READY.where(ExecutionRow.ready_at <= hole("now")),
)


class Prospects(NamedTuple):
    """Whether there is any of these."""

    due: bool
    """An event that is due by now."""
    soon: bool
    """One that is due after now, up to the horizon."""
    ready: bool
    """An execution that waits and may begin by the horizon."""
    pause_over: bool
    """A pause that has come to its end."""


class Left(NamedTuple):
    """When to look again, after all that could be done."""

    next_due: int | None
    """The first instant after the horizon at which something is due, what waits may begin, or a
    pause ends.
    """
    blocked_until: int | None
    """The same, from now up to the horizon."""
    waiting: bool
    """Whether something waits that could begin by its own time."""


def prospects(db: peewee.Database, now: int, horizon: int) -> Prospects:
    """What there is before a claim transaction has done anything."""
    (found,) = _PROSPECTS.rows(db, now=now, horizon=horizon)
    return Prospects(*[instant is not None for instant in found])


def left(db: peewee.Database, now: int, horizon: int) -> Left:
    """What there is when it has done everything."""
    *instants, waiting = _LEFT.rows(db, now=now, after=now)[0]
    first = _earliest(instants)
    if horizon == now or first is None or first > horizon:
        return Left(first, None, waiting is not None)
    *later, _ = _LEFT.rows(db, now=now, after=horizon)[0]
    return Left(_earliest(later), first, waiting is not None)


def _earliest(instants: Sequence[int | None]) -> int | None:
    return min([instant for instant in instants if instant is not None], default=None)
