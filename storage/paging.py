"""Pages by key: a cursor names the last row seen, so that rows added or removed meanwhile shift
nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
import peewee
from peewee import Field, ModelSelect, TextField

from kalends.errors import ValidationFailed
from kalends.model import Page

__all__ = ["MAX_PAGE", "Strand", "first_row", "page", "portions"]

T = TypeVar("T")
MAX_PAGE = 1000
"""The most items a page may hold."""
_PORTION = 500


def portions(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many of ``keys`` at a time as one statement may name."""
    for start in range(0, len(keys), _PORTION):
        yield keys[start : start + _PORTION]


def first_row(db: peewee.Database, query: Any) -> tuple[Any, ...] | None:
    """The first row of a query of few rows, or None. Reads them all: a cursor left open keeps its
    snapshot.
    """
    rows = list(query.tuples().execute(db))
    return rows[0] if rows else None


class Strand(NamedTuple):
    """A query whose rows an index gives in order: all of a list, or what of it is alike.

    ``keys`` (expressions) are selected as its last columns, beyond those that the list reads.
    ``shared`` are the values of the order's first keys where all of its rows have the same ones.
    """

    query: ModelSelect[Any]
    keys: Sequence[Any]
    shared: tuple[Any, ...] = ()

    def rows(
        self, db: peewee.Database, after: Sequence[Any] | None, descending: bool, count: int
    ) -> list[tuple[Any, ...]]:
        """The first ``count`` rows beyond the key ``after``."""
        query = self.query
        if after is not None:
            alike = len(self.shared)
            head = tuple(after[:alike])
            if head == self.shared:
                query = query.where(_beyond(self.keys, after[alike:], descending))
            elif (self.shared < head) is not descending:
                return []
        order = [key.desc() if descending else key.asc() for key in self.keys]
        return list(query.order_by(*order).limit(count).tuples().execute(db))

    def key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Where a row stands in the order."""
        return (*self.shared, *row[-len(self.keys) :])


def page(
    db: peewee.Database,
    *strands: Strand,
    kind: str,
    descending: bool,
    limit: int,
    cursor: str | None,
    make: Callable[[Sequence[Any]], T],
) -> Page[T]:
    """What all strands have beyond ``cursor``, in the order of their keys, which are unique.

    ``kind`` names the order; a cursor of another kind, or a mangled one, is ``ValidationFailed``.
    The first strand has to have all the keys.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValidationFailed(f"limit must be from 1 to {MAX_PAGE}", path="limit")
    after = None if cursor is None else _decode(cursor, kind, strands[0].keys)
    found = [
        (strand.key(row), row[: -len(strand.keys)])
        for strand in strands
        for row in strand.rows(db, after, descending, limit + 1)
    ]
    if len(strands) > 1:
        found.sort(key=itemgetter(0), reverse=descending)
    last = _encode(kind, found[limit - 1][0]) if len(found) > limit else None
    return Page(tuple(make(row) for _, row in found[:limit]), last)


def _beyond(keys: Sequence[Field], values: Sequence[Any], descending: bool) -> Any:
    """(k1, k2) > (v1, v2), spelled out, since not every dialect compares rows.

    As ``k1 >= v1 AND (k1 > v1 OR k2 > v2)``: an index is entered at ``v1``.
    """
    key, value = keys[0], values[0]
    further = key < value if descending else key > value
    if len(keys) == 1:
        return further
    rest = _beyond(keys[1:], values[1:], descending)
    return (key <= value if descending else key >= value) & (further | rest)


def _encode(kind: str, values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, *values])).decode().rstrip("=")


def _decode(cursor: str, kind: str, keys: Sequence[Any]) -> list[Any]:
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        found = msgspec.json.decode(raw, type=list[int | str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValidationFailed("cursor was not made by this list", path="cursor") from error
    if len(found) != len(keys) + 1 or found[0] != kind:
        raise ValidationFailed("cursor belongs to another list or order", path="cursor")
    for key, value in zip(keys, found[1:], strict=True):
        fits = isinstance(value, str) if isinstance(key, TextField) else _is_int64(value)
        if not fits:
            raise ValidationFailed("cursor was not made by this list", path="cursor")
    return found[1:]


def _is_int64(value: object) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63
