"""Retention: old executions become gaps, old gaps and journal entries go, and the account stays
true.

An ended execution that is pruned is folded into a gap of its event, version, fate and reason:
executions and gaps together still account for every instant. Where a gap goes, its event's account
begins after it. One call does a bounded amount of work; what it has not come to is next call's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.clock import MAX_US
from kalends.ids import IdSource
from kalends.model import EventStatus
from kalends.storage.dialect import Dialect
from kalends.storage.facts import fact, forget_fact, put_fact
from kalends.storage.models import (
    AttemptRow,
    DefinitionRow,
    EventRow,
    ExecutionRow,
    GapRow,
    JournalRow,
)
from kalends.storage.prepared import Prepared, hole

__all__ = ["Pruned", "prune"]


class Pruned(msgspec.Struct, frozen=True):
    """What one call removed."""

    executions: int = 0
    gaps: int = 0
    journal: int = 0
    more: bool = False
    """True where there may be more to do: call again."""


class _Old(msgspec.Struct, frozen=True):
    """An execution to be pruned."""

    id: str
    event_id: str
    due: int
    version: int
    fate: str
    reason: str | None
    manual: bool


class _Span(msgspec.Struct):
    """A gap, stored (with an id) or to be."""

    key: tuple[int, str, str | None]
    """Version, fate and reason."""
    first: int
    last: int
    count: int
    id: str | None
    grown: bool = False


_ONE = peewee.SQL("1")
_OLD_COLUMNS = (
    ExecutionRow.id, ExecutionRow.event_id, ExecutionRow.due, ExecutionRow.version,
    ExecutionRow.fate, ExecutionRow.reason, ExecutionRow.manual,
)  # fmt: skip
_GAP_PARTS = (
    GapRow.id, GapRow.version, GapRow.fate, GapRow.reason, GapRow.first, GapRow.last, GapRow.count,
)  # fmt: skip
_OF_EVENT = GapRow.event_id == hole("event")

# What is asked of each event in each call, a few old executions at a time.
_ACCOUNT = Prepared(EventRow.select(EventRow.accounted_from).where(EventRow.id == hole("event")))
_BEFORE = Prepared(
    GapRow.select(*_GAP_PARTS)
    .where(_OF_EVENT, GapRow.last < hole("low"))
    .order_by(GapRow.last.desc())
    .limit(1)
)
_AMONG = Prepared(
    GapRow.select(*_GAP_PARTS)
    .where(_OF_EVENT, GapRow.last >= hole("low"), GapRow.first <= hole("high"))
    .order_by(GapRow.last)
)
_KEPT = Prepared(
    ExecutionRow.select(ExecutionRow.due).where(
        ExecutionRow.event_id == hole("event"),
        ExecutionRow.due > hole("start"),
        ExecutionRow.due < hole("high"),
        ExecutionRow.manual == 0,
    )
)
_GROW = GapRow.update(last=0, count=0, recorded_at=0).where(GapRow.id == "")
_NEW_GAP = GapRow.insert(
    id="", event_id="", first=0, last=0, count=0, fate="", reason=None, version=0, recorded_at=0
)


def prune(
    db: peewee.Database,
    dialect: Dialect,
    ids: IdSource,
    *,
    now: int,
    retain_age_us: int | None,
    retain_count: int | None,
    retain_gaps_us: int | None,
    limit: int,
) -> Pruned:
    """Remove at most ``limit`` executions, gaps and journal entries each; None keeps for ever.

    Executions go when they ended more than ``retain_age_us`` ago, or beyond the newest
    ``retain_count`` of their event."""
    work = _Round(db, dialect, ids, now, limit)
    if retain_age_us is not None:
        work.prune_by_age(now - retain_age_us)
    if retain_count is not None:
        work.prune_by_count(retain_count)
    work.fold()
    if retain_gaps_us is not None:
        work.prune_gaps(now - retain_gaps_us)
        work.prune_journal(now - retain_gaps_us)
        work.prune_tombstones(now - retain_gaps_us)
    return Pruned(len(work.old), work.gaps, work.journal, work.more)


class _Round:
    """One call of ``prune``."""

    def __init__(
        self, db: peewee.Database, dialect: Dialect, ids: IdSource, now: int, limit: int
    ) -> None:
        self._db = db
        self._dialect = dialect
        self._ids = ids
        self._now = now
        self._limit = limit
        self.old: dict[str, _Old] = {}
        self.gaps = 0
        self.journal = 0
        self.more = False

    # -- executions ----------------------------------------------------------------------------

    def prune_by_age(self, cutoff: int) -> None:
        """Choose what ended before ``cutoff``, oldest first."""
        query = (
            ExecutionRow.select(*_OLD_COLUMNS)
            .where(ExecutionRow.due < cutoff, ExecutionRow.ended_at < cutoff)
            .order_by(ExecutionRow.due)
        )
        self._choose(query)

    def prune_by_count(self, keep: int) -> None:
        """Choose what lies beyond the newest ``keep`` of its event, a stretch of events a call."""
        newest = (
            ExecutionRow.select(ExecutionRow.due)
            .where(ExecutionRow.event_id == EventRow.id)
            .order_by(ExecutionRow.due.desc())
            .limit(1)
            .offset(keep)
        )
        stretch = self._stretch("retention_count", EventRow.select(EventRow.id, newest))
        done = None
        for event_id, beyond in stretch:
            if beyond is not None:
                if len(self.old) >= self._limit:
                    break
                query = (
                    ExecutionRow.select(*_OLD_COLUMNS)
                    .where(
                        ExecutionRow.event_id == event_id,
                        ExecutionRow.due <= beyond,
                        ExecutionRow.ended_at.is_null(False),
                    )
                    .order_by(ExecutionRow.due)
                )
                if not self._choose(query):
                    break
            done = event_id
        self._advance("retention_count", stretch, done)

    def _choose(self, query: Any) -> bool:
        """Add what the query finds; False where the limit cut it short."""
        rows = list(query.limit(self._limit).tuples().execute(self._db))
        for row in rows:
            if row[0] not in self.old:
                if len(self.old) >= self._limit:
                    self.more = True
                    return False
                self.old[row[0]] = _Old(*row)
        if len(rows) < self._limit:
            return True
        self.more = True
        return False

    def fold(self) -> None:
        """Delete what was chosen and keep its account in gaps."""
        keys = [(execution_id,) for execution_id in self.old]
        for row, column in (
            (AttemptRow, AttemptRow.execution_id),
            (ExecutionRow, ExecutionRow.id),
        ):
            statement = self._dialect.compile(row.delete().where(column == ""))
            self._dialect.execute_many(self._db, statement, keys)
        by_event: dict[str, list[_Old]] = {}
        opening: dict[str, int] = {}
        for old in self.old.values():
            if old.event_id not in opening:
                opening[old.event_id] = _account_of(self._db, old.event_id)
            # What lies before the account needs no account: a gap there has gone already.
            if not old.manual and old.due >= opening[old.event_id]:
                by_event.setdefault(old.event_id, []).append(old)
        spans = [
            (event_id, span)
            for event_id, olds in by_event.items()
            for span in _fold(olds, _neighbours(self._db, event_id, olds))
            if span.grown
        ]
        self._write_spans(spans)

    def _write_spans(self, spans: Sequence[tuple[str, _Span]]) -> None:
        grown = [
            (span.last, span.count, self._now, span.id) for _, span in spans if span.id is not None
        ]
        new = []
        for event_id, span in spans:
            if span.id is None:
                version, fate, reason = span.key
                within = span.first, span.last, span.count
                new.append((self._ids(), event_id, *within, fate, reason, version, self._now))
        for query, rows in ((_GROW, grown), (_NEW_GAP, new)):
            if rows:
                self._dialect.execute_many(self._db, self._dialect.compile(query), rows)

    # -- gaps, journal, tombstones -------------------------------------------------------------

    def prune_gaps(self, cutoff: int) -> None:
        """Delete gaps that end before ``cutoff``; their events' accounts begin after them."""
        query = (
            GapRow.select(GapRow.id, GapRow.event_id, GapRow.last)
            .where(GapRow.last < cutoff)
            .order_by(GapRow.last)
            .limit(self._limit)
        )
        rows = list(query.tuples().execute(self._db))
        self._delete(GapRow, [row[0] for row in rows])
        opening = {event_id: last + 1 for _, event_id, last in rows}  # in order: the latest wins
        for event_id, start in opening.items():
            EventRow.update(accounted_from=start).where(
                EventRow.id == event_id, EventRow.accounted_from < start
            ).execute(self._db)
            DefinitionRow.delete().where(
                DefinitionRow.event_id == event_id, DefinitionRow.until < start
            ).execute(self._db)
        self.gaps = len(rows)
        self.more = self.more or len(rows) >= self._limit

    def prune_journal(self, cutoff: int) -> None:
        """Delete the entries at the old end of the journal."""
        query = JournalRow.select(JournalRow.id, JournalRow.at).order_by(JournalRow.id)
        rows = list(query.limit(self._limit).tuples().execute(self._db))
        old = [entry_id for entry_id, at in rows if at < cutoff]
        self._delete(JournalRow, old)
        self.journal = len(old)
        self.more = self.more or len(old) >= self._limit

    def prune_tombstones(self, cutoff: int) -> None:
        """Delete events that were deleted before ``cutoff`` and of which nothing is left."""
        buried = (EventRow.status == EventStatus.DELETED.value) & EventRow.next_due.is_null()
        stretch = self._stretch("retention_tombstones", EventRow.select(EventRow.id).where(buried))
        if stretch:
            execution = ExecutionRow.select(_ONE).where(ExecutionRow.event_id == EventRow.id)
            gap = GapRow.select(_ONE).where(GapRow.event_id == EventRow.id)
            query = EventRow.select(EventRow.id).where(
                buried,
                EventRow.id.between(stretch[0][0], stretch[-1][0]),
                EventRow.updated_at < cutoff,
                ~fn.EXISTS(execution),
                ~fn.EXISTS(gap),
            )
            empty = [event_id for (event_id,) in query.tuples().execute(self._db)]
            self._delete(EventRow, empty)
            for event_id in empty:
                DefinitionRow.delete().where(DefinitionRow.event_id == event_id).execute(self._db)
        self._advance("retention_tombstones", stretch, stretch[-1][0] if stretch else None)

    def _delete(self, table: Any, keys: Iterable[str]) -> None:
        statement = self._dialect.compile(table.delete().where(table.id == ""))
        self._dialect.execute_many(self._db, statement, [(key,) for key in keys])

    # -- a way through all events, a stretch a call --------------------------------------------

    def _stretch(self, name: str, query: Any) -> list[tuple[Any, ...]]:
        """The next ``limit`` events of the way called ``name``."""
        reached = fact(self._db, name)
        if reached is not None:
            query = query.where(EventRow.id > reached)
        return list(query.order_by(EventRow.id).limit(self._limit).tuples().execute(self._db))

    def _advance(self, name: str, stretch: Sequence[tuple[Any, ...]], done: str | None) -> None:
        """Note how far the way was gone: at its end it begins anew, next time."""
        if len(stretch) < self._limit and (not stretch or done == stretch[-1][0]):
            forget_fact(self._db, name)
            return
        self.more = True
        if done is not None:
            put_fact(self._db, name, done)


