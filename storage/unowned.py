"""Executions that belong to nobody: left by a node that died or stopped, or waiting for another
attempt, or for others of their event to end.

They wait with ``ready_at``, the instant from which on somebody may take them, and stand in one line
an event. Of an event whose executions must not run beside each other, the first in line is taken
once nothing of the event is claimed or runs. Looking costs a step or two for each event that has a
line, however long the lines are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.errors import ValidationFailed
from kalends.model import EventStatus, Fate
from kalends.policies import Overlap
from kalends.storage.batch import EVENT_PART, claim_of
from kalends.storage.dialect import Dialect
from kalends.storage.models import EventRow, ExecutionRow
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rows import load_policies
from kalends.work import Claim

__all__ = ["Taker", "Waiting", "claim_waiting", "ready"]

_UNOWNED = ExecutionRow.node.is_null() & ExecutionRow.ended_at.is_null()
_COLUMNS = (
    *EVENT_PART, ExecutionRow.due, ExecutionRow.version, ExecutionRow.id, ExecutionRow.attempt,
    ExecutionRow.manual, ExecutionRow.ready_at, EventRow.serial, EventRow.limit_name,
    EventRow.priority, EventRow.status, EventRow.next_due, ExecutionRow.moved_to,
)  # fmt: skip
_NOBODY = peewee.SQL("''")
_TAKE = ExecutionRow.update(
    fate="",
    attempt=0,
    node="",
    claimed_at=0,
    started_at=None,
    priority=0,
    limit_name=None,
    cancel=0,
).where(
    ExecutionRow.id == "",
    # In these words it is no condition of an index: SQLite would go through all that wait, for each
    # block of rows, in the place of looking up those that it is given.
    fn.COALESCE(ExecutionRow.node, _NOBODY) == _NOBODY,
    ExecutionRow.ended_at.is_null(),
)


class Waiting(msgspec.Struct, frozen=True):
    """An execution that may be taken, and its event."""

    columns: tuple[Any, ...]
    """Those of a claim: ``EVENT_PART``, the due instant and the version."""
    id: str
    attempt: int
    """The last one that it had."""
    manual: int
    ready_at: int
    serial: int
    limit_name: str | None
    priority: int
    status: str
    next_due: int | None
    moved_to: int | None

    @property
    def event_id(self) -> str:
        event_id: str = self.columns[0]
        return event_id

    def makes_way(self, now: int) -> bool:
        """Whether a newer instant, which is due, may be about to take its place."""
        if self.status != EventStatus.ACTIVE or self.next_due is None or self.next_due > now:
            return False
        try:
            return load_policies(self.columns[5]).overlap is Overlap.CANCEL_OTHER
        except ValidationFailed:
            return False


def ready(
    db: peewee.Database, *, now: int, horizon: int, full: Sequence[str], limit: int
) -> list[Waiting]:
    """What may be taken, of higher priority first, then what waits longest; ``limit`` at most.

    By ``horizon``; by ``now`` where a limit counts it. Nothing of the limits named ``full``.
    """
    names = {f"full_{place}": name for place, name in enumerate(full)}
    found = [
        _waiting(row)
        for row in _heads(len(names)).rows(db, now=now, horizon=horizon, limit=limit, **names)
    ]
    for head in [head for head in found if not head.serial]:
        until = horizon if head.limit_name is None else now
        line = _LINE.rows(db, event_id=head.event_id, horizon=until, limit=limit)
        found += [_waiting(row) for row in line if row[8] != head.id]
    found.sort(key=lambda one: (-one.priority, one.ready_at, one.columns[6], one.id))
    return found[:limit]


def _waiting(row: tuple[Any, ...]) -> Waiting:
    return Waiting(row[:8], *row[8:])


@functools.lru_cache(maxsize=64)
def _heads(full: int) -> Prepared:
    """The first in line of each event that may begin one, ``full`` limits being left out."""
    # From one event that has a line to the next: a step of the index each. SQLite takes the right
    # one by its order.
    first, more = ExecutionRow.alias("first"), ExecutionRow.alias("more")
    events = peewee.Select(columns=[_first_event(first)]).cte(
        "lines", recursive=True, columns=("event_id",)
    )
    following = _first_event(more).where(more.event_id > events.c.event_id)
    events = events.union_all(
        peewee.Select([events], [following]).where(events.c.event_id.is_null(False))
    )
    line, held = ExecutionRow.alias("line"), ExecutionRow.alias("held")
    head = (
        line.select(line.id)
        .where(line.event_id == events.c.event_id, line.node.is_null(), line.ended_at.is_null())
        .order_by(line.ready_at, line.due)
        .limit(1)
    )
    claimed = held.select(held.id).where(
        held.event_id == EventRow.id,
        held.ended_at.is_null(),
        held.attempt > 0,
        held.node.is_null(False),
    )
    unlimited = EventRow.limit_name.is_null()
    roomy = EventRow.limit_name.not_in([hole(f"full_{place}") for place in range(full)])
    return Prepared(
        ExecutionRow.select(*_COLUMNS)
        .from_(events)
        # CROSS: SQLite keeps the order of such a join. It would look through all events first.
        .join(EventRow, peewee.JOIN.CROSS)
        .join(ExecutionRow, peewee.JOIN.CROSS)
        .where(
            # What blocks a line is found out before its head is looked up.
            EventRow.id == events.c.event_id,
            _may_run(),
            unlimited | roomy,
            (EventRow.serial == 0) | ~fn.EXISTS(claimed),
            ExecutionRow.id == head,
            ExecutionRow.ready_at <= hole("horizon"),
            unlimited | (ExecutionRow.ready_at <= hole("now")),
        )
        .order_by(EventRow.priority.desc(), ExecutionRow.ready_at, ExecutionRow.due)
        .limit(hole("limit"))
        .with_cte(events),
        claims=(ExecutionRow, EventRow),
    )


def _first_event(rows: Any) -> Any:
    return (
        rows.select(rows.event_id)
        .where(rows.node.is_null(), rows.ended_at.is_null())
        .order_by(rows.event_id, rows.ready_at, rows.due)
        .limit(1)
    )


def _may_run() -> Any:
    return EventRow.status.in_((EventStatus.ACTIVE.value, EventStatus.COMPLETED.value))


_LINE = Prepared(
    ExecutionRow.select(*_COLUMNS)
    .join(EventRow, on=(EventRow.id == ExecutionRow.event_id))
    .where(
        ExecutionRow.event_id == hole("event_id"),
        _UNOWNED,
        ExecutionRow.ready_at <= hole("horizon"),
    )
    .order_by(ExecutionRow.ready_at, ExecutionRow.due)
    .limit(hole("limit"))
)


def claim_waiting(one: Waiting) -> Claim:
    """The claim of it. Raises ``ValidationFailed`` where its event cannot be read."""
    policies = load_policies(one.columns[5])
    return claim_of(
        one.columns,
        one.id,
        one.attempt + 1,
        one.columns[6],
        policies,
        manual=bool(one.manual),
        ready_at=one.ready_at,
        moved=one.moved_to is not None,
    )


class Taker:
    """Writes down that a node holds what has waited."""

    def __init__(self, dialect: Dialect, node: str) -> None:
        self._dialect = dialect
        self._take = dialect.compile(_TAKE)
        self._node = node

    def take(
        self, db: peewee.Database, claims: Sequence[tuple[Claim, str | None]], *, now: int
    ) -> int:
        """Take claims of what waits, and the limit that counts each; how many of them there were:
        others have ended since they were found.
        """
        rows = [
            (
                Fate.PENDING.value, claim.attempt, self._node, now, None, claim.priority,
                limit_name, 0, claim.id,
            )
            for claim, limit_name in claims
        ]  # fmt: skip
        return self._dialect.execute_many(db, self._take, rows) if rows else 0
