"""Outcomes: how attempts ended, written down, and what follows on them.

An outcome is accepted only from the node and for the attempt that hold the execution: the pair is
the fencing token, and attempts never start over. An outcome that comes too late changes nothing,
but that nothing runs any more where the ledger says that something still does.

What succeeded is written with one statement for all, and what jobs have told with another. Anything
else is looked at one by one: the event's policies, as they are in that transaction, say whether a
further attempt follows, and whether the event is paused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.clock import US
from kalends.errors import ValidationFailed
from kalends.ids import IdSource
from kalends.model import EventStatus, Failure, Fate, Reason
from kalends.policies import Policies
from kalends.retrying import RetryPlan, plan_retry
from kalends.storage.attempts import KEEP_ATTEMPT
from kalends.storage.cancelling import reason_of
from kalends.storage.dialect import Dialect
from kalends.storage.models import AttemptRow, EventRow, ExecutionRow
from kalends.storage.paging import first_row
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rows import dump, load_policies
from kalends.storage.running_on import END_LATE, END_LATE_BEFORE
from kalends.storage.streaks import pause_after_failures
from kalends.storage.told import NOTHING_TOLD, TELL, told_row
from kalends.work import Outcome, Told

__all__ = ["OutcomeStore", "Recorded"]

_HELD = (
    (ExecutionRow.id == "")
    & (ExecutionRow.node == "")
    & (ExecutionRow.attempt == 0)
    & ExecutionRow.ended_at.is_null()
)
_SUCCEED = ExecutionRow.update(
    fate="", started_at=0, ended_at=0, result=None, result_note=None, error=None
).where(_HELD)
_BEGIN = ExecutionRow.update(fate="", started_at=0).where(_HELD, ExecutionRow.fate == "")
_AGAIN_US = US
"""How long a further attempt waits that found no room."""
_FAILURES = (Fate.FAILED, Fate.TIMED_OUT)
_HOLDS = Prepared(
    ExecutionRow.select(
        ExecutionRow.claimed_at, ExecutionRow.cancel, EventRow.policies, EventRow.status
    )
    .join(EventRow, peewee.JOIN.LEFT_OUTER, on=(EventRow.id == ExecutionRow.event_id))
    .where(
        ExecutionRow.id == hole("id"),
        ExecutionRow.node == hole("node"),
        ExecutionRow.attempt == hole("attempt"),
        ExecutionRow.ended_at.is_null(),
    )
)
_FAILED_BEFORE = Prepared(
    AttemptRow.select(fn.COUNT(AttemptRow.number)).where(
        AttemptRow.execution_id == hole("id"),
        AttemptRow.outcome.in_([fate.value for fate in _FAILURES]),
    )
)
_REOPEN = Prepared(
    ExecutionRow.update(
        node=None,
        fate=Fate.PENDING.value,
        started_at=None,
        ready_at=hole("ready_at"),
        **NOTHING_TOLD,
    ).where(ExecutionRow.id == hole("id"))
)

_END = Prepared(
    ExecutionRow.update(
        fate=hole("fate"),
        started_at=hole("started_at"),
        ended_at=hole("ended_at"),
        error=hole("error"),
        still_running=hole("still_running"),
        reason=hole("reason"),
    ).where(ExecutionRow.id == hole("id"))
)


class Recorded(msgspec.Struct, frozen=True):
    """What the recording of outcomes has changed beside the executions' fates."""

    rejected: tuple[str, ...] = ()
    """The executions that this node held no longer."""
    ready_at: int | None = None
    """When the first of those that are attempted again may begin."""
    paused: tuple[str, ...] = ()
    """The events that were paused for their failures."""
    again: Mapping[str, int] = {}
    """The executions that are attempted again, and when."""
    fates: Mapping[str, tuple[Fate, Reason | None]] = {}
    """Of executions that did not succeed: the fate that was made of their outcome."""


