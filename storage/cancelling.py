"""Executions that somebody asks to stop, and the mark by which the ledger says so.

What nobody holds ends at once. What a node holds is marked: the node finds the mark and tells the
job, or ends what has not begun. Whatever becomes of the node, a marked execution is never begun
again: with its attempt it ends, for the reason that the mark gives.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
import peewee

from kalends.clock import from_us
from kalends.errors import ExecutionEnded, ExecutionNotFound
from kalends.model import Fate, JournalKind, Reason
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import CALLED_OFF, EventRow, ExecutionRow
from kalends.storage.paging import first_row
from kalends.storage.prepared import Prepared, hole

__all__ = [
    "CancelAsked", "Mark", "cancel_execution", "end_called_off", "marks_of", "reason_of",
]  # fmt: skip

_WHOSE = EventRow.select(EventRow.name, EventRow.job)
_MARKS = Prepared(
    ExecutionRow.select(ExecutionRow.id, ExecutionRow.cancel).where(
        ExecutionRow.node == hole("node"), CALLED_OFF
    )
)


class Mark(IntEnum):
    """Why an execution is to stop: ``ExecutionRow.cancel``."""

    NONE = 0
    NEWER = 1
    """A newer instant of its event is due (``overlap="cancel_other"``)."""
    ASKED = 2
    """Somebody asked for it: the journal says who."""


_REASONS = {Mark.NONE: None, Mark.NEWER: Reason.OVERLAP, Mark.ASKED: Reason.REQUESTED}


def reason_of(mark: int) -> Reason | None:
    """The reason of an execution that is cancelled under this mark."""
    return _REASONS[Mark(mark)]


class CancelAsked(msgspec.Struct, frozen=True):
    """What a call of ``cancel_execution`` did."""

    event_id: str
    held_by: str | None = None
    """The node that is to tell the job; None: the execution has ended."""
    changed: bool = True
    """False where it had been asked for before."""
    event_name: str | None = None
    job: str | None = None
    """Of which event it was, where it was ended here."""


def cancel_execution(db: peewee.Database, execution_id: str, stamp: Stamp) -> CancelAsked:
    """End an execution that nobody holds, mark one that somebody does. Idempotent.

    One that is cancelled already stays as it is. Raises ``ExecutionNotFound``, and
    ``ExecutionEnded`` for any other fate.
    """
    columns = (
        ExecutionRow.event_id, ExecutionRow.due, ExecutionRow.fate, ExecutionRow.reason,
        ExecutionRow.node, ExecutionRow.ended_at, ExecutionRow.cancel,
    )  # fmt: skip
    row = first_row(db, ExecutionRow.select(*columns).where(ExecutionRow.id == execution_id))
    if row is None:
        raise ExecutionNotFound(f"there is no execution {execution_id}", execution_id=execution_id)
    event_id, due, fate, reason, node, ended_at, mark = row
    if ended_at is not None:
        if fate == Fate.CANCELLED:
            return CancelAsked(event_id, changed=False)
        raise _ended(execution_id, fate, reason, ended_at)
    if mark == Mark.ASKED:
        return CancelAsked(event_id, node, changed=False)
    name = job = None
    ExecutionRow.update(cancel=Mark.ASKED).where(ExecutionRow.id == execution_id).execute(db)
    if node is None:
        end_called_off(db, execution_id, Mark.ASKED, now=stamp.now)
        name, job = first_row(db, _WHOSE.where(EventRow.id == event_id)) or (None, None)
    note_down(
        db,
        JournalKind.EXECUTION_CANCELLED,
        stamp,
        event_id,
        execution_id=execution_id,
        due=from_us(due).isoformat(),
        fate=fate,
        held_by=node,
    )
    return CancelAsked(event_id, node, event_name=name, job=job)


def _ended(execution_id: str, fate: str, reason: str | None, ended_at: int) -> ExecutionEnded:
    at = from_us(ended_at).isoformat()
    why = "" if reason is None else f" ({reason})"
    return ExecutionEnded(
        f"execution {execution_id} ended at {at}: {fate}{why}",
        execution_id=execution_id,
        fate=fate,
        reason=reason,
        ended_at=at,
    )


def marks_of(db: peewee.Database, node: str) -> dict[str, int]:
    """The open executions of a node that are to stop, and their marks."""
    return dict(_MARKS.rows(db, node=node))


def end_called_off(db: peewee.Database, execution_id: str, mark: int, *, now: int) -> None:
    """End a marked execution whose job does not run, or runs no more."""
    reason = reason_of(mark)
    fresh: dict[str, Any] = {
        "fate": Fate.CANCELLED.value,
        "reason": None if reason is None else reason.value,
        "ended_at": now,
    }
    ExecutionRow.update(**fresh).where(ExecutionRow.id == execution_id).execute(db)
