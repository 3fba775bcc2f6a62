"""Claiming: one transaction that writes executions and gaps and advances their events.

The transaction is ``BEGIN IMMEDIATE`` (storage.engine), so what is read here cannot change before
it commits; the updates still name the version and ``next_due`` they were decided on. An event whose
definition cannot be carried out is quarantined with the evidence, and the others go on.

First comes what waits already, then what is due. Where a named limit has less room than there is
to begin, the two are looked at together: higher priority first, then what has waited longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import peewee

from kalends.errors import ValidationFailed
from kalends.ids import IdSource
from kalends.planning import ClaimPlan, Others, Span, Standing, plan_claim
from kalends.policies import Overlap, Policies
from kalends.storage.accounts import give_back
from kalends.storage.batch import Batch, BatchWriter
from kalends.storage.dialect import Dialect
from kalends.storage.due import DueEvents
from kalends.storage.event_rows import event_row
from kalends.storage.gaps import hearing_gaps, write_gap
from kalends.storage.instants import execution_at, free_instant
from kalends.storage.journal import Stamp
from kalends.storage.limits import Rooms
from kalends.storage.manual import Triggered, trigger
from kalends.storage.models import ExecutionRow
from kalends.storage.overlaps import (
    NOTHING_SETTLED,
    QUEUEING,
    Lines,
    Settled,
    carry_out,
    standing_of,
)
from kalends.storage.prospects import Prospects, left, prospects
from kalends.storage.quarantine import quarantine, refuse
from kalends.storage.rows import load_policies, load_trigger
from kalends.storage.statuses import end_pauses
from kalends.storage.unowned import Taker, Waiting, claim_waiting, ready
from kalends.triggers import Trigger
from kalends.work import Claim, WrittenOff

__all__ = ["ClaimStore", "Claimed", "Skipped"]


class Claimed(msgspec.Struct, frozen=True):
    """What one claim transaction did."""

    claims: tuple[Claim, ...]
    next_due: int | None
    """The earliest instant that is left and may be claimed ahead of time."""
    blocked_until: int | None
    """The earliest one that nothing can be done about before it comes, or at which a pause ends."""
    more: bool
    """True where the batch was full: claim again at once."""
    many_wait: bool = False
    """True where more waits than it could hold."""
    held_up: bool = False
    """True where something may wait for an execution to end."""
    told: tuple[str, ...] = ()
    """Executions of this node whose jobs are to be told to stop."""
    terminated: tuple[WrittenOff, ...] = ()
    """Executions of this node that have ended in the ledger, whatever their jobs do."""
    skipped: tuple[Skipped, ...] = ()


class Skipped(msgspec.Struct, frozen=True):
    """Instants of one event that a transaction has skipped."""

    event_id: str
    event_name: str | None
    span: Span


class _Round:
    """One claim transaction, as far as it has come."""

    def __init__(
        self,
        db: peewee.Database,
        batch: Batch,
        rooms: Rooms,
        now: int,
        settled: Settled,
        first: Prospects,
    ) -> None:
        self.db = db
        self.batch = batch
        self.rooms = rooms
        self.now = now
        self.settled = settled
        self.first = first
        self.taken: list[Claim] = []
        self.decided: set[str] = set()
        """The events of which something that was due has its fate now."""
        self.begun: set[str] = set()
        """The events of which something that was due begins."""
        self.alike: dict[tuple[str, str, int], tuple[Trigger, Policies, ClaimPlan | None]] = {}
        """What was decided on events of which there was nothing else, by what they had alike."""
        self.making_way: set[str] = set()
        """The events of which something waits that a newer instant is to take the place of."""
        self.freed = False
        """Whether places have become free, perhaps of limits that were looked at before."""
        self.told: list[str] = []
        self.terminated: list[WrittenOff] = []
        self.skipped: list[Skipped] = []


class ClaimStore:
    """The unit-of-work functions of the loop."""

    def __init__(
        self,
        dialect: Dialect,
        ids: IdSource,
        node: str,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """``limits``: how many executions of each named limit may be claimed at once."""
        self._ids = ids
        self._node = node
        self._limits = dict(limits or {})
        self._due = DueEvents(self._limits)
        self._writer = BatchWriter(dialect)
        self._taker = Taker(dialect, node)

    def claim_due(
        self,
        db: peewee.Database,
        *,
        now: int,
        ahead: int,
        limit: int,
        settled: Settled,
        waiting_limit: int | None = None,
    ) -> Claimed:
        """Decide on everything due by ``now``, and claim ahead what is due within ``ahead`` us.

        ``settled``: outcomes of this node that are not recorded yet, by their executions.
        ``waiting_limit`` is in the place of ``limit`` for what waits."""
        stamp = Stamp(now=now, ids=self._ids, node=self._node)
        horizon = now + ahead
        first, resumed, paused = prospects(db, now, horizon), 0, list[tuple[str, Span]]()
        if first.pause_over:
            with hearing_gaps(paused):
                resumed = end_pauses(db, stamp, limit=limit)
            first = prospects(db, now, horizon)
        rooms = Rooms(db, self._limits, settled)
        this = _Round(db, Batch(self._node, self._ids, now), rooms, now, settled, first)
        found, most = [], waiting_limit or limit
        if first.ready:
            found = ready(db, now=now, horizon=horizon, full=rooms.full(), limit=most)
        waiting = [one for one in found if not one.makes_way(now)]
        this.skipped += [Skipped(one, event_row(db, one)[1], span) for one, span in paused]
        this.making_way = {one.event_id for one in found if one.makes_way(now)}
        self._take_all(this, [one for one in waiting if one.limit_name not in self._limits])
        # What waits comes first: where that is more than a batch, what is due has to wait for it,
        # unless it comes before the last of the batch in the order of its limit.
        cut = len(found) >= most and bool(waiting)
        bound = (-found[-1].priority, found[-1].ready_at) if cut else None
        more = self._share_limits(this, waiting, limit, bound)
        rows = [] if cut else self._due.unlimited(db, first, now=now, horizon=horizon, limit=limit)
        lines = Lines(db, [(row[0], row[5], row[-1] > 0) for row in rows])
        this.batch.expect(len(rows))
        for row in rows:
            self._plan_one(this, row[:-1], begun=row[-1] > 0, lines=lines)
        claims = this.taken + self._write(this)
        # What was to make way, for an instant that is not to run after all, is looked at again.
        more |= this.freed or any(
            one.makes_way(now) and one.event_id in this.decided for one in found
        )
        rest = left(db, now, horizon)
        return Claimed(
            tuple(claims),
            rest.next_due,
            rest.blocked_until,
            more=more or max(len(rows), resumed) >= limit or len(found) >= most,
            many_wait=cut,
            held_up=bool(rooms.full()) or rest.waiting,
            told=tuple(this.told),
            terminated=tuple(this.terminated),
            skipped=tuple(this.skipped),
        )

    # -- what waits, and what a limit counts ---------------------------------------------------

    def _take_all(self, this: _Round, waiting: Sequence[Waiting]) -> None:
        """Take what no limit counts. Nothing in this transaction has ended any of it yet."""
        claims = []
        for one in waiting:
            try:
                this.rooms.of(one.limit_name)
                claims.append(claim_waiting(one))
            except ValidationFailed as error:
                self._quarantine(this, one.event_id, error)
        self._taker.take(this.db, [(claim, None) for claim in claims], now=this.now)
        this.taken += claims

    def _take(self, this: _Round, one: Waiting) -> None:
        if one.serial and one.event_id in this.begun:
            return  # what was due longer than it waits has just taken its turn
        try:
            room = this.rooms.of(one.limit_name)
            if room is not None and room <= 0:
                return
            claim = claim_waiting(one)
        except ValidationFailed as error:
            self._quarantine(this, one.event_id, error)
            return
        if self._taker.take(this.db, [(claim, one.limit_name)], now=this.now):
            this.taken.append(claim)
            this.rooms.take(one.limit_name)

    def _share_limits(
        self, this: _Round, waiting: Sequence[Waiting], limit: int, bound: tuple[int, int] | None
    ) -> bool:
        """Give the room of each limit to what waits and to what is due, as far as ``bound`` in
        their order; True where more of it may be to be had.
        """
        more = False
        due = bool(self._limits) and self._due.any_limited(this.db, this.first, now=this.now)
        for name in self._limits if due or waiting else ():
            room = this.rooms.of(name) or 0
            most = min(limit, room + this.rooms.held[name])
            rows = (
                self._due.limited(this.db, name, now=this.now, room=room, limit=most) if due else []
            )
            mine = [one for one in waiting if one.limit_name == name]
            entries: list[tuple[tuple[int, int], Waiting | Sequence[Any]]] = [
                *(((-one.priority, one.ready_at), one) for one in mine),
                *(((-priority, columns[6]), columns) for *columns, priority in rows),
            ]
            if bound is not None:
                entries = [
                    (rank, entry)
                    for rank, entry in entries
                    if rank <= bound or isinstance(entry, Waiting)
                ]
            full = len(rows) >= most > 0
            if full:  # there may be more that is due: what comes behind these waits for its turn
                last = sorted((-row[-1], row[6]) for row in rows)[most - 1]
                entries = [
                    (rank, entry)
                    for rank, entry in entries
                    if rank <= last or not isinstance(entry, Waiting)
                ]
            begun = len(this.taken)
            for _, entry in sorted(entries, key=lambda entry: entry[0]):
                if isinstance(entry, Waiting):
                    self._take(this, entry)
                    continue
                self._plan_one(this, entry, begun=True)
                if entry[0] in this.making_way and entry[0] in this.decided:
                    # What was to make way for it is perhaps not to: it may be the first in line.
                    more = True
                    break
            # An event that has taken a place just now may have been beyond the rows.
            took = len(this.taken) > begun
            more |= full and (took or bool(this.rooms.of(name)))
        return more

    # -- what is due ---------------------------------------------------------------------------

    def _plan_one(
        self, this: _Round, columns: Sequence[Any], *, begun: bool, lines: Lines | None = None
    ) -> None:
        event_id, name, version = columns[0], columns[1], columns[7]
        try:
            decision = self._decide(this, columns, begun, lines)
        except Exception as error:  # noqa: BLE001 (whatever a rule does is its event's own trouble)
            self._quarantine(this, event_id, error)
            return
        rule, policies, plan = decision
        if plan is None:
            return
        this.rooms.take(policies.concurrency_limit, len(plan.run))
        if plan.others is not Others.STAY:
            self._carry_out(this, plan.others, columns, policies)
        if plan.run:
            this.begun.add(event_id)
        for span in plan.skipped:
            this.skipped.append(Skipped(event_id, name, span))
            write_gap(
                this.db, event_id, version, rule, span, now=this.now, ids=self._ids, node=self._node
            )
        this.decided.add(event_id)
        this.batch.add(columns, plan, policies)

    def _decide(
        self, this: _Round, columns: Sequence[Any], begun: bool, lines: Lines | None
    ) -> tuple[Trigger, Policies, ClaimPlan | None]:
        """What becomes of the instants of one event. Where there is nothing else of it, those of
        the same rule and policies are decided on alike.
        """
        event_id, trigger_text, policies_text, due = columns[0], *columns[4:7]
        alike = trigger_text, policies_text, due
        known = None if begun else this.alike.get(alike)
        if known is not None:
            return known
        rule = load_trigger(trigger_text)
        policies = load_policies(policies_text)
        standing = standing_of(
            this.db,
            event_id,
            policies,
            begun=begun,
            room=this.rooms.of(policies.concurrency_limit),
            settled=this.settled,
            lines=lines,
        )
        decision = rule, policies, plan_claim(rule, policies, due, this.now, standing)
        if not begun and policies.overlap not in QUEUEING and standing == Standing():
            this.alike[alike] = decision
        return decision

    def _carry_out(
        self, this: _Round, others: Others, columns: Sequence[Any], policies: Policies
    ) -> None:
        ended = carry_out(
            this.db,
            others,
            columns[:3],
            policies,
            node=self._node,
            now=this.now,
            settled=this.settled,
        )
        this.told += ended.told
        this.terminated += ended.terminated
        this.rooms.take(policies.concurrency_limit, -ended.freed)
        this.freed |= bool(self._limits) and ended.freed > 0

    def _quarantine(self, this: _Round, event_id: str, error: BaseException) -> None:
        evidence = f"{type(error).__name__}: {error}"
        quarantine(this.db, event_id, now=this.now, error=evidence, ids=self._ids, node=self._node)

    def _write(self, this: _Round) -> list[Claim]:
        batch = this.batch
        claims = batch.claims
        if batch.rows and self._writer.insert(this.db, batch.rows) != len(batch.rows):
            written = self._settle_collisions(this.db, batch)
            claims = [claim for claim in claims if claim.id in written]
        self._writer.advance(this.db, batch)
        return claims

    def _settle_collisions(self, db: peewee.Database, batch: Batch) -> set[str]:
        """The executions whose row is there in the end.

        A manual execution makes way for an instant of the rule; an instant that has a fate already
        keeps it.
        """
        written = set()
        for row in batch.rows:
            execution_id, event_id, due = row[:3]
            found = execution_at(db, event_id, due)
            if found is not None and found != execution_id:
                free = free_instant(db, None, event_id, due + 1)
                moved = ExecutionRow.update(due=free)
                moved = moved.where(ExecutionRow.id == found, ExecutionRow.manual == 1)
                if free is None or not moved.execute(db):
                    continue
                self._writer.insert(db, [row])
            written.add(execution_id)
        return written

    # -- on demand -----------------------------------------------------------------------------

    def trigger_now(
        self,
        db: peewee.Database,
        event_id: str,
        *,
        now: int,
        overlap: Overlap | None = None,
        author: str | None = None,
        settled: Settled = NOTHING_SETTLED,
    ) -> Triggered:
        """Ask for one execution outside of the rule; see ``manual.trigger``."""
        stamp = Stamp(now=now, ids=self._ids, node=self._node, author=author)
        return trigger(
            db, self._writer, event_id, overlap, stamp, limits=self._limits, settled=settled
        )

    def refuse(self, db: peewee.Database, claim: Claim, *, now: int, error: str) -> None:
        """A claimed execution cannot be carried out: skip it and quarantine its event."""
        refuse(db, claim, now=now, error=error, ids=self._ids, node=self._node)

    def give_back(
        self, db: peewee.Database, claims: Sequence[Claim], *, now: int
    ) -> dict[str, int]:
        """Undo this node's claims that have not begun; see ``accounts.give_back``."""
        return give_back(db, claims, self._node, now=now)
