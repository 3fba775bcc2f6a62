"""Gaps: spans of due instants that share one fate without a row each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import peewee

from kalends.ids import IdSource
from kalends.model import Fate, Gap, Page
from kalends.planning import DueRule, Span
from kalends.queries import GapQuery
from kalends.storage.models import GapRow
from kalends.storage.paging import Strand, first_row, page
from kalends.storage.rows import GAP_COLUMNS, gap_of

__all__ = ["cut_gap", "hearing_gaps", "list_gaps", "span_until", "split_gap", "write_gap"]


def span_until(rule: DueRule, first: int | None, until: int, reason: str) -> Span | None:
    """All instants from ``first`` (the first without a fate) to ``until`` inclusive; None if there
    are none.
    """
    if first is None or first > until:
        return None
    last = rule.previous_us(until + 1)
    if last is None or last < first:
        return None
    return Span(first, last, rule.count_us(first, last + 1), reason)


_HEARD: ContextVar[list[tuple[str, Span]] | None] = ContextVar("gaps_heard", default=None)


@contextmanager
def hearing_gaps(told: list[tuple[str, Span]]) -> Iterator[None]:
    """Have ``told`` hold what ``write_gap`` records inside, by events: for whoever tells of it once
    it is durable.
    """
    told.clear()  # a transaction that is run again tells again
    token = _HEARD.set(told)
    try:
        yield
    finally:
        _HEARD.reset(token)


def write_gap(
    db: peewee.Database,
    event_id: str,
    version: int,
    rule: DueRule,
    span: Span,
    *,
    now: int,
    ids: IdSource,
    node: str | None,
) -> None:
    """Record that the instants of ``span`` were skipped.

    A span that follows directly on a gap of the same reason and version lengthens that gap: an
    outage that is noticed bit by bit is still one row.
    """
    heard = _HEARD.get()
    if heard is not None:
        heard.append((event_id, span))
    if span.into is None:
        before = rule.previous_us(span.first)
        if before is not None:
            same = GapRow.update(
                last=span.last, count=GapRow.count + span.count, recorded_at=now, node=node
            ).where(
                GapRow.event_id == event_id,
                GapRow.last == before,
                GapRow.fate == Fate.SKIPPED.value,
                GapRow.reason == span.reason,
                GapRow.version == version,
                GapRow.into.is_null(),
            )
            if same.execute(db):
                return
    GapRow.insert(
        id=ids(),
        event_id=event_id,
        first=span.first,
        last=span.last,
        count=span.count,
        fate=Fate.SKIPPED.value,
        reason=span.reason,
        into=span.into,
        version=version,
        recorded_at=now,
        node=node,
    ).execute(db)


def cut_gap(
    db: peewee.Database, gap_id: str, rule: DueRule, first: int, last: int, *, now: int
) -> int:
    """Let a gap that begins at ``first`` tell of nothing after ``last``; how many instants it
    keeps.
    """
    kept = 0 if last < first else rule.count_us(first, last + 1)
    if kept == 0:
        GapRow.delete().where(GapRow.id == gap_id).execute(db)
    else:
        GapRow.update(last=rule.previous_us(last + 1), count=kept, recorded_at=now).where(
            GapRow.id == gap_id
        ).execute(db)
    return kept


def split_gap(
    db: peewee.Database, gap_id: str, rule: DueRule, first: int, last: int, *, ids: IdSource
) -> None:
    """Take the instants from ``first`` to ``last`` out of a gap; what lies before and after them
    stays, each as a gap of its own.
    """
    query = GapRow.select(*GAP_COLUMNS).where(GapRow.id == gap_id)
    row = dict(zip([field.name for field in GAP_COLUMNS], first_row(db, query) or (), strict=True))
    GapRow.delete().where(GapRow.id == gap_id).execute(db)
    before, after = rule.previous_us(first), rule.next_us(last)
    for start, end in ((row["first"], before), (after, row["last"])):
        if start is not None and end is not None and row["first"] <= start <= end <= row["last"]:
            count = rule.count_us(start, end + 1)
            kept = {**row, "id": ids(), "first": start, "last": end, "count": count}
            GapRow.insert(kept).execute(db)


def list_gaps(db: peewee.Database, query: GapQuery) -> Page[Gap]:
    """A page of the gaps that touch the asked-for time, newest first."""
    select = GapRow.select(*GAP_COLUMNS, GapRow.last, GapRow.id)
    if query.event_id is not None:
        select = select.where(GapRow.event_id == query.event_id)
    if query.since is not None:
        select = select.where(GapRow.last >= query.since)
    if query.until is not None:
        select = select.where(GapRow.first < query.until)
    return page(
        db,
        Strand(select, [GapRow.last, GapRow.id]),
        kind="gaps",
        descending=True,
        limit=query.limit,
        cursor=query.cursor,
        make=gap_of,
    )
