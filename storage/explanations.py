"""What the ledger knows about one instant of one event, gathered for ``explain``.

One read transaction and a bounded number of rows, whatever the length of the history: index
look-ups for the execution, the gap and the rule of that time, and the journal around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import peewee
import pendulum

from kalends.clock import MIN_US, US, from_us, to_us
from kalends.explaining import tell
from kalends.explanation import Explanation, LimitUse, StandIn, Standing
from kalends.model import Event, EventStatus, Execution, Fate, Gap, JournalEntry, Reason
from kalends.policies import Policies
from kalends.storage.event_rows import event_row, named
from kalends.storage.executions import ExecutionStore
from kalends.storage.instants import execution_at
from kalends.storage.journal_extracts import around, asked, before, cancelled, policies_at
from kalends.storage.limits import use_of
from kalends.storage.models import DefinitionRow, GapRow, NodeRow
from kalends.storage.paging import first_row
from kalends.storage.rows import GAP_COLUMNS, event_of, gap_of, rule_of
from kalends.triggers import Trigger
from kalends.triggers.why import why_us

__all__ = ["explain"]

_SKEW_US = 60 * US
"""How long after a decision the journal may tell what had led to it."""


def explain(
    db: peewee.Database,
    executions: ExecutionStore,
    event_id: str,
    instant: int,
    *,
    now: int,
    limits: Mapping[str, int] = MappingProxyType({}),
) -> Explanation:
    """Account for ``instant`` (microseconds UTC) of an event, deleted or not.

    ``limits``: how many places each named limit has, by the settings of this process. Raises
    ``EventNotFound``.
    """
    row = event_row(db, event_id, deleted=True)
    event, columns = event_of(row), named(row)
    rule = _rule_at(db, columns, instant)
    found = execution_at(db, event_id, instant)
    execution = None if found is None else executions.get(db, found)
    why = why_us(rule, instant, seed=event_id)
    gap = _gap_at(db, event_id, instant) if execution is None and why.due else None
    standing = _standing(columns, why.due, execution, gap, instant, now)
    decided_at = _decided_at(execution, gap)
    until = now if decided_at is None else decided_at
    policies = policies_at(db, event_id, event.policies, until)
    draft = Explanation(
        event_id=event.id,
        event_name=event.name,
        event_status=event.status,
        instant=from_us(instant),
        standing=standing,
        why=why,
        rule=repr(rule),
        fate=_first(execution, gap, "fate"),
        reason=_first(execution, gap, "reason"),
        execution=execution,
        gap=gap,
        into=_into(db, executions, gap),
        decided_at=None if decided_at is None else from_us(decided_at),
        node=_first(execution, gap, "node"),
        lease_ended_at=_lease_ended_at(db, execution, now),
        policies=_bearing(policies, standing, _first(execution, gap, "reason")),
        limit=_limit(db, event, standing, execution, now, limits),
        journal=_journal(db, event, execution, gap, instant, until),
    )
    return msgspec.structs.replace(
        draft, sentences=tell(draft, event, from_us(now), alive=_alive(db, now))
    )


def _rule_at(db: peewee.Database, columns: dict[str, Any], instant: int) -> Trigger:
    """The rule that was in force at the instant: for one before the account, the first there
    was."""
    query = (
        DefinitionRow.select(DefinitionRow.trigger)
        .where(DefinitionRow.event_id == columns["id"], DefinitionRow.until >= instant)
        .order_by(DefinitionRow.until)
        .limit(1)
    )
    old = first_row(db, query)
    return rule_of(columns["trigger"] if old is None else old[0])


def _gap_at(db: peewee.Database, event_id: str, instant: int) -> Gap | None:
    query = (
        GapRow.select(*GAP_COLUMNS)
        .where(GapRow.event_id == event_id, GapRow.last >= instant)
        .order_by(GapRow.last)
        .limit(1)
    )
    row = first_row(db, query)
    gap = None if row is None else gap_of(row)
    return gap if gap is not None and gap.first <= from_us(instant) else None


def _into(db: peewee.Database, executions: ExecutionStore, gap: Gap | None) -> StandIn | None:
    """What became of the instant that a gap was coalesced into."""
    if gap is None or gap.into is None or gap.reason is not Reason.COALESCED:
        return None
    due = to_us(gap.into)
    found = execution_at(db, gap.event_id, due)
    if found is not None:
        run = executions.get(db, found)
        began = any(attempt.started_at is not None for attempt in run.attempts)
        return StandIn(
            due=gap.into, fate=run.fate, reason=run.reason, began=began, execution_id=run.id
        )
    other = _gap_at(db, gap.event_id, due)
    if other is None:
        return StandIn(due=gap.into)
    began = other.fate in (Fate.SUCCEEDED, Fate.FAILED, Fate.TIMED_OUT)
    return StandIn(due=gap.into, fate=other.fate, reason=other.reason, began=began)


def _standing(
    columns: dict[str, Any],
    due: bool,
    execution: Execution | None,
    gap: Gap | None,
    instant: int,
    now: int,
) -> Standing:
    if execution is not None:
        return _standing_of(execution)
    if gap is not None:
        return Standing.SKIPPED if gap.fate is Fate.SKIPPED else Standing.FOLDED
    if columns["status"] == EventStatus.DELETED and instant >= columns["rule_since"]:
        return Standing.DELETED
    if instant < columns["accounted_from"]:
        return Standing.UNACCOUNTED
    return _without_a_fate(columns, instant, now) if due else Standing.NOT_DUE


def _standing_of(execution: Execution) -> Standing:
    if execution.fate is Fate.SKIPPED:
        return Standing.SKIPPED
    return Standing.PENDING if execution.fate is Fate.PENDING else Standing.RAN


def _without_a_fate(columns: dict[str, Any], instant: int, now: int) -> Standing:
    """How a due instant stands that the ledger has nothing on."""
    next_due = columns["next_due"]
    if next_due is None or instant < next_due:
        return Standing.MISSING
    if columns["status"] != EventStatus.ACTIVE:
        return Standing.PARKED
    return Standing.EXPECTED if instant > now else Standing.WAITING


def _decided_at(execution: Execution | None, gap: Gap | None) -> int | None:
    at = None
    if execution is not None:
        at = execution.ended_at if execution.fate is Fate.SKIPPED else execution.claimed_at
    elif gap is not None:
        at = gap.recorded_at
    return None if at is None else to_us(at)


def _first(execution: Execution | None, gap: Gap | None, field: str) -> Any:
    found = gap if execution is None else execution
    return None if found is None else getattr(found, field)


def _limit(
    db: peewee.Database,
    event: Event,
    standing: Standing,
    execution: Execution | None,
    now: int,
    limits: Mapping[str, int],
) -> LimitUse | None:
    """The limit that what waits, or will be due, needs a place of."""
    name = event.policies.concurrency_limit
    waits = execution is not None and execution.ended_at is None and execution.node is None
    if execution is not None and execution.ready_at is not None:
        waits = waits and to_us(execution.ready_at) <= now
    if name is None or not (waits or standing in (Standing.WAITING, Standing.EXPECTED)):
        return None
    return use_of(db, name, limits.get(name))


def _journal(
    db: peewee.Database,
    event: Event,
    execution: Execution | None,
    gap: Gap | None,
    instant: int,
    until: int,
) -> tuple[JournalEntry, ...]:
    """What happened to the event up to the instant, last thing first found; what happened to
    anything between the instant and the decision; and whoever asked for it."""
    low, high = max(min(instant, until), MIN_US), max(instant, until) + _SKEW_US
    if execution is not None and execution.ended_at is not None:
        high = max(high, to_us(execution.ended_at) + _SKEW_US)
    found = {entry.id: entry for entry in around(db, event.id, low, high)}
    bears = [before(db, event.id, low), asked(db, event.id, instant, execution, gap)]
    if execution is not None and (
        execution.cancel_requested or execution.reason is Reason.REQUESTED
    ):
        bears.append(cancelled(db, execution))
    for entry in bears:
        if entry is not None:
            found[entry.id] = entry
    return tuple(sorted(found.values(), key=lambda entry: (entry.at, entry.id)))


def _lease_ended_at(
    db: peewee.Database, execution: Execution | None, now: int
) -> pendulum.DateTime | None:
    if execution is None or execution.ended_at is not None or execution.node is None:
        return None
    query = NodeRow.select(NodeRow.lease_until).where(NodeRow.id == execution.node)
    row = first_row(db, query)
    return from_us(row[0]) if row is not None and row[0] < now else None


def _alive(db: peewee.Database, now: int) -> int:
    query = NodeRow.select(peewee.fn.COUNT(NodeRow.id)).where(NodeRow.lease_until >= now)
    row = first_row(db, query)
    return 0 if row is None else int(row[0])


_BEARING: dict[str | None, tuple[str, ...]] = {
    "missed": ("catch_up", "catch_up_window", "catch_up_limit"),
    "coalesced": ("catch_up",),
    "overlap": ("overlap",),
    "queue_full": ("overlap", "buffer_limit"),
    "exhausted": ("retries",),
    "process_died": ("delivery", "max_attempts"),
}
"""The policies that decided on what has this reason."""


def _bearing(policies: Policies, standing: Standing, reason: str | None) -> dict[str, Any]:
    names = _BEARING.get(reason, ())
    if standing in (Standing.EXPECTED, Standing.WAITING):
        names = ("catch_up", "catch_up_window", "overlap", "concurrency_limit")
    values = msgspec.to_builtins(policies)
    return {name: values[name] for name in names if name in values}
