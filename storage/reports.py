"""Status reports, computed by the database: memory does not grow with the number of executions.

Counts are one pass over an index range; percentiles one sort for all four, which SQLite spills to a
file; streaks one pass in order of due instants that yields only where a run ends. Buckets and the
list of events are bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import peewee
from peewee import Case, fn

from kalends.clock import from_us
from kalends.errors import EventNotFound, ValidationFailed
from kalends.model import Fate, Reason
from kalends.report import RAN, UNWELL, Bucket, EventSummary, Report, success_rate
from kalends.storage.accounts import readable_rule
from kalends.storage.measures import Scope, durations, is_begun, is_timed, lateness, streaks
from kalends.storage.models import (
    UNWELL_ROWS,
    DefinitionRow,
    EventRow,
    ExecutionRow,
    GapRow,
)
from kalends.storage.paging import first_row

__all__ = ["MAX_BUCKETS", "MAX_EVENTS", "make_report"]

MAX_BUCKETS = 1000
"""The most time buckets of a report."""
MAX_EVENTS = 50
"""The most events an overall report tells of one by one."""


class _Tally:
    """Counts of fates and reasons, and of the executions that there is something to measure in."""

    def __init__(self) -> None:
        self.fates: Counter[Fate] = Counter()
        self.reasons: Counter[Reason] = Counter()
        self.timed = 0
        self.begun = 0
        self.ran = 0

    def add(self, fate: str, reason: str | None, count: int) -> None:
        if count > 0:
            self.fates[Fate(fate)] += count
            if reason is not None:
                self.reasons[Reason(reason)] += count


def make_report(
    db: peewee.Database,
    *,
    event_id: str | None,
    since: int | None,
    until: int | None,
    bucket_us: int | None,
) -> Report:
    """The report over due instants in ``since <= due < until`` (microseconds; None: no bound).

    Raises ``EventNotFound``, and ``ValidationFailed`` for a range that ends before it begins or too
    many buckets."""
    if since is not None and until is not None and until < since:
        raise ValidationFailed("until must not lie before since", path="until")
    if event_id is not None and _name(db, event_id) is None:
        raise EventNotFound(f"there is no event {event_id}", event_id=event_id)
    scope = Scope(event_id, since, until)
    edges = _edges(db, scope, bucket_us)
    total = _Tally()
    buckets = [_Tally() for _ in edges[1:]]
    _count_executions(db, scope, total)
    for place, bucket in enumerate(buckets):
        _count_executions(db, Scope(event_id, edges[place], edges[place + 1]), bucket)
    _count_gaps(db, scope, total, edges, buckets)
    return Report(
        event_id=event_id,
        since=None if since is None else from_us(since),
        until=None if until is None else from_us(until),
        fates=dict(total.fates),
        reasons=dict(total.reasons),
        success_rate=success_rate(total.fates),
        duration=durations(db, scope, total.timed),
        lateness=lateness(db, scope, total.begun),
        streaks=streaks(db, scope, total.ran),
        per_event=() if event_id is not None else tuple(_per_event(db, scope)),
        buckets=tuple(
            Bucket(
                since=from_us(edges[place]),
                until=from_us(edges[place + 1]),
                fates=dict(bucket.fates),
                reasons=dict(bucket.reasons),
                success_rate=success_rate(bucket.fates),
            )
            for place, bucket in enumerate(buckets)
        ),
    )


def _name(db: peewee.Database, event_id: str) -> str | None:
    row = first_row(db, EventRow.select(EventRow.name).where(EventRow.id == event_id))
    return None if row is None else row[0]


# -- counts ------------------------------------------------------------------------------------


def _edges(db: peewee.Database, scope: Scope, bucket_us: int | None) -> list[int]:
    """The bounds of the buckets, one more than there are buckets; empty for none."""
    if bucket_us is None:
        return []
    if bucket_us < 1:
        raise ValidationFailed("a bucket lasts at least one microsecond", path="bucket")
    start, end = _bounds(db, scope)
    if start is None or end is None or end <= start:
        return []
    if -(-(end - start) // bucket_us) > MAX_BUCKETS:
        raise ValidationFailed(
            f"that would be more than {MAX_BUCKETS} buckets: take longer ones, or a shorter range",
            path="bucket",
        )
    return [*range(start, end, bucket_us), end]


def _bounds(db: peewee.Database, scope: Scope) -> tuple[int | None, int | None]:
    """The scope's range, an open end being that of what the ledger has."""
    start, end = scope.since, scope.until
    if start is None:
        parts = (
            first_row(db, scope.of(ExecutionRow.select(fn.MIN(ExecutionRow.due)))),
            first_row(db, scope.gaps(GapRow.select(fn.MIN(GapRow.first)))),
        )
        start = min((row[0] for row in parts if row and row[0] is not None), default=None)
    if end is None:
        parts = (
            first_row(db, scope.of(ExecutionRow.select(fn.MAX(ExecutionRow.due)))),
            first_row(db, scope.gaps(GapRow.select(fn.MAX(GapRow.last)))),
        )
        last = max((row[0] for row in parts if row and row[0] is not None), default=None)
        end = None if last is None else last + 1
    return start, end


