"""The account of an event: which of its instants have a fate, and how to change the rule without
losing one.

Up to ``accounted_to`` every instant since ``accounted_from`` has its fate; ``next_due`` is the
first one without. A claim that will not begin is undone so that this stays true: its instant
becomes due again where it was the last one accounted for, and otherwise stays open, to be attempted
by whoever claims next. Where the event is parked nobody will: what had not begun is skipped then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import peewee
from peewee import fn

from kalends.clock import MIN_US
from kalends.errors import ValidationFailed
from kalends.ids import IdSource
from kalends.model import EventStatus, Fate, Reason
from kalends.storage.cancelling import end_called_off, marks_of
from kalends.storage.gaps import span_until, write_gap
from kalends.storage.models import DefinitionRow, EventRow, ExecutionRow, GapRow
from kalends.storage.paging import first_row, portions
from kalends.storage.rows import load_trigger
from kalends.triggers import Trigger
from kalends.work import Claim

__all__ = [
    "PARKED",
    "Held",
    "accounted_to",
    "close_account",
    "end_moved",
    "end_unheld",
    "first_due",
    "give_back",
    "opening",
    "readable_rule",
    "told_to",
]


PARKED = {
    EventStatus.PAUSED: Reason.PAUSED,
    EventStatus.QUARANTINED: Reason.QUARANTINED,
    EventStatus.DELETED: Reason.DELETED,
}
"""The statuses in which an event begins nothing, and why its instants are skipped then."""
_GOING_ON = (EventStatus.ACTIVE.value, EventStatus.COMPLETED.value)


class Held(msgspec.Struct, frozen=True):
    """An execution that a node holds and has not begun."""

    id: str
    event_id: str
    due: int
    attempt: int
    manual: bool


def readable_rule(text: str) -> Trigger | None:
    """The trigger of a stored form, or None where it cannot be read."""
    try:
        return load_trigger(text)
    except ValidationFailed:
        return None


def accounted_to(db: peewee.Database, event_id: str) -> int | None:
    """The last instant of the event that has a fate, or None."""
    execution = (
        ExecutionRow.select(ExecutionRow.due)
        .where(ExecutionRow.event_id == event_id, ExecutionRow.manual == 0)
        .order_by(ExecutionRow.due.desc())
        .limit(1)
    )
    gap = GapRow.select(fn.MAX(GapRow.last)).where(GapRow.event_id == event_id)
    found = [row[0] for row in (first_row(db, execution), first_row(db, gap)) if row is not None]
    return max((due for due in found if due is not None), default=None)


# -- claims that will not begin ----------------------------------------------------------------


def give_back(
    db: peewee.Database,
    claims: Iterable[Claim | Held],
    node: str,
    *,
    now: int,
    status: EventStatus | None = None,
) -> dict[str, int]:
    """Undo claims that have not begun, as a stopping node does. Claims that ``node`` lost change
    nothing.

    A first attempt leaves no trace where its instant can be due again. A later one, an execution
    that somebody asked for (manual, moved, of a backfill), and an instant behind others that have
    their fate stay open and belong to nobody, or end where the event is parked. What was to stop
    ends as cancelled. ``status`` is what the event is about to have, where it changes.
    Returns the instants due again, by event.
    """
    by_event: dict[str, list[Claim | Held]] = {}
    called_off = marks_of(db, node)
    for claim in claims:
        held = by_event.setdefault(claim.event_id, [])
        if claim.id in called_off:
            end_called_off(db, claim.id, called_off[claim.id], now=now)
        else:
            held.append(claim)
    due_again: dict[str, int] = {}
    settled: set[str] = set()
    if status not in PARKED:
        chains = rest = dict(by_event)
        while freed := _free_last(db, chains, node):  # the one before is the last one then
            due_again |= freed
            chains = {
                one: [claim for claim in rest[one] if claim.due != due or claim.manual]
                for one, due in freed.items()
            }
            rest |= chains
        settled = _leave_open(db, rest, node)
    for event_id, held in by_event.items():
        if event_id in settled:
            continue
        instant = _give_back_event(db, event_id, held, node, now, status)
        if instant is not None:
            due_again[event_id] = instant
    return due_again


def _free_last(
    db: peewee.Database, by_event: Mapping[str, Sequence[Claim | Held]], node: str
) -> dict[str, int]:
    """Of many events at once that go on, undo the last claim where it is a first attempt of the
    last instant that has a fate. The instants due again, by event.
    """
    asked: dict[str, str] = {}
    for event_id, held in by_event.items():
        first = [claim for claim in held if claim.attempt == 1 and not claim.manual]
        if first:
            asked[event_id] = max(first, key=lambda claim: claim.due).id
    last = ExecutionRow.select(fn.MAX(ExecutionRow.due)).where(
        ExecutionRow.event_id == EventRow.id, ExecutionRow.manual == 0
    )
    last_gap = GapRow.select(fn.MAX(GapRow.last)).where(GapRow.event_id == EventRow.id)
    due_again: dict[str, int] = {}
    for portion in portions(list(asked)):
        query = (
            ExecutionRow.select(ExecutionRow.id, ExecutionRow.event_id, ExecutionRow.due)
            .join(EventRow, on=(EventRow.id == ExecutionRow.event_id))
            .where(
                ExecutionRow.id.in_([asked[event_id] for event_id in portion]),
                ExecutionRow.attempt == 1,
                ExecutionRow.node == node,
                ExecutionRow.ended_at.is_null(),
                ExecutionRow.moved_to.is_null(),
                ExecutionRow.batch.is_null(),
                EventRow.status.in_(_GOING_ON),
                ExecutionRow.due >= EventRow.rule_since,
                ExecutionRow.due >= EventRow.accounted_from,
                ExecutionRow.due == last,
                ExecutionRow.due > fn.COALESCE(last_gap, MIN_US),
            )
        )
        free = list(query.tuples().execute(db))
        due_again.update((event_id, due) for _, event_id, due in free)
        if free:
            # As long as the instants are the last ones, they can be found again.
            _make_due(db, [event_id for _, event_id, _ in free], last)
            gone = [execution_id for execution_id, _, _ in free]
            ExecutionRow.delete().where(ExecutionRow.id.in_(gone)).execute(db)
    return due_again


def _leave_open(
    db: peewee.Database, by_event: Mapping[str, Sequence[Claim | Held]], node: str
) -> set[str]:
    """Leave open, to be attempted by whoever claims next, what many events have; the events that
    go on, for the others are another matter.
    """
    going_on: set[str] = set()
    for portion in portions(list(by_event)):
        living = EventRow.select(EventRow.id).where(
            EventRow.id.in_(portion), EventRow.status.in_(_GOING_ON)
        )
        going_on.update(event_id for (event_id,) in list(living.tuples().execute(db)))
    attempts = {claim.id: claim.attempt for one in going_on for claim in by_event[one]}
    for ids in portions(list(attempts)):
        mine = (
            ExecutionRow.id.in_(ids) & (ExecutionRow.node == node) & ExecutionRow.ended_at.is_null()
        )
        query = ExecutionRow.select(ExecutionRow.id, ExecutionRow.attempt).where(mine)
        found = list(query.tuples().execute(db))
        held = [
            execution_id for execution_id, attempt in found if attempts[execution_id] == attempt
        ]
        if held:
            _reopen(db, ExecutionRow.id.in_(held))
    return going_on


def _reopen(db: peewee.Database, which: Any) -> None:
    """Take back the last attempt of executions, and let them wait for it."""
    ExecutionRow.update(
        node=None,
        fate=Fate.PENDING.value,
        attempt=ExecutionRow.attempt - 1,
        started_at=None,
        ready_at=fn.COALESCE(ExecutionRow.ready_at, ExecutionRow.due),
    ).where(which).execute(db)


def _give_back_event(
    db: peewee.Database,
    event_id: str,
    held: Sequence[Claim | Held],
    node: str,
    now: int,
    status: EventStatus | None,
) -> int | None:
    event = EventRow.select(EventRow.status, EventRow.rule_since, EventRow.accounted_from)
    row = first_row(db, event.where(EventRow.id == event_id))
    current, rule_since, accounted_from = row or (EventStatus.DELETED.value, 0, 0)
    due_again: int | None = None
    asked_for = ExecutionRow.moved_to.is_null(False) | ExecutionRow.batch.is_null(False)
    for claim in sorted(held, key=lambda claim: claim.due, reverse=True):
        mine = (
            (ExecutionRow.id == claim.id)
            & (ExecutionRow.attempt == claim.attempt)
            & (ExecutionRow.node == node)
            & ExecutionRow.ended_at.is_null()
        )
        if (
            claim.attempt == 1
            and not claim.manual
            and current != EventStatus.DELETED
            and claim.due >= max(rule_since, accounted_from)
            and accounted_to(db, event_id) == claim.due
            and ExecutionRow.delete().where(mine, ~asked_for).execute(db)
        ):
            due_again = claim.due
        else:
            _reopen(db, mine)
    parked = PARKED.get(status or EventStatus(current))
    if parked is not None:
        end_unheld(db, event_id, parked, now=now)
    if due_again is not None:
        _make_due(db, [event_id], due_again)
    return due_again


def end_unheld(db: peewee.Database, event_id: str, reason: Reason, *, now: int) -> None:
    """Skip, for the reason, the open executions of a parked event that belong to nobody.

    What was attempted before, moved ahead, or asked for by a backfill waits for the event's return.
    Nothing waits where the event is deleted: what was attempted is lost then.
    """
    unheld = _unheld(event_id)
    unwanted = ExecutionRow.attempt == 0
    if reason is not Reason.DELETED:
        come = ExecutionRow.moved_to.is_null() | (ExecutionRow.moved_to <= now)
        unwanted &= ExecutionRow.batch.is_null() & come
    ExecutionRow.update(fate=Fate.SKIPPED.value, reason=reason.value, ended_at=now).where(
        unheld, unwanted
    ).execute(db)
    if reason is Reason.DELETED:
        ExecutionRow.update(
            fate=Fate.LOST.value, reason=Reason.PROCESS_DIED.value, ended_at=now
        ).where(unheld).execute(db)


def end_moved(
    db: peewee.Database, event_id: str, reason: Reason, *, closing: int, now: int
) -> None:
    """Skip, for the reason, what was moved to an instant up to ``closing`` and has not begun."""
    ExecutionRow.update(fate=Fate.SKIPPED.value, reason=reason.value, ended_at=now).where(
        _unheld(event_id), ExecutionRow.attempt == 0, ExecutionRow.moved_to <= closing
    ).execute(db)


def _unheld(event_id: str) -> Any:
    return (
        (ExecutionRow.event_id == event_id)
        & ExecutionRow.ended_at.is_null()
        & ExecutionRow.node.is_null()
    )


def _make_due(db: peewee.Database, events: Sequence[str], due: Any) -> None:
    """Set ``next_due`` back, to an instant or what a query says; an event that had completed with
    this instant is active again.
    """
    EventRow.update(
        next_due=due,
        status=peewee.Case(
            None,
            [(EventRow.status == EventStatus.COMPLETED.value, EventStatus.ACTIVE.value)],
            EventRow.status,
        ),
    ).where(
        EventRow.id.in_(events), EventRow.next_due.is_null() | (EventRow.next_due > due)
    ).execute(db)


# -- one rule ends, another begins -------------------------------------------------------------


def first_due(trigger: Trigger, now: int, path: str) -> tuple[int, int]:
    """Where a rule's account begins, and its first instant: from ``now`` on, or the last one
    before.

    A rule whose only instants have passed (``once`` in the past) is late, not void: its last
    instant is due.
    """
    following = trigger.next_us(now - 1)  # an instant that is now counts as due, not as passed
    if following is not None:
        return now, following
    last = trigger.previous_us(now)
    if last is None or trigger.previous_us(last) is not None:
        raise ValidationFailed("the rule has no instant after now", path=path)
    return last, last


def opening(
    db: peewee.Database, old: dict[str, Any], rule: Trigger, now: int
) -> tuple[int, int, int]:
    """For a new rule: where the old account closes, where the new one opens, and its first instant.

    The old rule keeps what it has accounted for, which may reach beyond ``now``: claims ahead of
    time, or a clock that stepped back. A new rule of one instant that has passed (``once``) is
    late, not void, unless the ledger already tells of that time. Raises ``ValidationFailed`` where
    the rule has no instant left."""
    told = told_to(db, old)
    closing = max(now, told)
    following = rule.next_us(closing)
    if following is not None:
        return closing, closing + 1, following
    last = rule.previous_us(closing + 1)
    if last is None or rule.previous_us(last) is not None or last <= told:
        raise ValidationFailed("the rule has no instant after now", path="trigger")
    return last - 1, last, last


def told_to(db: peewee.Database, old: dict[str, Any]) -> int:
    """The last instant up to which nothing new may be told of the event in the row ``old``."""
    begun: int = max(old["accounted_from"], old["rule_since"]) - 1
    accounted = accounted_to(db, old["id"])
    return begun if accounted is None else max(begun, accounted)


def close_account(
    db: peewee.Database,
    old: dict[str, Any],
    closing: int,
    reason: Reason,
    *,
    now: int,
    ids: IdSource,
    node: str,
) -> bool:
    """Give every instant up to ``closing`` that has no fate the reason, and keep the rule for later
    counting.

    False where the rule cannot be read: nothing can be said about its instants then, and the
    event's account has to begin anew.
    """
    rule = readable_rule(old["trigger"])
    if rule is None:
        DefinitionRow.delete().where(DefinitionRow.event_id == old["id"]).execute(db)
        return False
    span = span_until(rule, old["next_due"], closing, reason.value)
    if span is not None:
        write_gap(db, old["id"], old["version"], rule, span, now=now, ids=ids, node=node)
    if old["rule_since"] <= closing:
        DefinitionRow.insert(
            event_id=old["id"],
            version=old["version"],
            trigger=old["trigger"],
            since=old["rule_since"],
            until=closing,
        ).execute(db)
    return True
