"""Finding events: a closed set of conditions and orders, all values bound as parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import peewee
from peewee import OP, Context, Expression, Node, Value, fn

from kalends.clock import MAX_US
from kalends.errors import ValidationFailed, did_you_mean
from kalends.model import Event, EventStatus, Page
from kalends.queries import EventQuery
from kalends.storage.models import LIVING_EVENTS, EventRow, TagRow
from kalends.storage.paging import Strand, first_row, page
from kalends.storage.rows import EVENT_COLUMNS, event_of

__all__ = ["SORT_KEYS", "count_events", "filtered", "list_events"]

SORT_KEYS: dict[str, list[Any]] = {
    "created_at": [EventRow.id],  # ids grow as events are created
    "updated_at": [EventRow.updated_at, EventRow.id],
    "name": [EventRow.name, EventRow.id],
    "next_due": [EventRow.next_due, EventRow.id],
}
"""What events may be sorted by; events with nothing due come last by ``next_due``."""
_NOTHING_DUE = (MAX_US + 1,)
"""Where those stand in that order."""
_LIVING = tuple(status for status in EventStatus if status is not EventStatus.DELETED)


def list_events(db: peewee.Database, query: EventQuery) -> Page[Event]:
    """A page of the events that meet all conditions."""
    if query.sort not in SORT_KEYS:
        raise ValidationFailed(
            f"sort cannot be {query.sort!r}{did_you_mean(query.sort, SORT_KEYS)}", path="sort"
        )
    if query.sort == "next_due":
        strands = list(_by_next_due(query))
    else:
        keys = SORT_KEYS[query.sort]
        strands = [Strand(filtered(EventRow.select(*EVENT_COLUMNS, *keys), query), keys)]
    return page(
        db,
        *strands,
        kind=f"events:{query.sort}:{int(query.descending)}",
        descending=query.descending,
        limit=query.limit,
        cursor=query.cursor,
        make=event_of,
    )


def _by_next_due(query: EventQuery) -> Iterator[Strand]:
    """The index has each status by itself, and what has nothing due before all others (in SQLite)
    or behind them.
    """
    keys, without = SORT_KEYS["next_due"], [EventRow.id]
    for status in _LIVING if query.status is None else (query.status,):
        of_status = msgspec.structs.replace(query, status=status)
        due = filtered(EventRow.select(*EVENT_COLUMNS, *keys), of_status)
        rest = filtered(EventRow.select(*EVENT_COLUMNS, *without), of_status)
        yield Strand(due.where(EventRow.next_due.is_null(False)), keys)
        yield Strand(rest.where(EventRow.next_due.is_null()), without, _NOTHING_DUE)


def count_events(db: peewee.Database, query: EventQuery) -> int:
    """How many events meet all conditions."""
    select = filtered(EventRow.select(fn.COUNT(EventRow.id)), query)
    row = first_row(db, select)
    return 0 if row is None else int(row[0])


def filtered(select: Any, query: EventQuery) -> Any:
    """``select`` over events, narrowed to those that meet all conditions."""
    if query.status is None:
        select = select.where(LIVING_EVENTS)
    else:
        select = select.where(EventRow.status == query.status.value)
    if query.job is not None:
        select = select.where(EventRow.job == query.job)
    if query.tag is not None:
        tagged = TagRow.select(TagRow.event_id).where(TagRow.tag == query.tag)
        select = select.where(EventRow.id.in_(tagged))
    if query.name is not None:
        plain = not {"*", "?"} & set(query.name)
        matching = Expression(EventRow.name, OP.LIKE, _NamePattern(query.name))
        select = select.where(EventRow.name == query.name if plain else matching)
    if query.declared_by is not None:
        select = select.where(EventRow.declared_by == query.declared_by)
    if query.due_from is not None:
        select = select.where(EventRow.next_due >= query.due_from)
    if query.due_until is not None:
        select = select.where(EventRow.next_due < query.due_until)
    return select


class _NamePattern(Node):
    """A pattern of ``*`` and ``?`` that all other characters match themselves in.

    Peewee's LIKE respects case everywhere: SQLite spells it GLOB, which takes other patterns.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __sql__(self, ctx: Context) -> Context:
        if ctx.state.operations.get(OP.LIKE) == "GLOB":
            pattern = self._pattern.replace("[", "[[]")
        else:
            pattern = re.sub(r"[\\%_]", r"\\\g<0>", self._pattern)
            pattern = pattern.replace("*", "%").replace("?", "_")
        ctx.sql(Value(pattern, converter=False))
        return ctx