def _count_executions(db: peewee.Database, scope: Scope, tally: _Tally) -> None:
    """One pass, and the only one that counts: what comes after has to know how much there is."""
    query = scope.of(
        ExecutionRow.select(
            ExecutionRow.fate,
            ExecutionRow.reason,
            fn.COUNT(ExecutionRow.id),
            fn.SUM(Case(None, [(is_timed(), 1)], 0)),
            fn.SUM(Case(None, [(is_begun(), 1)], 0)),
        )
    ).group_by(ExecutionRow.fate, ExecutionRow.reason)
    for fate, reason, count, timed, begun in list(query.tuples().execute(db)):
        tally.add(fate, reason, count)
        tally.timed += timed
        tally.begun += begun
        tally.ran += count if fate in RAN else 0


def _count_gaps(
    db: peewee.Database, scope: Scope, total: _Tally, edges: Sequence[int], buckets: list[_Tally]
) -> None:
    query = scope.gaps(
        GapRow.select(
            GapRow.event_id, GapRow.first, GapRow.last, GapRow.count, GapRow.fate, GapRow.reason
        )
    )
    for event_id, first, last, count, fate, reason in query.tuples().iterator(db):
        gap = _CountedGap(db, event_id, first, last, count)
        total.add(fate, reason, gap.within(scope.since, scope.until))
        if buckets:
            width = edges[1] - edges[0]
            place = max(0, (first - edges[0]) // width)
            while place < len(buckets) and edges[place] <= last:
                buckets[place].add(fate, reason, gap.within(edges[place], edges[place + 1]))
                place += 1


class _CountedGap:
    """How many instants of a gap lie in a part of it: by the rule they came from."""

    def __init__(
        self, db: peewee.Database, event_id: str, first: int, last: int, count: int
    ) -> None:
        self._db = db
        self._event_id = event_id
        self._first = first
        self._last = last
        self._count = count
        self._rule: Any = msgspec.UNSET

    def within(self, since: int | None, until: int | None) -> int:
        """The instants ``t`` with ``since <= t < until``; parts that meet add up to the whole."""
        start = 0 if since is None or since <= self._first else self._before(since)
        end = self._count if until is None or until > self._last else self._before(until)
        return end - start

    def _before(self, at: int) -> int:
        if at > self._last:
            return self._count
        if at <= self._first:
            return 0
        if self._rule is msgspec.UNSET:
            self._rule = _rule_at(self._db, self._event_id, self._first)
        if self._rule is None:  # unreadable by now: as if its instants were evenly spread
            return int(self._count * (at - self._first) // (self._last + 1 - self._first))
        return int(min(self._count, self._rule.count_us(self._first, at)))


def _rule_at(db: peewee.Database, event_id: str, instant: int) -> Any:
    """The rule of the event that ``instant`` came from, or None."""
    old = DefinitionRow.select(DefinitionRow.trigger).where(
        DefinitionRow.event_id == event_id,
        DefinitionRow.since <= instant,
        DefinitionRow.until >= instant,
    )
    row = first_row(db, old) or first_row(
        db, EventRow.select(EventRow.trigger).where(EventRow.id == event_id)
    )
    return None if row is None else readable_rule(row[0])


# -- event by event ----------------------------------------------------------------------------


def _per_event(db: peewee.Database, scope: Scope) -> Iterator[EventSummary]:
    for event_id in _worth_telling(db, scope):
        part = Scope(event_id, scope.since, scope.until)
        tally = _Tally()
        _count_executions(db, part, tally)
        _count_gaps(db, part, tally, [], [])
        yield EventSummary(
            event_id=event_id,
            name=_name(db, event_id) or "",
            fates=dict(tally.fates),
            reasons=dict(tally.reasons),
            success_rate=success_rate(tally.fates),
            duration=durations(db, part, tally.timed),
            lateness=lateness(db, part, tally.begun),
            streaks=streaks(db, part, tally.ran),
        )


def _worth_telling(db: peewee.Database, scope: Scope) -> list[str]:
    """The events with most executions that did not succeed, then those with most executions."""
    count = fn.COUNT(ExecutionRow.id)
    unwell = (
        scope.of(ExecutionRow.select(ExecutionRow.event_id, count))
        .where(
            ExecutionRow.fate.in_([fate.value for fate in UNWELL]),
            UNWELL_ROWS,
        )
        .group_by(ExecutionRow.event_id)
    )
    busiest = scope.of(ExecutionRow.select(ExecutionRow.event_id, count)).group_by(
        ExecutionRow.event_id
    )
    chosen: dict[str, None] = {}
    for query in (unwell, busiest):
        ordered = query.order_by(count.desc(), ExecutionRow.event_id).limit(MAX_EVENTS)
        for event_id, _ in list(ordered.tuples().execute(db)):
            if len(chosen) < MAX_EVENTS:
                chosen[event_id] = None
    return list(chosen)
