"""What tests ask of a whole ledger: all of it as bytes, and how many instants have which fate."""

from __future__ import annotations

from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.model import Fate, Reason
from kalends.storage.models import TABLES, ExecutionRow, GapRow

__all__ = ["FateCount", "count_fates", "dump"]

FateCount = tuple[Fate, Reason | None, int]


def dump(db: peewee.Database) -> bytes:
    """Every table, row by row in the order of its key, as JSON lines."""
    lines: list[Any] = []
    for table in TABLES:
        key: Any = table._meta.primary_key
        names = [field.name for field in table._meta.sorted_fields]
        keys = [getattr(table, name) for name in getattr(key, "field_names", (key.name,))]
        lines += [
            {"table": table._meta.table_name, **dict(zip(names, row, strict=True))}
            for row in table.select().order_by(*keys).tuples().execute(db)
        ]
    return msgspec.json.Encoder().encode_lines(lines)


def count_fates(db: peewee.Database) -> dict[str, list[FateCount]]:
    """By the id of the event: how many instants have which fate, and why; gaps included."""
    found: dict[str, list[FateCount]] = {}
    for table, count in ((ExecutionRow, fn.COUNT(ExecutionRow.id)), (GapRow, fn.SUM(GapRow.count))):
        query = table.select(table.event_id, table.fate, table.reason, count).group_by(
            table.event_id, table.fate, table.reason
        )
        for event_id, fate, reason, number in query.tuples().execute(db):
            why = None if reason is None else Reason(reason)
            found.setdefault(event_id, []).append((Fate(fate), why, int(number)))
    return found
