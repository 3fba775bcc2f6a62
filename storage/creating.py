"""New events: their rows, and the answers for whoever made them.

What the events of one call have in common is worked out once: a rule, its first instant, policies.
So it is with calls that are carried out together: they share a few statements, and each is stored
whole or refused for itself, as if they had come one after the other. The answers are made of what
was written, not read back. Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import peewee
import pendulum

from kalends.clock import from_us
from kalends.drafts import Definition, OnConflict
from kalends.errors import ConflictError, KalendsError
from kalends.ids import short_form
from kalends.model import Event, EventStatus, JournalKind
from kalends.storage.accounts import first_due
from kalends.storage.dialect import Dialect
from kalends.storage.event_rows import ids_by_name, policy_columns
from kalends.storage.journal import Stamp, entry_row
from kalends.storage.models import EventRow, JournalRow, TagRow
from kalends.storage.portions import Answer
from kalends.storage.rows import (
    EVENT_COLUMNS,
    JOURNAL_COLUMNS,
    arguments_of,
    dump,
    dump_trigger,
)
from kalends.triggers import Trigger

__all__ = ["Creation", "Creator"]

Row = tuple[Any, ...]
"""Values of ``EVENT_COLUMNS``."""
_INSERT = EventRow.insert_many([dict.fromkeys(EVENT_COLUMNS)])
_INSERT_TAG = TagRow.insert(tag="", event_id="")
_INSERT_LINE = JournalRow.insert_many([dict.fromkeys(JOURNAL_COLUMNS)])


class Creation(msgspec.Struct, frozen=True, gc=False):
    """The definitions of one call: all are stored, or none."""

    definitions: Sequence[Definition]
    stamp: Stamp
    on_conflict: OnConflict = OnConflict.ERROR


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
        self._insert_line = dialect.compile(_INSERT_LINE)
        self._replace = replace
        self._get = get

    def create(self, db: peewee.Database, call: Creation) -> tuple[Event, ...]:
        """Store all of them or, by raising, none. Returns the events in the order given."""
        ((events, refusal),) = self.create_each(db, (call,))
        if refusal is not None:
            raise refusal
        assert events is not None
        return events

    def create_each(
        self, db: peewee.Database, calls: Sequence[Creation]
    ) -> list[Answer[tuple[Event, ...]]]:
        """Carry out calls in the order given; for each its events, or why it was refused.

        Their stamps are of one moment. Where it raises, nothing is to be kept of any of them.
        """
        names = [it.name for call in calls for it in call.definitions if it.name is not None]
        taken = ids_by_name(db, names) if names else {}
        shared = _Shared(calls)
        drafts: list[_Draft | KalendsError] = []
        for call in calls:
            try:
                drafts.append(_Draft(call, shared, taken))
            except KalendsError as refusal:
                drafts.append(refusal)
        self._write(db, [draft for draft in drafts if type(draft) is _Draft], shared)
        return [
            (None, draft) if isinstance(draft, KalendsError) else (self._answer(db, draft), None)
            for draft in drafts
        ]

    def _write(self, db: peewee.Database, drafts: Sequence[_Draft], shared: _Shared) -> None:
        """Insert what is new, and change what is there."""
        rows = [row for draft in drafts for row in draft.rows]
        tags = [tag for draft in drafts for tag in draft.tags]
        lines = [_line(draft, next(shared.ids)) for draft in drafts if draft.rows]
        for statement, values in (
            (self._insert, rows), (self._insert_tag, tags), (self._insert_line, lines),
        ):  # fmt: skip
            if values:
                self._dialect.execute_many(db, statement, values)
        for draft in drafts:
            for event_id, definition in draft.replaced:
                self._replace(db, event_id, definition, draft.call.stamp)

    def _answer(self, db: peewee.Database, draft: _Draft) -> tuple[Event, ...]:
        created = draft.events()
        if len(created) == len(draft.answers):
            return tuple(created)
        events = []
        for answer, definition in zip(draft.answers, draft.call.definitions, strict=True):
            if isinstance(answer, int):
                event = created[answer]
            else:
                event = self._get(db, answer)
                if draft.call.on_conflict is OnConflict.REPLACE and definition.warnings:
                    event = msgspec.structs.replace(event, warnings=definition.warnings)
            events.append(event)
        return tuple(events)


class _Rule(msgspec.Struct, frozen=True, gc=False):
    """A rule as it is stored with a new event, and where its account begins."""

    given: Trigger
    trigger: Trigger
    text: str
    next_due: int
    accounted_from: int
    next_due_at: pendulum.DateTime
    accounted_from_at: pendulum.DateTime


class _Shared:
    """What calls that are carried out together have in common: the moment, the source of ids, and
    what was worked out for their rules.
    """

    def __init__(self, calls: Sequence[Creation]) -> None:
        stamp = calls[0].stamp
        self.now = stamp.now
        self.now_at = from_us(stamp.now)
        # For each event, and a line of the journal for each call.
        at_most = sum([len(call.definitions) for call in calls]) + len(calls)
        self.ids = iter(stamp.ids.several(at_most))
        self._rules: dict[int, _Rule] = {}

    def rule(self, given: Trigger, place: int) -> _Rule:
        """By identity, as equal rules may be written differently; a ``_Rule`` keeps it alive."""
        rule = self._rules.get(id(given))
        if rule is None:
            trigger = given.anchored(self.now)
            since, due = first_due(trigger, self.now + 1, f"[{place}].trigger")
            rule = self._rules[id(given)] = _Rule(
                given, trigger, dump_trigger(trigger), due, since, from_us(due), from_us(since)
            )
        return rule


class _Draft:
    """What is to become of one call: rows of new events, and changes of those that are there.

    ``taken`` are the ids of the living events that have one of its names; those that it adds are
    added there. Raises ``ConflictError`` and ``ValidationFailed``, and has added none then.
    """

    def __init__(self, call: Creation, shared: _Shared, taken: dict[str, str]) -> None:
        self.call = call
        self.rows: list[Row] = []
        self.tags: list[tuple[str, str]] = []
        self.replaced: list[tuple[str, Definition]] = []
        self.answers: list[int | str] = []
        """By definition: the place among the new ones, or the id of the event that is there."""
        self._shared = shared
        self._definitions: list[Definition] = []
        self._rules: list[_Rule] = []
        if taken and call.on_conflict is OnConflict.ERROR:
            _refuse_taken(call.definitions, taken)
        own: dict[str, str] = {}
        for place, definition in enumerate(call.definitions):
            name = definition.name
            known = None if name is None else own.get(name) or taken.get(name)
            if known is None:
                self.answers.append(len(self.rows))
                event_id = self._add(definition, place)
                if name is not None:
                    own[name] = event_id
            elif call.on_conflict is OnConflict.ERROR:
                raise ConflictError(
                    f"two of the given events are named {name!r}", path=f"[{place}].name", name=name
                )
            else:
                if call.on_conflict is OnConflict.REPLACE:
                    self.replaced.append((known, definition))
                self.answers.append(known)
        taken |= own

    def _add(self, definition: Definition, place: int) -> str:
        """Draft the row of an event, the ``place``-th of its call; its id."""
        event_id = next(self._shared.ids)
        rule = self._shared.rule(definition.trigger, place)
        policies, limit, priority, serial = policy_columns(definition.policies)
        now, tags = self._shared.now, definition.tags
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
        self._rules.append(rule)
        for tag in tags:
            self.tags.append((tag, event_id))
        return event_id

    def events(self) -> list[Event]:
        """The new events, in the order in which they were added."""
        now = self._shared.now_at
        return [
            _event(row, definition, rule, now)
            for row, definition, rule in zip(self.rows, self._definitions, self._rules, strict=True)
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


def _refuse_taken(definitions: Sequence[Definition], taken: dict[str, str]) -> None:
    for name in (definition.name for definition in definitions):
        if name in taken:
            raise ConflictError(
                f"an event named {name!r} exists; on_conflict='keep' or 'replace' says what to do",
                path="name",
                name=name,
                event_id=taken[name],
            )


def _line(draft: _Draft, entry_id: str) -> Row:
    """One line for one call: a single event's own, or the span of ids of a bulk."""
    rows = draft.rows
    single = len(rows) == 1
    return entry_row(
        entry_id,
        JournalKind.EVENTS_CREATED,
        draft.call.stamp,
        rows[0][0] if single else None,
        count=len(rows),
        first_id=rows[0][0],
        last_id=rows[-1][0],
    )
