"""Events, their executions and their gaps: one line in order of (event, instant), read in slices.

A slice is one state of the database, and shows what it finds by itself. So memory is bounded by a
slice, an event of a million executions is looked at in many, and no read transaction lasts long
enough to keep the write-ahead log from being emptied. Between two slices the ledger goes on: from
one to the next only ``told`` is carried, the instant up to which the fates of the event under way
were all there. What may become of that since (retention makes a gap of what was looked at, a claim
is given back) is known, and is not taken for a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import peewee
from peewee import fn

from kalends.errors import EventNotFound, ValidationFailed
from kalends.storage.accounts import accounted_to
from kalends.storage.instants import execution_at
from kalends.storage.models import AttemptRow, DefinitionRow, EventRow, ExecutionRow, GapRow
from kalends.storage.paging import first_row
from kalends.storage.verify.account import Account
from kalends.storage.verify.parts import Definition, Event, Execution, Findings, Gap, at, columns
from kalends.storage.verify.rows import RowCheck
from kalends.storage.verify.tables import check_listed_tags
from kalends.verification import ViolationKind

__all__ = ["EVENTS", "ROWS", "LineWalk"]

K = ViolationKind
T = TypeVar("T", Execution, Gap, Definition)
EVENTS, ROWS = 500, 5_000
"""What one slice reads at most: of events, and of executions and gaps each."""
_END = 2**63 - 1

Place = tuple[str, int]
"""A place in the line: an event's id, and an instant of it (``_END``: all of them)."""


class _Slice(msgspec.Struct, frozen=True):
    """What was read of one state of the database, in order, up to ``bound``; None: to the end."""

    events: list[Event]
    executions: dict[str, list[Execution]]
    earlier: dict[str, tuple[int, int]]
    """For each execution: how many earlier attempts, and their largest number."""
    gaps: dict[str, list[Gap]]
    definitions: dict[str, list[Definition]]
    bound: Place | None

    def holds(self, event_id: str, instant: int = _END) -> bool:
        """Whether a place lies within the slice; of an event alone: whether all of it does."""
        return self.bound is None or (event_id, instant) <= self.bound


