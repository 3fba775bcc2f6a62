"""Claiming: one transaction that writes executions and gaps and advances their events.

The transaction is ``BEGIN IMMEDIATE`` (storage.engine), so what is read here cannot change before
it commits; the updates still name the version and ``next_due`` they were decided on. An event whose
definition cannot be carried out is quarantined with the evidence, and the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.ids import IdSource
from kalends.messages import Claim
from kalends.model import EventStatus
from kalends.policies import plan_claim
from kalends.storage.accounts import give_back
from kalends.storage.batch import EVENT_PART, Batch, BatchWriter
from kalends.storage.gaps import write_gap
from kalends.storage.instants import execution_at, free_instant
from kalends.storage.journal import Stamp
from kalends.storage.manual import claim_manually
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.quarantine import quarantine, refuse
from kalends.storage.rows import load_policies, load_trigger
from kalends.storage.sqlite import SqliteDialect
from kalends.storage.statuses import end_pauses, first_pause_end
from kalends.storage.unowned import claim_unowned, first_ready

__all__ = ["ClaimStore", "Claimed"]

_COLUMNS = (*EVENT_PART, EventRow.next_due, EventRow.version)
_ACTIVE = EventRow.status == EventStatus.ACTIVE.value
_BEGUN_HERE = (
    ExecutionRow.event_id == EventRow.id,
    ExecutionRow.ended_at.is_null(),
    ExecutionRow.attempt > 0,
)
"""Executions of the event at hand that are claimed, run, or wait for another attempt. What waits
for its first attempt does not overlap anything yet.
"""
_OPEN_COUNT = ExecutionRow.select(fn.COUNT(ExecutionRow.id)).where(*_BEGUN_HERE)

_DUE = Prepared(
    EventRow.select(*_COLUMNS, _OPEN_COUNT.alias("open_count"))
    .where(_ACTIVE, EventRow.next_due <= hole("now"))
    .order_by(EventRow.next_due)
    .limit(hole("limit"))
)
_SOON = Prepared(
    EventRow.select(*_COLUMNS, peewee.Value(0))
    .where(
        _ACTIVE,
        EventRow.next_due > hole("now"),
        EventRow.next_due <= hole("horizon"),
        _OPEN_COUNT == 0,
    )
    .order_by(EventRow.next_due)
    .limit(hole("limit"))
)
_BEGUN = Prepared(
    ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.event_id == hole("event_id"),
        ExecutionRow.ended_at.is_null(),
        ExecutionRow.attempt > 0,
    )
)
_EARLIEST = Prepared(
    EventRow.select(fn.MIN(EventRow.next_due)).where(_ACTIVE, EventRow.next_due > hole("after"))
)
_EARLIEST_SOON = Prepared(
    EventRow.select(fn.MIN(EventRow.next_due)).where(
        _ACTIVE, EventRow.next_due > hole("now"), EventRow.next_due <= hole("horizon")
    )
)


class Claimed(msgspec.Struct, frozen=True):
    """What one claim transaction did."""

    claims: tuple[Claim, ...]
    next_due: int | None
    """The earliest instant that is left and may be claimed ahead of time."""
    blocked_until: int | None
    """The earliest instant that nothing can be done about ahead of time: its event still runs, or
    a pause ends then.
    """
    more: bool
    """True where the batch was full: claim again at once."""


class ClaimStore:
    """The unit-of-work functions of the loop."""

    def __init__(self, dialect: SqliteDialect, ids: IdSource, node: str) -> None:
        self._ids = ids
        self._node = node
        self._writer = BatchWriter(dialect)

    def claim_due(
        self,
        db: peewee.Database,
        *,
        now: int,
        ahead: int,
        limit: int,
        settled: frozenset[str],
    ) -> Claimed:
        """Decide on everything due by ``now``, and claim ahead what is due within ``ahead``
        microseconds.

        ``settled`` are executions of this node that have ended but are not recorded yet.
        """
        stamp = Stamp(now=now, ids=self._ids, node=self._node)
        resumed = end_pauses(db, stamp, limit=limit)
        claims = claim_unowned(
            db, now=now, horizon=now + ahead, limit=limit, ids=self._ids, node=self._node
        )
        taken = len(claims)
        rows = self._due_rows(db, now, ahead, limit)
        batch = Batch(self._node, self._ids, now)
        for *columns, open_count in rows:
            if open_count:
                open_count = self._open_count(db, columns[0], settled)
            self._plan_one(db, batch, columns, open_count, now)
        claims += self._write(db, batch)
        return Claimed(
            tuple(claims),
            _earliest(db, now + ahead),
            _earliest_blocked(db, now, now + ahead),
            more=max(len(rows), taken, resumed) >= limit,
        )

    def _due_rows(
        self, db: peewee.Database, now: int, ahead: int, limit: int
    ) -> list[tuple[Any, ...]]:
        """Events due by now, and those due within the horizon that have no open execution."""
        rows = _DUE.rows(db, now=now, limit=limit)
        if len(rows) < limit and ahead > 0:
            rows += _SOON.rows(db, now=now, horizon=now + ahead, limit=limit - len(rows))
        return rows

    def _open_count(self, db: peewee.Database, event_id: str, settled: frozenset[str]) -> int:
        found = _BEGUN.rows(db, event_id=event_id)
        return sum(1 for (open_id,) in found if open_id not in settled)

    def _plan_one(
        self, db: peewee.Database, batch: Batch, columns: Sequence[Any], open_count: int, now: int
    ) -> None:
        event_id, _, _, _, trigger_text, policies_text, due, version = columns
        try:
            rule = load_trigger(trigger_text)
            policies = load_policies(policies_text)
            plan = plan_claim(rule, policies, due, now, open_count=open_count)
        except Exception as error:  # noqa: BLE001 (whatever a rule does is its event's own trouble)
            self._quarantine(db, event_id, now, error)
            return
        if plan is not None:
            for span in plan.skipped:
                write_gap(db, event_id, version, rule, span, now=now, ids=self._ids)
            batch.add(columns, plan, policies)

    def _quarantine(
        self, db: peewee.Database, event_id: str, now: int, error: BaseException
    ) -> None:
        evidence = f"{type(error).__name__}: {error}"
        quarantine(db, event_id, now=now, error=evidence, ids=self._ids, node=self._node)

    def _write(self, db: peewee.Database, batch: Batch) -> list[Claim]:
        claims = batch.claims
        if claims and self._writer.insert(db, batch.rows) != len(claims):
            claims = self._settle_collisions(db, batch)
        self._writer.advance(db, batch)
        return claims

    def _settle_collisions(self, db: peewee.Database, batch: Batch) -> list[Claim]:
        """The claims whose row is there in the end.

        A manual execution makes way for an instant of the rule; an instant that has a fate already
        keeps it.
        """
        written = []
        for claim, row in zip(batch.claims, batch.rows, strict=True):
            found = execution_at(db, claim.event_id, claim.due)
            if found is not None and found != claim.id:
                free = free_instant(db, None, claim.event_id, claim.due + 1)
                moved = ExecutionRow.update(due=free).where(
                    ExecutionRow.id == found,
                    ExecutionRow.manual == 1,
                )
                if free is None or not moved.execute(db):
                    continue
                self._writer.insert(db, [row])
            written.append(claim)
        return written

    # -- on demand -----------------------------------------------------------------------------

    def trigger_now(
        self, db: peewee.Database, event_id: str, *, now: int, author: str | None = None
    ) -> Claim:
        """Claim one execution outside of the rule; see ``manual.claim_manually``."""
        return claim_manually(
            db, self._writer, event_id, now=now, author=author, ids=self._ids, node=self._node
        )

    def refuse(self, db: peewee.Database, claim: Claim, *, now: int, error: str) -> None:
        """A claimed execution cannot be carried out: skip it and quarantine its event."""
        refuse(db, claim, now=now, error=error, ids=self._ids, node=self._node)

    def give_back(
        self, db: peewee.Database, claims: Sequence[Claim], *, now: int
    ) -> dict[str, int]:
        """Undo this node's claims that have not begun; see ``accounts.give_back``."""
        return give_back(db, claims, self._node, now=now)


def _earliest(db: peewee.Database, after: int) -> int | None:
    found = [
        _EARLIEST.value(db, after=after),
        first_ready(db, after),
        first_pause_end(db, after),
    ]
    return min((due for due in found if due is not None), default=None)


def _earliest_blocked(db: peewee.Database, now: int, horizon: int) -> int | None:
    found = [_EARLIEST_SOON.value(db, now=now, horizon=horizon), first_pause_end(db, now)]
    return min((due for due in found if due is not None and due <= horizon), default=None)
