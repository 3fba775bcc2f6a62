"""Undoing what was told of an event's future, where its rule changes or the event is deleted.

An instant ahead that was skipped or moved belongs to the rule of its time. Where that rule goes
before the instant has come, the instant is no longer due and needs no fate: it leaves the account,
which then ends with the change and not with the last instant that had been skipped or moved.
"""

from __future__ import annotations

from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.model import Reason
from kalends.storage.accounts import readable_rule
from kalends.storage.gaps import cut_gap
from kalends.storage.models import ExecutionRow, GapRow
from kalends.storage.paging import first_row
from kalends.triggers import Trigger

__all__ = ["Undone", "undo_foretold"]

_LEFT_OUT = Reason.EXCLUDED_ONCE.value


class Undone(msgspec.Struct, frozen=True):
    """How many instants ahead had been skipped or moved, and are not any more."""

    skipped: int = 0
    moved: int = 0

    def evidence(self) -> dict[str, Any]:
        """What the journal says of it."""
        told = {"skipped": self.skipped, "moved": self.moved}
        return {"undone": told} if any(told.values()) else {}


def undo_foretold(db: peewee.Database, old: dict[str, Any], now: int) -> Undone:
    """Take out of the event's account what was told of instants after ``now``; ``old`` is its row.

    What another process has claimed ahead keeps its fate, and with it all before it. An execution
    that was moved and has begun stays, outside of the rule: somebody asked for it.
    """
    rule = readable_rule(old["trigger"])
    if rule is None:
        return Undone()  # nothing can be said about its instants: the account begins anew
    # Where the clock was set back, an earlier rule may have accounted for instants after now.
    firm = _told_otherwise(db, old["id"], max(now, old["rule_since"] - 1))
    moved = _undo_moved(db, old["id"], firm)
    skipped = _undo_skipped(db, old["id"], rule, firm, now)
    return Undone(skipped, moved)


def _told_otherwise(db: peewee.Database, event_id: str, now: int) -> int:
    """The last instant, from ``now`` on, whose fate is neither a skip nor a move; else ``now``."""
    execution = ExecutionRow.select(fn.MAX(ExecutionRow.due)).where(
        ExecutionRow.event_id == event_id,
        ExecutionRow.due > now,
        ExecutionRow.manual == 0,
        ExecutionRow.moved_to.is_null(),
    )
    gap = GapRow.select(fn.MAX(GapRow.last)).where(
        GapRow.event_id == event_id,
        GapRow.last > now,
        GapRow.reason.is_null() | (GapRow.reason != _LEFT_OUT),
    )
    found = [row[0] for row in (first_row(db, execution), first_row(db, gap)) if row is not None]
    return max((last for last in found if last is not None), default=now)


def _undo_moved(db: peewee.Database, event_id: str, firm: int) -> int:
    ahead = (
        (ExecutionRow.event_id == event_id)
        & (ExecutionRow.due > firm)
        & (ExecutionRow.manual == 0)
        & ExecutionRow.moved_to.is_null(False)
    )
    unbegun = ExecutionRow.attempt == 0
    count: int = ExecutionRow.delete().where(ahead, unbegun).execute(db)
    count += ExecutionRow.update(manual=1).where(ahead).execute(db)
    return count


def _undo_skipped(db: peewee.Database, event_id: str, rule: Trigger, firm: int, now: int) -> int:
    query = GapRow.select(GapRow.id, GapRow.first, GapRow.count).where(
        GapRow.event_id == event_id, GapRow.last > firm, GapRow.reason == _LEFT_OUT
    )
    undone = 0
    for gap_id, first, count in list(query.tuples().execute(db)):
        undone += count - cut_gap(db, gap_id, rule, first, firm, now=now)
    return undone