class OutcomeStore:
    """The unit-of-work functions around how attempts end."""

    def __init__(self, dialect: Dialect, ids: IdSource, node: str) -> None:
        self._dialect = dialect
        self._succeed_all = dialect.compile(_SUCCEED)
        self._end_late = dialect.compile(END_LATE)
        self._end_late_before = dialect.compile(END_LATE_BEFORE)
        self._begin_all = dialect.compile(_BEGIN)
        self._tell_all = dialect.compile(TELL)
        self._ids = ids
        self._node = node

    def mark_running(self, db: peewee.Database, begun: Sequence[tuple[str, int, int]]) -> int:
        """Note executions, as (id, attempt, started), that have begun and not ended; returns how
        many.
        """
        rows = [
            (Fate.RUNNING.value, started, execution_id, self._node, attempt, Fate.PENDING.value)
            for execution_id, attempt, started in begun
        ]
        return self._dialect.execute_many(db, self._begin_all, rows)

    def tell(self, db: peewee.Database, told: Sequence[tuple[str, int, Told]]) -> int:
        """Write what the jobs of attempts, as (execution, attempt), have told; how many of them
        this node has.
        """
        rows = [
            told_row(execution_id, self._node, attempt, one) for execution_id, attempt, one in told
        ]
        return self._dialect.execute_many(db, self._tell_all, rows) if rows else 0

    def record(self, db: peewee.Database, outcomes: Sequence[Outcome], *, now: int) -> Recorded:
        """Write down how attempts ended, in this order. Recorded twice, nothing changes."""
        work = _Recording(db, now)
        succeeded: list[Outcome] = []
        events: set[str] = set()
        for outcome in outcomes:
            if outcome.fate is Fate.SUCCEEDED and not outcome.late:
                succeeded.append(outcome)
                events.add(outcome.event_id)
                continue
            if outcome.event_id in events:  # a row of failures may end with what succeeded before
                self._succeed(work, succeeded)
                succeeded, events = [], set()
            self._decide(work, outcome)
        self._succeed(work, succeeded)
        told = [(one.execution_id, one.attempt, one.told) for one in outcomes if one.told]
        self.tell(db, told)
        return Recorded(
            tuple(work.rejected),
            min(work.again.values(), default=None),
            tuple(dict.fromkeys(work.paused)),
            work.again,
            work.fates,
        )

    def _succeed(self, work: _Recording, outcomes: Sequence[Outcome]) -> None:
        succeeded = Fate.SUCCEEDED.value
        rows = [
            (
                succeeded,
                outcome.started_us,
                outcome.ended_us,
                outcome.result,
                outcome.result_note,
                None if outcome.error is None else dump(outcome.error),
                outcome.execution_id,
                self._node,
                outcome.attempt,
            )
            for outcome in outcomes
        ]
        if rows and self._dialect.execute_many(work.db, self._succeed_all, rows) != len(rows):
            for outcome in outcomes:
                self._settle_unheld(work, outcome)

    def _settle_unheld(self, work: _Recording, outcome: Outcome) -> None:
        """What is not held is rejected, unless it was recorded before; where the end of the attempt
        was written without it, it says that the job runs no more.
        """
        if not outcome.late and self._recorded(work.db, outcome):
            return
        of = (0, outcome.execution_id, self._node, outcome.attempt, 1)
        over = (
            self._dialect.execute_many(work.db, self._end_late, [(outcome.started_us, *of)]) > 0
            or self._dialect.execute_many(work.db, self._end_late_before, [of]) > 0
        )
        if not (over or outcome.late):
            work.rejected.append(outcome.execution_id)

    def _recorded(self, db: peewee.Database, outcome: Outcome) -> bool:
        execution = ExecutionRow.select(ExecutionRow.id).where(
            ExecutionRow.id == outcome.execution_id,
            ExecutionRow.node == self._node,
            ExecutionRow.attempt == outcome.attempt,
            ExecutionRow.ended_at == outcome.ended_us,
        )
        attempt = AttemptRow.select(AttemptRow.execution_id).where(
            AttemptRow.execution_id == outcome.execution_id,
            AttemptRow.number == outcome.attempt,
            AttemptRow.node == self._node,
            AttemptRow.outcome == outcome.fate.value,
            AttemptRow.ended_at == outcome.ended_us,
        )
        return first_row(db, execution) is not None or first_row(db, attempt) is not None

    # -- what did not succeed ------------------------------------------------------------------

    def _decide(self, work: _Recording, outcome: Outcome) -> None:
        """Write the end of one attempt: another one follows, or it is the execution's fate."""
        row = None if outcome.late else self._held(work.db, outcome)
        if row is None:
            self._settle_unheld(work, outcome)
            return
        claimed_at, mark, text, status = row
        if outcome.fate is Fate.SKIPPED and mark:
            outcome = msgspec.structs.replace(outcome, fate=Fate.CANCELLED)
        elif outcome.fate is Fate.SKIPPED:
            self._turn_away(work, outcome, for_good=status in (None, EventStatus.DELETED.value))
            return
        policies = _policies_of(text, status)
        plan = RetryPlan(None)
        if policies is not None and not mark:
            plan = _plan(work.db, policies, outcome, work.now)
        if plan.ready_at is None:
            self._end(work, outcome, plan, policies, mark=mark)
        else:
            self._reopen(work, outcome, claimed_at, plan.ready_at)

    def _held(self, db: peewee.Database, outcome: Outcome) -> tuple[Any, ...] | None:
        """What decides on an attempt that this node holds; None: it does not, or no longer."""
        found = _HOLDS.rows(db, id=outcome.execution_id, node=self._node, attempt=outcome.attempt)
        return found[0] if found else None

    def _reopen(self, work: _Recording, outcome: Outcome, claimed_at: int, ready_at: int) -> None:
        """Keep the attempt, and let the execution wait for the next one."""
        KEEP_ATTEMPT.change(
            work.db,
            id=outcome.execution_id,
            attempt=outcome.attempt,
            node=self._node,
            claimed_at=claimed_at,
            started_at=outcome.started_us,
            ended_at=outcome.ended_us,
            outcome=outcome.fate.value,
            error=None if outcome.error is None else dump(outcome.error),
            still_running=int(outcome.still_running),
            **msgspec.structs.asdict(outcome.told or Told()),
        )
        _REOPEN.change(work.db, id=outcome.execution_id, ready_at=ready_at)
        work.again[outcome.execution_id] = ready_at

    def _turn_away(self, work: _Recording, outcome: Outcome, *, for_good: bool) -> None:
        """What found no room is skipped; what was attempted before waits, and comes again, unless
        its event is gone.
        """
        again = outcome.attempt > 1
        values: dict[str, Any] = {"attempt": outcome.attempt - 1}
        if again and not for_good:
            values |= {"node": None, "ready_at": work.now + _AGAIN_US}
            work.again[outcome.execution_id] = work.now + _AGAIN_US
        else:
            values = {} if again else values
            fate = Fate.CANCELLED if again else outcome.fate
            values |= {"fate": fate, "reason": outcome.reason, "ended_at": outcome.ended_us}
        ExecutionRow.update(values).where(ExecutionRow.id == outcome.execution_id).execute(work.db)

    def _end(
        self,
        work: _Recording,
        outcome: Outcome,
        plan: RetryPlan,
        policies: Policies | None,
        *,
        mark: int,
    ) -> None:
        """Make the outcome the execution's fate. The mark says why it was told to stop, if so."""
        fate, error = outcome.fate, outcome.error
        if plan.forbidden:
            fate, error = Fate.FAILED, _forbidden(error)
        reason = Reason.EXHAUSTED if plan.exhausted else None
        if fate is Fate.CANCELLED:
            reason = reason_of(mark)
        work.fates[outcome.execution_id] = fate, reason
        _END.change(
            work.db,
            id=outcome.execution_id,
            fate=fate.value,
            started_at=outcome.started_us,
            ended_at=outcome.ended_us,
            error=None if error is None else dump(error),
            still_running=int(outcome.still_running),
            reason=None if reason is None else reason.value,
        )
        if fate in _FAILURES and policies is not None:
            paused = pause_after_failures(
                work.db,
                outcome.event_id,
                policies,
                execution_id=outcome.execution_id,
                now=work.now,
                ids=self._ids,
                node=self._node,
            )
            if paused:
                work.paused.append(outcome.event_id)


