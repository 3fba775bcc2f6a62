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

from kalends.errors import ConflictError, EventNotFound, ValidationFailed
from kalends.ids import IdSource
from kalends.messages import Claim
from kalends.model import EVENT_TRANSITIONS, EventStatus, Fate, JournalKind, Reason
from kalends.policies import ClaimPlan, DueRule, Overlap, Policies, plan_claim
from kalends.storage.accounts import end_unheld, give_back
from kalends.storage.gaps import write_gap
from kalends.storage.journal import write_entry
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.paging import first_row
from kalends.storage.rows import load_policies, load_trigger
from kalends.storage.sqlite import SqliteDialect

__all__ = ["ClaimStore", "Claimed"]

_COLUMNS = (
    EventRow.id, EventRow.name, EventRow.job, EventRow.arguments, EventRow.trigger,
    EventRow.policies, EventRow.next_due, EventRow.version,
)  # fmt: skip
_INSERT = ExecutionRow.insert(
    id="", event_id="", due=0, version=0, fate="", attempt=1, node="", claimed_at=0, manual=0
).on_conflict_ignore()
_ADVANCE = EventRow.update(next_due=0).where(
    EventRow.id == "", EventRow.version == 0, EventRow.next_due == 0
)
_COMPLETE = EventRow.update(status="", updated_at=0).where(EventRow.id == "")


_MANUAL_REACH = 1000
"""How many microseconds after ``now`` a manual execution may look for a free instant."""


class Claimed(msgspec.Struct, frozen=True):
    """What one claim transaction did."""

    claims: tuple[Claim, ...]
    next_due: int | None
    """The earliest instant that is left and may be claimed ahead of time."""
    blocked_until: int | None
    """The earliest instant that cannot be claimed ahead, because its event still runs."""
    more: bool
    """True where the batch was full: claim again at once."""


