"""What there is of an event when a decision is made, and what becomes of it by that decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.errors import ValidationFailed
from kalends.model import Fate, Reason
from kalends.planning import Others, Standing
from kalends.policies import Overlap, Policies
from kalends.storage.cancelling import Mark, marks_of
from kalends.storage.models import ExecutionRow
from kalends.storage.paging import portions
from kalends.storage.prepared import Prepared, hole
from kalends.storage.rows import load_policies
from kalends.storage.running_on import run_on
from kalends.work import Outcome, WrittenFor, WrittenOff

__all__ = [
    "NOTHING_SETTLED", "QUEUEING", "Ended", "Lines", "Settled", "called_off", "carry_out",
    "end_for_newer", "standing_of",
]  # fmt: skip

QUEUEING = (Overlap.BUFFER_ONE, Overlap.BUFFER_ALL, Overlap.CANCEL_OTHER)
"""Under which what waits for its first attempt counts."""
_SERIAL = frozenset(Overlap) - {Overlap.ALLOW_ALL}
_MANY = 16
"""From so many events on, one statement for all is cheaper than one for each."""
_OF_EVENT = (ExecutionRow.event_id == hole("event_id")) & ExecutionRow.ended_at.is_null()
_BEGUN = Prepared(
    ExecutionRow.select(
        ExecutionRow.id,
        ExecutionRow.node,
        ExecutionRow.attempt,
        ExecutionRow.due,
        ExecutionRow.moved_to,
        ExecutionRow.started_at,
    ).where(_OF_EVENT, ExecutionRow.attempt > 0)
)
_IN_LINE = (
    ExecutionRow.node.is_null()
    & (ExecutionRow.attempt == 0)
    & ExecutionRow.batch.is_null()
    & ExecutionRow.moved_to.is_null()
)
"""Waiting because others ran: neither moved by somebody, nor part of a backfill."""
_LINE = ExecutionRow.select(ExecutionRow.id).where(_OF_EVENT, _IN_LINE).limit(hole("most"))
_WAITING = Prepared(peewee.Select([_LINE.alias("line")], [fn.COUNT(peewee.SQL("*"))]))
"""How many, counted no further than ``most``."""


Settled = Mapping[str, Outcome]
"""Outcomes that are not recorded yet, by their executions."""
NOTHING_SETTLED: Settled = MappingProxyType({})


class Lines:
    """What is open of many events, looked up for all of them at once: an event at a time is a way
    to the database each.
    """

    def __init__(self, db: peewee.Database, events: Sequence[tuple[str, str, bool]]) -> None:
        """``events``: ids, policies as they are stored, and whether something of it has begun."""
        self._begun: dict[str, list[tuple[str, str | None]]] = {}
        self._waiting: dict[str, int] = {}
        if len(events) < _MANY:
            return
        overlaps = {text: _overlap_of(text) for _, text, _ in events}
        serial = [one for one, text, begun in events if begun and overlaps[text] in _SERIAL]
        queueing = [one for one, text, _ in events if overlaps[text] in QUEUEING]
        for portion in portions(serial):
            self._begun.update((event_id, []) for event_id in portion)
            for event_id, execution_id, node in list(_begun_of(portion).tuples().execute(db)):
                self._begun[event_id].append((execution_id, node))
        for portion in portions(queueing):
            self._waiting.update(dict.fromkeys(portion, 0))
            self._waiting.update(list(_waiting_of(portion).tuples().execute(db)))

    def begun(self, db: peewee.Database, event_id: str) -> list[tuple[str, str | None]]:
        """Executions of an event that have begun and not ended, and who holds them."""
        found = self._begun.get(event_id)
        if found is None:
            found = [(one, node) for one, node, *_ in _BEGUN.rows(db, event_id=event_id)]
        return found

    def waiting(self, db: peewee.Database, event_id: str, most: int) -> int:
        """How many instants wait in its line, counted no further than ``most``."""
        found = self._waiting.get(event_id)
        if found is None:
            return int(_WAITING.value(db, event_id=event_id, most=most))
        return min(found, most)


def _overlap_of(text: str) -> Overlap | None:
    try:
        return load_policies(text).overlap
    except ValidationFailed:
        return None  # its event is found out later


def _begun_of(events: Sequence[str]) -> Any:
    return ExecutionRow.select(ExecutionRow.event_id, ExecutionRow.id, ExecutionRow.node).where(
        ExecutionRow.event_id.in_(events), ExecutionRow.ended_at.is_null(), ExecutionRow.attempt > 0
    )


def _waiting_of(events: Sequence[str]) -> Any:
    return (
        ExecutionRow.select(ExecutionRow.event_id, fn.COUNT(ExecutionRow.id))
        .where(ExecutionRow.event_id.in_(events), ExecutionRow.ended_at.is_null(), _IN_LINE)
        .group_by(ExecutionRow.event_id)
    )


_NO_LINES = Lines(peewee.Database(None), ())


class Ended(msgspec.Struct, frozen=True):
    """What a decision did to other executions of its event, as far as their node has to know."""

    told: tuple[str, ...] = ()
    """Executions whose jobs are to be told to stop."""
    terminated: tuple[WrittenOff, ...] = ()
    freed: int = 0
    """How many places of the event's limit are free now."""


