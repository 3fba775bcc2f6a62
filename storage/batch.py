"""What a claim transaction writes: claims as messages, and their rows, one statement for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from kalends.clock import US
from kalends.ids import IdSource
from kalends.model import EventStatus, Fate
from kalends.planning import ClaimPlan
from kalends.policies import Overlap, Policies
from kalends.storage.dialect import Dialect
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.rows import load_trigger
from kalends.work import Claim

__all__ = ["EVENT_PART", "Batch", "BatchWriter", "claim_of"]

EVENT_PART = (
    EventRow.id, EventRow.name, EventRow.job, EventRow.arguments, EventRow.trigger,
    EventRow.policies,
)  # fmt: skip
"""What a claim takes from its event; a claim's columns are these, the due instant and the
version."""

_INSERT = ExecutionRow.insert(
    id="", event_id="", due=0, version=0, fate="", attempt=1, node="", claimed_at=0, manual=0,
    ready_at=0, priority=0, limit_name=None,
).on_conflict_ignore()  # fmt: skip
_ADVANCE = EventRow.update(next_due=0).where(
    EventRow.id == "", EventRow.version == 0, EventRow.next_due == 0
)
_COMPLETE = EventRow.update(status="", next_due=None, updated_at=0).where(
    EventRow.id == "", EventRow.version == 0, EventRow.next_due == 0
)
_PENDING, _COMPLETED = Fate.PENDING.value, EventStatus.COMPLETED.value


class Batch:
    """The rows of one claim transaction, collected to be written in one statement each."""

    def __init__(self, node: str, ids: IdSource, now: int) -> None:
        self._node = node
        self._ids = ids
        self._now = now
        self._stock: list[str] = []
        self.claims: list[Claim] = []
        self.rows: list[tuple[Any, ...]] = []
        self.advances: list[tuple[Any, ...]] = []
        self.ended: list[tuple[Any, ...]] = []

    def expect(self, count: int) -> None:
        """About so many rows are to come: ids are cheaper by the dozen."""
        self._stock = self._ids.several(count)
        self._stock.reverse()

    def _new_id(self) -> str:
        return self._stock.pop() if self._stock else self._ids()

    def add(self, columns: Sequence[Any], plan: ClaimPlan, policies: Policies) -> None:
        """What was decided on one event: run these instants, and advance it."""
        event_id, due, version = columns[0], columns[6], columns[7]
        for instant in plan.run:
            self.claim(columns, instant, policies, manual=False)
        for instant in plan.wait:
            self.wait(columns, instant, policies)
        if plan.next_due is None:
            self.ended.append((_COMPLETED, None, self._now, event_id, version, due))
        else:
            self.advances.append((plan.next_due, event_id, version, due))

    def claim(self, columns: Sequence[Any], due: int, policies: Policies, *, manual: bool) -> Claim:
        """Claim one instant for this node."""
        claim = claim_of(columns, self._new_id(), 1, due, policies, manual=manual)
        self.claims.append(claim)
        self._row(claim.id, columns, due, policies, self._node, manual)
        return claim

    def wait(
        self, columns: Sequence[Any], due: int, policies: Policies, *, manual: bool = False
    ) -> str:
        """Write one instant down for whoever may claim it later; the id of its execution."""
        execution_id = self._new_id()
        self._row(execution_id, columns, due, policies, None, manual)
        return execution_id

    def _row(
        self,
        execution_id: str,
        columns: Sequence[Any],
        due: int,
        policies: Policies,
        node: str | None,
        manual: bool,
    ) -> None:
        self.rows.append(
            (
                execution_id, columns[0], due, columns[7], _PENDING, int(node is not None), node,
                self._now, int(manual), due, policies.priority, policies.concurrency_limit,
            )
        )  # fmt: skip


class BatchWriter:
    """The statements of a batch, compiled once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._insert = dialect.compile(_INSERT)
        self._advance = dialect.compile(_ADVANCE)
        self._complete = dialect.compile(_COMPLETE)

    def insert(self, db: peewee.Database, rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert executions; how many had no row yet. The others are left as they are."""
        return self._dialect.execute_many(db, self._insert, rows)

    def advance(self, db: peewee.Database, batch: Batch) -> None:
        """Set each event's next due instant, and complete those that have none."""
        if batch.advances:
            self._dialect.execute_many(db, self._advance, batch.advances)
        if batch.ended:
            self._dialect.execute_many(db, self._complete, batch.ended)


def claim_of(
    columns: Sequence[Any],
    execution_id: str,
    attempt: int,
    due: int,
    policies: Policies,
    *,
    manual: bool,
    ready_at: int | None = None,
    moved: bool = False,
) -> Claim:
    """The claim of an execution; ``columns`` are ``EVENT_PART``, any value, and the version.

    It begins at its due instant and the delay of the rule's jitter, but not before ``ready_at``;
    a further attempt, or what was moved, at ``ready_at``, which may lie before the due instant.
    """
    event_id, name, job, arguments, trigger, _, _, version = columns
    again = moved or attempt > 1
    delay = 0 if manual or again else load_trigger(trigger).delay_us(due, event_id)
    if ready_at is not None:
        delay = ready_at - due if again else max(delay, ready_at - due)
    return Claim(
        id=execution_id,
        event_id=event_id,
        event_name=name,
        job=job,
        arguments=arguments,
        due=due,
        attempt=attempt,
        version=version,
        serial=policies.overlap is not Overlap.ALLOW_ALL,
        manual=manual,
        timeout_us=None if policies.timeout is None else round(policies.timeout * US),
        delay_us=delay,
        priority=policies.priority,
        executor=policies.executor,
    )