class ClaimStore:
    """The unit-of-work functions of the loop."""

    def __init__(self, dialect: SqliteDialect, ids: IdSource, node: str) -> None:
        self._dialect = dialect
        self._ids = ids
        self._node = node
        self._insert = dialect.compile(_INSERT)
        self._advance = dialect.compile(_ADVANCE)
        self._complete = dialect.compile(_COMPLETE)

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
        claims = self._claim_unowned(db, now=now, horizon=now + ahead, limit=limit)
        taken = len(claims)
        rows = self._due_rows(db, now, ahead, limit)
        batch = _Batch(self._node, self._ids, now)
        for *columns, open_count in rows:
            if open_count:
                open_count = self._open_count(db, columns[0], settled)
            self._plan_one(db, batch, columns, open_count, now)
        claims += self._write(db, batch, now)
        return Claimed(
            tuple(claims),
            _earliest(db, now + ahead),
            _earliest_blocked(db, now, now + ahead),
            more=len(rows) >= limit or taken >= limit,
        )

    def _due_rows(
        self, db: peewee.Database, now: int, ahead: int, limit: int
    ) -> list[tuple[Any, ...]]:
        """Events due by now, and those due within the horizon that have no open execution."""
        opened = _open_executions()
        due = (
            EventRow.select(*_COLUMNS, opened.alias("open_count"))
            .where(EventRow.status == EventStatus.ACTIVE.value, EventRow.next_due <= now)
            .order_by(EventRow.next_due)
            .limit(limit)
        )
        rows = list(due.tuples().execute(db))
        if len(rows) < limit and ahead > 0:
            soon = (
                EventRow.select(*_COLUMNS, peewee.Value(0))
                .where(
                    EventRow.status == EventStatus.ACTIVE.value,
                    EventRow.next_due > now,
                    EventRow.next_due <= now + ahead,
                    opened == 0,
                )
                .order_by(EventRow.next_due)
                .limit(limit - len(rows))
            )
            rows += soon.tuples().execute(db)
        return rows

    def _open_count(self, db: peewee.Database, event_id: str, settled: frozenset[str]) -> int:
        query = ExecutionRow.select(ExecutionRow.id).where(
            ExecutionRow.event_id == event_id, ExecutionRow.ended_at.is_null()
        )
        return sum(1 for (open_id,) in query.tuples().execute(db) if open_id not in settled)

    def _plan_one(
        self, db: peewee.Database, batch: _Batch, columns: Sequence[Any], open_count: int, now: int
    ) -> None:
        event_id, _, _, _, trigger_text, policies_text, due, version = columns
        try:
            rule = load_trigger(trigger_text)
            policies = load_policies(policies_text)
            plan = plan_claim(rule, policies, due, now, open_count=open_count)
        except Exception as error:  # noqa: BLE001  (whatever a rule does is its event's own trouble)
            self.quarantine(db, event_id, now=now, error=f"{type(error).__name__}: {error}")
            return
        if plan is not None:
            for span in plan.skipped:
                write_gap(db, event_id, version, rule, span, now=now, ids=self._ids)
            batch.add(columns, plan, policies)

    def _write(self, db: peewee.Database, batch: _Batch, now: int) -> list[Claim]:
        claims = batch.claims
        if claims:
            written = self._dialect.execute_many(db, self._insert, batch.rows)
            if written != len(claims):
                claims = self._settle_collisions(db, batch)
        if batch.advances:
            self._dialect.execute_many(db, self._advance, batch.advances)
        if batch.ended:
            self._dialect.execute_many(db, self._complete, batch.ended)
        return claims

    def _settle_collisions(self, db: peewee.Database, batch: _Batch) -> list[Claim]:
        """The claims whose row is there in the end.

        A manual execution makes way for an instant of the rule; an instant that has a fate already
        keeps it.
        """
        written = []
        for claim, row in zip(batch.claims, batch.rows, strict=True):
            found = _id_at(db, claim.event_id, claim.due)
            if found is not None and found != claim.id:
                free = self._free_instant(db, None, claim.event_id, claim.due + 1)
                moved = ExecutionRow.update(due=free).where(
                    ExecutionRow.id == found,
                    ExecutionRow.manual == 1,
                )
                if free is None or not moved.execute(db):
                    continue
                self._dialect.execute_many(db, self._insert, [row])
            written.append(claim)
        return written

    def _free_instant(
        self, db: peewee.Database, rule: DueRule | None, event_id: str, start: int
    ) -> int | None:
        """The first microsecond from ``start`` on that neither rule nor execution has taken."""
        for instant in range(start, start + _MANUAL_REACH):
            if rule is not None and rule.next_us(instant - 1) == instant:
                continue
            if _id_at(db, event_id, instant) is None:
                return instant
        return None

    def quarantine(self, db: peewee.Database, event_id: str, *, now: int, error: str) -> None:
        """Park an event that cannot be carried out, with the evidence in the journal."""
        changed = EventRow.update(
            status=EventStatus.QUARANTINED.value, version=EventRow.version + 1, updated_at=now
        ).where(
            EventRow.id == event_id,
            EventRow.status.in_([status.value for status in EVENT_TRANSITIONS["quarantine"]]),
        )
        if changed.execute(db):
            write_entry(
                db,
                JournalKind.EVENT_QUARANTINED,
                now=now,
                ids=self._ids,
                event_id=event_id,
                node=self._node,
                error=error[:2000],
            )
            end_unheld(db, event_id, Reason.QUARANTINED, now=now)

    def refuse(self, db: peewee.Database, claim: Claim, *, now: int, error: str) -> None:
        """A claimed execution cannot be carried out: skip it and quarantine its event."""
        ExecutionRow.update(
            fate=Fate.SKIPPED.value,
            reason=Reason.QUARANTINED.value,
            ended_at=now,
            attempt=claim.attempt - 1,
        ).where(
            ExecutionRow.id == claim.id,
            ExecutionRow.node == self._node,
            ExecutionRow.attempt == claim.attempt,
            ExecutionRow.ended_at.is_null(),
        ).execute(db)
        self.quarantine(db, claim.event_id, now=now, error=error)

    def trigger_now(
        self, db: peewee.Database, event_id: str, *, now: int, author: str | None = None
    ) -> Claim:
        """Claim one execution outside of the rule, at ``now`` or the first free microsecond after
        it.
        """
        query = EventRow.select(*_COLUMNS).where(
            EventRow.id == event_id, EventRow.status != EventStatus.DELETED.value
        )
        row = first_row(db, query)
        if row is None:
            raise EventNotFound(f"there is no event {event_id}", event_id=event_id)
        rule, policies = load_trigger(row[4]), load_policies(row[5])
        due = self._free_instant(db, rule, event_id, now)
        if due is None:
            raise ConflictError(
                "the event has an instant of its own in every microsecond from now on",
                path="event_id",
                event_id=event_id,
            )
        batch = _Batch(self._node, self._ids, now)
        claim = batch.claim(row, due, policies, manual=True)
        self._dialect.execute_many(db, self._insert, batch.rows)
        write_entry(
            db,
            JournalKind.EVENT_TRIGGERED,
            now=now,
            ids=self._ids,
            event_id=event_id,
            node=self._node,
            author=author,
            execution_id=claim.id,
        )
        return claim

    def give_back(
        self, db: peewee.Database, claims: Sequence[Claim], *, now: int
    ) -> dict[str, int]:
        """Undo this node's claims that have not begun; see ``accounts.give_back``."""
        return give_back(db, claims, self._node, now=now)

    # -- executions that belong to nobody ------------------------------------------------------

    def _claim_unowned(
        self, db: peewee.Database, *, now: int, horizon: int, limit: int
    ) -> list[Claim]:
        """Take executions that a dead or stopped node left open."""
        query = (
            ExecutionRow.select(
                EventRow.id, EventRow.name, EventRow.job, EventRow.arguments, EventRow.trigger,
                EventRow.policies, ExecutionRow.due, ExecutionRow.version, ExecutionRow.id,
                ExecutionRow.attempt, ExecutionRow.manual,
            )
            .join(EventRow, on=(EventRow.id == ExecutionRow.event_id))
            .where(
                ExecutionRow.ended_at.is_null(),
                ExecutionRow.node.is_null(),
                ExecutionRow.due <= horizon,
                EventRow.status.in_((EventStatus.ACTIVE.value, EventStatus.COMPLETED.value)),
            )
            .order_by(ExecutionRow.due)
            .limit(limit)
        )  # fmt: skip
        claims = []
        for *columns, execution_id, attempt, manual in list(query.tuples().execute(db)):
            try:
                policies = load_policies(columns[5])
                claim = _claim(
                    columns, execution_id, attempt + 1, columns[6], policies, bool(manual)
                )
            except ValidationFailed as error:
                self.quarantine(db, columns[0], now=now, error=str(error))
                continue
            ExecutionRow.update(
                node=self._node,
                attempt=attempt + 1,
                claimed_at=now,
                fate=Fate.PENDING.value,
                started_at=None,
            ).where(ExecutionRow.id == execution_id).execute(db)
            claims.append(claim)
        return claims


