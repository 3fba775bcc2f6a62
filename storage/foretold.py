"""What is told of an event's future: instants left out once, and instants moved.

Both give the event's next instant its fate before it has come, and advance the event past it: a
skip as a gap, a move as an execution that waits for another instant. See ``undoing`` for how both
are taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from kalends.clock import from_us
from kalends.errors import ValidationFailed
from kalends.model import EventStatus, Execution, JournalKind, Reason
from kalends.planning import Span
from kalends.storage.accounts import give_back
from kalends.storage.event_rows import event_row, named
from kalends.storage.gaps import write_gap
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.rows import EXECUTION_COLUMNS, execution_of, load_trigger
from kalends.storage.statuses import current_row, transition
from kalends.storage.waiting import insert_waiting
from kalends.triggers import Trigger
from kalends.work import Claim

__all__ = ["move_next", "skip_next"]


def skip_next(
    db: peewee.Database, event_id: str, count: int, stamp: Stamp, given_back: Sequence[Claim] = ()
) -> tuple[int, ...]:
    """Skip the next ``count`` instants that have no fate; which they are. A rule may end earlier.

    Raises ``EventNotFound``, ``TransitionError``, and ``ValidationFailed`` where the rule cannot be
    read.
    """
    old, rule = _coming(db, event_id, "skip_next", stamp, given_back)
    instants = [old["next_due"]]
    following = rule.next_us(instants[-1])
    while following is not None and len(instants) < count:
        instants.append(following)
        following = rule.next_us(following)
    span = Span(instants[0], instants[-1], len(instants), Reason.EXCLUDED_ONCE.value)
    write_gap(
        db, event_id, old["version"], rule, span, now=stamp.now, ids=stamp.ids, node=stamp.node
    )
    _advance(db, event_id, following, stamp.now)
    shown = [from_us(instant).isoformat() for instant in instants]
    note_down(db, JournalKind.EVENT_SKIPPED, stamp, event_id, instants=shown)
    return tuple(instants)


def move_next(
    db: peewee.Database, event_id: str, to: int, stamp: Stamp, given_back: Sequence[Claim] = ()
) -> Execution:
    """Have the next instant that has no fate begin at ``to`` instead; its execution.

    Raises ``EventNotFound``, ``TransitionError``, and ``ValidationFailed`` where ``to`` has passed
    or the rule cannot be read.
    """
    if to < stamp.now:
        raise ValidationFailed("to must not lie in the past", path="to")
    old, rule = _coming(db, event_id, "move_next", stamp, given_back)
    due = old["next_due"]
    (execution_id,) = insert_waiting(
        db, old, [(due, old["version"])], stamp, ready_at=to, moved_to=to
    )
    _advance(db, event_id, rule.next_us(due), stamp.now)
    note_down(
        db,
        JournalKind.EVENT_MOVED,
        stamp,
        event_id,
        due=from_us(due).isoformat(),
        moved_to=from_us(to).isoformat(),
        execution_id=execution_id,
    )
    query = ExecutionRow.select(*EXECUTION_COLUMNS).where(ExecutionRow.id == execution_id)
    return execution_of(next(iter(query.tuples().execute(db))), ())


def _coming(
    db: peewee.Database, event_id: str, verb: str, stamp: Stamp, given_back: Sequence[Claim]
) -> tuple[dict[str, Any], Trigger]:
    """The row of an event that has a next instant, and its rule."""
    old = current_row(db, event_id, stamp)
    transition(verb, old["status"])
    if give_back(db, given_back, stamp.node, now=stamp.now):
        old = named(event_row(db, event_id))
    return old, load_trigger(old["trigger"])


def _advance(db: peewee.Database, event_id: str, next_due: int | None, now: int) -> None:
    """The definition stays what it was, and so does its version."""
    fresh: dict[str, Any] = {"next_due": next_due}
    if next_due is None:
        fresh |= {"status": EventStatus.COMPLETED.value, "updated_at": now}
    EventRow.update(**fresh).where(EventRow.id == event_id).execute(db)