def _account_of(db: peewee.Database, event_id: str) -> int:
    """Where the event's account begins."""
    found = _ACCOUNT.value(db, event=event_id)
    return MAX_US if found is None else int(found)


def _neighbours(
    db: peewee.Database, event_id: str, olds: Sequence[_Old]
) -> tuple[list[_Span], list[int]]:
    """The event's gaps and kept executions among those pruned, from the gap before them on."""
    low, high = min(old.due for old in olds), max(old.due for old in olds)
    rows = _BEFORE.rows(db, event=event_id, low=low)
    start = rows[0][5] if rows else low
    rows += _AMONG.rows(db, event=event_id, low=low, high=high)
    spans = [
        _Span((version, fate, reason), first, last, count, gap_id)
        for gap_id, version, fate, reason, first, last, count in rows
    ]
    kept = _KEPT.rows(db, event=event_id, start=start, high=high)
    return spans, [due for (due,) in kept]


def _fold(olds: Sequence[_Old], around: tuple[list[_Span], list[int]]) -> list[_Span]:
    """The spans that account for ``olds``: those among ``around`` that grew, and new ones.

    A span grows only over instants with nothing kept, and no other gap, in between.
    """
    spans, kept = around
    way: list[tuple[int, _Span | _Old | None]] = [
        *((span.last, span) for span in spans),
        *((due, None) for due in kept),
        *((old.due, old) for old in olds),
    ]
    current: _Span | None = None
    result = list(spans)
    for due, item in sorted(way, key=lambda step: step[0]):
        if not isinstance(item, _Old):
            current = item
            continue
        key = (item.version, item.fate, item.reason)
        if current is None or current.key != key:
            current = _Span(key, due, due, 0, None)
            result.append(current)
        current.last, current.count, current.grown = due, current.count + 1, True
    return result