class LineWalk:
    """Looks at all events, or at one: call ``step`` until it answers True."""

    def __init__(
        self,
        findings: Findings,
        event_id: str | None,
        check: Callable[[peewee.Database], RowCheck],
    ) -> None:
        self._findings = findings
        self._event_id = event_id
        self._check = check
        self._place: Place = ("", _END)
        """Everything up to here has been looked at."""
        self._told: int | None = None
        """For the event under way, see ``Account.told``."""

    def step(self, db: peewee.Database) -> bool:
        """Look at the next slice; True at the end. Raises ``EventNotFound``."""
        read = self._read(db)
        if self._event_id is not None and not read.events and self._place[0] == "":
            raise EventNotFound(f"there is no event {self._event_id}", event_id=self._event_id)
        check, told = self._check(db), self._told
        self._told = None
        for event in read.events:
            if read.bound is not None and event.id > read.bound[0]:
                break
            self._look_at(db, read, event, check, told if event.id == self._place[0] else None)
        self._find_orphans(read)
        check_listed_tags(db, self._findings, [item for item in read.events if read.holds(item.id)])
        if read.bound is not None:
            self._place = read.bound
        return read.bound is None

    # -- one event -----------------------------------------------------------------------------

    def _look_at(
        self, db: peewee.Database, read: _Slice, event: Event, check: RowCheck, told: int | None
    ) -> None:
        executions = [
            item for item in read.executions.get(event.id, ()) if read.holds(event.id, item.due)
        ]
        gaps = [item for item in read.gaps.get(event.id, ()) if read.holds(event.id, item.last)]
        self._findings.executions += len(executions)
        self._findings.gaps += len(gaps)
        for item in executions:
            check.execution(item, event, read.earlier[item.id])
        for gap in gaps:
            check.gap(gap, event)
            if not _rule_went(gap, read.definitions.get(event.id, ())):
                self._check_into(db, event, gap, executions)
        try:
            account = Account(self._findings, event, read.definitions.get(event.id, ()), told)
            self._account_for(db, account, executions, gaps)
            if read.holds(event.id):
                account.finish(accounted_to(db, event.id) if account.stale else None)
        except ValidationFailed as error:
            words = f"a rule of its does not answer: {error.message}"
            self._findings.add(K.UNREADABLE, event.id, words, event)
            return
        if read.holds(event.id):
            check.event(event)
            self._findings.events += 1
        else:
            self._told = account.told

    def _account_for(
        self,
        db: peewee.Database,
        account: Account,
        executions: Sequence[Execution],
        gaps: Sequence[Gap],
    ) -> None:
        fates: list[Execution | Gap] = [*executions, *gaps]
        for item in sorted(fates, key=_begins):
            if isinstance(item, Execution):
                account.execution(item)
            elif account.straddles(item):
                account.gap(item, overlaps=_is_shared(db, item, account.told))
            else:
                account.gap(item)

    def _check_into(
        self, db: peewee.Database, event: Event, gap: Gap, executions: Sequence[Execution]
    ) -> None:
        """The instant that was to run for others has a fate, or is due again."""
        into = gap.into
        if into is None or into < event.accounted_from:
            return
        if event.next_due is not None and into >= event.next_due:
            return
        if any(item.due == into for item in executions) or execution_at(db, event.id, into):
            return
        if not _gap_at(db, gap, into):
            words = f"instants went into the one at {at(into)}, which has no fate"
            self._findings.add(K.INTO_NOTHING, event.id, words, gap)

    def _find_orphans(self, read: _Slice) -> None:
        known = {event.id for event in read.events}
        kinds: list[tuple[str, dict[str, list[Any]]]] = [
            ("an execution", read.executions),
            ("a gap", read.gaps),
            ("an old rule", read.definitions),
        ]
        for what, rows in kinds:
            for event_id, items in rows.items():
                if event_id in known:
                    continue
                for item in items:
                    if read.holds(event_id, _instant(item)):
                        self._findings.add(K.ORPHAN, event_id, f"{what} of no event", item)

    # -- reading -------------------------------------------------------------------------------

    def _read(self, db: peewee.Database) -> _Slice:
        begun, instant = self._place
        query = EventRow.select(*columns(Event)).order_by(EventRow.id).limit(EVENTS)
        query = query.where(EventRow.id > begun if instant == _END else EventRow.id >= begun)
        if self._event_id is not None:
            query = query.where(EventRow.id == self._event_id)
        events = [Event(*row) for row in query.tuples().execute(db)]
        last = events[-1].id if len(events) == EVENTS else None
        number, highest = _attempts()
        rows = self._rows(
            db, ExecutionRow, ExecutionRow.due, last, *columns(Execution), number, highest
        )
        executions = [Execution(*row[:-2]) for row in rows]
        gaps = [Gap(*row) for row in self._rows(db, GapRow, GapRow.last, last, *columns(Gap))]
        gaps += _ending_with(db, gaps)
        bounds: list[Place] = [] if last is None else [(last, _END)]
        if len(executions) == ROWS:
            bounds.append((executions[-1].event_id, executions[-1].due))
        if len(gaps) >= ROWS:
            bounds.append((gaps[-1].event_id, gaps[-1].last))
        return _Slice(
            events,
            _by_event(executions),
            {row[0]: (int(row[-2]), int(row[-1] or 0)) for row in rows},
            _by_event(gaps),
            self._definitions(db, min(bounds, default=None)),
            min(bounds, default=None),
        )

    def _rows(
        self, db: peewee.Database, table: Any, instant: Any, last: str | None, *wanted: Any
    ) -> list[tuple[Any, ...]]:
        """The next rows of a table, in order of event and instant."""
        query = (
            table.select(*wanted)
            .where(peewee.Tuple(table.event_id, instant) > peewee.Tuple(*self._place))
            .order_by(table.event_id, instant)
            .limit(ROWS)
        )
        if last is not None:
            query = query.where(table.event_id <= last)
        if self._event_id is not None:
            query = query.where(table.event_id == self._event_id)
        return list(query.tuples().execute(db))

    def _definitions(self, db: peewee.Database, bound: Place | None) -> dict[str, list[Definition]]:
        """The old rules of the events of a slice."""
        query = DefinitionRow.select(*columns(Definition)).order_by(
            DefinitionRow.event_id, DefinitionRow.version
        )
        begun, instant = self._place
        query = query.where(
            DefinitionRow.event_id > begun if instant == _END else DefinitionRow.event_id >= begun
        )
        if bound is not None:
            query = query.where(DefinitionRow.event_id <= bound[0])
        if self._event_id is not None:
            query = query.where(DefinitionRow.event_id == self._event_id)
        return _by_event([Definition(*row) for row in query.tuples().iterator(db)])


