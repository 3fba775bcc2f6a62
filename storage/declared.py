"""Declared events: the stored ones made as the code declares them.

One transaction looks and changes, so of two processes that start at the same time the second finds
nothing left to do. What the code says holds: whatever somebody changed at run time is changed back,
with both values in the journal. What somebody paused stays paused. What is declared no longer is
paused under a note of its own, and only what was paused so is resumed when it is declared again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import peewee

from kalends.drafts import Changes, Definition, OnConflict
from kalends.errors import ConflictError, KalendsError
from kalends.model import Event, EventStatus, JournalKind
from kalends.reconciliation import DeclaredAction, DeclaredEvent, Reconciliation
from kalends.storage.event_rows import COPIES, as_data, changed_fields, named
from kalends.storage.events import EventStore, changes_of
from kalends.storage.models import LIVING_EVENTS, EventRow, JournalRow
from kalends.storage.rows import EVENT_COLUMNS

__all__ = ["Declared", "paused_note"]

_AUTHOR = "kalends"
_CHUNK = 500
Act = DeclaredAction


def paused_note(application: str) -> str:
    """What an event is paused with that an application declares no longer."""
    return f"no longer declared by {application!r}"


class Declared(msgspec.Struct, frozen=True):
    """What one application declares. ``adopt``: also under names of events that it has not."""

    application: str
    definitions: tuple[Definition, ...]
    adopt: bool = False

    def look(self, db: peewee.Database, *, now: int) -> Reconciliation:
        """What there is to do, as far as a look tells: what is refused shows when it is done."""
        told = tuple(step.told for step in self._plan(db, now))
        return Reconciliation(application=self.application, dry_run=True, events=told)

    def carry_out(
        self, db: peewee.Database, store: EventStore, *, now: int, dry_run: bool = False
    ) -> tuple[Reconciliation, tuple[Event, ...]]:
        """Make the stored events as they are declared; what was done, and the changed events.

        With ``dry_run`` all of it is undone again.
        """
        told: list[DeclaredEvent] = []
        changed: list[Event] = []
        with db.savepoint() as all_of_it:
            for step in self._plan(db, now):
                done, event = self._try(db, store, step, now)
                if event is not None:
                    changed.append(event)
                    done = msgspec.structs.replace(done, event_id=event.id, status=event.status)
                told.append(done)
            if dry_run:
                all_of_it.rollback()
                told = [_undone(one) for one in told]
        found = Reconciliation(application=self.application, dry_run=dry_run, events=tuple(told))
        return found, () if dry_run else tuple(changed)

    # -- what is to be done --------------------------------------------------------------------

    def _plan(self, db: peewee.Database, now: int) -> list[_Step]:
        wanted = {definition.name or "": definition for definition in self.definitions}
        stored = _living(db, sorted(wanted))
        steps = [
            self._step(db, definition, stored.get(name), now) for name, definition in wanted.items()
        ]
        steps += [
            _leave(row, self.application)
            for row in _declared_by(db, self.application)
            if row["name"] not in wanted
        ]
        return sorted(steps, key=lambda step: step.told.name)

    def _step(
        self, db: peewee.Database, definition: Definition, row: dict[str, Any] | None, now: int
    ) -> _Step:
        name = definition.name or ""
        if row is None:
            return _Step(DeclaredEvent(name=name, action=Act.CREATED), definition)
        owner = row["declared_by"]
        if owner != self.application and not self.adopt:
            whose = "was made by hand" if owner is None else f"is declared by {owner!r}"
            message = f"the event {name!r} {whose}; reconcile(adopt=True) would take it over"
            return _Step(_told(row, Act.REFUSED, code=ConflictError.code, message=message))
        changes = changes_of(definition)
        fresh = {k: v for k, v in changed_fields(row, changes, now).items() if k not in COPIES}
        ours = row["status_note"] == paused_note(owner or "") and not _paused_by_hand(db, row["id"])
        returns = row["status"] == EventStatus.PAUSED and ours
        action = Act.RESUMED if returns else Act.UPDATED if fresh else Act.KEPT
        before = {field: as_data(field, row[field]) for field in fresh}
        after = {field: as_data(field, value) for field, value in fresh.items()}
        if "policies" in fresh:
            before["policies"], after["policies"] = _apart(before["policies"], after["policies"])
        told = _told(row, action, before=before, after=after)
        return _Step(told, definition, changes if fresh else None)

    # -- what is done --------------------------------------------------------------------------

    def _try(
        self, db: peewee.Database, store: EventStore, step: _Step, now: int
    ) -> tuple[DeclaredEvent, Event | None]:
        """One that cannot be carried out leaves no trace, and the others go on."""
        try:
            with db.savepoint():
                return step.told, self._act(db, store, step, now)
        except KalendsError as error:
            told = DeclaredEvent(
                name=step.told.name,
                action=Act.REFUSED,
                event_id=step.told.event_id,
                status=step.told.status,
                code=error.code,
                message=error.message,
            )
            return told, None

    def _act(self, db: peewee.Database, store: EventStore, step: _Step, now: int) -> Event | None:
        event = None
        note = f"declared by {self.application!r}"
        event_id = step.told.event_id or ""
        if step.told.action is Act.CREATED and step.definition is not None:
            (event,) = store.create(
                db,
                (step.definition,),
                now=now,
                on_conflict=OnConflict.ERROR,
                author=_AUTHOR,
                note=note,
            )
        if step.changes is not None:
            event = store.update(
                db,
                event_id,
                step.changes,
                now=now,
                version=None,
                author=_AUTHOR,
                note=note,
                given_back=(),
            )
        if step.told.action in (Act.RESUMED, Act.PAUSED):
            verb = "resume" if step.told.action is Act.RESUMED else "pause"
            note = f"{note} again" if verb == "resume" else paused_note(self.application)
            event = store.set_status(db, event_id, verb, now=now, author=_AUTHOR, note=note)
        return event


class _Step(msgspec.Struct, frozen=True):
    """One event, and what is to be done about it."""

    told: DeclaredEvent
    definition: Definition | None = None
    changes: Changes | None = None


def _apart(before: Any, after: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What differs; what could not be read is shown as it is."""
    if not isinstance(before, dict):
        return before, after
    differ = [field for field in after if before.get(field) != after[field]]
    return {field: before.get(field) for field in differ}, {field: after[field] for field in differ}


