"""New events: their rows, and the answers for whoever made them.

What the events of one call have in common is worked out once: a rule, its first instant, policies.
The answers are made of what was written, not read back. Every function runs inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import peewee
import pendulum

from kalends.clock import from_us
from kalends.drafts import Definition, OnConflict
from kalends.errors import ConflictError
from kalends.ids import short_form
from kalends.model import Event, EventStatus, JournalKind
from kalends.storage.accounts import first_due
from kalends.storage.dialect import Dialect
from kalends.storage.event_rows import ids_by_name, policy_columns
from kalends.storage.journal import Stamp, note_down
from kalends.storage.models import EventRow, TagRow
from kalends.storage.rows import EVENT_COLUMNS, arguments_of, dump, dump_trigger
from kalends.triggers import Trigger

__all__ = ["Creator"]

Row = tuple[Any, ...]
"""Values of ``EVENT_COLUMNS``."""
_INSERT = EventRow.insert_many([dict.fromkeys(EVENT_COLUMNS)])
_INSERT_TAG = TagRow.insert(tag="", event_id="")


class Creator:
    """Stores definitions as new events. ``replace(db, event_id, definition, stamp)`` changes one
    that exists, ``get(db, event_id)`` reads it.
    """

    def __init__(
        self,
        dialect: Dialect,
        replace: Callable[[peewee.Database, str, Definition, Stamp], None],
        get: Callable[[peewee.Database, str], Event],
    ) -> None:
        self._dialect = dialect
        self._insert = dialect.compile(_INSERT)
        self._insert_tag = dialect.compile(_INSERT_TAG)
        self._replace = replace
        self._get = get

    def create(
        self,
        db: peewee.Database,
        definitions: Sequence[Definition],
        stamp: Stamp,
        on_conflict: OnConflict,
    ) -> tuple[Event, ...]:
        """Store all of them or, by raising, none. Returns the events in the order given."""
        names = [definition.name for definition in definitions if definition.name is not None]
        taken = ids_by_name(db, names) if names else {}
        if taken and on_conflict is OnConflict.ERROR:
            raise _exists(next(name for name in names if name in taken), taken)
        drafts = _Drafts(stamp, len(definitions))
        answers: list[int | str] = []
        for place, definition in enumerate(definitions):
            known = taken.get(definition.name or "")
            if known is None:
                answers.append(len(drafts.rows))
                event_id = drafts.add(definition, place)
                if definition.name is not None:
                    taken[definition.name] = event_id
            elif on_conflict is OnConflict.ERROR:
                raise ConflictError(
                    f"two of the given events are named {definition.name!r}",
                    path=f"[{place}].name",
                    name=definition.name,
                )
            else:
                if on_conflict is OnConflict.REPLACE:
                    self._flush(db, drafts)
                    self._replace(db, known, definition, stamp)
                answers.append(known)
        self._flush(db, drafts)
        if drafts.rows:
            _journal(db, drafts.rows, stamp)
        if len(drafts.rows) == len(definitions):
            return tuple(drafts.events())
        return self._mixed(db, drafts, answers, definitions, on_conflict)

    def _mixed(
        self,
        db: peewee.Database,
        drafts: _Drafts,
        answers: Sequence[int | str],
        definitions: Sequence[Definition],
        on_conflict: OnConflict,
    ) -> tuple[Event, ...]:
        """The answers where some of the events existed."""
        created, events = drafts.events(), []
        for answer, definition in zip(answers, definitions, strict=True):
            if isinstance(answer, int):
                event = created[answer]
            else:
                event = self._get(db, answer)
                if on_conflict is OnConflict.REPLACE and definition.warnings:
                    event = msgspec.structs.replace(event, warnings=definition.warnings)
            events.append(event)
        return tuple(events)

    def _flush(self, db: peewee.Database, drafts: _Drafts) -> None:
        """Insert what is not inserted yet."""
        rows, tags = drafts.fresh()
        if rows:
            self._dialect.execute_many(db, self._insert, rows)
        if tags:
            self._dialect.execute_many(db, self._insert_tag, tags)


class _Rule(msgspec.Struct, frozen=True, gc=False):
    """A rule as it is stored with a new event, and where its account begins."""

    given: Trigger
    trigger: Trigger
    text: str
    next_due: int
    accounted_from: int
    next_due_at: pendulum.DateTime
    accounted_from_at: pendulum.DateTime


class _Drafts:
    """The new events of one call: ids, rows, and what is shared among them."""

    def __init__(self, stamp: Stamp, at_most: int) -> None:
        self.rows: list[Row] = []
        self._definitions: list[Definition] = []
        self._rules_used: list[_Rule] = []
        self._now = stamp.now
        self._ids = iter(stamp.ids.several(at_most))
        self._rules: dict[int, _Rule] = {}
        self._tags: list[tuple[str, str]] = []
        self._written = 0

    def add(self, definition: Definition, place: int) -> str:
        """Draft the row of an event, the ``place``-th of its call; its id."""
        event_id = next(self._ids)
        rule = self._rule(definition.trigger, place)
        policies, limit, priority, serial = policy_columns(definition.policies)
        now, tags = self._now, definition.tags
        # fmt: off
        self.rows.append((
            event_id,
            definition.name or f"{definition.job[:180]}-{short_form(event_id)}",
            definition.job, definition.arguments, rule.text, policies,
            dump(tags) if tags else "[]",
            "active", definition.note, None, None,  # status, its note, the end of a pause
            rule.next_due, rule.accounted_from, rule.accounted_from, 0,  # since when: rule, streak
            limit, priority, serial,
            1, now, now, definition.declared_by,
        ))
        # fmt: on
        self._definitions.append(definition)
        self._rules_used.append(rule)
        for tag in tags:
            self._tags.append((tag, event_id))
        return event_id

    def _rule(self, given: Trigger, place: int) -> _Rule:
        """By identity, as equal rules may be written differently; a ``_Rule`` keeps it alive."""
        rule = self._rules.get(id(given))
        if rule is None:
            trigger = given.anchored(self._now)
            since, due = first_due(trigger, self._now + 1, f"[{place}].trigger")
            rule = self._rules[id(given)] = _Rule(
                given, trigger, dump_trigger(trigger), due, since, from_us(due), from_us(since)
            )
        return rule

    def fresh(self) -> tuple[list[Row], list[tuple[str, str]]]:
        """The rows of events and tags that were added since this was last asked."""
        rows, tags = self.rows[self._written :], self._tags
        self._written, self._tags = len(self.rows), []
        return rows, tags

    def events(self) -> list[Event]:
        """The new events, in the order in which they were added."""
        now = from_us(self._now)
        return [
            _event(row, definition, rule, now)
            for row, definition, rule in zip(
                self.rows, self._definitions, self._rules_used, strict=True
            )
        ]


def _event(row: Row, definition: Definition, rule: _Rule, now: pendulum.DateTime) -> Event:
    args, kwargs = arguments_of(definition.arguments)
    return Event(
        id=row[0],
        name=row[1],
        job=definition.job,
        args=args,
        kwargs=kwargs,
        trigger=rule.trigger,
        policies=definition.policies,
        tags=definition.tags,
        status=EventStatus.ACTIVE,
        note=definition.note,
        declared_by=definition.declared_by,
        next_due=rule.next_due_at,
        accounted_from=rule.accounted_from_at,
        version=1,
        created_at=now,
        updated_at=now,
        warnings=definition.warnings,
    )


def _exists(name: str, taken: dict[str, str]) -> ConflictError:
    return ConflictError(
        f"an event named {name!r} exists; on_conflict='keep' or 'replace' says what to do",
        path="name",
        name=name,
        event_id=taken[name],
    )


def _journal(db: peewee.Database, rows: Sequence[Row], stamp: Stamp) -> None:
    """One line for one call: a single event's own, or the span of ids of a bulk."""
    single = len(rows) == 1
    note_down(
        db,
        JournalKind.EVENTS_CREATED,
        stamp,
        rows[0][0] if single else None,
        count=len(rows),
        first_id=rows[0][0],
        last_id=rows[-1][0],
    )
