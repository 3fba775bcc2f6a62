"""The journal around one moment: what ``explain`` cites.

Entries sort by their ids, which begin with the time, so a stretch of time is a range of ids; what
is found is then judged by ``at``, because a clock that steps back leaves ids ahead of it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import peewee

from kalends.citing import MOST_READ, cancels
from kalends.clock import from_us, to_us
from kalends.model import Execution, Gap, JournalEntry, JournalKind, Reason
from kalends.policies import Policies
from kalends.storage.models import JournalRow
from kalends.storage.rows import JOURNAL_COLUMNS, journal_of

__all__ = ["around", "asked", "before", "cancelled", "policies_at"]

_TIME_ITSELF = frozenset(
    kind
    for kind in JournalKind
    if kind.value in ("clock_jumped", "downtime", "suspended", "node_died", "node_stopped")
)
"""What happened to processes and to time bears on every event."""
_ASKED = (JournalKind.EVENT_TRIGGERED.value, JournalKind.EVENT_MOVED.value)
_CANCELLED = (JournalKind.EXECUTION_CANCELLED.value, JournalKind.BACKFILL_CANCELLED.value)
_TICK_US = 1000
"""What the time in an id counts in."""
_LOOKED_AT = 500
"""Entries read for one answer, at most."""


def around(db: peewee.Database, event_id: str, low: int, high: int) -> list[JournalEntry]:
    """The entries from ``low`` to ``high`` (microseconds) about the event, and about processes
    and time, oldest first."""
    span = (JournalRow.id >= _prefix(low), JournalRow.id < _prefix(high + 1000))
    mine = JournalRow.select(*JOURNAL_COLUMNS).where(JournalRow.event_id == event_id, *span)
    general = JournalRow.select(*JOURNAL_COLUMNS).where(
        *span,
        JournalRow.event_id.is_null(),
        JournalRow.kind.in_([kind.value for kind in _TIME_ITSELF]),
    )
    found = [
        *_entries(db, mine.order_by(JournalRow.id).limit(MOST_READ)),
        *_entries(db, general.order_by(JournalRow.id).limit(MOST_READ)),
    ]
    return [entry for entry in found if _within(entry, low, high)]


def before(db: peewee.Database, event_id: str, instant: int) -> JournalEntry | None:
    """The last entry about the event before an instant; None where it has none."""
    query = (
        JournalRow.select(*JOURNAL_COLUMNS)
        .where(
            JournalRow.event_id == event_id,
            JournalRow.id < _prefix(instant),
            JournalRow.kind != JournalKind.EVENTS_CREATED.value,
        )
        .order_by(JournalRow.id.desc())
        .limit(1)
    )
    found = _entries(db, query)
    return found[0] if found else None


def asked(
    db: peewee.Database, event_id: str, instant: int, execution: Execution | None, gap: Gap | None
) -> JournalEntry | None:
    """The entry of whoever moved, left out, triggered or backfilled this very instant."""
    mine = JournalRow.select(*JOURNAL_COLUMNS).where(JournalRow.event_id == event_id)
    if gap is not None and gap.reason is Reason.EXCLUDED_ONCE:
        told = from_us(instant).isoformat()
        by = JournalRow.id < _prefix(to_us(gap.recorded_at) + _TICK_US)
        query = mine.where(JournalRow.kind == JournalKind.EVENT_SKIPPED.value, by)
        found = _entries(db, query.order_by(JournalRow.id.desc()).limit(_LOOKED_AT))
        return next((each for each in found if told in each.details.get("instants", ())), None)
    if execution is None:
        return None
    if execution.backfill is not None:
        found = _entries(db, mine.where(JournalRow.id == execution.backfill))
    elif execution.manual or execution.moved_to is not None:
        # Written right after the execution, in the same transaction.
        query = mine.where(JournalRow.kind.in_(_ASKED), JournalRow.id > execution.id)
        found = _entries(db, query.order_by(JournalRow.id).limit(MOST_READ))
        found = [each for each in found if each.details.get("execution_id") == execution.id]
    else:
        return None
    return found[0] if found else None


def cancelled(db: peewee.Database, execution: Execution) -> JournalEntry | None:
    """The entry of whoever asked for this execution to be cancelled, or cancelled its backfill."""
    query = JournalRow.select(*JOURNAL_COLUMNS).where(
        JournalRow.event_id == execution.event_id,
        JournalRow.id > execution.id,  # it was asked for after the execution had been made
        JournalRow.kind.in_(_CANCELLED),
    )
    found = _entries(db, query.order_by(JournalRow.id).limit(_LOOKED_AT))
    return next((each for each in found if cancels(each, execution)), None)


def policies_at(db: peewee.Database, event_id: str, current: Policies, instant: int) -> Policies:
    """The policies that the event had at an instant: what the first later change replaced."""
    query = (
        JournalRow.select(*JOURNAL_COLUMNS)
        .where(
            JournalRow.event_id == event_id,
            JournalRow.id >= _prefix(instant),
            JournalRow.kind == JournalKind.EVENT_UPDATED.value,
        )
        .order_by(JournalRow.id)
        .limit(_LOOKED_AT)
    )
    for entry in _entries(db, query):
        before = entry.details.get("before", {}).get("policies")
        if to_us(entry.at) > instant and before is not None:
            return _policies_of(before, current)
    return current


def _policies_of(stored: Any, otherwise: Policies) -> Policies:
    """Policies as an entry has them: a text in entries of earlier versions, and where they could
    not be read."""
    try:
        if isinstance(stored, str):
            return msgspec.json.decode(stored, type=Policies)
        return msgspec.convert(stored, Policies)
    except msgspec.MsgspecError:
        return otherwise


def _entries(db: peewee.Database, query: peewee.ModelSelect[JournalRow]) -> list[JournalEntry]:
    return [journal_of(row) for row in list(query.tuples().execute(db))]


def _within(entry: JournalEntry, low: int, high: int) -> bool:
    return low <= to_us(entry.at) <= high


def _prefix(us: int) -> str:
    """What the ids made at an instant begin with; they sort after it."""
    stamp = f"{max(us, 0) // 1000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}"
