"""Backfills: past instants that have not run get an execution after all.

Each of them leaves where it stood (a gap is split, so that every instant keeps one fate) and waits
as an execution of its backfill. They run in order of their instants, by the event's overlap policy
and whatever catch-up says. A backfill is its entry in the journal, whose id is its own, and the
executions that name it: progress is counted, not kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import peewee
import pendulum
from peewee import fn

from kalends.backfills import Backfill
from kalends.clock import from_us, to_us
from kalends.errors import BackfillNotFound, StorageRefused, ValidationFailed
from kalends.model import OPEN_FATES, EventStatus, Fate, JournalKind, Reason
from kalends.storage.accounts import give_back
from kalends.storage.gaps import span_until, split_gap, write_gap
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import EventRow, ExecutionRow, JournalRow
from kalends.storage.paging import first_row
from kalends.storage.rows import JOURNAL_COLUMNS, journal_of, load_trigger
from kalends.storage.statuses import current_row, transition
from kalends.storage.stretches import Stretch, periods, stretches
from kalends.storage.waiting import insert_waiting
from kalends.work import Claim

__all__ = ["cancel_backfill", "find_backfill", "plan_backfill"]


class _Told(msgspec.Struct, frozen=True):
    """What the journal's entry of a backfill holds."""

    start: dt.datetime
    end: dt.datetime
    planned: int
    existing: int
    remaining: int
    resume_from: dt.datetime | None


class _Plan(msgspec.Struct):
    """Which instants a backfill takes, and from where."""

    taken: list[tuple[Stretch, list[int]]] = []
    planned: int = 0
    remaining: int = 0
    resume_from: int | None = None

    def add(self, stretch: Stretch, limit: int) -> None:
        """Take as much of the next stretch as the limit allows; the rest remains."""
        room = limit - self.planned if self.resume_from is None else 0
        if room == 0:
            self.leave(stretch.first, stretch.count)
            return
        instants = stretch.instants(room)
        self.taken.append((stretch, instants))
        self.planned += len(instants)
        if len(instants) < stretch.count:
            self.leave(stretch.after(instants[-1]), stretch.count - len(instants))

    def leave(self, first: int, count: int) -> None:
        """Leave what follows for another call."""
        self.remaining += count
        if self.resume_from is None:
            self.resume_from = first


def plan_backfill(
    db: peewee.Database, event_id: str, start: int, end: int, limit: int, stamp: Stamp
) -> Backfill:
    """Give at most ``limit`` instants in ``start <= instant < end`` that have not run an execution.

    Raises ``EventNotFound``, ``TransitionError``, and ``ValidationFailed`` where the range is empty
    or ends in the future, or a rule of that time cannot be read.
    """
    if end <= start:
        raise ValidationFailed("end must lie after start", path="end")
    if end > stamp.now:
        raise ValidationFailed("end must not lie in the future: what comes is not due", path="end")
    old = current_row(db, event_id, stamp)
    transition("backfill", old["status"])
    rules = periods(db, old, start, end)
    _decide_before(db, old, start, stamp)
    plan = _Plan()
    for stretch in stretches(db, old, rules):
        if _undecided(old, stretch) and old["next_due"] < start:
            plan.leave(stretch.first, stretch.count)  # what is due before it comes first
        else:
            plan.add(stretch, limit)
    total = sum(rule.rule.count_us(rule.start, rule.end) for rule in rules)
    backfill_id = note_down(
        db,
        JournalKind.EVENT_BACKFILLED,
        stamp,
        event_id,
        start=_text(start),
        end=_text(end),
        planned=plan.planned,
        existing=total - plan.planned - plan.remaining,
        remaining=plan.remaining,
        resume_from=None if plan.resume_from is None else _text(plan.resume_from),
    )
    _carry_out(db, old, plan, backfill_id, stamp)
    return find_backfill(db, backfill_id)


def _undecided(old: dict[str, Any], stretch: Stretch) -> bool:
    return old["next_due"] is not None and stretch.first >= old["next_due"]


def _decide_before(db: peewee.Database, old: dict[str, Any], start: int, stamp: Stamp) -> None:
    """Skip what was due in a pause before ``start``: nothing else can become of it.

    Advances the row ``old``, and the event.
    """
    if old["status"] != EventStatus.PAUSED or old["next_due"] is None:
        return
    rule = load_trigger(old["trigger"])
    span = span_until(rule, old["next_due"], start - 1, Reason.PAUSED.value)
    if span is not None:
        write_gap(
            db, old["id"], old["version"], rule, span, now=stamp.now, ids=stamp.ids, node=stamp.node
        )
        _advance(db, old, rule.next_us(start - 1))


