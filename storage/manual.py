"""Executions outside of the rule, because somebody asked for one.

The event's overlap policy, or another one that was asked for, decides as it does of an instant that
is due: the execution begins, waits, or is skipped, and others may have to make way for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import peewee

from kalends.errors import ConflictError, ValidationFailed
from kalends.model import Fate, JournalKind
from kalends.planning import ClaimPlan, plan_claim
from kalends.policies import Overlap, Policies
from kalends.storage.batch import Batch, BatchWriter
from kalends.storage.event_rows import event_row, named
from kalends.storage.instants import free_instant
from kalends.storage.journal import Stamp, note_down
from kalends.storage.limits import Rooms
from kalends.storage.models import ExecutionRow
from kalends.storage.overlaps import Settled, carry_out, standing_of
from kalends.storage.rows import load_policies, load_trigger
from kalends.storage.statuses import transition
from kalends.triggers import Once
from kalends.work import Claim, WrittenOff

__all__ = ["Triggered", "trigger"]

_QUEUEING = (Overlap.BUFFER_ONE, Overlap.BUFFER_ALL, Overlap.CANCEL_OTHER)


class Triggered(msgspec.Struct, frozen=True):
    """What became of the wish, as far as this node has to know."""

    execution_id: str
    event_name: str
    job: str
    claims: tuple[Claim, ...] = ()
    """The one to run now, where it begins now."""
    told: tuple[str, ...] = ()
    """Executions whose jobs are to be told to stop."""
    terminated: tuple[WrittenOff, ...] = ()


def trigger(
    db: peewee.Database,
    writer: BatchWriter,
    event_id: str,
    overlap: Overlap | None,
    stamp: Stamp,
    *,
    limits: Mapping[str, int],
    settled: Settled,
) -> Triggered:
    """Ask for one execution, at ``now`` or the first free microsecond after it.

    Raises ``EventNotFound``, ``TransitionError`` (quarantined), ``ValidationFailed`` (the event
    cannot be read, or ``overlap`` does not go with its own policy), and ``ConflictError`` where
    there is no free microsecond.
    """
    row = named(event_row(db, event_id))
    transition("trigger_now", row["status"])
    policies = _policies(row["policies"], overlap)
    due = free_instant(db, load_trigger(row["trigger"]), event_id, stamp.now)
    if due is None:
        raise ConflictError(
            "the event has an instant of its own in every microsecond from now on",
            path="event_id",
            event_id=event_id,
        )
    room = Rooms(db, limits, settled).of(policies.concurrency_limit)
    standing = standing_of(db, event_id, policies, begun=True, room=room, settled=settled)
    # No room is no decision for an instant of a rule, which stays due; this one waits.
    plan = plan_claim(Once(due), policies, due, due, standing) or ClaimPlan((), (), None, (due,))
    whose = event_id, row["name"], row["job"]
    ended = carry_out(
        db, plan.others, whose, policies, node=stamp.node, now=stamp.now, settled=settled
    )
    batch = Batch(stamp.node, stamp.ids, stamp.now)
    execution_id = _enter(batch, row, due, policies, plan)
    writer.insert(db, batch.rows)
    if plan.skipped:
        ExecutionRow.update(
            fate=Fate.SKIPPED.value, reason=plan.skipped[0].reason, ended_at=stamp.now
        ).where(ExecutionRow.id == execution_id).execute(db)
    evidence = {} if overlap is None else {"overlap": overlap.value}
    note_down(
        db, JournalKind.EVENT_TRIGGERED, stamp, event_id, execution_id=execution_id, **evidence
    )
    return Triggered(
        execution_id, row["name"], row["job"], tuple(batch.claims), ended.told, ended.terminated
    )


def _policies(text: str, overlap: Overlap | None) -> Policies:
    policies = load_policies(text)
    if overlap is None:
        return policies
    if policies.overlap is Overlap.ALLOW_ALL and overlap in _QUEUEING:
        raise ValidationFailed(
            f"nothing of an event with overlap='allow_all' waits for others: {overlap.value!r}"
            " does not go with it",
            path="overlap",
        )
    return msgspec.structs.replace(policies, overlap=overlap)


def _enter(batch: Batch, row: dict[str, Any], due: int, policies: Policies, plan: ClaimPlan) -> str:
    """Write the execution down, claimed or not; its id."""
    columns = (
        row["id"], row["name"], row["job"], row["arguments"], row["trigger"], row["policies"],
        due, row["version"],
    )  # fmt: skip
    if plan.run:
        return batch.claim(columns, due, policies, manual=True).id
    return batch.wait(columns, due, policies, manual=True)