class _Batch:
    """The rows of one claim transaction, collected to be written in one statement each."""

    def __init__(self, node: str, ids: IdSource, now: int) -> None:
        self._node = node
        self._ids = ids
        self._now = now
        self.claims: list[Claim] = []
        self.rows: list[tuple[Any, ...]] = []
        self.advances: list[tuple[Any, ...]] = []
        self.ended: list[tuple[Any, ...]] = []

    def add(self, columns: Sequence[Any], plan: ClaimPlan, policies: Policies) -> None:
        event_id, due, version = columns[0], columns[6], columns[7]
        for instant in plan.run:
            self.claim(columns, instant, policies, manual=False)
        self.advances.append((plan.next_due, event_id, version, due))
        if plan.next_due is None:
            self.ended.append((EventStatus.COMPLETED.value, self._now, event_id))

    def claim(self, columns: Sequence[Any], due: int, policies: Policies, *, manual: bool) -> Claim:
        claim = _claim(columns, self._ids(), 1, due, policies, manual)
        self.claims.append(claim)
        self.rows.append(
            (
                claim.id, claim.event_id, due, claim.version, Fate.PENDING.value, 1, self._node,
                self._now, int(manual),
            )
        )  # fmt: skip
        return claim


def _claim(
    columns: Sequence[Any],
    execution_id: str,
    attempt: int,
    due: int,
    policies: Policies,
    manual: bool,
) -> Claim:
    event_id, name, job, arguments, trigger, _, _, version = columns
    return Claim(
        id=execution_id,
        event_id=event_id,
        event_name=name,
        job=job,
        arguments=arguments,
        due=due,
        attempt=attempt,
        version=version,
        serial=policies.overlap is Overlap.SKIP,
        manual=manual,
        delay_us=0 if manual else load_trigger(trigger).delay_us(due, event_id),
    )


def _open_executions() -> Any:
    """How many executions of the event at hand have not ended, as a subquery."""
    return ExecutionRow.select(fn.COUNT(ExecutionRow.id)).where(
        ExecutionRow.event_id == EventRow.id, ExecutionRow.ended_at.is_null()
    )


def _earliest(db: peewee.Database, after: int) -> int | None:
    query = EventRow.select(fn.MIN(EventRow.next_due)).where(
        EventRow.status == EventStatus.ACTIVE.value, EventRow.next_due > after
    )
    unowned = ExecutionRow.select(fn.MIN(ExecutionRow.due)).where(
        ExecutionRow.node.is_null(), ExecutionRow.ended_at.is_null(), ExecutionRow.due > after
    )
    found = [row[0] for row in (first_row(db, query), first_row(db, unowned)) if row is not None]
    return min((due for due in found if due is not None), default=None)


def _earliest_blocked(db: peewee.Database, now: int, horizon: int) -> int | None:
    due, active = EventRow.next_due, EventRow.status == EventStatus.ACTIVE.value
    row = first_row(db, EventRow.select(fn.MIN(due)).where(active, due > now, due <= horizon))
    return None if row is None else row[0]


def _id_at(db: peewee.Database, event_id: str, due: int) -> str | None:
    query = ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.event_id == event_id, ExecutionRow.due == due
    )
    row = first_row(db, query)
    return None if row is None else row[0]
