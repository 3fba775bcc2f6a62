"""What is due next, over all events, without reading them all.

Both queries keep as much in memory as they answer with. ``next_runs`` reads at most ``limit``
events, by the index of what is due; ``Forecast`` reads each active event once or twice, in slices.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

import msgspec
import peewee

from kalends.clock import MAX_US, US, from_us
from kalends.errors import ValidationFailed
from kalends.model import EventStatus
from kalends.outlook import HeatMap, NextRun
from kalends.queries import EventQuery
from kalends.storage.accounts import readable_rule
from kalends.storage.event_queries import filtered
from kalends.storage.heat import Heat, HeatRange
from kalends.storage.models import EventRow, ExecutionRow
from kalends.triggers import Trigger

__all__ = ["Forecast", "next_runs"]

_COLUMNS = (EventRow.id, EventRow.name, EventRow.job, EventRow.trigger, EventRow.next_due)
_SLICE = 500
"""Events that one step of a forecast reads at most."""


class _Dated(msgspec.Struct, frozen=True):
    """An event and the rule that it is due by."""

    id: str
    name: str
    job: str
    rule: Trigger

    def run_at(self, instant: int) -> NextRun:
        return NextRun(
            event_id=self.id,
            name=self.name,
            job=self.job,
            instant=from_us(instant),
            delay=self.rule.delay_us(instant, self.id) / US,
        )

    def after(self, instant: int) -> int | None:
        """The next instant; None also where the rule gives up its search: the event is quarantined
        when it comes to that.
        """
        try:
            return self.rule.next_us(instant)
        except ValidationFailed:
            return None


def next_runs(db: peewee.Database, query: EventQuery, *, now: int) -> tuple[NextRun, ...]:
    """The first ``limit`` instants before ``due_until`` of the active events of ``query``, in
    order, and among them the executions that wait for an attempt.

    An event that is behind counts with the first instant that has no fate, and then with those
    after ``now``: what becomes of those in between is for its policies. What waits has its place
    by when it may begin. Costs one step of an index and of a rule for each run, whatever number of
    events there is.
    """
    merged = heapq.merge(_instants(db, query, now), _waiting(db, query), key=itemgetter(0))
    return tuple(run for _, run in islice(merged, query.limit))


def _instants(db: peewee.Database, query: EventQuery, now: int) -> Iterator[tuple[int, NextRun]]:
    """The instants of all events, in order."""
    until = MAX_US + 1 if query.due_until is None else query.due_until
    first = _firsts(db, query)
    ahead: list[tuple[int, str, _Dated]] = []
    fresh = next(first, None)
    while fresh is not None or ahead:
        if fresh is not None and (not ahead or fresh < ahead[0]):
            instant, _, event = fresh
            fresh = next(first, None)
        else:
            assert ahead, "one of the two has the earliest instant"
            instant, _, event = heapq.heappop(ahead)
        yield instant, event.run_at(instant)
        following = event.after(max(instant, now))
        if following is not None and following < until:
            heapq.heappush(ahead, (following, event.id, event))


def _waiting(db: peewee.Database, query: EventQuery) -> Iterator[tuple[int, NextRun]]:
    """Executions that nobody holds, by when they may begin."""
    events = msgspec.structs.replace(query, status=None, due_until=None)
    ready_at = ExecutionRow.ready_at
    # Said so that no index of events is of use: what waits is few, and comes by its own.
    goes_on: Any = EventRow.status.concat("").in_(
        (EventStatus.ACTIVE.value, EventStatus.COMPLETED.value)
    )
    select = (
        filtered(
            ExecutionRow.select(
                EventRow.id, EventRow.name, EventRow.job, ExecutionRow.due, ready_at,
                ExecutionRow.id,
            ).join(EventRow, on=(EventRow.id == ExecutionRow.event_id)),
            events,
        )
        .where(
            ExecutionRow.node.is_null(),
            ExecutionRow.ended_at.is_null(),
            ready_at.is_null(False),
            goes_on,
        )
        .order_by(ready_at, ExecutionRow.id)
        .limit(query.limit)
    )  # fmt: skip
    if query.due_until is not None:
        select = select.where(ready_at < query.due_until)
    for event_id, name, job, due, ready, execution_id in list(select.tuples().execute(db)):
        yield (
            ready,
            NextRun(
                event_id=event_id,
                name=name,
                job=job,
                instant=from_us(due),
                delay=(ready - due) / US,
                execution_id=execution_id,
            ),
        )


def _firsts(db: peewee.Database, query: EventQuery) -> Iterator[tuple[int, str, _Dated]]:
    """Each event at its first instant without a fate, in order; those with an unreadable rule are
    left out.
    """
    select = filtered(EventRow.select(*_COLUMNS), query).where(EventRow.next_due.is_null(False))
    order = select.order_by(EventRow.next_due, EventRow.id).limit(query.limit)
    for event_id, name, job, trigger, next_due in list(order.tuples().execute(db)):
        rule = readable_rule(trigger)
        if rule is not None:
            yield next_due, event_id, _Dated(event_id, name, job, rule)


class Forecast:
    """A heat map in the making: call ``step`` until it answers with one, each time on the state of
    the database as it is then.

    The first way through the events counts, the second one finds those that are due at the busiest
    instants.
    """

    def __init__(self, query: EventQuery, within: HeatRange, *, busiest: int) -> None:
        self._query = query
        self._heat = Heat(within, busiest)
        self._until = within.until
        self._seen = ""
        self._counting, self._waiting = True, False

    def step(self, db: peewee.Database) -> HeatMap | None:
        """Look at the next events."""
        if self._waiting:
            self._waiting = self._heat.count_waiting()
            return None if self._waiting or self._heat.settle() else self._heat.map()
        rows = self._next_slice(db)
        for event_id, name, job, trigger, next_due in rows:
            rule = readable_rule(trigger)
            if rule is None:
                continue
            if self._counting:
                self._heat.count(rule, next_due)
            else:
                event = _Dated(event_id, name, job, rule)
                self._heat.find(rule, next_due, event.run_at)
        if len(rows) == _SLICE:
            self._seen = rows[-1][0]
            return None
        self._seen = ""
        if self._counting:
            self._counting, self._waiting = False, True
            return None
        return self._heat.map()

    def _next_slice(self, db: peewee.Database) -> list[tuple[Any, ...]]:
        """By id: a way by ``next_due`` would meet events again that are claimed meanwhile."""
        anywhere = msgspec.structs.replace(self._query, status=None)
        # Said so that the index of what is due is of no use: each slice would sort all events.
        active: Any = EventRow.status.concat("") == EventStatus.ACTIVE.value
        select = filtered(EventRow.select(*_COLUMNS), anywhere).where(
            active, EventRow.id > self._seen, EventRow.next_due < self._until
        )
        return list(select.order_by(EventRow.id).limit(_SLICE).tuples().execute(db))