def _undone(told: DeclaredEvent) -> DeclaredEvent:
    """What was created and undone has no id."""
    created = told.action is Act.CREATED
    return msgspec.structs.replace(told, event_id=None) if created else told


def _told(row: dict[str, Any], action: DeclaredAction, **more: Any) -> DeclaredEvent:
    return DeclaredEvent(
        name=row["name"],
        action=action,
        event_id=row["id"],
        status=EventStatus(row["status"]),
        **more,
    )


def _leave(row: dict[str, Any], application: str) -> _Step:
    """What is declared no longer. A pause that would end by itself is no pause for that."""
    ends = row["paused_until"] is not None
    active = row["status"] == EventStatus.ACTIVE or ends
    action = Act.PAUSED if active else Act.ABSENT
    return _Step(_told(row, action))


def _living(db: peewee.Database, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows of the events that have one of the names, by name."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), _CHUNK):
        query = EventRow.select(*EVENT_COLUMNS).where(
            EventRow.name.in_(names[start : start + _CHUNK]), LIVING_EVENTS
        )
        rows = [named(row) for row in query.tuples().execute(db)]
        found |= {row["name"]: row for row in rows}
    return found


def _paused_by_hand(db: peewee.Database, event_id: str) -> bool:
    """Whether somebody else has paused it, in whatever words; so long as the journal tells."""
    query = (
        JournalRow.select(JournalRow.author)
        .where(JournalRow.event_id == event_id, JournalRow.kind == JournalKind.EVENT_PAUSED.value)
        .order_by(JournalRow.id.desc())
        .limit(1)
    )
    return any(author != _AUTHOR for (author,) in query.tuples().execute(db))


def _declared_by(db: peewee.Database, application: str) -> list[dict[str, Any]]:
    query = EventRow.select(*EVENT_COLUMNS).where(
        EventRow.declared_by == application, EventRow.status != EventStatus.DELETED.value
    )
    return [named(row) for row in query.tuples().execute(db)]