class _Recording:
    """One call of ``record``."""

    def __init__(self, db: peewee.Database, now: int) -> None:
        self.db = db
        self.now = now
        self.rejected: list[str] = []
        self.again: dict[str, int] = {}
        self.fates: dict[str, tuple[Fate, Reason | None]] = {}
        self.paused: list[str] = []


def _policies_of(text: str | None, status: str | None) -> Policies | None:
    """What decides; None where nothing may follow: the event is gone, or cannot be carried out."""
    if text is None or status == EventStatus.DELETED.value:
        return None
    try:
        return load_policies(text)
    except ValidationFailed:
        return None


def _plan(db: peewee.Database, policies: Policies, outcome: Outcome, now: int) -> RetryPlan:
    if outcome.fate is Fate.CANCELLED and outcome.ask is None:
        return RetryPlan(None)
    earlier = int(_FAILED_BEFORE.value(db, id=outcome.execution_id))
    failures = earlier + (outcome.fate in _FAILURES)
    return plan_retry(
        policies,
        execution_id=outcome.execution_id,
        attempt=outcome.attempt,
        failures=failures,
        kinds=outcome.kinds,
        # A clock that was set back while it ran must not make it wait for as long.
        ended=min(outcome.ended_us, now),
        ask=outcome.ask,
    )


def _forbidden(error: Failure | None) -> Failure:
    asked = Failure(type="Retry", message="") if error is None else error
    told = "delivery is at_most_once, which allows no further attempt"
    return msgspec.structs.replace(asked, message=f"{asked.message} ({told})".strip())