def _advance(db: peewee.Database, old: dict[str, Any], next_due: int | None) -> None:
    old["next_due"] = next_due
    fresh: dict[str, Any] = {"next_due": next_due}
    if next_due is None and old["status"] == EventStatus.ACTIVE:
        fresh["status"] = EventStatus.COMPLETED.value
    EventRow.update(**fresh).where(EventRow.id == old["id"]).execute(db)


def _carry_out(
    db: peewee.Database, old: dict[str, Any], plan: _Plan, backfill_id: str, stamp: Stamp
) -> None:
    """Take the instants from where they stand, and write down their executions."""
    for stretch, instants in plan.taken:
        if stretch.gap_id is not None:
            split_gap(db, stretch.gap_id, stretch.rule, instants[0], instants[-1], ids=stamp.ids)
        elif stretch.execution_id is not None:
            ExecutionRow.delete().where(ExecutionRow.id == stretch.execution_id).execute(db)
        elif _undecided(old, stretch):
            _advance(db, old, stretch.rule.next_us(instants[-1]))
    waiting = [(due, stretch.version) for stretch, instants in plan.taken for due in instants]
    insert_waiting(db, old, waiting, stamp, ready_at=stamp.now, batch=backfill_id)


# -- progress ----------------------------------------------------------------------------------


def find_backfill(db: peewee.Database, backfill_id: str) -> Backfill:
    """The backfill as it is now. Raises ``BackfillNotFound``."""
    query = JournalRow.select(*JOURNAL_COLUMNS).where(
        JournalRow.id == backfill_id, JournalRow.kind == JournalKind.EVENT_BACKFILLED.value
    )
    row = first_row(db, query)
    if row is None:
        raise BackfillNotFound(f"there is no backfill {backfill_id}", backfill_id=backfill_id)
    entry = journal_of(row)
    try:
        told = msgspec.convert(entry.details, _Told)
    except msgspec.ValidationError as error:
        raise StorageRefused(
            f"the entry of backfill {backfill_id} cannot be read: {error}",
            reason="unreadable_row",
            row=backfill_id,
        ) from error
    counts = (
        ExecutionRow.select(ExecutionRow.fate, fn.COUNT(ExecutionRow.id))
        .where(ExecutionRow.batch == backfill_id)
        .group_by(ExecutionRow.fate)
    )
    fates = {Fate(fate): count for fate, count in list(counts.tuples().execute(db))}
    left = sum(fates.get(fate, 0) for fate in OPEN_FATES)
    return Backfill(
        id=entry.id,
        event_id=str(entry.event_id),
        start=_utc(told.start),
        end=_utc(told.end),
        asked_at=entry.at,
        author=entry.author,
        note=entry.note,
        planned=told.planned,
        existing=told.existing,
        remaining=told.remaining,
        resume_from=None if told.resume_from is None else _utc(told.resume_from),
        fates=fates,
        done=(told.planned - left) / told.planned if told.planned else 1.0,
    )


def cancel_backfill(
    db: peewee.Database, backfill_id: str, stamp: Stamp, given_back: Sequence[Claim] = ()
) -> Backfill:
    """End as ``cancelled (requested)`` what waits in a backfill; what runs goes on. Raises
    ``BackfillNotFound``.
    """
    found = find_backfill(db, backfill_id)
    give_back(db, given_back, stamp.node, now=stamp.now)
    cancelled = (
        ExecutionRow.update(
            fate=Fate.CANCELLED.value, reason=Reason.REQUESTED.value, ended_at=stamp.now
        )
        .where(
            ExecutionRow.batch == backfill_id,
            ExecutionRow.ended_at.is_null(),
            ExecutionRow.node.is_null(),
        )
        .execute(db)
    )
    note_down(
        db,
        JournalKind.BACKFILL_CANCELLED,
        stamp,
        found.event_id,
        backfill_id=backfill_id,
        cancelled=cancelled,
    )
    return find_backfill(db, backfill_id)


def _text(instant: int) -> str:
    return from_us(instant).isoformat()


def _utc(instant: dt.datetime) -> pendulum.DateTime:
    return from_us(to_us(instant))
