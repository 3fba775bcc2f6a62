"""Pages by key: a cursor names the last row seen, so that rows added or removed meanwhile shift
nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import peewee
from peewee import Field, ModelSelect, TextField

from kalends.errors import ValidationFailed
from kalends.model import Page

__all__ = ["MAX_PAGE", "first_row", "page", "portions"]

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


def page(
    db: peewee.Database,
    query: ModelSelect[Any],
    *,
    keys: Sequence[Any],
    kind: str,
    descending: bool,
    limit: int,
    cursor: str | None,
    make: Callable[[Sequence[Any]], T],
) -> Page[T]:
    """Run ``query`` ordered by ``keys`` (expressions that together are unique) from ``cursor`` on.

    ``kind`` names the order; a cursor of another kind, or a mangled one, is ``ValidationFailed``.
    The keys have to be selected as the last columns of the query, beyond those that ``make`` reads.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValidationFailed(f"limit must be from 1 to {MAX_PAGE}", path="limit")
    if cursor is not None:
        query = query.where(_beyond(keys, _decode(cursor, kind, keys), descending))
    order = [key.desc() if descending else key.asc() for key in keys]
    rows = list(query.order_by(*order).limit(limit + 1).tuples().execute(db))
    items = tuple(make(row[: -len(keys)]) for row in rows[:limit])
    last = _encode(kind, rows[limit - 1][-len(keys) :]) if len(rows) > limit else None
    return Page(items, last)


def _beyond(keys: Sequence[Field], values: Sequence[Any], descending: bool) -> Any:
    """(k1, k2) > (v1, v2), spelled out, since not every dialect compares rows."""
    condition: Any = None
    for key, value in zip(reversed(keys), reversed(values), strict=True):
        further = key < value if descending else key > value
        condition = further if condition is None else further | ((key == value) & condition)
    return condition


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
