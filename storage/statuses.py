"""Events parked and looked at again: pause, resume, release, delete, and the pauses that end by
themselves.

What was due while an event was parked is skipped for that reason; it is not caught up. A pause with
an end covers the instants before that end and none from it on, whenever it is that somebody notices
that it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import peewee

from kalends.clock import from_us
from kalends.errors import TransitionError, ValidationFailed
from kalends.model import EVENT_TRANSITIONS, EventStatus, JournalKind, Reason
from kalends.planning import Span
from kalends.storage.accounts import (
    PARKED,
    close_account,
    end_moved,
    end_unheld,
    give_back,
    told_to,
)
from kalends.storage.event_rows import event_row, named, write_event
from kalends.storage.gaps import span_until, write_gap
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import EventRow, TagRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.quarantine import quarantine
from kalends.storage.rows import load_trigger
from kalends.storage.undoing import undo_foretold
from kalends.triggers import Trigger
from kalends.work import Claim

__all__ = ["current_row", "end_pauses", "set_status", "transition"]

_OVER = Prepared(
    EventRow.select(EventRow.id)
    .where(EventRow.paused_until <= hole("now"))
    .order_by(EventRow.paused_until)
    .limit(hole("limit")),
    claims=(EventRow,),
)
_JOURNAL_OF = {
    "pause": JournalKind.EVENT_PAUSED,
    "resume": JournalKind.EVENT_RESUMED,
    "release": JournalKind.EVENT_RELEASED,
    "delete": JournalKind.EVENT_DELETED,
}
_REASON_OF = {"resume": Reason.PAUSED, "release": Reason.QUARANTINED}
"""Why the instants are skipped that were due up to the return of an event."""


def set_status(
    db: peewee.Database,
    event_id: str,
    verb: str,
    stamp: Stamp,
    *,
    until: int | None = None,
    given_back: Sequence[Claim] = (),
    **evidence: Any,
) -> None:
    """Carry out ``pause`` (up to ``until``, where given), ``resume``, ``release`` or ``delete``.

    Raises ``EventNotFound``, ``TransitionError``, and ``ValidationFailed`` where ``until`` does not
    lie ahead or the rule to go on with cannot be read.
    """
    if until is not None and until <= stamp.now:
        raise ValidationFailed("until must lie ahead: the pause would have ended", path="until")
    old = current_row(db, event_id, stamp, settle=verb != "resume")
    status = transition(verb, old["status"])
    if give_back(db, given_back, stamp.node, now=stamp.now, status=status):
        old = named(event_row(db, event_id))
    fresh: dict[str, Any] = {
        "status": status.value,
        "status_note": stamp.note,
        "paused_until": until,
    }
    if verb in _REASON_OF:
        reason = _REASON_OF[verb]
        plan = _plan_return(old, reason, stamp.now)
        fresh |= _reopen(db, old, plan, reason, stamp)
    elif verb == "delete":
        evidence |= undo_foretold(db, old, stamp.now).evidence()
        fresh |= _bury(db, old, stamp)
    write_event(db, old, fresh, now=stamp.now)
    if status in PARKED:
        end_unheld(db, event_id, PARKED[status], now=stamp.now)
    if until is not None:
        evidence["until"] = from_us(until).isoformat()
    note_down(db, _JOURNAL_OF[verb], stamp, event_id, **evidence)


def transition(verb: str, status: str) -> EventStatus:
    """What ``verb`` makes of an event of this status. Raises ``TransitionError``."""
    after = EVENT_TRANSITIONS[verb].get(EventStatus(status))
    if after is None:
        allowed = ", ".join(EVENT_TRANSITIONS[verb])
        raise TransitionError(
            f"cannot {verb} an event that is {status}; only one that is {allowed}",
            verb=verb,
            status=status,
        )
    return after


class _Return(msgspec.Struct, frozen=True):
    """How an event goes on after it was parked: what its rule says, nothing written yet."""

    rule: Trigger
    closing: int
    """The last instant that the parking covers."""
    skipped: Span | None
    next_due: int | None


def _plan_return(old: dict[str, Any], reason: Reason, now: int) -> _Return:
    """Raises ``ValidationFailed`` where the rule cannot be read, and whatever a rule raises."""
    rule = load_trigger(old["trigger"])
    until = old["paused_until"]
    closing = now if until is None else min(now, until - 1)
    skipped = span_until(rule, old["next_due"], closing, reason.value)
    next_due = old["next_due"] if skipped is None else rule.next_us(closing)
    return _Return(rule, closing, skipped, next_due)


def _reopen(
    db: peewee.Database, old: dict[str, Any], plan: _Return, reason: Reason, stamp: Stamp
) -> dict[str, Any]:
    """Skip what was due while the event was parked; the columns of its return."""
    if plan.skipped is not None:
        write_gap(
            db, old["id"], old["version"], plan.rule, plan.skipped, now=stamp.now, ids=stamp.ids,
            node=stamp.node,
        )  # fmt: skip
    end_moved(db, old["id"], reason, closing=plan.closing, now=stamp.now)
    fresh: dict[str, Any] = {"next_due": plan.next_due}
    if plan.next_due is None:
        fresh["status"] = EventStatus.COMPLETED.value
    if reason is Reason.PAUSED:
        fresh["streak_since"] = stamp.now  # its failures in a row are counted anew
    return fresh


def _bury(db: peewee.Database, old: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """Close the account of an event that is deleted."""
    reason = Reason.PAUSED if old["status"] == EventStatus.PAUSED else Reason.DELETED
    closing = max(stamp.now, told_to(db, old))
    kept = close_account(db, old, closing, reason, now=stamp.now, ids=stamp.ids, node=stamp.node)
    TagRow.delete().where(TagRow.event_id == old["id"]).execute(db)
    fresh: dict[str, Any] = {"next_due": None, "rule_since": closing + 1}
    return fresh if kept else {**fresh, "accounted_from": closing + 1}


# -- pauses that end by themselves -------------------------------------------------------------


def current_row(
    db: peewee.Database, event_id: str, stamp: Stamp, *, settle: bool = True
) -> dict[str, Any]:
    """The event's row by column name, to be changed: a pause that has ended is ended in it.

    Raises ``EventNotFound``.
    """
    row = named(event_row(db, event_id))
    if settle and row["paused_until"] is not None and row["paused_until"] <= stamp.now:
        _end_pause(db, row, stamp)
        row = named(event_row(db, event_id))
    return row


def end_pauses(db: peewee.Database, stamp: Stamp, *, limit: int) -> int:
    """End the pauses that have come to their end, the oldest first; how many there were."""
    found = _OVER.rows(db, now=stamp.now, limit=limit)
    for (event_id,) in found:
        _end_pause(db, named(event_row(db, event_id)), stamp)
    return len(found)


def _end_pause(db: peewee.Database, old: dict[str, Any], stamp: Stamp) -> None:
    """An event whose rule cannot go on is quarantined instead."""
    now, ids, node = stamp.now, stamp.ids, stamp.node
    try:
        plan = _plan_return(old, Reason.PAUSED, now)
    except Exception as error:  # noqa: BLE001 (whatever a rule does is its event's own trouble)
        evidence = f"{type(error).__name__}: {error}"
        quarantine(db, old["id"], now=now, error=evidence, ids=ids, node=node)
        return
    fresh = {
        "status": EventStatus.ACTIVE.value,
        "status_note": None,
        "paused_until": None,
        **_reopen(db, old, plan, Reason.PAUSED, stamp),
    }
    write_event(db, old, fresh, now=now)
    ended = Stamp(now=now, ids=ids, node=node, author="kalends", note="the pause ended")
    until = from_us(old["paused_until"]).isoformat()
    note_down(db, JournalKind.EVENT_RESUMED, ended, old["id"], until=until)