def _attempts() -> tuple[Any, Any]:
    """How many attempts an execution has in the table of attempts, and their largest number."""
    mine = AttemptRow.execution_id == ExecutionRow.id
    number = AttemptRow.select(fn.COUNT(AttemptRow.number)).where(mine, AttemptRow.number >= 1)
    highest = AttemptRow.select(fn.MAX(AttemptRow.number)).where(mine)
    return number, highest


def _ending_with(db: peewee.Database, gaps: Sequence[Gap]) -> list[Gap]:
    """What the end of a slice must not cut off: gaps that end where its last one does, though no
    two should.
    """
    if len(gaps) < ROWS:
        return []
    query = GapRow.select(*columns(Gap)).where(
        GapRow.event_id == gaps[-1].event_id, GapRow.last == gaps[-1].last
    )
    read = {gap.id for gap in gaps}
    return [Gap(*row) for row in query.limit(ROWS).tuples().execute(db) if row[0] not in read]


def _by_event(items: Sequence[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(item.event_id, []).append(item)
    return found


def _begins(item: Execution | Gap) -> int:
    return item.due if isinstance(item, Execution) else item.first


def _instant(item: Execution | Gap | Definition) -> int:
    """The instant by which a row has its place in the line."""
    if isinstance(item, Execution):
        return item.due
    return item.last if isinstance(item, Gap) else item.until


def _is_shared(db: peewee.Database, gap: Gap, told: int) -> bool:
    """Whether anything else has a fate for an instant between a gap's first and ``told``."""
    execution = ExecutionRow.select(ExecutionRow.id).where(
        ExecutionRow.event_id == gap.event_id,
        ExecutionRow.due.between(gap.first, told),
        ExecutionRow.manual == 0,
    )
    other = GapRow.select(GapRow.id).where(
        GapRow.event_id == gap.event_id,
        GapRow.id != gap.id,
        GapRow.last.between(gap.first, told),
    )
    return any(first_row(db, query.limit(1)) is not None for query in (execution, other))


def _rule_went(gap: Gap, definitions: Sequence[Definition]) -> bool:
    """Whether the instant that was to run for a gap's went with its rule: the clock was set back,
    and before it came again the event was changed or deleted.
    """
    return gap.into is not None and any(
        item.since <= gap.first <= item.until < gap.into for item in definitions
    )


def _gap_at(db: peewee.Database, gap: Gap, instant: int) -> bool:
    """Whether another gap of the event tells of an instant."""
    query = GapRow.select(GapRow.id).where(
        GapRow.event_id == gap.event_id,
        GapRow.id != gap.id,
        GapRow.last >= instant,
        GapRow.first <= instant,
    )
    return first_row(db, query.limit(1)) is not None