def standing_of(
    db: peewee.Database,
    event_id: str,
    policies: Policies,
    *,
    begun: bool,
    room: int | None,
    settled: Settled,
    lines: Lines | None = None,
) -> Standing:
    """What of it the event's overlap policy asks for. ``begun``: whether executions may be claimed
    or wait for another attempt; ``lines``: what is known of them.
    """
    lines = lines or _NO_LINES
    overlap = policies.overlap
    claimed = retrying = waiting = 0
    if begun and overlap is not Overlap.ALLOW_ALL:
        nodes = [
            node
            for execution_id, node in lines.begun(db, event_id)
            if not _is_over(settled.get(execution_id), policies)
        ]
        retrying = nodes.count(None)
        claimed = len(nodes) - retrying
    if overlap in QUEUEING:
        most = policies.buffer_limit if overlap is Overlap.BUFFER_ALL else 1
        waiting = lines.waiting(db, event_id, most)
    return Standing(claimed, retrying, waiting, room)


def carry_out(
    db: peewee.Database,
    others: Others,
    event: Sequence[str],
    policies: Policies,
    *,
    node: str,
    now: int,
    settled: Settled,
) -> Ended:
    """Cancel or terminate what there is of an ``event``: its id, name and job. What waits for a
    further attempt ends at once; what waits for its first one makes way where others are cancelled.
    """
    if others is Others.STAY:
        return Ended()
    event_id, name, job = event
    told: list[str] = []
    terminated: list[WrittenOff] = []
    held = []
    for execution_id, holder, attempt, due, moved_to, started in _BEGUN.rows(db, event_id=event_id):
        if _is_over(settled.get(execution_id), policies):
            continue
        if holder is None:
            end_for_newer(db, execution_id, now=now)
            continue
        held.append(execution_id)
        if others is Others.TERMINATE:
            end_for_newer(db, execution_id, now=now, still_running=True)
            if holder == node:
                whose = WrittenFor(name, job, due, moved_to or due, started)
                terminated.append(WrittenOff(execution_id, event_id, attempt, now, whose))
        else:
            ExecutionRow.update(cancel=Mark.NEWER).where(
                ExecutionRow.id == execution_id, ExecutionRow.cancel == Mark.NONE
            ).execute(db)
            if holder == node:
                told.append(execution_id)
    if others is Others.TERMINATE:
        return Ended((), tuple(terminated), sum(each not in settled for each in held))
    ExecutionRow.update(fate=Fate.SKIPPED.value, reason=Reason.OVERLAP.value, ended_at=now).where(
        ExecutionRow.event_id == event_id, ExecutionRow.ended_at.is_null(), _IN_LINE
    ).execute(db)
    return Ended(tuple(told))


def _is_over(outcome: Outcome | None, policies: Policies) -> bool:
    """Whether only the record lacks of an execution: it has ended, and no attempt can follow."""
    if outcome is None or outcome.ask is not None:
        return False
    return not policies.retries or outcome.fate in (Fate.SUCCEEDED, Fate.CANCELLED, Fate.SKIPPED)


def called_off(db: peewee.Database, node: str) -> Ended:
    """What others have cancelled or terminated of a node's own executions."""
    return Ended(tuple(marks_of(db, node)), tuple(run_on(db, node)))


def end_for_newer(
    db: peewee.Database, execution_id: str, *, now: int, still_running: bool = False
) -> None:
    """End an execution whose place a newer one takes."""
    ExecutionRow.update(
        fate=Fate.CANCELLED.value,
        reason=Reason.OVERLAP.value,
        ended_at=now,
        still_running=int(still_running),
    ).where(ExecutionRow.id == execution_id).execute(db)
